//! What the stream core of one shard posts to that of another. One enum, a handler per variant in
//! [`super::hub`].
//!
//! Order holds between two shards and only there. So whoever asked first numbers its request, and whatever
//! carries an older number than the one in force is ignored: `epoch` for publishes, `sub` for subscriptions.

use super::block::{Block, LogOffset};
use super::encode::Format;
use super::prelude::Prelude;
use super::settings::Settings;
use crate::formats::message::Message;
use crate::stats::reason::CloseReason;
use smallvec::SmallVec;
use std::sync::Arc;

/// `vhost/app/stream`: which stream. Cloning counts a reference.
pub type StreamKey = Arc<str>;

/// The key of a stream. An app's or a stream's name may hold slashes: see [`names`].
pub fn key(vhost: &str, app: &str, stream: &str) -> StreamKey {
    format!("{vhost}/{app}/{stream}").into()
}

/// Vhost, app and stream of a key. The last slash ends the app, as in a path of SRS, however the client put it.
pub fn names(key: &str) -> (&str, &str, &str) {
    let (vhost, rest) = key.split_once('/').unwrap_or(("", key));
    let (app, stream) = rest.rsplit_once('/').unwrap_or(("", rest));
    (vhost, app, stream)
}

/// A publish, as granted by its owner: grows with every publish on that shard, so that no two publishes of a
/// stream share a number, even if the owner forgot the stream in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// A publisher's connection, as numbered on its own shard. An answer may come late: then its slot may be
/// another's, but never its serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId {
    /// Its place in the shard's table.
    pub slot: u32,
    /// Counts the publishers of the shard.
    pub serial: u32,
}

/// One subscription of a shard to a format of a stream, as numbered on that shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sub {
    /// The feed's slot on its shard.
    pub feed: u32,
    /// No other subscription of that shard has it.
    pub serial: u32,
}

/// Messages on their way to a stream's owner: most reads bring one, or a picture and its sound.
pub type Batch = SmallVec<[Message; 2]>;

/// A subscription's window is at least so many bytes, whatever the bitrate.
pub const WINDOW_MIN_BYTES: usize = 1 << 20;

/// From shard to shard.
#[derive(Debug)]
pub enum Post {
    /// Publisher's shard → owner: may it publish?
    Publish {
        /// Which stream.
        key: StreamKey,
        /// Who asks.
        source: SourceId,
        /// The publisher's client id, for the API.
        client: u64,
        /// The vhost's settings.
        settings: Arc<Settings>,
    },
    /// Owner → publisher's shard: it may.
    Granted {
        /// Who asked.
        source: SourceId,
        /// The stream's slot on its owner.
        origin: usize,
        /// Named by every item of this publish.
        epoch: Epoch,
    },
    /// Owner → publisher's shard: refused, or taken over later.
    Revoked {
        /// Whose publish.
        source: SourceId,
        /// Why.
        reason: CloseReason,
    },
    /// Publisher's shard → owner: messages, in order.
    Media {
        /// Which stream, by its slot: to look each batch's stream up by name would cost as much as the batch.
        origin: usize,
        /// Of which publish; an owner gives no two of its streams' the same.
        epoch: Epoch,
        /// What came in one turn.
        messages: Batch,
    },
    /// Owner → publisher's shard: so many bytes were taken in.
    MediaCredit {
        /// Whose.
        source: SourceId,
        /// Payload bytes.
        bytes: usize,
    },
    /// Publisher's shard → owner: it left.
    Unpublish {
        /// Which stream.
        key: StreamKey,
        /// Of which publish.
        epoch: Epoch,
    },
    /// Publisher's shard → owner: it left before it was answered.
    Withdraw {
        /// Which stream.
        key: StreamKey,
        /// Who asked.
        source: SourceId,
    },
    /// Viewers' shard → owner: send me this format.
    Subscribe {
        /// Which stream.
        key: StreamKey,
        /// Which format.
        format: Format,
        /// Names this subscription.
        sub: Sub,
        /// Interval between blocks that the shard wishes, in ms.
        wish_ms: u32,
        /// The vhost's settings.
        settings: Arc<Settings>,
    },
    /// Viewers' shard → owner: another interval.
    Wish {
        /// Which stream.
        key: StreamKey,
        /// Which format.
        format: Format,
        /// In ms.
        wish_ms: u32,
    },
    /// Viewers' shard → owner: no viewers left.
    Unsubscribe {
        /// Which stream.
        key: StreamKey,
        /// Which format.
        format: Format,
        /// Which subscription.
        sub: Sub,
        /// What those viewers were sent.
        sent_bytes: u64,
    },
    /// Owner → viewers' shard.
    Feed {
        /// Which stream.
        key: StreamKey,
        /// Which format.
        format: Format,
        /// Which subscription.
        sub: Sub,
        /// What.
        item: FeedItem,
    },
    /// Viewers' shard → owner: so many bytes of blocks were taken in.
    FeedCredit {
        /// Which stream.
        key: StreamKey,
        /// Which format.
        format: Format,
        /// Which subscription.
        sub: Sub,
        /// Block bytes.
        bytes: usize,
    },
}

/// What an owner sends to a subscriber. Control items are never dropped; blocks may be.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// The first item of a subscription: where the log stands, and the blocks kept. Not charged.
    Start {
        /// The publish in force; None while nobody publishes.
        live: Option<Epoch>,
        /// The prelude in force.
        prelude: Arc<Prelude>,
        /// Kept blocks of this publish, oldest first.
        blocks: Vec<Arc<Block>>,
        /// Where the log stands.
        end: LogOffset,
    },
    /// The next block, charged to the window.
    Block {
        /// Of which publish.
        epoch: Epoch,
        /// The bytes.
        block: Arc<Block>,
    },
    /// A publish began, maybe in the place of one that had to give way.
    Published {
        /// Its number.
        epoch: Epoch,
    },
    /// The publish ended; everything before it was sent.
    Unpublished {
        /// Its number.
        epoch: Epoch,
    },
    /// The stream panicked on its owner and is no more: viewers are closed, also those who wait.
    Failed,
    /// The stream is in demand in too many formats: there will be nothing.
    Refused,
    /// The format's content cannot go on under the header viewers have (fMP4: other tracks): they end. The
    /// blocks that follow are a new body for those who come.
    Ended {
        /// Of which publish.
        epoch: Epoch,
    },
}
