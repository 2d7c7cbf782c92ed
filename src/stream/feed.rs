//! A feed: one format of one stream on a shard that has viewers of it. It takes blocks from the owner and
//! holds the viewers that read them; [`super::start`] says where they begin, [`super::pump`] does the sending.

use super::block::{Block, LogOffset};
use super::cadence::next_tick;
use super::encode::Format;
use super::hub::Entry;
use super::log::{Log, Pushed};
use super::post::{Epoch, FeedItem, StreamKey, Sub};
use super::prelude::Prelude;
use super::settings::{Cadence, Settings};
use super::viewer::{Mode, Viewer, Wanted};
use super::wire::Wire;
use crate::stats::rates::{LagHistogram, Rate};
use crate::stats::reason::{CloseReason, DropReason, Tally};
use slab::Slab;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the kernel may keep unsent for a viewer: so much of the stream, within these bounds.
const UNSENT_MS: i64 = 500;
const UNSENT_MIN_BYTES: u32 = 64 << 10;
const UNSENT_MAX_BYTES: u32 = 4 << 20;
/// How often viewers who are behind are served between two ticks.
const CATCH_UP_MS: u32 = 20;
/// How often viewers' lag is looked at, for the histogram.
const LAG_OBSERVED_MS: u64 = 1_000;

/// One format of one stream, and its viewers on this shard.
pub struct Feed<W> {
    pub(super) key: StreamKey,
    pub(super) format: Format,
    pub(super) sub: Sub,
    pub(super) settings: Arc<Settings>,
    pub(super) log: Log,
    pub(super) prelude: Arc<Prelude>,
    pub(super) live: Option<Epoch>,
    pub(super) viewers: Slab<Viewer<W>>,
    /// Who has come and was not served yet.
    pub(super) newcomers: VecDeque<usize>,
    /// Where the pump goes on when its budget ended before all viewers were served.
    pub(super) pump_at: usize,
    /// Something came that viewers have not been given.
    pub(super) dirty: bool,
    /// Bytes of blocks taken in and not yet credited to the owner.
    pub(super) owed: usize,
    /// Its place on the hub's agenda.
    pub(super) entry: Entry,
    /// A block came that nobody has been given: it goes out at the next tick.
    pub(super) fresh: bool,
    /// When a block last went out, and when viewers were last served at all.
    pub(super) pumped_ms: u64,
    pub(super) served_ms: u64,
    pub(super) wish_ms: u32,
    /// HTTP viewers are kept until then, for a publisher that comes back.
    hold_until_ms: Option<u64>,
    /// Why viewers who end do so.
    pub(super) end_reason: CloseReason,
    /// The owner will not send this format.
    pub(super) refused: bool,
    /// It panicked, here or on its owner: its hub steps it no more.
    pub(super) retired: bool,
    pub(super) counters: FeedCounters,
    pieces: Vec<super::pump::Piece>,
    rate: Rate,
    lag: LagHistogram,
    lag_observed_ms: u64,
    unsent_bytes: u32,
}

/// What a feed counts, viewers that have left included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounters {
    /// Feed bytes sent.
    pub sent_bytes: u64,
    /// Writes to viewers.
    pub sends: u64,
    /// Times a viewer fell behind and jumped.
    pub jumps: u64,
    /// Units that viewers did not get in those jumps, as far as they were still here to be counted.
    pub dropped_units: u64,
    /// Those of the jumps whose cause was that what the viewer stood in had to be let go.
    pub trimmed: u64,
    /// Times blocks were dropped on the way here because this shard did not keep up.
    pub gaps: u64,
}

impl FeedCounters {
    /// Adds another feed's.
    pub fn add(&mut self, other: &FeedCounters) {
        self.sent_bytes += other.sent_bytes;
        self.sends += other.sends;
        self.jumps += other.jumps;
        self.dropped_units += other.dropped_units;
        self.trimmed += other.trimmed;
        self.gaps += other.gaps;
    }

    /// What viewers did not get, by reason.
    pub fn drops(&self) -> Tally<DropReason> {
        let mut drops = Tally::default();
        drops.add_many(DropReason::EdgeLagged, self.gaps);
        drops.add_many(DropReason::QueueLength, self.dropped_units);
        drops.add_many(DropReason::FeedTrimmed, self.trimmed);
        drops
    }
}

/// How many bytes of blocks an item carried: to be credited to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged(pub usize);

