//! Trouble that is nobody's in particular: shards that stall, settings that change, panics.

use super::*;

/// How shards stall in a run.
pub(super) struct Stalls {
    /// One of these lengths, in ms; none if they don't.
    pub(super) lengths_ms: &'static [u64],
    /// Only one shard at a time, and one with viewers: were all stalled, nothing would flow, and no window
    /// would fill.
    pub(super) one_by_one: bool,
    /// The longest so far, or the latest that credit comes: what nobody can be quicker than.
    pub(super) worst_ms: u64,
}

impl World {
    pub(super) fn faults_step(&mut self) {
        self.stall();
        for (n, vhost) in self.vhosts.iter_mut().enumerate() {
            if let Some((_, settings)) = vhost.reloads.pop_if(|(at, _)| *at <= self.now) {
                trace!(self.now, "vhost {n} is reloaded: {settings:?}");
                vhost.ever.push(Arc::clone(&settings));
                vhost.settings = settings;
                self.tally.note(Tried::Reloads, 1);
                self.shards.iter_mut().for_each(|shard| shard.reloaded = true);
            }
        }
    }

    /// A shard hears of new settings when it next runs; others may have before.
    pub(super) fn reload(&mut self, me: usize) {
        let shard = &mut self.shards[me];
        if std::mem::take(&mut shard.reloaded) {
            let (streams, vhosts) = (&self.streams, &self.vhosts);
            shard.hub.configure(|key| {
                let stream = streams.iter().find(|stream| stream.key == *key)?;
                Some(Arc::clone(&vhosts[stream.vhost].settings))
            });
            shard.touched = true;
        }
    }

    fn stall(&mut self) {
        let Stalls { lengths_ms, one_by_one, .. } = self.stalls;
        let busy = one_by_one && self.shards.iter().any(|shard| shard.stalled_until > self.now);
        if lengths_ms.is_empty() || busy || !self.rng.percent(1) {
            return;
        }
        let watcher = self.rng.within(0, self.watchers.len() as u64 - 1) as usize;
        let any = self.rng.within(0, self.shards.len() as u64 - 1) as usize;
        let shard = if one_by_one { self.watchers[watcher].shard } else { any };
        let lasts_ms = self.rng.pick(lengths_ms);
        self.stalls.worst_ms = self.stalls.worst_ms.max(lasts_ms);
        self.shards[shard].stalled_until = self.now + lasts_ms;
        self.tally.note(Tried::LongStalls, u64::from(lasts_ms >= 1_000));
        trace!(self.now, "shard {shard} stalls for {lasts_ms} ms");
    }

    /// What was posted so long ago has arrived; also of what was sent before the trouble was over.
    pub(super) fn post_takes_ms(&self) -> u64 {
        self.worst_delay_ms + 2 * self.stalls.worst_ms + 100
    }

    pub(super) fn end_faults(&mut self) {
        self.delay_ms = self.delay_ms.min(5);
        self.network.recover(self.now + 50);
        for shard in &mut self.shards {
            shard.stalled_until = shard.stalled_until.min(self.now);
            shard.auto_ms = 0;
        }
        for watcher in &self.watchers {
            watcher.wire.0.borrow_mut().bomb = None;
        }
        for session in &mut self.sessions {
            session.bomb_ms = u64::MAX;
        }
    }

    /// Every panic of the run was made on purpose.
    pub(super) fn check_panics(&self) {
        let caught: u64 = self.shards.iter().map(|shard| shard.hub.panics()).sum();
        if caught != bomb::hits() {
            report::caught_panic();
        }
    }
}
