//! What the server says over HTTP: the API, live streams, files, the player page. Decisions only; the I/O is
//! in the server's shells.

pub mod api;
pub mod files;
pub mod live;
pub mod page;
pub mod router;
