//! srs-shard: a live media server. See `main.rs` for the command.

pub mod caster;
pub mod cli;
pub mod config;
#[cfg(feature = "fault-injection")]
pub mod faults;
pub mod formats;
pub mod http;
pub mod logging;
pub mod rtmp;
pub mod server;
pub mod stats;
pub mod stream;
pub mod web;
