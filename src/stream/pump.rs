//! The pump: gives every viewer of a feed what came in, straight from the shared blocks to its connection.
//!
//! For a viewer in step that is one contiguous `send` of one block. Whoever is behind gets several slices in
//! one call. A viewer in the pump's hands always stands between two units: when a connection is full, the
//! rest of the unit in flight goes to the connection's parked writer, and the pump passes the viewer by until
//! that is done. So pausing, jumping, private bytes and closing need no care for half-sent messages.

use super::block::{Block, LogOffset};
use super::encode::{CHUNK_HEAD, CHUNK_TAIL, Format};
use super::feed::Feed;
use super::viewer::Mode;
use super::wire::{Taken, Wire};
use crate::formats::message::Kind;
use crate::http::response::LAST_CHUNK;
use crate::stats::reason::CloseReason;
use bytes::Bytes;
use std::io::IoSlice;

/// Sends per feed and turn: under a millisecond at 3 µs each, 1.5 ms at the 6 that a small machine needs.
pub const SENDS_PER_TURN: u32 = 256;
/// Slices in one call for a viewer who catches up: 64 of them cost a third more than one contiguous piece.
const SLICES: usize = 64;
/// Bytes in one call for a viewer who catches up.
const BYTES: usize = 256 << 10;
/// Calls for one viewer in one go; then the others have their turn.
const CALLS: u32 = 4;

/// A run of bytes in one block, and where the viewer stands once it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    block: usize,
    from: u32,
    to: u32,
    next: LogOffset,
}

/// What became of one viewer's share.
enum Served {
    /// It has everything there is.
    InStep,
    /// There is more for it, and its connection still takes it.
    More,
    /// Its connection is full, or gone.
    Away,
}

impl<W: Wire> Feed<W> {
    /// Starts who has just come. It need not wait for the tick, which merges what all get: what it is given now
    /// it gets alone.
    pub fn welcome(&mut self) {
        let mut budget = SENDS_PER_TURN;
        while budget > 0
            && let Some(slot) = self.newcomers.pop_front()
        {
            match self.serve(slot, &mut budget) {
                Served::More => self.dirty = true,
                Served::InStep | Served::Away => {}
            }
        }
    }

    /// Serves viewers until all have what there is or the turn's budget is used.
    pub fn pump(&mut self, now_ms: u64) {
        let mut budget = SENDS_PER_TURN;
        let mut slot = self.pump_at;
        // What came since the walk began is news for those at its beginning; and some there were cut short.
        let mut more = slot > 0;
        // Slots are visited in order; `capacity` bounds them whatever leaves meanwhile.
        while slot < self.viewers.capacity() {
            if let Some(next) = self.viewers.get(slot + 1) {
                next.wire.is_next();
            }
            if self.viewers.contains(slot) {
                match self.serve(slot, &mut budget) {
                    Served::More => more = true,
                    Served::InStep | Served::Away => {}
                }
            }
            slot += 1;
            if budget == 0 {
                self.pump_at = slot;
                return;
            }
        }
        self.pump_at = 0;
        self.dirty = more;
        self.served_ms = now_ms;
        if std::mem::take(&mut self.fresh) {
            self.pumped_ms = now_ms;
        }
    }

    fn serve(&mut self, slot: usize, budget: &mut u32) -> Served {
        let Some(viewer) = self.viewers.get(slot) else { return Served::Away };
        match viewer.mode {
            Mode::Closed => return Served::Away,
            Mode::Waiting => {
                self.try_start(slot);
                let waits = self.viewers.get(slot).is_none_or(|viewer| viewer.mode == Mode::Waiting);
                // Looking at those who wait must not use a turn up: with many of them none would end.
                *budget = budget.saturating_sub(u32::from(!waits));
            }
            Mode::Step if viewer.offset == self.log.end() && viewer.ends_at.is_none() => {
                return Served::InStep;
            }
            _ => {}
        }
        for _ in 0..CALLS {
            if *budget == 0 {
                return Served::More;
            }
            let Some(viewer) = self.viewers.get(slot) else { return Served::Away };
            if viewer.mode == Mode::Waiting || viewer.paused {
                viewer.wire.flush();
                return Served::Away;
            }
            if viewer.mode == Mode::Closed || !viewer.wire.ready() {
                return Served::Away;
            }
            if viewer.offset >= self.end_for(viewer) {
                return self.caught_up(slot);
            }
            *budget -= 1;
            self.counters.sends += 1;
            match self.send_to(slot) {
                Served::More => {}
                other => return other,
            }
        }
        Served::More
    }

