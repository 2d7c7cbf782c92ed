//! One run: shards, their network, publishers and viewers, all from one seed.

mod checks;
mod faults;
mod plan;
mod posts;
mod publishers;
mod viewers;

use self::faults::Stalls;
use self::posts::Accounts;
use self::publishers::{Session, State};
use self::viewers::{Habit, Watcher};
use crate::bomb;
use crate::cut::{self, Cut, Fault, Part};
use crate::network::Network;
use crate::player::Ledger;
use crate::report::{self, trace, violated};
use crate::rng::Rng;
use crate::tally::{Tally, Tried};
use crate::wire::SimWire;
use srs_shard::stream::cadence::STEPS_MS;
use srs_shard::stream::hub::Hub;
use srs_shard::stream::post::StreamKey;
use srs_shard::stream::settings::Settings;
use std::sync::Arc;

/// With all trouble over, everything must be well within this.
const CALM_MS: u64 = 7_000;

struct Shard {
    hub: Hub<SimWire>,
    stalled_until: u64,
    /// Something was done that the next turn must see.
    touched: bool,
    /// Settings have changed, and it was not told yet.
    reloaded: bool,
    /// How often viewers had lost what they stood in when half of the calm was over.
    trimmed: u64,
    next_ms: Option<u64>,
    sweep_ms: u64,
    auto_ms: u32,
}

/// Streams of one vhost share its settings, as they are when somebody publishes or joins.
struct Vhost {
    settings: Arc<Settings>,
    /// All that were ever in force.
    ever: Vec<Arc<Settings>>,
    /// Changes to come: when, and to what.
    reloads: Vec<(u64, Arc<Settings>)>,
}

struct Stream {
    key: StreamKey,
    vhost: usize,
    owner: usize,
    /// Its bytes fill windows and use up credit.
    fat: bool,
    /// Blocks were dropped for an edge whose window was full.
    lagged: bool,
    ledger: Ledger,
    /// Most bytes of a message and of a second, over all its sessions.
    most_bytes: (usize, usize),
}

pub(crate) struct World {
    seed: u64,
    cut: Cut,
    rng: Rng,
    now: u64,
    steps: u64,
    shards: Vec<Shard>,
    network: Network,
    accounts: Accounts,
    vhosts: Vec<Vhost>,
    streams: Vec<Stream>,
    sessions: Vec<Session>,
    watchers: Vec<Watcher>,
    /// Longest a post takes, now and at any time of the run.
    delay_ms: u64,
    worst_delay_ms: u64,
    stalls: Stalls,
    chaos_ms: u64,
    calm: bool,
    calm_ms: u64,
    tally: Tally,
}

impl Drop for World {
    fn drop(&mut self) {
        bomb::disarm();
    }
}

impl World {
    /// All that can be left out of this run.
    pub(crate) fn parts(&self) -> Vec<Part> {
        cut::parts(self.streams.len(), self.sessions.len(), self.watchers.len())
    }

    /// Plays it; what it tried.
    pub(crate) fn run(mut self) -> Tally {
        bomb::arm();
        if report::is_tracing() {
            report::cast(self.cast());
        }
        let end = self.now + self.chaos_ms;
        while self.now < end {
            self.step();
        }
        self.begin_calm();
        for _ in 0..2 {
            for shard in &mut self.shards {
                shard.trimmed = shard.hub.feed_counters().trimmed;
            }
            let end = self.now + CALM_MS / 2;
            while self.now < end {
                self.step();
            }
        }
        self.check_liveness();
        self.leave_all();
        for shard in &self.shards {
            self.tally.note(Tried::EdgeGaps, shard.hub.feed_counters().gaps);
        }
        for watcher in &self.watchers {
            self.tally.note(Tried::Frames, watcher.player.frames);
            self.tally.note(Tried::Jumps, u64::from(watcher.player.gaps));
        }
        self.tally.note(Tried::StreamPanics, bomb::count(bomb::is_stream_bomb));
        self.tally.note(Tried::FeedPanics, bomb::count(|hit| !bomb::is_stream_bomb(hit)));
        self.tally
    }

    /// All trouble ends; some publishers go on, and streams without one mostly get one.
    fn begin_calm(&mut self) {
        trace!(self.now, "calm");
        self.calm = true;
        self.calm_ms = self.now;
        self.end_faults();
        for n in 0..self.sessions.len() {
            let session = &mut self.sessions[n];
            match session.state {
                State::Planned => session.state = State::Over,
                State::Live if session.hangs_ms > self.now && session.rng.percent(50) => {
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
            let mut rng = Rng::of(self.seed, "calm", stream);
            if !self.sessions.iter().any(live) && rng.percent(80) {
                let at = self.now + rng.within(10, 1_000);
                self.plan_session(stream, at, u64::MAX);
            }
        }
    }

    // ---- one step of time ----

    fn step(&mut self) {
        // With the trouble over little happens that milliseconds matter for.
        self.now += self.rng.within(1, if self.calm { 20 } else { 8 });
        self.steps += 1;
        report::at(self.steps, self.now);
        if !self.calm {
            self.faults_step();
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
        if self.steps.is_multiple_of(16) {
            self.check_memory();
            self.check_retention();
        }
        self.check_panics();
    }

    fn stalled(&self, shard: usize) -> bool {
        self.shards[shard].stalled_until > self.now
    }

    fn shard_step(&mut self, me: usize) {
        if self.stalled(me) {
            return;
        }
        let now = self.now;
        self.reload(me);
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
            if !self.calm && self.rng.percent(10) && self.cut.keeps(Fault::Cadence) {
                shard.auto_ms = self.rng.pick(&STEPS_MS);
            }
        }
        if shard.touched || shard.next_ms.is_some_and(|at| at <= now) {
            let end = shard.hub.turn(now, shard.auto_ms);
            shard.touched = end.again;
            shard.next_ms = end.next_ms;
            if !end.again && end.next_ms.is_none() {
                self.check_rest(me);
            }
        }
        self.collect(me);
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
        self.check_nothing_is_left();
    }
}
