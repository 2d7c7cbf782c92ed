//! What must hold after each step, and once all trouble is over.

use super::*;
use crate::player::{Eye, carries};
use crate::script::Fact;
use srs_shard::formats::message::Kind;
use srs_shard::stream::settings::Cadence;
use srs_shard::stream::viewer::Mode;
use std::collections::HashMap;

impl World {
    /// A viewer that takes everything loses nothing, whatever the others do, unless a shard stalled for
    /// longer than its settings bridge.
    pub(super) fn check_healthy(&self, n: usize, jumps: u32) {
        let watcher = &self.watchers[n];
        let Some(feed) = watcher.id.and_then(|id| self.shards[watcher.shard].hub.feed_of(id)) else { return };
        let stream = &self.streams[watcher.stream];
        let ever = &self.vhosts[stream.vhost].ever;
        let worst_ms = self.stalls.worst_ms;
        let roomy = ever
            .iter()
            .all(|s| s.feed_max_bytes > 4 << 20 && u64::from(s.queue_length_ms) > 3 * worst_ms + 1_500);
        if !roomy || stream.fat {
            return;
        }
        if jumps > 0 {
            violated("healthy", format!("viewer {n} jumped {jumps} times, {} gaps", feed.counters().gaps));
        }
        let step = ever.iter().map(|s| match s.cadence {
            Cadence::Fixed { ms } => ms.max(s.send_min_interval_ms),
            _ => 350,
        });
        if worst_ms == 0 {
            let bound = 2 * u64::from(step.max().unwrap_or(0)) + 2 * self.delay_ms + 100;
            if watcher.player.worst_ms > bound {
                let took = watcher.player.worst_ms;
                violated("latency", format!("viewer {n}: {took} ms, bound {bound}"));
            }
        }
    }

    /// Where a viewer that takes everything begins: with the first that it can use, if it waited for the
    /// publish; and soon, if a keyframe was there before it.
    pub(super) fn check_start(&self, n: usize) {
        let watcher = &self.watchers[n];
        let stream = &self.streams[watcher.stream];
        let Some((nonce, seq)) = watcher.player.first.filter(|_| !stream.fat) else { return };
        let facts = &stream.ledger.sessions[nonce as usize];
        let ever = &self.vhosts[stream.vhost].ever;
        let kept = ever.iter().all(|s| s.feed_max_bytes > 4 << 20 && s.queue_length_ms > 10_000);
        let first = &facts[seq as usize];
        let shows = facts.iter().any(|fact| fact.kind == Kind::Video) && watcher.format.carries_video();
        let starts = |fact: &Fact| if shows { fact.key } else { carries(watcher.format, fact) };
        let passed = facts[..seq as usize].iter().any(starts);
        if kept && watcher.waits_for == Some(nonce) && passed {
            violated("early", format!("viewer {n} waited for session {nonce} and begins with {seq}"));
        }
        // A header that changes within a GOP ends what a format that is asked for anew could start with.
        let of = |s: &&Session| s.stream == watcher.stream && s.script.nonce() == nonce;
        let steady = self.sessions.iter().find(of).is_some_and(|s| s.script.style.changes == 0);
        let cached = steady && ever.iter().all(|s| s.gop_cache && s.gop_cache_max_ms >= 3_000);
        let bound = 4 * self.delay_ms + 2 * 350 + 600;
        let there = facts.iter().any(|fact| fact.key && fact.made_ms + bound < watcher.joined_ms);
        let late = watcher.player.began_ms > watcher.joined_ms + bound || !first.key;
        if kept && cached && shows && there && late && self.stalls.worst_ms == 0 && !self.calm {
            violated("starts-soon", format!("viewer {n} begins with {seq} {first:?}"));
        }
    }

    /// A shard that says it has nothing to do until something comes: nobody may be left with work undone.
    pub(super) fn check_rest(&self, me: usize) {
        let hub = &self.shards[me].hub;
        for (n, watcher) in self.watchers.iter().enumerate().filter(|(_, w)| w.shard == me && !w.gone) {
            let Some((viewer, feed)) = watcher.id.and_then(|id| Some((hub.viewer(id)?, hub.feed_of(id)?)))
            else {
                continue;
            };
            let line = watcher.wire.0.borrow();
            let free = line.parked.is_none() && line.private.is_empty() && !line.is_over() && !line.owed;
            let reads = matches!(viewer.mode(), Mode::Step | Mode::Audio);
            // Nobody jumps into a publish before its first frame.
            let waits = feed.is_live() && !feed.log().has_begun() && viewer.offset() < feed.log().start();
            if free
                && reads
                && !waits
                && !watcher.paused
                && !watcher.to_tell
                && viewer.offset() != feed.log().end()
            {
                let (at, end) = (viewer.offset().0, feed.log().end().0);
                violated("rest", format!("shard {me} rests, viewer {n} is at {at} of {end}"));
            }
        }
    }