    /// The viewer has all there is.
    fn caught_up(&mut self, slot: usize) -> Served {
        let Some(viewer) = self.viewers.get_mut(slot) else { return Served::Away };
        viewer.wire.flush();
        viewer.note_caught_up();
        if viewer.ends_at.is_some() {
            viewer.mode = Mode::Closed;
            if self.format.is_http() && !viewer.wanted.bare {
                viewer.wire.push_private(LAST_CHUNK);
            }
            viewer.wire.end(self.end_reason);
        }
        Served::InStep
    }

    /// One call to the viewer's connection.
    fn send_to(&mut self, slot: usize) -> Served {
        let Some(viewer) = self.viewers.get(slot) else { return Served::Away };
        let Some(last) = self.log.blocks().len().checked_sub(1) else { return Served::Away };
        let may_jump = viewer.ends_at.is_some() || !self.brings_headers_only();
        let Some(at) = self.log.block_at(viewer.offset) else {
            if !may_jump {
                return Served::Away;
            }
            self.counters.trimmed += 1;
            self.jump(slot); // what it stood in is gone
            return Served::More;
        };
        let plain = viewer.mode != Mode::Audio && !viewer.wanted.bare && viewer.until.is_none();
        // An end is always between two blocks, so the last one is before it or there is a later one.
        if at == last && plain {
            return self.send_last_block(slot);
        }
        let lag_ms = self.lag_at(viewer.offset);
        let viewer = &mut self.viewers[slot];
        let allowed = i64::from(self.settings.queue_length_ms) + i64::from(viewer.allowance_ms);
        viewer.counters.worst_lag_ms =
            viewer.counters.worst_lag_ms.max(u32::try_from(lag_ms).unwrap_or(u32::MAX));
        if lag_ms > allowed && viewer.ends_at.is_none() && may_jump {
            self.jump(slot);
            return Served::More;
        }
        self.send_pieces(slot, at)
    }

    /// The way of nearly every byte: the rest of the newest block, in one piece.
    fn send_last_block(&mut self, slot: usize) -> Served {
        let (Some(viewer), Some(block)) = (self.viewers.get_mut(slot), self.log.blocks().back()) else {
            return Served::Away;
        };
        let from = (viewer.offset - block.start) as usize;
        let Some(bytes) = block.bytes.get(from..) else { return Served::Away };
        viewer.prelude = block.prelude.version;
        let sent = match viewer.wire.try_send(&[IoSlice::new(bytes)]) {
            Ok(Taken::All) => bytes.len(),
            Ok(Taken::Part(sent)) => sent,
            Ok(Taken::Nothing) => return Served::Away,
            Err(error) => {
                self.close(slot, CloseReason::of_io(&error));
                return Served::Away;
            }
        };
        viewer.counters.sent_bytes += sent as u64;
        self.counters.sent_bytes += sent as u64;
        if sent == bytes.len() {
            viewer.offset = block.end();
            viewer.note_caught_up();
            return if viewer.ends_at.is_some() { Served::More } else { Served::InStep };
        }
        let (rest, next) = rest_of_unit(block, (from + sent) as u32, 0);
        park(viewer, rest, next, &mut self.counters.sent_bytes);
        Served::Away
    }

    /// Several pieces: for a viewer who is behind, gets audio only, is bare, or stops at some time.
    fn send_pieces(&mut self, slot: usize, at: usize) -> Served {
        let mut pieces = self.lend_pieces();
        let planned = self.plan(slot, at, &mut pieces);
        let served = match planned {
            Planned::Skip(next) if pieces.is_empty() => {
                self.viewers[slot].offset = next;
                Served::More
            }
            Planned::Key(key) if pieces.is_empty() => {
                self.viewers[slot].offset = key; // past the pictures that were left out before it
                self.viewers[slot].mode = Mode::Step;
                self.refresh_prelude(slot);
                Served::More
            }
            Planned::Until if pieces.is_empty() => {
                self.viewers[slot].wire.flush();
                self.close(slot, CloseReason::PlayDurationReached);
                Served::Away
            }
            _ => self.send_planned(slot, &pieces),
        };
        self.return_pieces(pieces);
        served
    }

