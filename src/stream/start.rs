//! Where a viewer starts, and where it goes on when it fell behind: only ever forward, and with the prelude
//! that is in force there.

use super::block::LogOffset;
use super::encode::{self, Format, Start};
use super::feed::Feed;
use super::log::Key;
use super::metadata::Tracks;
use super::prelude::Prelude;
use super::viewer::Mode;
use super::wire::Wire;
use crate::formats::message::{Kind, MediaTime};
use crate::stats::reason::CloseReason;
use std::sync::Arc;

/// A stream whose metadata does not say which tracks it has is looked at for so much media time before an
/// HTTP viewer, whose header must name them, starts.
const TRACKS_SETTLE_MS: i64 = 500;

impl<W: Wire> Feed<W> {
    /// Starts a waiting viewer if there is something to start with.
    pub(super) fn try_start(&mut self, slot: usize) {
        if self.refused {
            return self.close(slot, CloseReason::TooManyFormats);
        }
        if !self.has_begun() || !self.settled() {
            return;
        }
        let Some(live) = self.log.live_time() else { return };
        let has_video = self.has_video();
        let end = self.live_edge();
        let begin = self.log.offset_from(MediaTime(i64::MIN));
        let waits_for_key = has_video && self.log.oldest_key().is_none_or(|key| key.offset > begin);
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let (offset, mode) = match self.log.newest_key() {
            // Who waited for the publish misses nothing of it, whatever else came meanwhile.
            _ if viewer.early => (begin, if waits_for_key { Mode::Audio } else { Mode::Step }),
            Some(key) if self.settings.gop_cache => (key.offset, Mode::Step),
            _ if has_video => (end, Mode::Audio),
            _ if self.settings.fast_cache_ms > 0 => {
                (self.log.offset_from(MediaTime(live.0 - i64::from(self.settings.fast_cache_ms))), Mode::Step)
            }
            _ => (end, Mode::Step),
        };
        viewer.offset = offset;
        viewer.mode = mode;
        let place = self.place_at(offset);
        let start = Start { first: true, time: place.time, counters: place.counters };
        self.give_prelude(slot, start, &place.prelude);
        let behind = (live.0 - place.time.0).max(0);
        if let Some(viewer) = self.viewers.get_mut(slot) {
            viewer.started = true;
            viewer.allowance_ms = u32::try_from(behind).unwrap_or(u32::MAX);
            viewer.until = viewer.wanted.duration_ms.map(|ms| MediaTime(place.time.0 + i64::from(ms)));
        }
    }

    /// Whether pictures are to be waited for: not in a format of sound alone, whatever the stream has.
    pub(super) fn has_video(&self) -> bool {
        self.prelude.has_video && self.format.carries_video()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.live.is_some() && self.log.has_begun()
    }

    /// Whether the publish in force has brought no frame yet. Who jumps into it now would be given the headers
    /// that came so far, and not see those that follow, since players in step have them.
    pub(super) fn brings_headers_only(&self) -> bool {
        self.live.is_some() && !self.log.has_begun()
    }

    /// A publish begins, or the first item tells how far one is: who waits now is early, or late.
    pub(super) fn note_early(&mut self) {
        let early = !self.has_begun();
        for (_, viewer) in self.viewers.iter_mut().filter(|(_, viewer)| viewer.mode == Mode::Waiting) {
            viewer.early = early;
        }
    }

    /// Whether it is known which tracks the stream has; RTMP need not know.
    fn settled(&self) -> bool {
        let told = self.format == Format::Flv && self.settings.flv_tracks.is_some();
        if told || !self.format.is_http() || (self.prelude.has_audio && self.prelude.has_video) {
            return true;
        }
        if self.prelude.announced == Some(self.seen_tracks()) {
            return true;
        }
        self.log.begun_ms() >= TRACKS_SETTLE_MS
    }

    fn seen_tracks(&self) -> Tracks {
        Tracks { audio: self.prelude.has_audio, video: self.prelude.has_video }
    }