impl<W: Wire> Feed<W> {
    /// A feed that has asked for its subscription and heard nothing yet.
    pub fn new(key: StreamKey, format: Format, sub: Sub, settings: Arc<Settings>, wish_ms: u32) -> Feed<W> {
        Feed {
            key,
            format,
            sub,
            settings,
            log: Log::default(),
            prelude: Arc::default(),
            live: None,
            viewers: Slab::new(),
            newcomers: VecDeque::new(),
            pump_at: 0,
            dirty: false,
            owed: 0,
            entry: Entry::default(),
            fresh: false,
            pumped_ms: 0,
            served_ms: 0,
            wish_ms,
            hold_until_ms: None,
            end_reason: CloseReason::Unpublished,
            refused: false,
            retired: false,
            counters: FeedCounters::default(),
            pieces: Vec::new(),
            rate: Rate::default(),
            lag: LagHistogram::default(),
            lag_observed_ms: 0,
            unsent_bytes: UNSENT_MIN_BYTES,
        }
    }

    /// Which stream.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// Which format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its viewers.
    pub fn viewers(&self) -> &Slab<Viewer<W>> {
        &self.viewers
    }

    /// Its recent blocks.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Whether somebody publishes.
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Whether it panicked: its viewers are being closed, and nobody joins.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// What was counted here since the feed began.
    pub fn counters(&self) -> FeedCounters {
        self.counters
    }

    /// Feed bytes sent on this shard, as a rate.
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// Lets go of its older GOP.
    pub(super) fn shed(&mut self) {
        self.log.shed();
    }

    /// How far viewers were behind live, each observed once a second.
    pub fn lag(&self) -> &LagHistogram {
        &self.lag
    }

    /// Bytes of the feed that a viewer has not been given yet.
    pub fn behind_bytes(&self, viewer: &Viewer<W>) -> u64 {
        if viewer.reads() { self.log.end().0.saturating_sub(viewer.offset.0) } else { 0 }
    }

    /// How far a viewer is behind live, in ms; None before it started.
    pub fn lag_ms(&self, viewer: &Viewer<W>) -> Option<i64> {
        if !viewer.reads() {
            return None;
        }
        Some(self.lag_at(viewer.offset))
    }

    /// Fetches ahead what a block's coming touches beside the feed itself; a feed has many viewers or one.
    pub(super) fn fetch_parts(&self) {
        self.log.fetch_ends::<W>();
        self.viewers.get(0).into_iter().for_each(W::fetch);
    }

    /// And then what those lead to.
    pub(super) fn fetch_blocks(&self) {
        self.log.fetch_blocks::<W>();
        self.viewers.get(0).into_iter().for_each(|viewer| viewer.wire.is_next());
    }

    /// A viewer comes; it starts at the next turn.
    pub fn join(&mut self, wire: W, wanted: Wanted) -> usize {
        wire.bound_unsent(self.unsent_bytes);
        let early = !self.has_begun();
        let slot = self.viewers.insert(Viewer { early, ..Viewer::new(wire, wanted) });
        self.newcomers.push_back(slot);
        slot
    }

    /// What the owner sent.
    pub fn take(&mut self, item: FeedItem, now_ms: u64) -> Charged {
        let mut charged = Charged(0);
        self.dirty = true;
        match item {
            FeedItem::Start { live, prelude, blocks, end } => {
                self.live = live;
                self.prelude = prelude;
                self.log = Log::at(blocks.first().map_or(end, |block| block.start));
                for block in blocks {
                    self.log.push(block);
                }
                self.note_early();
            }
            FeedItem::Block { epoch, block } => {
                charged = Charged(block.bytes.len());
                if self.live == Some(epoch) {
                    self.push(block);
                }
            }
            FeedItem::Published { epoch } => {
                self.live = Some(epoch);
                self.log.begin_publish();
                self.note_early();
                self.hold_until_ms = None;
            }
            FeedItem::Unpublished { epoch } if self.live == Some(epoch) => {
                self.live = None;
                self.log.begin_publish();
                if self.format.is_http() && self.settings.hold_ms > 0 {
                    self.hold_until_ms = Some(now_ms + u64::from(self.settings.hold_ms));
                } else if self.format.is_http() {
                    self.end_viewers(CloseReason::Unpublished);
                }
            }
            FeedItem::Ended { .. } => {
                self.end_viewers(CloseReason::TracksChanged);
                self.log.begin_publish();
            }
            FeedItem::Refused => self.refused = true,
            // A failed feed is retired by its hub.
            FeedItem::Failed | FeedItem::Unpublished { .. } => {}
        }
        charged
    }

    fn push(&mut self, block: Arc<Block>) {
        self.fresh = true;
        if !Arc::ptr_eq(&self.prelude, &block.prelude) {
            self.prelude = Arc::clone(&block.prelude);
        }
        if self.log.push(block) == Pushed::AfterGap {
            self.counters.gaps += 1;
        }
        if self.log.bytes() > self.settings.feed_max_bytes {
            self.trim();
        }
    }

