//! A sealed block: the bytes of a format since the last seal, with an index, never changed again.

use super::encode::Unit;
use super::prelude::Prelude;
use crate::formats::message::{Kind, MediaTime};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of all blocks of this process that are still referred to: touched when a block is sealed and when
/// its last reference goes, never per viewer.
static SEALED_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes held by all blocks of the process now.
pub fn sealed_bytes() -> u64 {
    SEALED_BYTES.load(Ordering::Relaxed)
}

/// A position in a format's endless log of bytes; the same on every shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogOffset(pub u64);

impl std::ops::Add<u64> for LogOffset {
    type Output = LogOffset;
    fn add(self, bytes: u64) -> LogOffset {
        LogOffset(self.0 + bytes)
    }
}

impl std::ops::Sub for LogOffset {
    type Output = u64;
    fn sub(self, earlier: LogOffset) -> u64 {
        self.0 - earlier.0
    }
}

/// Sealed bytes of whole units. Shared by all shards and viewers; dropped with the last slice of it.
#[derive(Debug)]
pub struct Block {
    /// Where it stands in the log.
    pub start: LogOffset,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its units; never empty, the last one ends with the bytes.
    pub units: Box<[Unit]>,
    /// The prelude in force from its first unit on; a change of prelude begins a new block.
    pub prelude: Arc<Prelude>,
}

impl Drop for Block {
    fn drop(&mut self) {
        SEALED_BYTES.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

impl Block {
    /// Seals bytes into a block.
    pub fn seal(start: LogOffset, bytes: Bytes, units: Box<[Unit]>, prelude: Arc<Prelude>) -> Arc<Block> {
        SEALED_BYTES.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Arc::new(Block { start, bytes, units, prelude })
    }

    /// Where the next block stands.
    pub fn end(&self) -> LogOffset {
        self.start + self.bytes.len() as u64
    }

    /// Time of its last unit.
    pub fn last_time(&self) -> MediaTime {
        self.units.last().map_or(MediaTime(i64::MIN), |unit| unit.time)
    }

    /// The unit that contains `offset`, as its number; None at or behind the block's end.
    pub fn unit_at(&self, offset: LogOffset) -> Option<usize> {
        let within = offset.0.checked_sub(self.start.0)?;
        let at = self.units.partition_point(|unit| u64::from(unit.end) <= within);
        (at < self.units.len()).then_some(at)
    }

    /// Where unit number `at` begins, in bytes from the start of the block.
    pub fn unit_start(&self, at: usize) -> u32 {
        at.checked_sub(1).and_then(|before| self.units.get(before)).map_or(0, |unit| unit.end)
    }

    /// Keyframes in this block: the offset of each, and its unit.
    pub fn keys(&self) -> impl Iterator<Item = (LogOffset, &Unit)> {
        self.units
            .iter()
            .enumerate()
            .filter(|(_, unit)| unit.key && unit.kind == Kind::Video)
            .map(|(at, unit)| (self.start + u64::from(self.unit_start(at)), unit))
    }
}
