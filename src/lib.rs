//! srs-shard: a live media server. See `main.rs` for the command.

pub mod caster;
pub mod formats;
pub mod stream;
pub mod web;
