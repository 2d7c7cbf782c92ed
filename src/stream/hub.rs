//! The stream core of one shard: the streams it owns, the feeds of its viewers, the publishers connected to
//! it, and the posts between them and other shards' hubs.
//!
//! Everything between shards is a [`Post`], also when owner and viewer are on the same shard: there is one
//! way for a packet, and the simulation walks it with several hubs in one thread.
//!
//! `publishers`, `origins` and `viewers` hold the handlers of the three sides, `isolation` what a
//! panic costs, `agenda` who is looked at in a turn, `fetch` what is fetched from memory before.
//!
//! A packet's way: [`Hub::media`] → [`Post::Media`] → [`Origin::media`] → [`Origin::tick`] → [`Post::Feed`] →
//! [`Feed::take`] → [`Feed::pump`].

mod agenda;
mod fetch;
mod isolation;
mod origins;
mod publishers;
#[cfg(test)]
mod tests;
mod viewers;

use super::block::sealed_bytes;
use super::encode::Format;
use super::feed::{Feed, FeedCounters};
use super::origin::{FeedPosts, Origin};
use super::post::{Post, SourceId, StreamKey};
use super::settings::Settings;
use super::wire::Wire;
use crate::config::mount::LiveFormat;
use crate::stats::reason::CloseReason;
pub(super) use agenda::Entry;
use agenda::{Agenda, Entries};
use ahash::RandomState;
use isolation::caught;
pub use publishers::PUBLISH_CREDIT_BYTES;
use publishers::Source;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
pub use viewers::ViewerId;

/// Credit goes back when this part of a window has gathered: a wake-up of the other shard for every few bytes
/// would cost more than the bytes.
const CREDIT_PART: usize = 4;

/// What the shell is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The publisher may go ahead.
    Granted(SourceId),
    /// The publisher is refused, or its publish was ended by the owner; the source is gone.
    Revoked(SourceId, CloseReason),
    /// The publisher may be read from again.
    Room(SourceId),
}

/// What a turn left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnEnd {
    /// There is more to send now.
    pub again: bool,
    /// When something becomes due, in ms on the hub's clock.
    pub next_ms: Option<u64>,
}

/// See the module.
pub struct Hub<W> {
    me: u16,
    owner_of: Box<dyn Fn(&str) -> u16>,
    origins: Slab<Origin>,
    origin_at: HashMap<StreamKey, usize, RandomState>,
    busy_origins: Agenda,
    feeds: Slab<Feed<W>>,
    feed_at: HashMap<(StreamKey, Format), usize, RandomState>,
    dirty_feeds: Agenda,
    sources: Slab<Source>,
    serials: u32,
    posts: Vec<(u16, Post)>,
    here: VecDeque<Post>,
    events: Vec<Event>,
    subs: u32,
    epochs: u32,
    auto_ms: u32,
    scratch: FeedPosts,
    memory_bytes: u64,
    /// Counters of feeds that are no more.
    gone: FeedCounters,
    panics: u64,
}

impl<W: Wire> Hub<W> {
    /// The core of shard `me`; `owner_of` tells the shard that owns a key, `seeds` hash the tables.
    pub fn new(me: u16, owner_of: impl Fn(&str) -> u16 + 'static, seeds: RandomState) -> Hub<W> {
        Hub {
            me,
            owner_of: Box::new(owner_of),
            origins: Slab::new(),
            origin_at: HashMap::with_hasher(seeds.clone()),
            busy_origins: Agenda::default(),
            feeds: Slab::new(),
            feed_at: HashMap::with_hasher(seeds),
            dirty_feeds: Agenda::default(),
            sources: Slab::new(),
            serials: 0,
            posts: Vec::new(),
            here: VecDeque::new(),
            events: Vec::new(),
            subs: 0,
            epochs: 0,
            auto_ms: 0,
            scratch: Vec::new(),
            memory_bytes: u64::MAX,
            gone: FeedCounters::default(),
            panics: 0,
        }
    }

    /// Bounds the blocks of all streams of the process (`feed_memory`).
    pub fn set_memory(&mut self, bytes: u64) {
        self.memory_bytes = bytes;
    }

    /// Whether the process's blocks are at their bound: newcomers are refused then, nobody is closed.
    pub fn is_full(&self) -> bool {
        sealed_bytes() >= self.memory_bytes
    }

    // ---- what the shell drives ----

    /// A post from a peer's hub.
    pub fn receive(&mut self, from: u16, post: Post, now_ms: u64) {
        let charge = self.charge(&post);
        if caught(|| self.handle(from, post, now_ms)).is_none()
            && let Some(charge) = charge
        {
            self.fail(from, charge);
        }
    }

