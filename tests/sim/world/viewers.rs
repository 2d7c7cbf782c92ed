//! Viewers: they join, take what they can in their own way, pause, and leave.

use super::*;
use crate::player::{Glance, Player};
use srs_shard::stats::reason::CloseReason;
use srs_shard::stream::encode::Format;
use srs_shard::stream::feed::Feed;
use srs_shard::stream::hub::ViewerId;
use srs_shard::stream::viewer::Wanted;

/// A message not sent in so long closes the client.
const SEND_TIMEOUT_MS: u64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Takes everything at once.
    Prompt,
    /// So many bytes each ms, so many at most at once.
    Slow { rate: usize, buffer: usize },
    /// Now prompt, now not reading at all.
    Moody,
    /// Reads nothing from some time on.
    Stuck { from_ms: u64 },
}

pub(super) struct Watcher {
    pub(super) rng: Rng,
    pub(super) stream: usize,
    pub(super) shard: usize,
    pub(super) format: Format,
    pub(super) id: Option<ViewerId>,
    pub(super) wire: SimWire,
    pub(super) player: Player,
    pub(super) wanted: Wanted,
    pub(super) habit: Habit,
    pub(super) joins_ms: u64,
    pub(super) leaves_ms: u64,
    pub(super) joined_ms: u64,
    /// Its connection was ended, and it leaves then.
    pub(super) over_ms: u64,
    /// The session that began while it waited.
    pub(super) waits_for: Option<u32>,
    pub(super) paused: bool,
    pub(super) pauses: bool,
    pub(super) ever_paused: bool,
    pub(super) moody_until: u64,
    pub(super) moody_open: bool,
    /// The core waits to be told that the connection is free, and its shard is stalled.
    pub(super) to_tell: bool,
    pub(super) parked_since: Option<u64>,
    pub(super) gone: bool,
    pub(super) reset: bool,
}