    pub(super) fn check_memory(&self) {
        // A block gathers at most what an interval, or a stall, brings; its window bounds what is posted.
        for (at, shard) in self.shards.iter().enumerate() {
            let feeds = shard.hub.feeds().map(|feed| (feed.key(), feed.log()));
            let owned = shard.hub.origins();
            let owned = owned.flat_map(|s| s.outputs().iter().map(|output| (s.key(), &output.log)));
            for (key, log) in feeds.chain(owned) {
                let ever = &self.vhosts[self.streams[self.stream_of(key)].vhost].ever;
                let max = ever.iter().map(|s| s.feed_max_bytes).max().unwrap_or(0);
                if log.bytes() <= max {
                    continue;
                }
                let block = log.blocks().iter().map(|block| block.bytes.len()).max().unwrap_or(0);
                if log.bytes() > max + block {
                    violated("memory", format!("{} bytes in a log of {key} on shard {at}", log.bytes()));
                }
            }
        }
    }

    /// What a viewer of the shard stands in is kept for as long as it may be behind.
    pub(super) fn check_retention(&self) {
        for (n, watcher) in self.watchers.iter().enumerate().filter(|(_, w)| !w.gone) {
            let hub = &self.shards[watcher.shard].hub;
            let both = watcher.id.and_then(|id| Some((hub.viewer(id)?, hub.feed_of(id)?)));
            let Some((viewer, feed)) = both else { continue };
            let reads = matches!(viewer.mode(), Mode::Step | Mode::Audio);
            let log = feed.log();
            if !reads || viewer.offset() >= log.start() || feed.counters().gaps > 0 {
                continue;
            }
            let ever = &self.vhosts[self.streams[watcher.stream].vhost].ever;
            let queue_ms = ever.iter().map(|s| i64::from(s.queue_length_ms)).min().unwrap_or(0);
            let roomy = ever.iter().all(|s| s.feed_max_bytes > 4 << 20);
            let oldest = log.blocks().front().and_then(|block| block.units.first()).map(|unit| unit.time.0);
            let kept_ms = log.live_time().zip(oldest).map_or(i64::MAX, |(live, oldest)| live.0 - oldest);
            if roomy && kept_ms + 1_000 < queue_ms {
                violated("retention", format!("viewer {n} stands before the log, which holds {kept_ms} ms"));
            }
        }
    }

    /// All trouble is over for a while: everybody must be where he belongs.
    pub(super) fn check_liveness(&mut self) {
        for n in 0..self.streams.len() {
            self.check_claims(n);
            let key = &self.streams[n].key;
            let live = |s: &&Session| s.stream == n && s.state == State::Live;
            let owned = self.shards[self.streams[n].owner].hub.origin(key).and_then(|s| s.publisher());
            for session in self.sessions.iter().filter(live) {
                let nonce = session.script.nonce();
                if owned.is_none_or(|publisher| publisher.client != u64::from(nonce)) {
                    violated("one-publisher", format!("session {nonce} of {key} believes it is live"));
                }
                if session.live_ms + 5_000 < self.now {
                    self.check_watchers(n, session);
                }
            }
            if owned.is_none() {
                self.check_bodies_ended(n);
            }
            if owned.is_some() && !self.sessions.iter().any(|s| live(&s)) {
                violated("one-publisher", format!("{key} has a publisher that is gone"));
            }
        }
    }

    /// Nobody has published for a while: HTTP viewers that had something have had their end.
    fn check_bodies_ended(&self, stream: usize) {
        let of = |s: &&Session| s.stream == stream;
        if self.sessions.iter().filter(of).any(|s| s.state == State::Asking || s.left_ms + 4_000 > self.now) {
            return;
        }
        for (n, watcher) in self.watchers.iter().enumerate().filter(|(_, w)| w.stream == stream && !w.gone) {
            let stuck = matches!(watcher.habit, Habit::Stuck { .. }) || watcher.reset;
            if watcher.id.is_some() && watcher.format.is_http() && !stuck && watcher.player.eye != Eye::Fresh
            {
                violated("body-ends", format!("viewer {n} of {} waits on", self.streams[stream].key));
            }
        }
    }