    fn handle(&mut self, from: u16, post: Post, now_ms: u64) {
        match post {
            Post::Publish { key, source, client, settings } => {
                self.on_publish(from, key, source, client, &settings, now_ms)
            }
            Post::Granted { source, origin, epoch } => self.on_granted(source, origin, epoch),
            Post::Revoked { source, reason } => self.on_revoked(source, reason),
            Post::Media { origin, epoch, messages } => self.on_media(from, origin, epoch, messages, now_ms),
            Post::MediaCredit { source, bytes } => self.on_media_credit(source, bytes),
            Post::Unpublish { key, epoch } => self.on_unpublish(&key, epoch),
            Post::Withdraw { key, source } => self.on_withdraw(from, &key, source),
            Post::Subscribe { key, format, sub, wish_ms, settings } => {
                self.on_subscribe(from, key, format, sub, wish_ms, &settings, now_ms);
            }
            Post::Wish { key, format, wish_ms } => self.on_wish(from, &key, format, wish_ms),
            Post::Unsubscribe { key, format, sub, sent_bytes } => {
                self.on_unsubscribe(from, &key, format, sub, sent_bytes);
            }
            Post::Feed { key, format, sub, item } => self.on_feed(from, key, format, sub, item, now_ms),
            Post::FeedCredit { key, format, sub, bytes } => {
                self.on_feed_credit(from, &key, format, sub, bytes)
            }
        }
    }

    /// The end of a turn: seals what is due, serves the viewers. `auto_ms` is the shard's step of cadence.
    pub fn turn(&mut self, now_ms: u64, auto_ms: u32) -> TurnEnd {
        if std::mem::replace(&mut self.auto_ms, auto_ms) != auto_ms {
            for (at, feed) in self.feeds.iter_mut().filter(|(_, feed)| feed.has_work()) {
                self.dirty_feeds.mark(at, &mut feed.entry);
            }
        }
        let mut end = TurnEnd::default();
        self.settle(now_ms);
        for at in self.busy_origins.take_due(now_ms, &mut self.origins) {
            self.tick_origin(at, now_ms);
        }
        self.settle(now_ms);
        for at in self.dirty_feeds.take_due(now_ms, &mut self.feeds) {
            end.again |= self.serve_feed(at, now_ms);
        }
        let origins_next_ms = self.busy_origins.next_ms(&mut self.origins);
        let feeds_next_ms = self.dirty_feeds.next_ms(&mut self.feeds);
        end.next_ms = origins_next_ms.into_iter().chain(feeds_next_ms).min();
        end.again |= !self.here.is_empty(); // a wish to itself
        end
    }

    /// Seals what is due of a stream.
    fn tick_origin(&mut self, at: usize, now_ms: u64) {
        let Some(origin) = self.origins.get_mut(at) else { return };
        let Some(next_ms) = caught(|| origin.tick(now_ms, &mut self.scratch)) else {
            let key = Arc::clone(origin.key());
            return self.fail_origin(&key);
        };
        self.busy_origins.defer(at, &mut origin.entry, next_ms);
        self.mail_feed_posts(at);
    }

    /// Gives a feed's viewers what is due; true if there is more to give now.
    fn serve_feed(&mut self, at: usize, now_ms: u64) -> bool {
        let Some(feed) = self.feeds.get_mut(at).filter(|feed| !feed.retired) else { return false };
        let interval_ms = feed.interval_ms(self.auto_ms);
        if feed.wish_ms != interval_ms {
            feed.wish_ms = interval_ms;
            let post = Post::Wish { key: Arc::clone(&feed.key), format: feed.format, wish_ms: interval_ms };
            let owner = (self.owner_of)(&feed.key);
            self.post(owner, post);
        }
        let Some(feed) = self.feeds.get_mut(at) else { return false };
        let serve = |feed: &mut Feed<W>| {
            feed.welcome();
            if feed.dirty && feed.due_ms(interval_ms) <= now_ms {
                feed.pump(now_ms);
            }
        };
        if caught(|| serve(feed)).is_none() {
            self.fail_feed(at);
            return false;
        }
        let due_ms = feed.has_work().then(|| feed.due_ms(interval_ms));
        let again = due_ms == Some(0) || !feed.newcomers.is_empty();
        if again {
            self.dirty_feeds.mark(at, &mut feed.entry);
        }
        self.dirty_feeds.defer(at, &mut feed.entry, due_ms.filter(|_| !again));
        again
    }

    /// Puts new settings in force for the streams for which `settings_of` has some; nobody is interrupted.
    pub fn configure(&mut self, settings_of: impl Fn(&StreamKey) -> Option<Arc<Settings>>) {
        for (_, origin) in &mut self.origins {
            if let Some(settings) = settings_of(origin.key()) {
                origin.configure(settings);
            }
        }
        for (at, feed) in &mut self.feeds {
            if let Some(settings) = settings_of(&feed.key) {
                feed.settings = settings;
                self.dirty_feeds.mark(at, &mut feed.entry); // its interval may be another now
            }
        }
    }

    /// Housekeeping, four times a second.
    pub fn sweep(&mut self, now_ms: u64) {
        self.shed();
        let (mut failed_origins, mut failed_feeds) = (Vec::new(), Vec::new());
        for (_, origin) in &mut self.origins {
            if caught(|| origin.sweep(now_ms)).is_none() {
                failed_origins.push(Arc::clone(origin.key()));
            }
        }
        for (at, feed) in self.feeds.iter_mut().filter(|(_, feed)| !feed.retired) {
            if caught(|| feed.sweep(now_ms)).is_none() {
                failed_feeds.push(at);
            }
            if feed.dirty {
                self.dirty_feeds.mark(at, &mut feed.entry);
            }
        }
        failed_origins.iter().for_each(|key| self.fail_origin(key));
        failed_feeds.into_iter().for_each(|at| self.fail_feed(at));
    }

