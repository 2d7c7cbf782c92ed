//! What is counted over all players of a group.

use crate::times::Times;

/// A player that gets nothing for longer has a gap.
const GAP_NS: u64 = 2_000_000_000;
/// Reasons of failures that the report names.
const MAX_REASONS: usize = 5;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Now.
    pub(crate) playing: usize,
    /// Started to play.
    pub(crate) connected: u64,
    /// Never started.
    pub(crate) failed: u64,
    /// Started, and were closed by the server, the broken ones among them.
    pub(crate) closed: u64,
    /// Got bytes that are wrong.
    pub(crate) broken: u64,
    /// Left by themselves, to make place for the next.
    pub(crate) left: u64,
    /// The first few reasons of failed, closed and broken players.
    pub(crate) reasons: Vec<String>,
    /// From the first connect until all had started.
    pub(crate) ramp_ns: u64,
    pub(crate) bytes: u64,
    /// Media messages that the sample received in the window.
    pub(crate) messages: u64,
    pub(crate) gaps: u64,
    pub(crate) longest_gap_ns: u64,
    /// Players of the ramp that have seen a key picture, and when the last one did.
    pub(crate) saw: u64,
    pub(crate) last_saw_ns: u64,
    /// From connect to the first key picture.
    pub(crate) first_picture: Times,
    /// The same of those who came while others left.
    pub(crate) later_picture: Times,
    /// From publisher to player, in the window.
    pub(crate) latency: Times,
}

impl Tally {
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
