//! Everything that crosses shards, in one enum; [`super::shard`] has a handler per variant.

use crate::stream::post::{Post, StreamKey};
use crate::web::api::ids::ClientId;
use crate::web::api::snapshot::{ShardSnapshot, Wanted};
use shards::Reply;

/// From shard to shard.
#[derive(Debug)]
pub enum Msg {
    /// Between the shards' stream cores.
    Core(Post),
    /// To a stream's owner: is it published now?
    IsLive(StreamKey, Reply<bool>),
    /// What the API asks of each shard.
    Snapshot(Wanted, Reply<Box<ShardSnapshot>>),
    /// Close a client; false if there is none.
    Kick(ClientId, Reply<bool>),
}
