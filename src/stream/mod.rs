//! The stream core, without I/O: what a stream is, on its owner shard and on the shards of its viewers.
//!
//! Time and bytes come in as arguments; what goes out is a list of posts and calls on a [`wire::Wire`]. So
//! several shards' cores run in one thread under virtual time, which is how `tests/sim` finds what no unit
//! test would.
//!
//! | module | one idea |
//! |---|---|
//! | [`hub`] | all of it for one shard; the posts' handlers |
//! | [`post`] | what hubs send each other |
//! | [`origin`] | a stream on the shard that owns it: publisher, prelude, outputs |
//! | [`timeline`] | raw timestamps → the stream's time |
//! | [`metadata`], [`prelude`] | what a decoder must know first |
//! | [`gop`] | the current GOP as frames, while no log has it |
//! | [`output`] | one format on the owner: encoder, open block, subscribers |
//! | [`encode`] | frames → bytes of a format |
//! | [`block`], [`log`] | sealed bytes; recent blocks by offset |
//! | [`feed`], [`viewer`], [`start`] | viewers of one format on one shard; where they begin, and go on |
//! | [`pump`], [`wire`] | bytes → connections |
//! | [`cadence`] | how often |
//! | [`settings`] | the vhost's wishes |

pub mod block;
pub mod cadence;
pub mod encode;
pub mod feed;
pub mod gop;
pub mod hub;
pub mod log;
pub mod metadata;
pub mod origin;
pub mod output;
pub mod post;
pub mod prelude;
pub mod pump;
#[cfg(test)]
mod rules_tests;
pub mod settings;
pub mod start;
#[cfg(test)]
mod testing;
pub mod timeline;
pub mod viewer;
pub mod wire;
