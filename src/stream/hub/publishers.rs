//! Publishers connected to this shard: they ask the owner, are granted or revoked, and post media while their
//! credit lasts.

use super::{Event, Hub};
use crate::formats::message::Message;
use crate::stats::reason::CloseReason;
use crate::stream::post::{Batch, Epoch, Post, SourceId, StreamKey};
use crate::stream::settings::Settings;
use crate::stream::wire::Wire;
use std::sync::Arc;

/// Bytes of messages a publisher may have on their way to the owner; the last one may overdraw it.
pub const PUBLISH_CREDIT_BYTES: i64 = 256 << 10;
/// A publisher's connection.
pub(super) struct Source {
    pub(super) serial: u32,
    pub(super) key: StreamKey,
    pub(super) owner: u16,
    /// Its publish, and its stream's slot on the owner, once it is granted.
    pub(super) granted: Option<(usize, Epoch)>,
    pub(super) credit: i64,
}

impl<W: Wire> Hub<W> {
    /// A connection asks to publish; [`Event::Granted`] or [`Event::Revoked`] answers.
    pub fn publish(&mut self, key: &StreamKey, client: u64, settings: &Arc<Settings>) -> SourceId {
        let owner = (self.owner_of)(key);
        self.serials += 1;
        let serial = self.serials;
        let slot = self.sources.insert(Source {
            serial,
            key: Arc::clone(key),
            owner,
            granted: None,
            credit: PUBLISH_CREDIT_BYTES,
        });
        let source = SourceId { slot: slot as u32, serial };
        self.post(
            owner,
            Post::Publish { key: Arc::clone(key), source, client, settings: Arc::clone(settings) },
        );
        source
    }

    /// What a publisher's connection read in one go. False: read no more from it until [`Event::Room`].
    pub fn media(&mut self, source: SourceId, messages: impl Into<Batch>) -> bool {
        let messages = messages.into();
        let Some(from) = self.source(source) else { return true };
        let Some((origin, epoch)) = from.granted else { return true };
        let bytes: usize = messages.iter().map(Message::held_bytes).sum();
        from.credit -= bytes as i64;
        let (room, owner) = (from.credit > 0, from.owner);
        self.post(owner, Post::Media { origin, epoch, messages });
        room
    }

    /// A publisher's connection leaves, answered or not.
    pub fn unpublish(&mut self, source: SourceId) {
        let Some(gone) = self.remove_source(source) else { return };
        let post = match gone.granted {
            Some((_, epoch)) => Post::Unpublish { key: gone.key, epoch },
            None => Post::Withdraw { key: gone.key, source },
        };
        self.post(gone.owner, post);
    }

    pub(super) fn on_granted(&mut self, source: SourceId, origin: usize, epoch: Epoch) {
        // A source that left meanwhile has sent Withdraw, which ends the publish.
        if let Some(waiting) = self.source(source) {
            waiting.granted = Some((origin, epoch));
            self.events.push(Event::Granted(source));
        }
    }

    pub(super) fn on_revoked(&mut self, source: SourceId, reason: CloseReason) {
        if self.remove_source(source).is_some() {
            self.events.push(Event::Revoked(source, reason));
        }
    }

    pub(super) fn on_media_credit(&mut self, source: SourceId, bytes: usize) {
        if let Some(to) = self.source(source) {
            let stopped = to.credit <= 0;
            to.credit += bytes as i64;
            if stopped && to.credit > 0 {
                self.events.push(Event::Room(source));
            }
        }
    }

    pub(super) fn source(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.get_mut(id.slot as usize).filter(|source| source.serial == id.serial)
    }

    pub(super) fn remove_source(&mut self, id: SourceId) -> Option<Source> {
        self.source(id)?;
        self.sources.try_remove(id.slot as usize)
    }
}
