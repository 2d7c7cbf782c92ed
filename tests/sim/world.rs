//! One run: shards, their network, publishers and viewers, all from one seed.

mod checks;
mod plan;
mod publishers;

use self::plan::settings;
use crate::network::Network;
use crate::player::{Eye, Ledger, Player};
use crate::rng::Rng;
use crate::script::{Fact, Script, Style};
use crate::wire::SimWire;
use crate::{trace, violated};
use ahash::RandomState;
use srs_shard::formats::message::{Kind, Message};
use srs_shard::stream::cadence::STEPS_MS;
use srs_shard::stream::encode::Format;
use srs_shard::stream::hub::{Event, Hub, PUBLISH_CREDIT_BYTES, ViewerId};
use srs_shard::stream::post::WINDOW_MIN_BYTES;
use srs_shard::stream::post::{FeedItem, Post, SourceId, StreamKey, Sub};
use srs_shard::stream::settings::{Cadence, OnDuplicate, Settings};
use srs_shard::stream::timeline::Jitter;
use srs_shard::stream::viewer::{Mode, Wanted};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes a publisher's connection reads in one go.
const READ_BYTES: usize = 64 << 10;
/// A message not sent in so long closes the client.
const SEND_TIMEOUT_MS: u64 = 3_000;
/// With all trouble over, everything must be well within this.
const CALM_MS: u64 = 7_000;

struct Shard {
    hub: Hub<SimWire>,
    stalled_until: u64,
    /// Something was done that the next turn must see.
    touched: bool,
    next_ms: Option<u64>,
    sweep_ms: u64,
    auto_ms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Planned,
    Asking,
    Live,
    Over,
}

struct Session {
    stream: usize,
    shard: usize,
    source: Option<SourceId>,
    state: State,
    starts_ms: u64,
    ends_ms: u64,
    /// Sends nothing from then on, without leaving.
    hangs_ms: u64,
    live_ms: u64,
    left_ms: u64,
    asked_ms: u64,
    settings: Arc<Settings>,
    script: Script,
    made: Vec<Message>,
    made_at: usize,
    /// Frames that the server has read.
    sent: u32,
    room: bool,
    room_lost_ms: u64,
    uncredited: i64,
    most_bytes: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Takes everything at once.
    Prompt,
    /// So many bytes each ms, so many at most at once.
    Slow { rate: usize, buffer: usize },
    /// Now prompt, now not reading at all.
    Moody,
    /// Reads nothing from some time on.
    Stuck { from_ms: u64 },
}

struct Watcher {
    stream: usize,
    shard: usize,
    format: Format,
    id: Option<ViewerId>,
    wire: SimWire,
    player: Player,
    wanted: Wanted,
    habit: Habit,
    joins_ms: u64,
    leaves_ms: u64,
    paused: bool,
    pauses: bool,
    ever_paused: bool,
    moody_until: u64,
    moody_open: bool,
    /// The core waits to be told that the connection is free, and its shard is stalled.
    to_tell: bool,
    parked_since: Option<u64>,
    settings: Arc<Settings>,
    gone: bool,
    reset: bool,
}

struct Stream {
    key: StreamKey,
    owner: usize,
    ledger: Ledger,
    /// Most bytes of a message and of a second, over all its sessions.
    most_bytes: (usize, usize),
}

/// Bytes of blocks between an owner and an edge.
type EdgeKey = (usize, StreamKey, Format, Sub);

