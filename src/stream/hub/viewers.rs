//! Viewers connected to this shard: the first of a format subscribes to it, the last one ends that, and between
//! them the feed takes what the owner posts.

use super::{CREDIT_PART, Hub};
use crate::stream::encode::Format;
use crate::stream::feed::{Charged, Feed};
use crate::stream::post::{FeedItem, Post, StreamKey, Sub, WINDOW_MIN_BYTES};
use crate::stream::settings::Settings;
use crate::stream::viewer::{Viewer, Wanted};
use crate::stream::wire::Wire;
use std::sync::Arc;

/// A viewer, as the shell knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ViewerId {
    sub: Sub,
    slot: usize,
}

impl ViewerId {
    fn feed(self) -> usize {
        self.sub.feed as usize
    }
}

impl<W: Wire> Hub<W> {
    /// A viewer joins; it starts at the end of the turn if the stream is live, else when it is.
    pub fn join(
        &mut self,
        key: &StreamKey,
        format: Format,
        settings: &Arc<Settings>,
        wire: W,
        wanted: Wanted,
    ) -> ViewerId {
        let at = match self.feed_at.get(&(Arc::clone(key), format)) {
            Some(at) => *at,
            None => self.subscribe(key, format, settings),
        };
        let slot = self.feeds[at].join(wire, wanted);
        self.mark_feed(at);
        ViewerId { sub: self.feeds[at].sub, slot }
    }

    fn subscribe(&mut self, key: &StreamKey, format: Format, settings: &Arc<Settings>) -> usize {
        self.subs += 1;
        let sub = Sub { feed: self.feeds.vacant_key() as u32, serial: self.subs };
        let mut feed = Feed::new(Arc::clone(key), format, sub, Arc::clone(settings), 0);
        feed.wish_ms = feed.interval_ms(self.auto_ms);
        let wish_ms = feed.wish_ms;
        let at = self.feeds.insert(feed);
        self.feed_at.insert((Arc::clone(key), format), at);
        let owner = (self.owner_of)(key);
        let (key, settings) = (Arc::clone(key), Arc::clone(settings));
        self.post(owner, Post::Subscribe { key, format, sub, wish_ms, settings });
        at
    }

    /// A viewer leaves; the last one ends the subscription.
    pub fn leave(&mut self, id: ViewerId) -> Option<Viewer<W>> {
        let feed = self.feeds.get_mut(id.feed()).filter(|feed| feed.sub == id.sub)?;
        let viewer = feed.viewers.try_remove(id.slot)?;
        if feed.viewers.is_empty() {
            let feed = self.feeds.remove(id.feed());
            let counters = feed.counters();
            self.gone.add(&counters);
            let (key, format, sub) = (feed.key, feed.format, feed.sub);
            let place = (Arc::clone(&key), format);
            if self.feed_at.get(&place) == Some(&id.feed()) {
                self.feed_at.remove(&place);
            }
            let owner = (self.owner_of)(&key);
            self.post(owner, Post::Unsubscribe { key, format, sub, sent_bytes: counters.sent_bytes });
        }
        Some(viewer)
    }

    /// A viewer can be served again, since its parked bytes are sent, or is to be looked at anew.
    pub fn wake(&mut self, id: ViewerId) {
        if self.viewer(id).is_some() {
            self.feeds[id.feed()].dirty = true;
            self.mark_feed(id.feed());
        }
    }

    /// Holds a viewer, or lets it go on.
    pub fn pause(&mut self, id: ViewerId, paused: bool) {
        if let Some(feed) = self.feeds.get_mut(id.feed()).filter(|feed| feed.sub == id.sub)
            && let Some(viewer) = feed.viewers.get_mut(id.slot)
        {
            viewer.paused = paused;
            self.wake(id);
        }
    }

    /// A viewer of this shard.
    pub fn viewer(&self, id: ViewerId) -> Option<&Viewer<W>> {
        self.feeds.get(id.feed()).filter(|feed| feed.sub == id.sub)?.viewers.get(id.slot)
    }

    /// The feed of a viewer.
    pub fn feed_of(&self, id: ViewerId) -> Option<&Feed<W>> {
        self.feeds.get(id.feed()).filter(|feed| feed.sub == id.sub)
    }

    pub(super) fn on_feed(
        &mut self,
        from: u16,
        key: StreamKey,
        format: Format,
        sub: Sub,
        item: FeedItem,
        now_ms: u64,
    ) {
        let at = sub.feed as usize;
        let Some(feed) = self.feeds.get_mut(at).filter(|feed| feed.sub == sub && !feed.retired) else {
            return;
        };
        if matches!(item, FeedItem::Failed) {
            return self.retire_feed(at);
        }
        let Charged(bytes) = feed.take(item, now_ms);
        self.dirty_feeds.mark(at, &mut feed.entry);
        feed.owed += bytes;
        if feed.owed >= WINDOW_MIN_BYTES / CREDIT_PART {
            let bytes = std::mem::take(&mut feed.owed);
            self.post(from, Post::FeedCredit { key, format, sub, bytes });
        }
    }
}
