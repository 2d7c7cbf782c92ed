//! srs-shard: a live media server. See `main.rs` for the command.

pub mod formats;
pub mod http;
pub mod stats;
pub mod stream;
pub mod web;