pub(crate) struct World {
    rng: Rng,
    now: u64,
    shards: Vec<Shard>,
    network: Network,
    streams: Vec<Stream>,
    sessions: Vec<Session>,
    watchers: Vec<Watcher>,
    in_flight: HashMap<EdgeKey, i64>,
    started: Vec<EdgeKey>,
    delay_ms: u64,
    stalls: bool,
    worst_stall_ms: u64,
    calm: bool,
    calm_ms: u64,
    fat: bool,
    settings: Vec<Arc<Settings>>,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let shards = rng.within(2, 8) as usize;
        let fat = rng.percent(3);
        let crowd = !fat && rng.percent(2);
        let chaos_ms = if crowd { 2_000 } else { rng.within(2_000, 7_000) };
        let mut owners: Vec<(StreamKey, usize)> = Vec::new();
        for n in 0..rng.within(1, 3) {
            owners.push((format!("v/app/{n}").into(), rng.within(0, shards as u64 - 1) as usize));
        }
        let seeds = [rng.next(), rng.next(), rng.next(), rng.next()];
        let shard = |me: usize, rng: &mut Rng| {
            let owners = owners.clone();
            let owner_of =
                move |key: &str| owners.iter().find(|(k, _)| **k == *key).map_or(0, |(_, at)| *at as u16);
            let seeds = RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]);
            Shard {
                hub: Hub::new(me as u16, owner_of, seeds),
                stalled_until: 0,
                touched: false,
                next_ms: None,
                sweep_ms: rng.within(0, 249),
                auto_ms: 0,
            }
        };
        let hubs = (0..shards).map(|me| shard(me, &mut rng)).collect();
        let settings: Vec<_> = (0..3).map(|_| Arc::new(settings(&mut rng, fat))).collect();
        let delay_ms = rng.pick(&[0, 3, 20, 200]);
        let stalls = rng.percent(60);
        let mut world = World {
            now: 1_000,
            shards: hubs,
            network: Network::new(shards),
            streams: Vec::new(),
            sessions: Vec::new(),
            watchers: Vec::new(),
            in_flight: HashMap::new(),
            started: Vec::new(),
            delay_ms,
            stalls,
            worst_stall_ms: 0,
            calm: false,
            calm_ms: 0,
            fat,
            settings,
            rng,
        };
        for (key, owner) in owners {
            world.streams.push(Stream { key, owner, ledger: Ledger::default(), most_bytes: (0, 0) });
        }
        for stream in 0..world.streams.len() {
            let mut at = world.now + world.rng.within(0, 1500);
            for _ in 0..world.rng.within(1, 4) {
                let lasts = world.rng.within(0, chaos_ms);
                world.plan_session(stream, at, at + lasts);
                // Overlapping, back to back, or with a pause.
                at += match world.rng.within(0, 2) {
                    0 => world.rng.within(0, lasts),
                    1 => lasts + world.rng.within(0, 30),
                    _ => lasts + world.rng.within(0, 1_500),
                };
            }
        }
        let most = if crowd { 300 } else { 10 };
        let watchers = world.rng.within(if crowd { 260 } else { 1 }, most);
        for _ in 0..watchers {
            world.plan_watcher(chaos_ms, crowd);
        }
        world.run(chaos_ms);
        world
    }

    fn run(&mut self, chaos_ms: u64) {
        let end = self.now + chaos_ms;
        while self.now < end {
            self.step();
        }
        self.begin_calm();
        let end = self.now + CALM_MS;
        while self.now < end {
            self.step();
        }
        self.check_liveness();
        self.leave_all();
    }

    fn begin_calm(&mut self) {
        trace!(self.now, "calm");
        self.calm = true;
        self.calm_ms = self.now;
        self.delay_ms = self.delay_ms.min(5);
        for shard in &mut self.shards {
            shard.stalled_until = shard.stalled_until.min(self.now);
            shard.auto_ms = 0;
        }
        for n in 0..self.sessions.len() {
            let session = &mut self.sessions[n];
            match session.state {
                State::Planned => session.state = State::Over,
                State::Live if session.hangs_ms > self.now && self.rng.percent(50) => {
                    (session.ends_ms, session.hangs_ms) = (u64::MAX, u64::MAX);
                }
                _ => session.ends_ms = self.now,
            }
        }
        for watcher in &mut self.watchers {
            if !matches!(watcher.habit, Habit::Stuck { .. }) {
                watcher.habit = Habit::Prompt;
            }
            watcher.pauses = false;
            watcher.leaves_ms = if watcher.leaves_ms > self.now { u64::MAX } else { 0 };
            watcher.joins_ms = watcher.joins_ms.min(self.now);
        }
        for stream in 0..self.streams.len() {
            let live = |s: &Session| s.stream == stream && s.state != State::Over && s.ends_ms == u64::MAX;
            if !self.sessions.iter().any(live) && self.rng.percent(80) {
                let at = self.now + self.rng.within(10, 1_000);
                self.plan_session(stream, at, u64::MAX);
                self.sessions.last_mut().unwrap().hangs_ms = u64::MAX;
            }
        }
    }

    // ---- one step of time ----

    fn step(&mut self) {
        self.now += self.rng.within(1, 8);
        // Where a window is to be filled one shard stalls at a time: were all stalled, nothing would flow.
        let may_stall = !self.calm
            && self.stalls
            && !(self.fat && self.shards.iter().any(|s| s.stalled_until > self.now));
        if may_stall && self.rng.percent(1) {
            let shard = self.rng.within(0, self.shards.len() as u64 - 1) as usize;
            // A window is two seconds: only longer stalls fill it.
            let lasts = self.rng.pick(if self.fat { &[600, 3_000, 5_000] } else { &[10, 100, 600, 1_500] });
            self.worst_stall_ms = self.worst_stall_ms.max(lasts);
            self.shards[shard].stalled_until = self.now + lasts;
            trace!(self.now, "shard {shard} stalls for {lasts} ms");
        }
        for n in 0..self.sessions.len() {
            self.session_step(n);
        }
        for n in 0..self.watchers.len() {
            self.watcher_step(n);
        }
        let first = self.rng.within(0, self.shards.len() as u64 - 1) as usize;
        for n in 0..self.shards.len() {
            self.shard_step((first + n) % self.shards.len());
        }
        for n in 0..self.watchers.len() {
            self.look(n);
        }
        if self.now.is_multiple_of(16) {
            self.check_memory();
        }
    }

    fn stalled(&self, shard: usize) -> bool {
        self.shards[shard].stalled_until > self.now
    }

    fn shard_step(&mut self, me: usize) {
        if self.stalled(me) {
            return;
        }
        let now = self.now;
        let first = self.rng.within(0, self.shards.len() as u64 - 1) as usize;
        for n in 0..self.shards.len() {
            let from = (first + n) % self.shards.len();
            while let Some(post) = self.network.arrived(from, me, now) {
                self.deliver(from, me, post);
            }
        }
        let shard = &mut self.shards[me];
        if shard.sweep_ms <= now {
            shard.sweep_ms = now + 250;
            shard.hub.sweep(now);
            shard.touched = true;
            if !self.calm && self.rng.percent(10) {
                shard.auto_ms = self.rng.pick(&STEPS_MS);
            }
        }
        if shard.touched || shard.next_ms.is_some_and(|at| at <= now) {
            let end = shard.hub.turn(now, shard.auto_ms);
            assert_eq!(shard.hub.panics(), 0, "the hub caught a panic, which here is a bug found");
            shard.touched = end.again;
            shard.next_ms = end.next_ms;
            if !end.again && end.next_ms.is_none() {
                self.check_rest(me);
            }
        }
        self.collect(me);
    }

    fn deliver(&mut self, from: usize, me: usize, post: Post) {
        trace!(self.now, "{from} → {me}: {}", crate::short(&post));
        match &post {
            Post::MediaCredit { source, bytes } => {
                let of = |s: &&mut Session| s.shard == me && s.source == Some(*source);
                if let Some(session) = self.sessions.iter_mut().find(of) {
                    session.uncredited -= *bytes as i64;
                }
            }
            Post::FeedCredit { key, format, sub, bytes } => {
                let edge = (from, Arc::clone(key), *format, *sub);
                let in_flight = self.in_flight.entry(edge).or_default();
                *in_flight -= *bytes as i64;
                if *in_flight < 0 {
                    violated("window", format!("more credit than bytes, shard {from}"));
                }
            }
            _ => {}
        }
        let shard = &mut self.shards[me];
        shard.hub.receive(from as u16, post, self.now);
        shard.touched = true;
        self.note_publishers();
        self.events(me);
    }

    /// Posts, events and new publishers after something was done on a shard.
    fn collect(&mut self, me: usize) {
        let mut posts = Vec::new();
        self.shards[me].hub.take_posts(|to, post| posts.push((usize::from(to), post)));
        for (to, post) in posts {
            if to == me {
                violated("shell", "a hub must not post to itself by way of its peers".to_owned());
            }
            let at = self.now + if self.delay_ms > 0 { self.rng.within(0, self.delay_ms) } else { 0 };
            if let Post::Feed { key, format, sub, item } = &post {
                self.note_feed(to, key, *format, *sub, item);
            }
            self.network.mail(me, to, post, at);
        }
        self.note_publishers();
        self.events(me);
    }

    fn note_feed(&mut self, to: usize, key: &StreamKey, format: Format, sub: Sub, item: &FeedItem) {
        let edge = (to, Arc::clone(key), format, sub);
        match item {
            FeedItem::Start { .. } => {
                if self.started.contains(&edge) {
                    violated("one-start", format!("two start items for {edge:?}"));
                }
                self.started.push(edge);
            }
            FeedItem::Block { block, .. } => {
                let stream = self.streams.iter().find(|s| s.key == *key).unwrap();
                let window = WINDOW_MIN_BYTES.max(stream.most_bytes.1 * 5 / 2) as i64;
                let in_flight = self.in_flight.entry(edge).or_default();
                if *in_flight >= window {
                    violated("window", format!("{in_flight} bytes in flight, window {window}"));
                }
                *in_flight += block.bytes.len() as i64;
            }
            _ => {}
        }
    }

    fn note_publishers(&mut self) {
        for stream in &mut self.streams {
            let publisher = self.shards[stream.owner].hub.origin(&stream.key).and_then(|s| s.publisher());
            if let Some(publisher) = publisher {
                stream.ledger.granted(publisher.client as u32);
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
                Event::Revoked(..) => {
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

    // ---- viewers ----

    fn watcher_step(&mut self, n: usize) {
        let now = self.now;
        let watcher = &mut self.watchers[n];
        if watcher.gone {
            return;
        }
        let stalled = self.shards[watcher.shard].stalled_until > now;
        let shard = &mut self.shards[watcher.shard];
        let Some(id) = watcher.id else {
            if watcher.joins_ms <= now && !stalled {
                let key = &self.streams[watcher.stream].key;
                let wire = watcher.wire.clone();
                let id = shard.hub.join(key, watcher.format, &watcher.settings, wire, watcher.wanted);
                trace!(now, "viewer {n} joins {key} on shard {}: {id:?} {:?}", watcher.shard, watcher.habit);
                watcher.id = Some(id);
                shard.touched = true;
                self.watcher_room(n);
                self.collect(self.watchers[n].shard);
            }
            return;
        };
        self.watcher_room(n);
        let watcher = &mut self.watchers[n];
        let shard = &mut self.shards[watcher.shard];
        // The kernel goes on while the shard stalls.
        watcher.to_tell |= watcher.wire.0.borrow_mut().progress();
        let parked = watcher.wire.0.borrow().parked.is_some();
        watcher.parked_since = parked.then_some(watcher.parked_since.unwrap_or(now));
        if stalled {
            return;
        }
        if std::mem::take(&mut watcher.to_tell) {
            shard.hub.wake(id);
            shard.touched = true;
        }
        let timeout = watcher.parked_since.is_some_and(|since| now - since > SEND_TIMEOUT_MS);
        let over = watcher.wire.0.borrow().is_over();
        if over || timeout || watcher.leaves_ms <= now {
            trace!(now, "viewer {n} leaves shard {}, over {over}, timeout {timeout}", watcher.shard);
            watcher.gone = true;
            if shard.hub.leave(id).is_none() {
                violated("viewers", format!("viewer {n} was not there to leave"));
            }
            shard.touched = true;
        } else if (watcher.pauses && self.rng.percent(2)) || (watcher.paused && !watcher.pauses) {
            watcher.paused = !watcher.paused;
            watcher.ever_paused = true;
            shard.hub.pause(id, watcher.paused);
            shard.touched = true;
        }
        self.collect(self.watchers[n].shard);
    }

    fn watcher_room(&mut self, n: usize) {
        let watcher = &mut self.watchers[n];
        if watcher.habit == Habit::Moody && watcher.moody_until <= self.now {
            watcher.moody_open = !watcher.moody_open;
            watcher.moody_until = self.now + self.rng.within(1, 1_500);
        }
        let mut line = watcher.wire.0.borrow_mut();
        line.room = match watcher.habit {
            Habit::Prompt => usize::MAX >> 1,
            Habit::Slow { rate, buffer } => buffer.min(line.room + rate * 4),
            Habit::Moody if watcher.moody_open => 3_000,
            Habit::Moody => 0,
            Habit::Stuck { from_ms } => {
                if from_ms > self.now {
                    1 << 30
                } else {
                    line.room.min(2_000)
                }
            }
        };
        line.reset |= watcher.reset && self.rng.next().is_multiple_of(500);
    }

    /// Reads what reached a viewer.
    fn look(&mut self, n: usize) {
        let watcher = &mut self.watchers[n];
        let Some(id) = watcher.id else { return };
        let mut line = watcher.wire.0.borrow_mut();
        if line.arrived.is_empty() {
            return;
        }
        let hub = &self.shards[watcher.shard].hub;
        let jumps = hub.viewer(id).map_or(u32::MAX, |viewer| viewer.counters.jumps);
        let ledger = &mut self.streams[watcher.stream].ledger;
        trace!(self.now, "viewer {n} gets {} bytes: {:?}", line.arrived.len(), hub.viewer(id));
        watcher.player.feed(&mut line.arrived, ledger, jumps, self.now);
        drop(line);
        if watcher.habit == Habit::Prompt && !watcher.ever_paused && !self.calm && jumps != u32::MAX {
            self.check_healthy(n, jumps);
        }
    }

    /// Everybody leaves, in random order; nothing may be left.
    fn leave_all(&mut self) {
        trace!(self.now, "all leave");
        for watcher in &mut self.watchers {
            watcher.leaves_ms = self.now + self.rng.within(0, 50);
        }
        for session in &mut self.sessions {
            if session.state == State::Planned {
                session.state = State::Over;
            }
            session.ends_ms = self.now + self.rng.within(0, 50);
        }
        let end = self.now + 1_000;
        while self.now < end {
            self.step();
        }
        if !self.network.is_empty() {
            violated("quiet", "posts go on for ever".to_owned());
        }
        for (at, shard) in self.shards.iter().enumerate() {
            if shard.hub.is_live() {
                let streams: Vec<_> = shard.hub.origins().map(|s| (s.key(), s.publisher())).collect();
                let feeds = shard.hub.feeds().count();
                violated("leak", format!("shard {at} keeps streams {streams:?}, {feeds} feeds, or a source"));
            }
        }
    }

    pub(crate) fn frames(&self) -> u64 {
        self.watchers.iter().map(|watcher| watcher.player.frames).sum()
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.watchers.iter().map(|watcher| u64::from(watcher.player.gaps)).sum()
    }
}