    /// Above the process's bound the coldest streams, those with the fewest viewers, lose their older GOP.
    fn shed(&mut self) {
        if !self.is_full() {
            return;
        }
        for (_, origin) in &mut self.origins {
            origin.shed();
        }
        let mut coldest: Vec<(usize, usize)> = self
            .feeds
            .iter()
            .filter(|(_, feed)| !feed.retired)
            .map(|(at, feed)| (feed.viewers.len(), at))
            .collect();
        coldest.sort_unstable();
        for (_, at) in coldest {
            if !self.is_full() {
                return;
            }
            self.feeds[at].shed();
        }
    }

    /// Posts for peers, in order.
    pub fn take_posts(&mut self, mut mail: impl FnMut(u16, Post)) {
        for (to, post) in self.posts.drain(..) {
            mail(to, post);
        }
    }

    /// What the shell is to do.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether anything is live here: a stream with a publisher, viewers, or publishers.
    pub fn is_live(&self) -> bool {
        !self.feeds.is_empty() || !self.sources.is_empty() || !self.origins.is_empty()
    }

    /// The origins: streams owned here.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.origins.iter().map(|(_, origin)| origin)
    }

    /// Those from a slot on, with their slots: for who looks at them in several steps.
    pub fn origins_from(&self, slot: usize) -> impl Iterator<Item = (usize, &Origin)> {
        self.origins.iter().skip_while(move |(at, _)| *at < slot)
    }

    /// A stream owned here.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origin_at.get(key).and_then(|at| self.origins.get(*at))
    }

    /// Whether a stream is known here to be published: a short cut past asking its owner.
    pub fn is_live_here(&self, key: &StreamKey) -> bool {
        let is_live = |format: LiveFormat| {
            let at = self.feed_at.get(&(Arc::clone(key), format.into()));
            at.and_then(|at| self.feeds.get(*at)).is_some_and(Feed::is_live)
        };
        LiveFormat::ALL.into_iter().any(is_live)
    }

    /// What all feeds of this shard counted since its start.
    pub fn feed_counters(&self) -> FeedCounters {
        let mut all = self.gone;
        for (_, feed) in &self.feeds {
            all.add(&feed.counters());
        }
        all
    }

    /// The feeds of this shard.
    pub fn feeds(&self) -> impl Iterator<Item = &Feed<W>> {
        self.feeds.iter().map(|(_, feed)| feed)
    }

    /// Those from a slot on, with their slots.
    pub fn feeds_from(&self, slot: usize) -> impl Iterator<Item = (usize, &Feed<W>)> {
        self.feeds.iter().skip_while(move |(at, _)| *at < slot)
    }

    // ---- helpers ----

    fn post(&mut self, to: u16, post: Post) {
        if to == self.me {
            self.here.push_back(post);
        } else {
            self.posts.push((to, post));
        }
    }

    /// Delivers what this shard posted to itself.
    fn settle(&mut self, now_ms: u64) {
        self.fetch_ahead();
        while let Some(post) = self.here.pop_front() {
            self.receive(self.me, post, now_ms);
        }
    }

    fn mail_feed_posts(&mut self, origin: usize) {
        if self.scratch.is_empty() {
            return;
        }
        let key = Arc::clone(self.origins[origin].key());
        let mut posts = std::mem::take(&mut self.scratch);
        for (format, shard, sub, item) in posts.drain(..) {
            self.post(shard, Post::Feed { key: Arc::clone(&key), format, sub, item });
        }
        self.scratch = posts; // its memory
    }

    fn origin_or_new(&mut self, key: StreamKey, settings: &Arc<Settings>) -> usize {
        if let Some(at) = self.origin_at.get(&key) {
            return *at;
        }
        let at = self.origins.insert(Origin::new(Arc::clone(&key), Arc::clone(settings)));
        self.origin_at.insert(key, at);
        at
    }

    fn forget_if_idle(&mut self, at: usize) {
        if self.origins.get(at).is_some_and(Origin::is_idle) {
            let gone = self.origins.remove(at);
            self.origin_at.remove(gone.key());
        }
    }

    fn mark_origin(&mut self, at: usize) {
        if let Some(origin) = self.origins.get_mut(at) {
            self.busy_origins.mark(at, &mut origin.entry);
        }
    }

    fn mark_feed(&mut self, at: usize) {
        if let Some(feed) = self.feeds.get_mut(at) {
            self.dirty_feeds.mark(at, &mut feed.entry);
        }
    }
}

impl Entries for Slab<Origin> {
    fn entry(&mut self, at: usize) -> Option<&mut Entry> {
        self.get_mut(at).map(|origin| &mut origin.entry)
    }
}

impl<W> Entries for Slab<Feed<W>> {
    fn entry(&mut self, at: usize) -> Option<&mut Entry> {
        self.get_mut(at).map(|feed| &mut feed.entry)
    }
}
