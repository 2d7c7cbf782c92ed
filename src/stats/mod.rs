//! What the server counts and how it says so. Plain data and decisions; who asks for it is in `web::api`.

pub mod prometheus;
pub mod rates;
pub mod reason;
pub mod system;
