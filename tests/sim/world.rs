//! One run: shards, their network, publishers and viewers, all from one seed.

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
use srs_shard::stream::output::WINDOW_MIN_BYTES;
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

fn settings(rng: &mut Rng, fat: bool) -> Settings {
    let cadence = match rng.within(0, 9) {
        0..=4 => Cadence::Auto,
        5 | 6 => Cadence::MinLatency,
        _ => Cadence::Fixed { ms: rng.pick(&[0, 10, 40, 350]) },
    };
    Settings {
        gop_cache: rng.percent(80),
        gop_cache_max_ms: rng.pick(&[1_000, 3_000, 30_000, 30_000]),
        // Above twice the longest interval: a block and the wait for it.
        queue_length_ms: rng.pick(&[1_000, 2_000, 10_000, 30_000]),
        jitter: if rng.percent(85) { Jitter::Full } else { Jitter::Zero },
        cadence,
        send_min_interval_ms: rng.pick(&[0, 0, 0, 30]),
        reduce_sequence_header: rng.percent(50),
        feed_max_bytes: if fat { 32 << 20 } else { rng.pick(&[16 << 10, 64 << 10, 32 << 20, 32 << 20]) },
        stale_after_ms: rng.pick(&[500, 3_000]),
        on_duplicate: if rng.percent(50) { OnDuplicate::Refuse } else { OnDuplicate::Takeover },
        hold_ms: 0,
        flv_tracks: None,
        atc_auto: false,
        fast_cache_ms: rng.pick(&[0, 0, 1_000]),
    }
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

    fn plan_session(&mut self, stream: usize, starts_ms: u64, ends_ms: u64) {
        let rng = &mut self.rng;
        let nonce = self.streams[stream].ledger.sessions.len() as u32;
        let style = Style::random(rng, self.fat);
        let most = style.most_bytes();
        let to = &mut self.streams[stream];
        to.most_bytes = (to.most_bytes.0.max(most.0), to.most_bytes.1.max(most.1));
        to.ledger.sessions.push(Vec::new());
        to.ledger.order.push(None);
        self.sessions.push(Session {
            stream,
            shard: rng.within(0, self.shards.len() as u64 - 1) as usize,
            source: None,
            state: State::Planned,
            starts_ms,
            ends_ms,
            hangs_ms: if rng.percent(10) { starts_ms + rng.within(0, 2_000) } else { u64::MAX },
            live_ms: 0,
            left_ms: 0,
            asked_ms: 0,
            settings: Arc::clone(&self.settings[rng.pick(&[0, 0, 1, 2])]),
            script: Script::new(nonce, style, rng),
            made: Vec::new(),
            made_at: 0,
            sent: 0,
            room: true,
            room_lost_ms: 0,
            uncredited: 0,
            most_bytes: most,
        });
    }

    fn plan_watcher(&mut self, chaos_ms: u64, crowd: bool) {
        let rng = &mut self.rng;
        let habit = match rng.within(0, 9) {
            0..=4 => Habit::Prompt,
            5 | 6 => Habit::Slow { rate: rng.within(1, 200) as usize, buffer: rng.within(1, 8_000) as usize },
            7 | 8 => Habit::Moody,
            _ => Habit::Stuck { from_ms: self.now + rng.within(0, chaos_ms) },
        };
        let joins_ms = self.now + if rng.percent(20) { 0 } else { rng.within(0, chaos_ms) };
        let number = self.watchers.len();
        let rtmp = |chunk_bytes| Format::Rtmp { chunk_bytes };
        let format =
            rng.pick(&[rtmp(60_000), rtmp(60_000), rtmp(4_096), rtmp(128), Format::Flv, Format::Flv]);
        let format = if crowd { rtmp(60_000) } else { format };
        let stream = if crowd { 0 } else { rng.within(0, self.streams.len() as u64 - 1) };
        let shard = if crowd { 0 } else { rng.within(0, self.shards.len() as u64 - 1) };
        let pauses = rng.percent(15);
        let (mut stream, mut shard, mut format, mut joins_ms) = (stream, shard, format, joins_ms);
        // Some come just when the only one there leaves: a subscription ends and another begins.
        if let Some(before) = self.watchers.last().filter(|w| w.leaves_ms < u64::MAX && rng.percent(50)) {
            (stream, shard, format) = (before.stream as u64, before.shard as u64, before.format);
            joins_ms = before.leaves_ms + rng.within(0, 30);
        }
        let stays_ms = if rng.percent(40) { rng.within(0, 60) } else { rng.within(0, chaos_ms) };
        let leaves_ms = if rng.percent(50) { joins_ms + stays_ms } else { u64::MAX };
        self.watchers.push(Watcher {
            stream: stream as usize,
            shard: shard as usize,
            format,
            id: None,
            wire: SimWire::default(),
            player: Player::new(number, format),
            habit,
            joins_ms,
            leaves_ms,
            paused: false,
            pauses,
            ever_paused: false,
            moody_until: 0,
            moody_open: true,
            to_tell: false,
            parked_since: None,
            settings: Arc::clone(&self.settings[rng.pick(&[0, 0, 1, 2])]),
            gone: false,
            reset: rng.percent(2),
        });
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
        if !self.calm && self.stalls && self.rng.percent(1) {
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
        shard.hub.take(from as u16, post, self.now);
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
            let publisher = self.shards[stream.owner].hub.stream(&stream.key).and_then(|s| s.publisher());
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

    // ---- publishers ----

    fn session_step(&mut self, n: usize) {
        let (now, shard) = (self.now, self.sessions[n].shard);
        let session = &mut self.sessions[n];
        if self.shards[shard].stalled_until > now {
            return;
        }
        match session.state {
            State::Planned if session.starts_ms <= now => {
                let stream = &self.streams[session.stream];
                let nonce = session.script.nonce();
                let hub = &mut self.shards[shard].hub;
                let source = hub.publish(&stream.key, u64::from(nonce), &session.settings);
                trace!(
                    now,
                    "session {n} (nonce {nonce}) of {} asks on shard {shard}: {source:?}", stream.key
                );
                session.source = Some(source);
                session.state = State::Asking;
                session.asked_ms = now;
                session.uncredited = 0;
            }
            State::Asking | State::Live if session.ends_ms <= now => {
                trace!(now, "session {n} leaves shard {shard}, {:?}", session.state);
                self.shards[shard].hub.unpublish(session.source.unwrap());
                session.state = State::Over;
                session.left_ms = now;
            }
            State::Live if session.hangs_ms > now => {
                let elapsed = now - session.live_ms;
                let facts =
                    &mut self.streams[session.stream].ledger.sessions[session.script.nonce() as usize];
                session.script.make(elapsed, now, &mut self.rng, facts, &mut session.made);
                self.send(n);
            }
            _ => return,
        }
        self.shards[shard].touched = true;
        self.collect(shard);
    }

    fn send(&mut self, n: usize) {
        let session = &mut self.sessions[n];
        if !session.room {
            if self.calm && self.now - session.room_lost_ms.max(self.calm_ms) > 3_000 {
                violated("room-comes", format!("session {n} waits since {}", session.room_lost_ms));
            }
            return;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < READ_BYTES && session.made_at < session.made.len() {
            let message = std::mem::replace(
                &mut session.made[session.made_at],
                Message { kind: Kind::Data, time: Default::default(), payload: Default::default() },
            );
            session.made_at += 1;
            bytes += message.payload.len();
            if matches!(message.kind, Kind::Audio | Kind::Video) && message.payload.len() > 10 {
                session.sent += 1;
            }
            batch.push(message);
        }
        if session.made_at == session.made.len() {
            session.made.clear();
            session.made_at = 0;
        }
        if batch.is_empty() {
            return;
        }
        session.uncredited += bytes as i64;
        let most = PUBLISH_CREDIT_BYTES + (READ_BYTES + session.most_bytes.0) as i64;
        let stream = &self.streams[session.stream];
        if session.shard != stream.owner && session.uncredited > most {
            violated("credit", format!("session {n} has {} bytes under way", session.uncredited));
        }
        session.room = self.shards[session.shard].hub.media(session.source.unwrap(), batch);
        session.room_lost_ms = self.now;
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
                let wanted = Wanted::default();
                let wire = watcher.wire.clone();
                let id = shard.hub.join(key, watcher.format, &watcher.settings, wire, wanted);
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
            shard.hub.unparked(id);
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

    // ---- checks ----

    /// A viewer that takes everything loses nothing, whatever the others do, unless a shard stalled for
    /// longer than its settings bridge.
    fn check_healthy(&self, n: usize, jumps: u32) {
        let watcher = &self.watchers[n];
        let Some(feed) = watcher.id.and_then(|id| self.shards[watcher.shard].hub.feed_of(id)) else { return };
        let roomy = self.settings.iter().all(|s| {
            s.feed_max_bytes > 4 << 20 && u64::from(s.queue_length_ms) > 3 * self.worst_stall_ms + 1_500
        });
        if roomy && !self.fat && jumps > 0 {
            violated("healthy", format!("viewer {n} jumped {jumps} times, {} gaps", feed.counters().gaps));
        }
        let step = self.settings.iter().map(|s| match s.cadence {
            Cadence::Fixed { ms } => ms.max(s.send_min_interval_ms),
            _ => 350,
        });
        if !self.stalls && roomy && !self.fat {
            let bound = 2 * u64::from(step.max().unwrap_or(0)) + 2 * self.delay_ms + 100;
            if watcher.player.worst_ms > bound {
                let took = watcher.player.worst_ms;
                violated("latency", format!("viewer {n}: {took} ms, bound {bound}"));
            }
        }
    }

    /// A shard that says it has nothing to do until something comes: nobody may be left with work undone.
    fn check_rest(&self, me: usize) {
        let hub = &self.shards[me].hub;
        for (n, watcher) in self.watchers.iter().enumerate().filter(|(_, w)| w.shard == me && !w.gone) {
            let Some((viewer, feed)) = watcher.id.and_then(|id| Some((hub.viewer(id)?, hub.feed_of(id)?)))
            else {
                continue;
            };
            let line = watcher.wire.0.borrow();
            let free = line.parked.is_none() && line.private.is_empty() && !line.is_over() && !line.owed;
            let reads = matches!(viewer.mode(), Mode::Step | Mode::Audio);
            if free && reads && !watcher.paused && !watcher.to_tell && viewer.offset() != feed.log().end() {
                let (at, end) = (viewer.offset().0, feed.log().end().0);
                violated("rest", format!("shard {me} rests, viewer {n} is at {at} of {end}"));
            }
        }
    }

    fn check_memory(&self) {
        let max = self.settings.iter().map(|s| s.feed_max_bytes).max().unwrap_or(0);
        // A block gathers at most what an interval, or a stall, brings; its window bounds what is posted.
        for (at, shard) in self.shards.iter().enumerate() {
            let feeds = shard.hub.feeds().map(|feed| feed.log());
            let outputs = shard.hub.streams().flat_map(|stream| stream.outputs()).map(|output| &output.log);
            for log in feeds.chain(outputs) {
                let block = log.blocks().iter().map(|block| block.bytes.len()).max().unwrap_or(0);
                if log.bytes() > max + block {
                    violated("memory", format!("{} bytes in a log of shard {at}", log.bytes()));
                }
            }
        }
    }

    /// All trouble is over for a while: everybody must be where he belongs.
    fn check_liveness(&mut self) {
        for n in 0..self.streams.len() {
            self.check_claims(n);
            let key = &self.streams[n].key;
            let live = |s: &&Session| s.stream == n && s.state == State::Live;
            let owned = self.shards[self.streams[n].owner].hub.stream(key).and_then(|s| s.publisher());
            for session in self.sessions.iter().filter(live) {
                let nonce = session.script.nonce();
                if owned.is_none_or(|publisher| publisher.client != u64::from(nonce)) {
                    violated("one-publisher", format!("session {nonce} of {key} believes it is live"));
                }
                if session.live_ms + 5_000 < self.now {
                    self.check_watchers(n, session);
                }
            }
            if owned.is_some() && !self.sessions.iter().any(|s| live(&s)) {
                violated("one-publisher", format!("{key} has a publisher that is gone"));
            }
        }
    }

    fn check_watchers(&self, stream: usize, session: &Session) {
        let facts = &self.streams[stream].ledger.sessions[session.script.nonce() as usize];
        for (n, watcher) in self.watchers.iter().enumerate() {
            let Some(id) = watcher.id.filter(|_| watcher.stream == stream && !watcher.gone) else { continue };
            let stuck = matches!(watcher.habit, Habit::Stuck { .. }) || watcher.reset;
            if stuck || watcher.joins_ms + 4_000 > self.now {
                continue;
            }
            let eye = watcher.player.eye;
            let due = |fact: &&Fact| {
                fact.made_ms + 1_500 < self.now && (eye == Eye::Step || fact.kind == Kind::Audio)
            };
            let due = facts.iter().rposition(|fact| due(&fact));
            let mode = self.shards[watcher.shard].hub.viewer(id).map(|viewer| viewer.mode());
            let last = watcher.player.last;
            let nonce = session.script.nonce();
            if session.script.style.video && (eye != Eye::Step || mode != Some(Mode::Step)) {
                violated("liveness", format!("viewer {n} has no picture: {eye:?} {mode:?}, last {last:?}"));
            }
            if due.is_some_and(|due| last.is_none_or(|(of, seq)| of != nonce || (seq as usize) < due)) {
                violated("liveness", format!("viewer {n} is at {last:?}, {due:?} of {nonce} due, {mode:?}"));
            }
        }
    }

    /// Viewers that never jumped agree on where each session ended, and that nothing was between.
    fn check_claims(&self, stream: usize) {
        let ledger = &self.streams[stream].ledger;
        let mut ends: HashMap<u32, (u32, usize)> = HashMap::new();
        for claim in &ledger.claims {
            let (last, viewer) = *ends.entry(claim.from).or_insert((claim.last, claim.viewer));
            if last != claim.last {
                let mine = claim.last;
                let text = format!(
                    "session {} ended at {last} for viewer {viewer}, at {mine} for {}",
                    claim.from, claim.viewer
                );
                violated("every-frame", text);
            }
            let order = |nonce: u32| ledger.order[nonce as usize];
            let to = claim.to.map_or(order(claim.from), order);
            for (nonce, facts) in ledger.sessions.iter().enumerate() {
                let between = order(nonce as u32) > order(claim.from) && order(nonce as u32) < to;
                if between && facts.iter().any(|fact| fact.seen_time.is_some()) {
                    violated(
                        "every-frame",
                        format!("viewer {} saw nothing of session {nonce}", claim.viewer),
                    );
                }
            }
            let of = |s: &&Session| s.stream == stream && s.script.nonce() == claim.from;
            let session = self.sessions.iter().find(of).unwrap();
            // What a session asked before it left may arrive after a later one's: other pair of shards.
            let slack_ms = 2_000 + 2 * self.worst_stall_ms;
            let alone = self.sessions.iter().all(|other| {
                other.stream != stream
                    || other.script.nonce() == claim.from
                    || other.asked_ms == 0
                    || other.asked_ms > session.left_ms + slack_ms
                    || (other.left_ms > 0 && other.left_ms + slack_ms < session.asked_ms)
            });
            if alone && claim.http && claim.to.is_some() {
                violated("body-ends", format!("{claim:?}: the publisher had left"));
            }
            if alone && claim.last + 1 != session.sent {
                let sent = session.sent;
                violated("every-frame", format!("{claim:?}, but {sent} frames were sent before it left"));
            }
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
                let streams: Vec<_> = shard.hub.streams().map(|s| (s.key(), s.publisher())).collect();
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
