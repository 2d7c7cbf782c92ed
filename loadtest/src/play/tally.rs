//! What is counted over all players.

use crate::procstat;
use crate::report::Times;

/// A player that gets nothing for longer has a gap.
const GAP_NS: u64 = 2_000_000_000;
/// Reasons of failures that the report names.
const MAX_REASONS: usize = 5;

/// See the module.
pub(super) struct Tally {
    pub(super) playing: usize,
    pub(super) connected: usize,
    pub(super) failed: usize,
    pub(super) closed: usize,
    pub(super) broken: usize,
    pub(super) reasons: Vec<String>,
    pub(super) ramp_ns: u64,
    pub(super) bytes: u64,
    pub(super) messages: u64,
    pub(super) gaps: u64,
    pub(super) longest_gap_ns: u64,
    pub(super) first_picture: Times,
    pub(super) latency: Times,
    pub(super) tcp_before: u64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            playing: 0,
            connected: 0,
            failed: 0,
            closed: 0,
            broken: 0,
            reasons: Vec::new(),
            ramp_ns: 0,
            bytes: 0,
            messages: 0,
            gaps: 0,
            longest_gap_ns: 0,
            first_picture: Times::new(),
            latency: Times::new(),
            tcp_before: procstat::tcp_memory_bytes(),
        }
    }

    pub(super) fn fail(&mut self, reason: String) {
        self.failed += 1;
        self.reason(reason);
    }

    pub(super) fn reason(&mut self, reason: String) {
        if self.reasons.len() < MAX_REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// A playing player got nothing for this long.
    pub(super) fn silent(&mut self, ns: u64) {
        self.gaps += u64::from(ns > GAP_NS);
        self.longest_gap_ns = self.longest_gap_ns.max(ns);
    }
}
