//! A format's recent bytes: blocks addressed by an absolute offset, and the keyframes in them.
//!
//! `start <= key <= end` for every key. The owner keeps one log per format in demand, every shard with
//! viewers keeps its own (the blocks themselves are shared). **The GOP cache is the log's tail**: the current
//! GOP and the one before, so that a joiner is not overtaken at the next keyframe.

use super::block::{Block, LogOffset};
use super::prelude::Prelude;
use super::settings::Settings;
use super::wire::Wire;
use crate::formats::message::MediaTime;
use std::collections::VecDeque;
use std::sync::Arc;

/// A place where a viewer can start: a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Start of the keyframe's unit.
    pub offset: LogOffset,
    /// Its time.
    pub time: MediaTime,
    /// Its continuity counters (TS).
    pub counters: u16,
}

/// The recent blocks of one format of one stream.
#[derive(Debug, Default)]
pub struct Log {
    blocks: VecDeque<Arc<Block>>,
    keys: VecDeque<Key>,
    end: LogOffset,
    /// Where the publish in force began: nobody starts before it.
    begun: LogOffset,
    /// Time of its first unit that came here.
    begun_time: Option<MediaTime>,
    bytes: usize,
}

/// Whether a block followed on the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It did.
    InStep,
    /// Bytes are missing before it; everything older was dropped.
    AfterGap,
}

impl Log {
    /// An empty log that goes on at `end`.
    pub fn at(end: LogOffset) -> Log {
        Log { end, begun: end, ..Log::default() }
    }

    /// The end: where the next block stands.
    pub fn end(&self) -> LogOffset {
        self.end
    }

    /// Where the publish in force began.
    pub fn begun(&self) -> LogOffset {
        self.begun
    }

