//! A viewer: a cursor into a feed's log.

use super::block::LogOffset;
use super::wire::Wire;
use crate::formats::message::MediaTime;

/// What a viewer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For a stream to start, or for one to be published.
    Waiting,
    /// Everything from its offset on.
    Step,
    /// Audio (and data) only, until the next keyframe: there was no place to start, or it jumped.
    Audio,
    /// Nothing more: its connection is on its way out.
    Closed,
}

/// What a viewer asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Bytes without HTTP/1.1 chunk framing, for HTTP/1.0 clients.
    pub bare: bool,
    /// The play ends after so many ms of media (RTMP `play`'s duration).
    pub duration_ms: Option<u32>,
}

/// What is counted of a viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerCounters {
    /// Bytes of the feed sent.
    pub sent_bytes: u64,
    /// Times it jumped ahead because it had fallen behind.
    pub jumps: u32,
    /// Units it did not get in those jumps, as far as they were still here to be counted.
    pub dropped_units: u64,
    /// Furthest it has been behind live, in ms.
    pub worst_lag_ms: u32,
}

/// A cursor into the log of one feed.
#[derive(Debug)]
pub struct Viewer<W> {
    /// Its connection.
    pub wire: W,
    pub(super) offset: LogOffset,
    pub(super) mode: Mode,
    /// Its publisher left: it gets what is before this offset, then the end.
    pub(super) ends_at: Option<LogOffset>,
    /// Version of the prelude it was given last.
    pub(super) prelude: u32,
    /// It was here before the publish in force began, so it misses nothing of it.
    pub(super) early: bool,
    /// Whether it got its very first bytes.
    pub(super) started: bool,
    /// Whether it once had all there was.
    pub(super) caught_up: bool,
    pub(super) paused: bool,
    pub(super) wanted: Wanted,
    pub(super) until: Option<MediaTime>,
    /// The GOP it started with does not count as falling behind until it has once caught up.
    pub(super) allowance_ms: u32,
    /// Its counters.
    pub counters: ViewerCounters,
}

impl<W> Viewer<W> {
    /// A viewer that waits for its start.
    pub fn new(wire: W, wanted: Wanted) -> Viewer<W> {
        Viewer {
            wire,
            offset: LogOffset(0),
            mode: Mode::Waiting,
            ends_at: None,
            prelude: 0,
            early: false,
            started: false,
            caught_up: false,
            paused: false,
            wanted,
            until: None,
            allowance_ms: 0,
            counters: ViewerCounters::default(),
        }
    }

    /// What it is doing.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Where it stands.
    pub fn offset(&self) -> LogOffset {
        self.offset
    }

    /// Whether its cursor holds blocks in the log.
    pub(super) fn reads(&self) -> bool {
        matches!(self.mode, Mode::Step | Mode::Audio)
    }
}

impl<W: Wire> Viewer<W> {
    /// It has all there is.
    pub(super) fn note_caught_up(&mut self) {
        self.allowance_ms = 0;
        if !self.caught_up {
            self.caught_up = true;
            self.wire.push_out();
        }
    }
}
