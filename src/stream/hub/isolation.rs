//! A panic is a bug; it costs the stream or the feed in whose step it happens, and nothing else on the shard.
//!
//! What panicked may be half-changed, so it is never stepped again: a stream is forgotten and its publisher and
//! all viewers are closed; a feed is retired and its viewers are closed. Who comes back finds new ones.

use super::{Hub, Origin, Post, StreamKey};
use crate::logging::Client;
use crate::stats::reason::CloseReason;
use crate::stream::post::{Epoch, FeedItem, Sub};
use crate::stream::wire::Wire;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs one step of a stream or a feed; None if it panicked.
pub(super) fn caught<R>(step: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}

/// What a post's handler works on, and what its sender is told if that panics.
pub(super) enum Charge {
    /// A stream owned here.
    Origin { key: StreamKey, answer: Option<Post> },
    /// The stream in a slot, if it is this publish's.
    Publish { origin: usize, epoch: Epoch },
    /// A feed of this shard.
    Feed(Sub),
}

impl<W: Wire> Hub<W> {
    /// Panics that were caught.
    pub fn panics(&self) -> u64 {
        self.panics
    }

    /// What handling a post may break; None for those that touch neither stream nor feed.
    pub(super) fn charge(&self, post: &Post) -> Option<Charge> {
        let (key, answer) = match post {
            Post::Publish { key, source, .. } => {
                (key, Some(Post::Revoked { source: *source, reason: CloseReason::Panic }))
            }
            Post::Subscribe { key, format, sub, .. } => {
                let (format, sub, item) = (*format, *sub, FeedItem::Failed);
                (key, Some(Post::Feed { key: Arc::clone(key), format, sub, item }))
            }
            Post::Unpublish { key, .. }
            | Post::Withdraw { key, .. }
            | Post::Wish { key, .. }
            | Post::Unsubscribe { key, .. }
            | Post::FeedCredit { key, .. } => (key, None),
            Post::Media { origin, epoch, .. } => {
                return Some(Charge::Publish { origin: *origin, epoch: *epoch });
            }
            Post::Feed { sub, .. } => return Some(Charge::Feed(*sub)),
            Post::Granted { .. } | Post::Revoked { .. } | Post::MediaCredit { .. } => return None,
        };
        Some(Charge::Origin { key: Arc::clone(key), answer })
    }

    /// The handler of a post from `from` panicked.
    pub(super) fn fail(&mut self, from: u16, charge: Charge) {
        match charge {
            Charge::Origin { key, answer } => {
                self.fail_origin(&key);
                if let Some(answer) = answer {
                    self.post(from, answer);
                }
            }
            Charge::Publish { origin, epoch } => {
                let of = |origin: &&Origin| origin.publisher().is_some_and(|p| p.epoch == epoch);
                match self.origins.get(origin).filter(of).map(|origin| Arc::clone(origin.key())) {
                    Some(key) => self.fail_origin(&key),
                    None => {
                        self.panics += 1;
                        log::error!(
                            "shard {}: a late message of a publish panicked; it was dropped",
                            self.me
                        );
                    }
                }
            }
            Charge::Feed(sub) => {
                let at = sub.feed as usize;
                // What is let go of a subscription that is over breaks none that has its slot now.
                match self.feeds.get(at).filter(|feed| feed.sub == sub) {
                    Some(_) => self.fail_feed(at),
                    None => self.panics += 1,
                }
            }
        }
    }

    /// A stream panicked: it is forgotten, and all that belongs to it is closed.
    pub(super) fn fail_origin(&mut self, key: &StreamKey) {
        self.panics += 1;
        let publisher = self.origin(key).and_then(Origin::publisher).map_or(0, |publisher| publisher.client);
        Client(publisher).scope(|| {
            log::error!("shard {}: stream {key} panicked; it was ended, the shard goes on", self.me);
        });
        self.scratch.clear();
        let Some(at) = self.origin_at.remove(key) else { return };
        let gone = self.origins.remove(at);
        if let Some(publisher) = gone.publisher() {
            let post = Post::Revoked { source: publisher.source, reason: CloseReason::Panic };
            self.post(publisher.shard, post);
        }
        for output in gone.outputs() {
            for to in &output.subscribers {
                let (format, item) = (output.format(), FeedItem::Failed);
                self.post(to.shard, Post::Feed { key: Arc::clone(key), format, sub: to.sub, item });
            }
        }
    }

    /// A feed panicked.
    pub(super) fn fail_feed(&mut self, at: usize) {
        self.panics += 1;
        if let Some(feed) = self.feeds.get(at) {
            log::error!(
                "shard {}: a feed of {} panicked; it was ended, the shard goes on",
                self.me,
                feed.key
            );
        }
        self.retire_feed(at);
    }

    /// Closes all viewers of a feed, and lets nobody in any more; it goes with the last of them.
    pub(super) fn retire_feed(&mut self, at: usize) {
        let Some(feed) = self.feeds.get_mut(at) else { return };
        let place = (Arc::clone(&feed.key), feed.format);
        feed.retired = true;
        feed.close_all(CloseReason::Panic);
        if self.feed_at.get(&place) == Some(&at) {
            self.feed_at.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::message::{Kind, Message, WireTime};
    use crate::stream::settings::Settings;
    use crate::stream::testing::{CountingWire, RTMP, VIDEO_HEADER, count};
    use crate::stream::viewer::Wanted;
    use bytes::Bytes;

    #[test]
    fn a_feed_that_panicked_is_not_stepped_again() {
        static BIG_KEY: [u8; 200_000] = {
            let mut key = [0; 200_000];
            (key[0], key[1]) = (0x17, 1);
            key
        };
        let seeds = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut hub: Hub<CountingWire> = Hub::new(0, |_| 0, seeds);
        let (key, settings): (StreamKey, _) = ("v/app/s".into(), Arc::new(Settings::default()));
        let wire = CountingWire::default();
        let viewer = hub.join(&key, RTMP, &settings, wire.clone(), Wanted::default());
        let source = hub.publish(&key, 1, &settings);
        hub.turn(0, 0);
        let message =
            |payload| Message { kind: Kind::Video, time: WireTime(0), payload: Bytes::from_static(payload) };
        hub.media(source, vec![message(VIDEO_HEADER), message(&BIG_KEY)]);
        hub.turn(0, 0);
        hub.turn(40, 0);
        assert!(count(&wire.0.borrow().bytes, &BIG_KEY[..2]) > 0);
        // Of so fast a stream more may wait in the kernel: the sweep says so to the connection, which panics.
        wire.0.borrow_mut().panics = true;
        for now_ms in [250, 500, 750] {
            hub.sweep(now_ms);
            hub.wake(viewer);
            hub.turn(now_ms, 0);
        }
        assert_eq!(hub.panics(), 1);
        assert_eq!(wire.0.borrow().closed, Some(CloseReason::Panic));
        hub.leave(viewer);
        assert!(hub.feeds.is_empty());
    }
}