impl World {
    pub(super) fn watcher_step(&mut self, n: usize) {
        let now = self.now;
        let watcher = &mut self.watchers[n];
        if watcher.gone {
            return;
        }
        let stalled = self.shards[watcher.shard].stalled_until > now;
        let Some(id) = watcher.id else {
            if watcher.joins_ms <= now && !stalled {
                self.join(n);
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
        let mut touched = false;
        if std::mem::take(&mut watcher.to_tell) {
            shard.hub.wake(id);
            touched = true;
        }
        let timeout = watcher.parked_since.is_some_and(|since| now - since > SEND_TIMEOUT_MS);
        let ended = watcher.wire.0.borrow().is_over() && watcher.over_ms == u64::MAX;
        if ended {
            // A connection's own task takes its time to see that.
            watcher.over_ms = now + watcher.rng.pick(&[0, 0, 10, 40]);
        }
        if watcher.over_ms <= now || timeout || watcher.leaves_ms <= now {
            trace!(now, "viewer {n} leaves shard {}, timeout {timeout}", watcher.shard);
            watcher.gone = true;
            if shard.hub.leave(id).is_none() {
                violated("viewers", format!("viewer {n} was not there to leave"));
            }
            touched = true;
        } else if (watcher.pauses && watcher.rng.percent(2)) || (watcher.paused && !watcher.pauses) {
            watcher.paused = !watcher.paused;
            watcher.ever_paused = true;
            trace!(now, "viewer {n} pauses: {}", watcher.paused);
            shard.hub.pause(id, watcher.paused);
            touched = true;
        }
        if ended {
            self.check_reason(n);
            self.come_back(n);
        }
        if touched {
            let shard = self.watchers[n].shard;
            self.shards[shard].touched = true;
            self.collect(shard);
        }
    }

    fn join(&mut self, n: usize) {
        let heard_ms = self.now.saturating_sub(self.post_takes_ms());
        let watcher = &mut self.watchers[n];
        let stream = &self.streams[watcher.stream];
        watcher.player.joined = stream.ledger.orders_before(heard_ms).saturating_sub(1);
        // Who subscribes anew hears of the publish in force now, or of a later one.
        let is_it = |feed: &Feed<SimWire>| feed.format() == watcher.format && *feed.key() == stream.key;
        if !self.shards[watcher.shard].hub.feeds().any(is_it) {
            let owner = &self.shards[stream.owner].hub;
            let live = owner.origin(&stream.key).is_some_and(|stream| stream.publisher().is_some());
            watcher.player.oldest = stream.ledger.orders() - u32::from(live);
        }
        let (settings, wire) = (&self.vhosts[stream.vhost].settings, watcher.wire.clone());
        let shard = &mut self.shards[watcher.shard];
        let id = shard.hub.join(&stream.key, watcher.format, settings, wire, watcher.wanted);
        trace!(self.now, "viewer {n} joins {} on shard {}: {id:?}", stream.key, watcher.shard);
        (watcher.id, watcher.joined_ms) = (Some(id), self.now);
        shard.touched = true;
        self.watcher_room(n);
        self.collect(self.watchers[n].shard);
    }

    /// Many a player whose connection was ended tries again at once.
    fn come_back(&mut self, n: usize) {
        let watcher = &mut self.watchers[n];
        if watcher.leaves_ms <= self.now || watcher.reset || watcher.rng.percent(40) {
            return;
        }
        let joins_ms = self.now + watcher.rng.pick(&[0, 0, 5, 300]);
        let Watcher { stream, shard, format, wanted, habit, leaves_ms, .. } = self.watchers[n];
        let again = Watcher { habit, leaves_ms, ..self.watcher(stream, shard, format, wanted, joins_ms) };
        self.watchers.push(again);
    }

    /// A viewer that takes everything and stays.
    pub(super) fn watcher(
        &self,
        stream: usize,
        shard: usize,
        format: Format,
        wanted: Wanted,
        joins_ms: u64,
    ) -> Watcher {
        let number = self.watchers.len();
        Watcher {
            rng: Rng::of(self.seed, "habit", number),
            stream,
            shard,
            format,
            id: None,
            wire: SimWire::default(),
            player: Player::new(number, format, wanted),
            wanted,
            habit: Habit::Prompt,
            joins_ms,
            leaves_ms: u64::MAX,
            joined_ms: 0,
            over_ms: u64::MAX,
            waits_for: None,
            paused: false,
            pauses: false,
            ever_paused: false,
            moody_until: 0,
            moody_open: true,
            to_tell: false,
            parked_since: None,
            gone: false,
            reset: false,
        }
    }

    /// A viewer is ended for what it did or asked for, for its publisher's leaving, or with what broke.
    fn check_reason(&self, n: usize) {
        let Watcher { stream, shard, format, .. } = self.watchers[n];
        let watcher = &self.watchers[n];
        let line = watcher.wire.0.borrow();
        let reason = line.closed.or(line.ended);
        let fits = match reason {
            Some(CloseReason::Unpublished) => format.is_http() && line.closed.is_none(),
            Some(CloseReason::PlayDurationReached) => watcher.wanted.duration_ms.is_some(),
            Some(CloseReason::PeerReset) => line.reset,
            Some(CloseReason::Panic) => {
                let feed = bomb::Target::Feed { stream, shard, format };
                bomb::was_hit(feed) || bomb::was_hit(bomb::Target::Stream(stream))
            }
            _ => false,
        };
        if !fits {
            violated("neighbours", format!("viewer {n} is ended for {reason:?}"));
        }
    }

    fn watcher_room(&mut self, n: usize) {
        let watcher = &mut self.watchers[n];
        if watcher.habit == Habit::Moody && watcher.moody_until <= self.now {
            watcher.moody_open = !watcher.moody_open;
            watcher.moody_until =
                self.now + watcher.rng.within(1, if watcher.moody_open { 1_500 } else { 2_500 });
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
        line.reset |= watcher.reset && watcher.rng.next().is_multiple_of(500);
    }

    /// Reads what reached a viewer.
    pub(super) fn look(&mut self, n: usize) {
        let watcher = &mut self.watchers[n];
        let Some(id) = watcher.id else { return };
        let mut line = watcher.wire.0.borrow_mut();
        if line.arrived.is_empty() {
            return;
        }
        let hub = &self.shards[watcher.shard].hub;
        // Where it was may be another by now.
        let jumps = hub.viewer(id).filter(|_| !watcher.gone).map_or(u32::MAX, |viewer| viewer.counters.jumps);
        let ledger = &mut self.streams[watcher.stream].ledger;
        trace!(self.now, "viewer {n} gets {} bytes: {:?}", line.arrived.len(), hub.viewer(id));
        let frames = watcher.player.frames;
        watcher.player.feed(&mut line.arrived, &mut Glance { ledger, jumps, now_ms: self.now });
        drop(line);
        let begins = frames == 0 && watcher.player.frames > 0;
        if begins && watcher.habit == Habit::Prompt && jumps == 0 {
            self.check_start(n);
        }
        let watcher = &self.watchers[n];
        if watcher.habit == Habit::Prompt && !watcher.ever_paused && !self.calm && jumps != u32::MAX {
            self.check_healthy(n, jumps);
        }
    }
}
