//! Posts between hubs, and the books kept on them: what is under way, what was taken in, what was credited.

use super::*;
use srs_shard::stats::reason::CloseReason;
use srs_shard::stream::encode::Format;
use srs_shard::stream::hub::Event;
use srs_shard::stream::output::Subscriber;
use srs_shard::stream::post::{FeedItem, Post, SourceId, Sub, WINDOW_MIN_BYTES};
use std::collections::{HashMap, HashSet};

/// A subscription: the viewers' shard, the stream, the format, the number.
type Edge = (usize, usize, Format, Sub);

/// Bytes are counted on their way and where they are taken in, by the simulation's own reckoning.
#[derive(Default)]
pub(super) struct Accounts {
    /// Bytes of blocks posted to an edge, and not credited.
    in_flight: HashMap<Edge, usize>,
    started: HashSet<Edge>,
    /// Bytes of blocks that an edge took in since it last gave credit.
    blocks_taken: HashMap<Edge, usize>,
    /// Bytes of messages that an owner took in since it last gave credit, by shard and source.
    media_taken: HashMap<(usize, SourceId), usize>,
}

impl World {
    pub(super) fn stream_of(&self, key: &StreamKey) -> usize {
        let number = key.rsplit('/').next().and_then(|name| name.parse().ok());
        number.expect("a stream's name is its number")
    }

    fn subscriber(&self, at: usize, key: &str, format: Format, edge: usize) -> Option<&Subscriber> {
        let output = self.shards[at].hub.origin(key)?.outputs().iter().find(|o| o.format() == format)?;
        output.subscribers.iter().find(|subscriber| subscriber.shard as usize == edge)
    }

    pub(super) fn deliver(&mut self, from: usize, me: usize, post: Post) {
        trace!(self.now, "{from} → {me}: {}", short(&post));
        let mut credited = None;
        match &post {
            Post::Publish { key, .. } => self.note_takeover(me, key),
            Post::Withdraw { .. } => self.tally.note(Tried::Withdrawn, 1),
            Post::Media { epoch, messages, .. } => {
                let mut publishers = self.shards[me].hub.origins().filter_map(|stream| stream.publisher());
                let in_force = publishers.find(|p| p.epoch == *epoch && p.shard as usize == from);
                if let Some(publisher) = in_force {
                    let bytes: usize = messages.iter().map(|message| message.held_bytes()).sum();
                    *self.accounts.media_taken.entry((from, publisher.source)).or_default() += bytes;
                }
            }
            Post::MediaCredit { source, bytes } => {
                let of = |s: &&mut Session| s.shard == me && s.source == Some(*source);
                if let Some(session) = self.sessions.iter_mut().find(of) {
                    session.uncredited -= *bytes as i64;
                }
            }
            Post::Feed { key, format, sub, item } => {
                let edge = (me, self.stream_of(key), *format, *sub);
                let feeds = &mut self.shards[me].hub.feeds();
                if !feeds.any(|feed| feed.format() == *format && feed.key() == key) {
                    self.tally.note(Tried::LateItems, 1);
                }
                if let FeedItem::Block { block, .. } = item {
                    *self.accounts.blocks_taken.entry(edge).or_default() += block.bytes.len();
                }
            }
            Post::FeedCredit { key, format, sub, bytes } => {
                let in_flight = self.accounts.in_flight.entry((from, self.stream_of(key), *format, *sub));
                let in_flight = in_flight.or_default();
                if *in_flight < *bytes {
                    violated("window", format!("more credit than bytes, shard {from}"));
                }
                *in_flight -= *bytes;
                credited = Some((Arc::clone(key), *format, *sub, *in_flight));
            }
            _ => {}
        }
        let shard = &mut self.shards[me];
        shard.hub.receive(from as u16, post, self.now);
        shard.touched = true;
        if let Some((key, format, sub, in_flight)) = credited
            && let Some(subscriber) = self.subscriber(me, &key, format, from).filter(|s| s.sub == sub)
            && subscriber.in_flight != in_flight
        {
            let told = subscriber.in_flight;
            violated("window", format!("{key} to shard {from}: {in_flight} in flight, not {told}"));
        }
        self.collect(me);
    }

    fn note_takeover(&mut self, me: usize, key: &StreamKey) {
        let Some(stream) = self.shards[me].hub.origin(key).filter(|s| s.publisher().is_some()) else {
            return;
        };
        let lags = stream.outputs().iter().flat_map(|output| &output.subscribers).any(|s| s.lagging);
        self.tally.note(Tried::Takeovers, 1);
        self.tally.note(Tried::TakeoversWhileLagging, u64::from(lags));
    }