    /// Viewers who have had something get the rest and the end, whatever the next publisher brings meanwhile;
    /// those who wait go on waiting.
    fn end_viewers(&mut self, reason: CloseReason) {
        self.end_reason = reason;
        let end = self.log.end();
        for (_, viewer) in &mut self.viewers {
            if viewer.reads() {
                viewer.ends_at.get_or_insert(end);
            }
        }
    }

    /// Where a viewer has all that there is for it.
    pub(super) fn end_for(&self, viewer: &Viewer<W>) -> LogOffset {
        viewer.ends_at.unwrap_or(self.log.end())
    }

    /// Housekeeping, four times a second: retention, and the end of a hold.
    pub fn sweep(&mut self, now_ms: u64) {
        self.trim();
        self.rate.tick(now_ms, self.counters.sent_bytes);
        self.bound_unsent();
        if now_ms.saturating_sub(self.lag_observed_ms) >= LAG_OBSERVED_MS {
            self.lag_observed_ms = now_ms;
            for (_, viewer) in &self.viewers {
                if let Some(ms) = self.lag_ms(viewer) {
                    self.lag.observe(u32::try_from(ms).unwrap_or(0));
                }
            }
        }
        if self.hold_until_ms.is_some_and(|until| until <= now_ms) {
            self.hold_until_ms = None;
            self.dirty = true;
            self.end_viewers(CloseReason::Unpublished);
        }
    }

    /// Half a second of the stream may wait unsent in the kernel for each viewer: less would cost a fast
    /// stream's viewers wake-ups, more would cost memory for those who stop reading.
    fn bound_unsent(&mut self) {
        let Some(half_second) = self.log.bytes_in(UNSENT_MS) else { return };
        let wished = u32::try_from(half_second).unwrap_or(u32::MAX).clamp(UNSENT_MIN_BYTES, UNSENT_MAX_BYTES);
        // A quarter more or less is no news.
        if wished.abs_diff(self.unsent_bytes) > self.unsent_bytes / 4 {
            for (_, viewer) in &self.viewers {
                viewer.wire.bound_unsent(wished);
            }
            self.unsent_bytes = wished;
        }
    }

    fn trim(&mut self) {
        let readers = self.viewers.iter().filter_map(|(_, viewer)| match viewer.mode {
            Mode::Waiting if viewer.early => Some(self.log.begun()),
            _ => viewer.reads().then_some(viewer.offset),
        });
        let readers_from = readers.min().unwrap_or(self.log.end());
        let has_video = self.has_video();
        self.log.trim(&self.settings, readers_from, has_video);
    }

    /// Whether there is anybody to be served, now or at the next tick.
    pub(super) fn has_work(&self) -> bool {
        self.dirty || !self.newcomers.is_empty()
    }

    /// When viewers are to be served again: with what came at the feed's tick; those who were behind, and can
    /// take more now, sooner, since they must not use up the tick of the others.
    pub(super) fn due_ms(&self, interval_ms: u32) -> u64 {
        if interval_ms == 0 || self.pump_at > 0 {
            0
        } else if self.fresh {
            next_tick(self.pumped_ms, interval_ms)
        } else {
            next_tick(self.served_ms, interval_ms.min(CATCH_UP_MS))
        }
    }

    /// The interval between two writes to viewers, in ms.
    pub fn interval_ms(&self, auto_ms: u32) -> u32 {
        let wished = match self.settings.cadence {
            Cadence::Auto => auto_ms,
            Cadence::Fixed { ms } => ms,
            Cadence::MinLatency => 0,
        };
        wished.max(self.settings.send_min_interval_ms)
    }

    pub(super) fn lend_pieces(&mut self) -> Vec<super::pump::Piece> {
        std::mem::take(&mut self.pieces)
    }

    pub(super) fn return_pieces(&mut self, mut pieces: Vec<super::pump::Piece>) {
        pieces.clear();
        self.pieces = pieces;
    }

    /// Closes all viewers' connections.
    pub(super) fn close_all(&mut self, reason: CloseReason) {
        let slots: Vec<usize> = self.viewers.iter().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.close(slot, reason));
    }

    /// Closes a viewer's connection.
    pub(super) fn close(&mut self, slot: usize, reason: CloseReason) {
        if let Some(viewer) = self.viewers.get_mut(slot)
            && viewer.mode != Mode::Closed
        {
            viewer.mode = Mode::Closed;
            viewer.wire.close(reason);
        }
    }
}