    /// The oldest byte kept.
    pub fn start(&self) -> LogOffset {
        self.blocks.front().map_or(self.end, |block| block.start)
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The blocks kept, oldest first.
    pub fn blocks(&self) -> &VecDeque<Arc<Block>> {
        &self.blocks
    }

    /// Time of the newest unit.
    pub fn live_time(&self) -> Option<MediaTime> {
        self.blocks.back().map(|block| block.last_time())
    }

    /// The newest keyframe kept.
    pub fn newest_key(&self) -> Option<Key> {
        self.keys.back().copied()
    }

    /// The oldest keyframe kept of this publish.
    pub fn oldest_key(&self) -> Option<Key> {
        self.keys.front().copied()
    }

    /// What so many ms of the stream take, judged by what is kept; None while nothing is.
    pub fn bytes_in(&self, ms: i64) -> Option<u64> {
        // From its first unit on: a block may hold seconds, if its owner was busy.
        let kept_ms = (self.live_time()?.0 - self.blocks.front()?.units.first()?.time.0).max(1_000);
        u64::try_from(self.bytes as i64 * ms / kept_ms).ok()
    }

    /// The prelude in force at the end.
    pub fn newest_prelude(&self) -> Option<&Arc<Prelude>> {
        self.blocks.back().map(|block| &block.prelude)
    }

    /// Fetches ahead where its oldest and newest block are, which pushing and trimming look at.
    pub(super) fn fetch_ends<W: Wire>(&self) {
        self.ends().for_each(W::fetch);
    }

    /// And then the blocks.
    pub(super) fn fetch_blocks<W: Wire>(&self) {
        self.ends().for_each(|block| W::fetch(&**block));
    }

    fn ends(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.front().into_iter().chain(self.blocks.back())
    }

    /// Appends a block.
    pub fn push(&mut self, block: Arc<Block>) -> Pushed {
        let pushed = if block.start == self.end { Pushed::InStep } else { Pushed::AfterGap };
        if pushed == Pushed::AfterGap {
            self.blocks.clear();
            self.keys.clear();
            self.bytes = 0;
        }
        let first = block.units.first().map(|unit| unit.time);
        self.begun_time = self.begun_time.or(first);
        self.end = block.end();
        self.bytes += block.bytes.len();
        self.keys.extend(block.keys().map(|(offset, unit)| Key {
            offset,
            time: unit.time,
            counters: unit.counters,
        }));
        self.blocks.push_back(block);
        pushed
    }

    /// A publish ended or began: nobody may start in the GOPs before this point any more. The bytes stay for
    /// viewers on their way.
    pub fn begin_publish(&mut self) {
        self.keys.clear();
        self.begun = self.end;
        self.begun_time = None;
    }

    /// Whether media of the publish in force is here, with the prelude that goes with it.
    pub fn has_begun(&self) -> bool {
        self.end > self.begun && self.newest_prelude().is_some_and(|prelude| prelude.has_media())
    }

    /// How much of the publish in force came here, in ms, kept or not.
    pub fn begun_ms(&self) -> i64 {
        let (Some(first), Some(live)) = (self.begun_time, self.live_time()) else { return 0 };
        live.0 - first.0
    }

    /// The blocks kept of the publish in force.
    pub fn of_this_publish(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.iter().filter(|block| block.start >= self.begun)
    }

    /// Drops what nobody may need: blocks before the previous GOP, except those from `readers_from` on that
    /// are younger than the queue length; and whatever exceeds the byte limit. The newest block always stays:
    /// it may be above the limit by itself, and those in step are about to get it.
    pub fn trim(&mut self, settings: &Settings, readers_from: LogOffset, has_video: bool) {
        let Some(live) = self.live_time() else { return };
        // A GOP longer than the limit is no start point: its keyframe does not hold anything.
        let oldest = live.0 - i64::from(settings.gop_cache_max_ms);
        let queue = live.0 - i64::from(settings.queue_length_ms);
        if self.newest_key().is_some_and(|key| key.time.0 < oldest) {
            self.keys.clear();
        }
        let gops = self.keys.len().checked_sub(2).and_then(|at| self.keys.get(at)).or(self.keys.front());
        let gops_from = gops.map_or(self.end, |key| key.offset);
        while self.blocks.len() > 1
            && let Some(block) = self.blocks.front()
        {
            let in_gops = block.end() > gops_from && block.last_time().0 >= 2 * oldest - live.0;
            // Audio alone has no GOPs: the queue length is kept for those who start with recent audio.
            let starts = !has_video && block.start >= self.begun;
            let in_queue = block.last_time().0 >= queue && (block.end() > readers_from || starts);
            let over = self.bytes > settings.feed_max_bytes;
            if (in_gops || in_queue) && !over {
                break;
            }
            self.bytes -= block.bytes.len();
            self.blocks.pop_front();
        }
        let start = self.start();
        while self.keys.front().is_some_and(|key| key.offset < start) {
            self.keys.pop_front();
        }
    }

    /// Lets go of everything before the current GOP: memory is short.
    pub fn shed(&mut self) {
        let keep_from = self.newest_key().map_or(self.end, |key| key.offset);
        while self.blocks.len() > 1 && self.blocks.front().is_some_and(|block| block.end() <= keep_from) {
            self.bytes -= self.blocks.pop_front().map_or(0, |block| block.bytes.len());
        }
        let start = self.start();
        self.keys.retain(|key| key.offset >= start);
    }

    /// The block that contains `offset`, as its number in [`Log::blocks`]; None outside the log.
    pub fn block_at(&self, offset: LogOffset) -> Option<usize> {
        let last = self.blocks.len().checked_sub(1)?;
        if self.blocks[last].start <= offset {
            return (offset < self.end).then_some(last);
        }
        let at = self.blocks.partition_point(|block| block.end() <= offset);
        self.blocks.get(at).is_some_and(|block| block.start <= offset).then_some(at)
    }

    /// How many units stand between two offsets, as far as they are here.
    pub fn units_between(&self, from: LogOffset, to: LogOffset) -> u64 {
        let first = self.blocks.partition_point(|block| block.end() <= from);
        let passed = self.blocks.iter().skip(first).take_while(|block| block.start < to);
        let within = |block: &Arc<Block>| {
            let at = |offset: LogOffset| block.unit_at(offset.max(block.start)).unwrap_or(block.units.len());
            at(to).saturating_sub(at(from)) as u64
        };
        passed.map(within).sum()
    }

    /// The newest keyframe strictly ahead of `offset`.
    pub fn key_ahead(&self, offset: LogOffset) -> Option<Key> {
        self.newest_key().filter(|key| key.offset > offset)
    }

    /// The offset of the first unit of this publish at or after a time; the end if there is none. Blocks from
    /// before the first media are passed over: their prelude may lack headers that nobody is sent again.
    pub fn offset_from(&self, time: MediaTime) -> LogOffset {
        let fits = |block: &&Arc<Block>| block.last_time() >= time && block.prelude.has_media();
        let Some(block) = self.of_this_publish().find(fits) else { return self.end };
        let unit = block.units.partition_point(|unit| unit.time < time);
        block.start + u64::from(block.unit_start(unit))
    }
}
