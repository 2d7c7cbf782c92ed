//! What reaches a stream's owner: publishes, media and subscriptions, each a handler of one [`Post`].

use super::publishers::PUBLISH_CREDIT_BYTES;
use super::{CREDIT_PART, Hub};
use crate::logging::Client;
use crate::stream::encode::Format;
use crate::stream::origin::{Origin, Verdict};
use crate::stream::post::{Batch, Epoch, Post, SourceId, StreamKey, Sub};
use crate::stream::settings::Settings;
use crate::stream::wire::Wire;
use std::sync::Arc;

impl<W: Wire> Hub<W> {
    pub(super) fn on_publish(
        &mut self,
        from: u16,
        key: StreamKey,
        source: SourceId,
        client: u64,
        settings: &Arc<Settings>,
        now_ms: u64,
    ) {
        let at = self.origin_or_new(Arc::clone(&key), settings);
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        let origin = &mut self.origins[at];
        let verdict = origin.publish(epoch, from, source, client, settings, now_ms, &mut self.scratch);
        self.mail_feed_posts(at);
        match verdict {
            Verdict::Granted { epoch, closed } => {
                if let Some((shard, source, reason)) = closed {
                    self.post(shard, Post::Revoked { source, reason });
                }
                let me = self.me;
                Client(client)
                    .scope(|| log::info!("stream {key}: published from shard {from}, owned by shard {me}"));
                self.post(from, Post::Granted { source, origin: at, epoch });
            }
            Verdict::Refused(reason) => self.post(from, Post::Revoked { source, reason }),
        }
        self.forget_if_idle(at);
    }

    pub(super) fn on_media(&mut self, from: u16, at: usize, epoch: Epoch, messages: Batch, now_ms: u64) {
        let Some(origin) = self.origins.get_mut(at) else { return };
        let source = origin.publisher().filter(|p| p.epoch == epoch && p.shard == from).map(|p| p.source);
        let bytes = origin.media(epoch, messages, now_ms, &mut self.scratch);
        self.mail_feed_posts(at);
        self.mark_origin(at);
        // What came late from a publisher that had to give way is nobody's credit.
        let Some(source) = source else { return };
        if let Some(bytes) = self.origins[at].owe_credit(bytes, PUBLISH_CREDIT_BYTES as usize / CREDIT_PART) {
            self.post(from, Post::MediaCredit { source, bytes });
        }
    }

    pub(super) fn on_unpublish(&mut self, key: &str, epoch: Epoch) {
        let Some(at) = self.origin_at.get(key).copied() else { return };
        self.origins[at].unpublish(epoch, &mut self.scratch);
        self.mail_feed_posts(at);
        self.forget_if_idle(at);
    }

    pub(super) fn on_withdraw(&mut self, from: u16, key: &str, source: SourceId) {
        let publisher = self.origin(key).and_then(Origin::publisher);
        if let Some(epoch) = publisher.filter(|p| p.shard == from && p.source == source).map(|p| p.epoch) {
            self.on_unpublish(key, epoch);
        }
    }

    #[allow(clippy::too_many_arguments)] // the fields of one post
    pub(super) fn on_subscribe(
        &mut self,
        from: u16,
        key: StreamKey,
        format: Format,
        sub: Sub,
        wish_ms: u32,
        settings: &Arc<Settings>,
        now_ms: u64,
    ) {
        let at = self.origin_or_new(key, settings);
        self.origins[at].subscribe(format, from, sub, wish_ms, now_ms, &mut self.scratch);
        self.mail_feed_posts(at);
        self.mark_origin(at);
    }

    pub(super) fn on_wish(&mut self, from: u16, key: &str, format: Format, wish_ms: u32) {
        let Some(at) = self.origin_at.get(key).copied() else { return };
        if let Some(subscriber) = self.origins[at].subscriber(format, from) {
            subscriber.wish_ms = wish_ms;
        }
        self.mark_origin(at);
    }

    pub(super) fn on_unsubscribe(&mut self, from: u16, key: &str, format: Format, sub: Sub, sent_bytes: u64) {
        let Some(at) = self.origin_at.get(key).copied() else { return };
        self.origins[at].unsubscribe(format, from, sub, sent_bytes);
        self.forget_if_idle(at);
    }

    pub(super) fn on_feed_credit(&mut self, from: u16, key: &str, format: Format, sub: Sub, bytes: usize) {
        let Some(at) = self.origin_at.get(key).copied() else { return };
        if let Some(subscriber) = self.origins[at].subscriber(format, from).filter(|s| s.sub == sub) {
            subscriber.in_flight = subscriber.in_flight.saturating_sub(bytes);
        }
    }
}