    pub(super) fn check_watchers(&self, stream: usize, session: &Session) {
        let facts = &self.streams[stream].ledger.sessions[session.script.nonce() as usize];
        for (n, watcher) in self.watchers.iter().enumerate() {
            let Some(id) = watcher.id.filter(|_| watcher.stream == stream && !watcher.gone) else { continue };
            let stuck = matches!(watcher.habit, Habit::Stuck { .. }) || watcher.reset;
            if stuck || watcher.joins_ms + 4_000 > self.now {
                continue;
            }
            let eye = watcher.player.eye;
            let due = facts.iter().rposition(|fact| {
                fact.made_ms + 1_500 < self.now
                    && (eye == Eye::Step || fact.kind == Kind::Audio)
                    && carries(watcher.format, fact)
            });
            let hub = &self.shards[watcher.shard].hub;
            let mode = hub.viewer(id).map(|viewer| viewer.mode());
            // Its play is over, or its feed cannot hold what comes between two writes.
            let is_ending = mode == Some(Mode::Closed) && watcher.wanted.duration_ms.is_some();
            if is_ending || hub.feed_counters().trimmed > self.shards[watcher.shard].trimmed {
                continue;
            }
            let last = watcher.player.last;
            let nonce = session.script.nonce();
            let shows = session.script.style.video && watcher.format.carries_video();
            if shows && (eye != Eye::Step || mode != Some(Mode::Step)) {
                violated("liveness", format!("viewer {n} has no picture: {eye:?} {mode:?}, last {last:?}"));
            }
            if due.is_some_and(|due| last.is_none_or(|(of, seq)| of != nonce || (seq as usize) < due)) {
                violated("liveness", format!("viewer {n} is at {last:?}, {due:?} of {nonce} due, {mode:?}"));
            }
        }
    }

    /// Viewers that never jumped agree on where each session ended, and that nothing was between; unless blocks
    /// were dropped for an edge: nobody there sees that the last of a session are missing.
    pub(super) fn check_claims(&self, stream: usize) {
        if self.streams[stream].lagged {
            return;
        }
        let ledger = &self.streams[stream].ledger;
        let mut ends: HashMap<(u32, bool), (u32, usize)> = HashMap::new();
        for claim in &ledger.claims {
            let same = (claim.from, claim.format.carries_video());
            let (last, viewer) = *ends.entry(same).or_insert((claim.last, claim.viewer));
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
                if between && facts.iter().any(|fact| fact.seen && carries(claim.format, fact)) {
                    violated(
                        "every-frame",
                        format!("viewer {} saw nothing of session {nonce}", claim.viewer),
                    );
                }
            }
            let of = |s: &&Session| s.stream == stream && s.script.nonce() == claim.from;
            let session = self.sessions.iter().find(of).unwrap();
            // What a session asked before it left may arrive after a later one's: other pair of shards.
            let slack_ms = 2_000 + 2 * self.stalls.worst_ms;
            let alone = self.sessions.iter().all(|other| {
                other.stream != stream
                    || other.script.nonce() == claim.from
                    || other.asked_ms == 0
                    || other.asked_ms > session.left_ms + slack_ms
                    || (other.left_ms > 0 && other.left_ms + slack_ms < session.asked_ms)
            });
            let ever = &self.vhosts[self.streams[stream].vhost].ever;
            let held = ever.iter().any(|settings| settings.hold_ms > 0);
            if alone && claim.format.is_http() && claim.to.is_some() && !held {
                violated("body-ends", format!("{claim:?}: the publisher had left"));
            }
            let sent = session.sent;
            let rest = ledger.sessions[claim.from as usize].get(claim.last as usize + 1..sent as usize);
            if alone && rest.is_none_or(|rest| rest.iter().any(|fact| carries(claim.format, fact))) {
                violated("every-frame", format!("{claim:?}, but {sent} frames were sent before it left"));
            }
        }
    }

    /// Everybody left: so did all that the hubs kept for them.
    pub(super) fn check_nothing_is_left(&self) {
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
}
