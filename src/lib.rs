//! srs-shard: a live media server. See `main.rs` for the command.

pub mod formats;
pub mod rtmp;
pub mod stream;
