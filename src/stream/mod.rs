//! The stream core, without I/O: what a stream is, on its owner shard and on the shards of its viewers.

pub mod encode;
pub mod prelude;
pub mod timeline;