    fn plan(&self, slot: usize, first: usize, pieces: &mut Vec<Piece>) -> Planned {
        let viewer = &self.viewers[slot];
        let by_unit = viewer.mode == Mode::Audio || viewer.wanted.bare || viewer.until.is_some();
        let (mut offset, mut bytes) = (viewer.offset, 0usize);
        for (block_at, block) in self.log.blocks().iter().enumerate().skip(first) {
            if pieces.len() >= SLICES || bytes >= BYTES || block.start >= self.end_for(viewer) {
                break;
            }
            if !by_unit {
                let from = (offset - block.start) as u32;
                pieces.push(Piece { block: block_at, from, to: block.bytes.len() as u32, next: block.end() });
                bytes += block.bytes.len();
                offset = block.end();
                continue;
            }
            let Some(unit_at) = block.unit_at(offset) else { continue };
            for (n, unit) in block.units.iter().enumerate().skip(unit_at) {
                if viewer.until.is_some_and(|until| unit.time >= until) {
                    return Planned::Until;
                }
                // In TS pictures carry clock and tables: beside them sound alone would be without, and where
                // none are announced it has its own.
                let is_ts = self.format == Format::Ts;
                let sound_only = is_ts && unit.kind == Kind::Audio && !block.prelude.expects_video();
                if viewer.mode == Mode::Audio && (unit.key || sound_only) {
                    return Planned::Key(offset);
                }
                offset = block.start + u64::from(unit.end);
                let skipped = unit.kind == Kind::Video || is_ts;
                if viewer.mode == Mode::Audio && skipped {
                    continue;
                }
                if pieces.len() >= SLICES || bytes >= BYTES {
                    return Planned::Full;
                }
                let (mut from, mut to) = (block.unit_start(n), unit.end);
                if viewer.wanted.bare {
                    from += CHUNK_HEAD as u32;
                    to -= CHUNK_TAIL as u32;
                }
                bytes += (to - from) as usize;
                pieces.push(Piece { block: block_at, from, to, next: offset });
            }
        }
        if pieces.is_empty() { Planned::Skip(offset) } else { Planned::Full }
    }

    fn send_planned(&mut self, slot: usize, pieces: &[Piece]) -> Served {
        let blocks = self.log.blocks();
        let slice = |piece: &Piece| -> &[u8] {
            let bytes = blocks.get(piece.block).map(|block| &block.bytes[..]);
            bytes.and_then(|bytes| bytes.get(piece.from as usize..piece.to as usize)).unwrap_or_default()
        };
        let mut slices = [IoSlice::new(&[]); SLICES];
        for (to, piece) in slices.iter_mut().zip(pieces) {
            *to = IoSlice::new(slice(piece));
        }
        let Some(viewer) = self.viewers.get_mut(slot) else { return Served::Away };
        let taken = viewer.wire.try_send(&slices[..pieces.len().min(SLICES)]);
        let mut sent = match taken {
            Ok(Taken::All) => usize::MAX,
            Ok(Taken::Part(sent)) => sent,
            Ok(Taken::Nothing) => return Served::Away,
            Err(error) => {
                self.close(slot, CloseReason::of_io(&error));
                return Served::Away;
            }
        };
        for piece in pieces {
            let Some(block) = blocks.get(piece.block) else { break };
            let length = (piece.to - piece.from) as usize;
            if viewer.mode != Mode::Audio {
                viewer.prelude = block.prelude.version;
            }
            viewer.counters.sent_bytes += length.min(sent) as u64;
            self.counters.sent_bytes += length.min(sent) as u64;
            if sent < length {
                let tail = if viewer.wanted.bare { CHUNK_TAIL as u32 } else { 0 };
                // A piece is one unit, or whole units: the rest of the unit in flight ends at or before `to`.
                let (rest, next) = rest_of_unit(block, piece.from + sent as u32, tail);
                park(viewer, rest, next, &mut self.counters.sent_bytes);
                return Served::Away;
            }
            sent -= if sent == usize::MAX { 0 } else { length };
            viewer.offset = piece.next;
        }
        Served::More
    }
}

/// Why a plan stopped.
enum Planned {
    /// Enough for one call, or all there is.
    Full,
    /// Nothing for this viewer up to here.
    Skip(LogOffset),
    /// A keyframe, or in TS a publish without pictures: a viewer without video goes on with everything here.
    Key(LogOffset),
    /// The time where the play ends.
    Until,
}

/// What is left of the unit in which `from` stands, and where the next unit begins. `tail` bytes of framing
/// at its end are left out.
fn rest_of_unit(block: &Block, from: u32, tail: u32) -> (Bytes, LogOffset) {
    let at = block.units.partition_point(|unit| unit.end.saturating_sub(tail) <= from);
    let end = block.units.get(at).map_or(block.bytes.len() as u32, |unit| unit.end);
    let to = end.saturating_sub(tail).max(from);
    (block.bytes.slice(from as usize..to as usize), block.start + u64::from(end))
}

fn park<W: Wire>(viewer: &mut super::viewer::Viewer<W>, rest: Bytes, next: LogOffset, feed_sent: &mut u64) {
    viewer.offset = next;
    viewer.counters.sent_bytes += rest.len() as u64;
    *feed_sent += rest.len() as u64;
    viewer.wire.park(rest);
}