    /// Moves a viewer that fell behind: to the newest keyframe ahead, or to the live end, with audio until
    /// the next one. Only ever forward.
    pub(super) fn jump(&mut self, slot: usize) {
        let has_video = self.has_video();
        let edge = self.live_edge();
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let from = viewer.offset;
        let (to, mode) = match (viewer.ends_at, self.log.key_ahead(from)) {
            (Some(end), _) => (end, viewer.mode),
            (None, Some(Key { offset, .. })) => (offset, Mode::Step),
            (None, None) if has_video => (self.log.end(), Mode::Audio),
            (None, None) => (edge.max(from), Mode::Step),
        };
        viewer.mode = mode;
        viewer.offset = to;
        viewer.counters.jumps += 1;
        self.counters.jumps += 1;
        viewer.allowance_ms = 0;
        let dropped = self.log.units_between(from, to);
        self.counters.dropped_units += dropped;
        if let Some(viewer) = self.viewers.get_mut(slot) {
            viewer.counters.dropped_units += dropped;
        }
        self.refresh_prelude(slot);
    }

    /// Gives a viewer that goes on at its offset what it needs there and does not have.
    pub(super) fn refresh_prelude(&mut self, slot: usize) {
        let Some(viewer) = self.viewers.get(slot) else { return };
        let place = self.place_at(viewer.offset);
        // TS needs its tables and discontinuity marks at every jump.
        if viewer.prelude == place.prelude.version && self.format != Format::Ts {
            return;
        }
        let start = Start { first: false, time: place.time, counters: place.counters };
        self.give_prelude(slot, start, &place.prelude);
    }

    fn give_prelude(&mut self, slot: usize, start: Start, prelude: &Prelude) {
        let mut bytes = Vec::new();
        if self.format == Format::Flv && start.first {
            // A file header holds for the whole body: it names the tracks known now, not only those that had
            // begun where the viewer starts.
            let Tracks { audio, video } = self.settings.flv_tracks.unwrap_or(self.seen_tracks());
            let said = Prelude { has_audio: audio, has_video: video, ..prelude.clone() };
            encode::prelude(self.format, &said, &start, &mut bytes);
        } else {
            encode::prelude(self.format, prelude, &start, &mut bytes);
        }
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        viewer.prelude = prelude.version;
        if bytes.is_empty() {
            return;
        }
        if self.format.is_http() && !viewer.wanted.bare {
            bytes = encode::http_chunk(&bytes);
        }
        viewer.wire.push_private(&bytes);
    }

    /// Where a viewer starts that starts with the newest there is. In TS that is the newest unit: which
    /// counters the one after it continues is not known before it is there.
    fn live_edge(&self) -> LogOffset {
        let newest = self.log.blocks().back().filter(|_| self.format == Format::Ts);
        let unit = newest.and_then(|block| Some((block, block.units.len().checked_sub(1)?)));
        unit.map_or(self.log.end(), |(block, at)| block.start + u64::from(block.unit_start(at)))
    }

    fn place_at(&self, offset: LogOffset) -> Place {
        let here = self.log.block_at(offset).and_then(|at| self.log.blocks().get(at));
        if let Some((block, unit)) =
            here.and_then(|block| Some((block, block.units.get(block.unit_at(offset)?)?)))
        {
            return Place { time: unit.time, counters: unit.counters, prelude: Arc::clone(&block.prelude) };
        }
        // The live end: what comes next is not known yet, but it goes on from the last unit, or, where sound and pictures
        // are not in order of their times, from the last one of the other kind.
        let newest = || self.log.blocks().iter().rev().take(2).flat_map(|block| block.units.iter().rev());
        let last_of = |kind: Kind| newest().find(|unit| unit.kind == kind).map(|unit| unit.time);
        Place {
            time: last_of(Kind::Audio).into_iter().chain(last_of(Kind::Video)).min().unwrap_or(MediaTime(0)),
            counters: newest().next().map_or(0, |unit| unit.counters),
            prelude: Arc::clone(&self.prelude),
        }
    }

    /// How far a place in the log is behind its end, in ms.
    pub(super) fn lag_at(&self, offset: LogOffset) -> i64 {
        let Some(live) = self.log.live_time() else { return 0 };
        let block = self.log.block_at(offset).and_then(|at| self.log.blocks().get(at));
        let unit = block.and_then(|block| block.units.get(block.unit_at(offset)?));
        match unit {
            Some(unit) => (live.0 - unit.time.0).max(0),
            None if offset >= self.log.end() => 0,
            None => self.log.blocks().front().map_or(0, |block| live.0 - block.last_time().0).max(0),
        }
    }
}

struct Place {
    time: MediaTime,
    counters: u16,
    prelude: Arc<Prelude>,
}
