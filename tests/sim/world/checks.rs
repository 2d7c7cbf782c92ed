//! What must hold after each step, and once all trouble is over.

use super::*;

impl World {
    /// A viewer that takes everything loses nothing, whatever the others do, unless a shard stalled for
    /// longer than its settings bridge.
    pub(super) fn check_healthy(&self, n: usize, jumps: u32) {
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
            if free && reads && !watcher.paused && !watcher.to_tell && viewer.offset() != feed.log().end() {
                let (at, end) = (viewer.offset().0, feed.log().end().0);
                violated("rest", format!("shard {me} rests, viewer {n} is at {at} of {end}"));
            }
        }
    }

    pub(super) fn check_memory(&self) {
        let max = self.settings.iter().map(|s| s.feed_max_bytes).max().unwrap_or(0);
        // A block gathers at most what an interval, or a stall, brings; its window bounds what is posted.
        for (at, shard) in self.shards.iter().enumerate() {
            let feeds = shard.hub.feeds().map(|feed| feed.log());
            let outputs = shard.hub.origins().flat_map(|origin| origin.outputs()).map(|output| &output.log);
            for log in feeds.chain(outputs) {
                let block = log.blocks().iter().map(|block| block.bytes.len()).max().unwrap_or(0);
                if log.bytes() > max + block {
                    violated("memory", format!("{} bytes in a log of shard {at}", log.bytes()));
                }
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
    pub(super) fn check_claims(&self, stream: usize) {
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
            let held = self.settings.iter().any(|settings| settings.hold_ms > 0);
            if alone && claim.http && claim.to.is_some() && !held {
                violated("body-ends", format!("{claim:?}: the publisher had left"));
            }
            if alone && claim.last + 1 != session.sent {
                let sent = session.sent;
                violated("every-frame", format!("{claim:?}, but {sent} frames were sent before it left"));
            }
        }
    }
}