    /// Posts, events and new publishers after something was done on a shard.
    pub(super) fn collect(&mut self, me: usize) {
        let mut posts = Vec::new();
        self.shards[me].hub.take_posts(|to, post| posts.push((usize::from(to), post)));
        for (to, post) in posts {
            if to == me {
                violated("shell", "a hub must not post to itself by way of its peers".to_owned());
            }
            let at = self.now + if self.delay_ms > 0 { self.rng.within(0, self.delay_ms) } else { 0 };
            match &post {
                Post::Feed { key, format, sub, item } => {
                    self.note_feed((to, self.stream_of(key), *format, *sub), item);
                }
                Post::FeedCredit { key, format, sub, bytes } => {
                    let edge = (me, self.stream_of(key), *format, *sub);
                    let taken = self.accounts.blocks_taken.remove(&edge).unwrap_or(0);
                    if taken != *bytes {
                        violated("credit", format!("{bytes} credited of {taken} bytes of {edge:?}"));
                    }
                }
                Post::MediaCredit { source, bytes } => {
                    let taken = self.accounts.media_taken.remove(&(to, *source)).unwrap_or(0);
                    if taken != *bytes {
                        violated("credit", format!("{bytes} credited of {taken} bytes to {source:?}"));
                    }
                }
                _ => {}
            }
            self.network.mail(me, to, post, at);
        }
        self.note_publishers(me);
        self.events(me);
    }

    fn note_feed(&mut self, edge: Edge, item: &FeedItem) {
        match item {
            FeedItem::Start { .. } if !self.accounts.started.insert(edge) => {
                violated("one-start", format!("two start items for {edge:?}"));
            }
            FeedItem::Block { block, .. } => {
                let window = WINDOW_MIN_BYTES.max(self.streams[edge.1].most_bytes.1 * 5 / 2);
                let in_flight = self.accounts.in_flight.entry(edge).or_default();
                if *in_flight >= window {
                    violated("window", format!("{in_flight} bytes in flight, window {window}"));
                }
                *in_flight += block.bytes.len();
            }
            _ => {}
        }
    }

    fn note_publishers(&mut self, owner: usize) {
        let takes_ms = self.post_takes_ms();
        for (n, stream) in self.streams.iter_mut().enumerate().filter(|(_, s)| s.owner == owner) {
            let Some(owned) = self.shards[owner].hub.origin(&stream.key) else { continue };
            let mut subscribers = owned.outputs().iter().flat_map(|output| &output.subscribers);
            stream.lagged |= stream.fat && subscribers.any(|subscriber| subscriber.lagging);
            let publisher = owned.publisher();
            let Some(nonce) = publisher.map(|publisher| publisher.client as u32) else { continue };
            if !stream.ledger.granted(nonce, self.now) {
                continue;
            }
            // Who has surely subscribed by now and got nothing yet waits for this one.
            let waiting = self.watchers.iter_mut().filter(|w| w.stream == n && w.id.is_some() && !w.gone);
            for watcher in waiting.filter(|w| w.joined_ms + takes_ms < self.now && w.player.frames == 0) {
                watcher.waits_for = Some(nonce);
            }
        }
    }

    fn events(&mut self, me: usize) {
        for event in self.shards[me].hub.take_events() {
            let (Event::Granted(source) | Event::Revoked(source, _) | Event::Room(source)) = event;
            trace!(self.now, "shard {me}: {event:?}");
            let of = |s: &Session| s.shard == me && s.source == Some(source) && s.state != State::Over;
            let Some(n) = self.sessions.iter().position(of) else {
                violated("events", format!("{event:?} for nobody on shard {me}"));
            };
            let session = &mut self.sessions[n];
            match event {
                Event::Granted(_) => {
                    if session.state != State::Asking {
                        violated("events", format!("granted twice: session {n}"));
                    }
                    session.state = State::Live;
                    session.live_ms = self.now;
                }
                Event::Revoked(_, reason) => {
                    let broken = bomb::was_hit(bomb::Target::Stream(session.stream));
                    if reason == CloseReason::Panic && !broken {
                        violated("neighbours", format!("session {n} is ended for another's panic"));
                    }
                    let again = session.state == State::Asking && self.calm && session.ends_ms == u64::MAX;
                    session.state = if again { State::Planned } else { State::Over };
                    session.starts_ms = self.now + 500;
                    (session.source, session.left_ms) = (None, self.now);
                }
                Event::Room(_) => {
                    if session.room {
                        violated("credit", format!("room for session {n}, which had it"));
                    }
                    session.room = true;
                }
            }
        }
    }
}

fn short(post: &Post) -> String {
    match post {
        Post::Media { origin, epoch, messages } => {
            format!("Media at {origin} {epoch:?} × {}", messages.len())
        }
        Post::Publish { key, source, client, .. } => format!("Publish {key} {source:?} nonce {client}"),
        Post::Subscribe { key, format, sub, wish_ms, .. } => {
            format!("Subscribe {key} {format:?} {sub:?} wish {wish_ms}")
        }
        Post::Feed { key, sub, item, .. } => match item {
            FeedItem::Block { epoch, block } => format!(
                "Block {key} {sub:?} {epoch:?} at {} + {}, prelude {}, {} units",
                block.start.0,
                block.bytes.len(),
                block.prelude.version,
                block.units.len(),
            ),
            FeedItem::Start { live, blocks, end, .. } => {
                format!("Start {key} {sub:?} {live:?}, {} blocks to {}", blocks.len(), end.0)
            }
            other => format!("{key} {sub:?} {other:?}"),
        },
        other => format!("{other:?}"),
    }
}
