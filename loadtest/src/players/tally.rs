//! What is counted over all players of a group.

use crate::stage::Outcome;
use crate::times::Times;

/// A player that gets nothing for longer has a gap.
const GAP_NS: u64 = 2_000_000_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Now.
    pub(crate) playing: usize,
    pub(crate) outcome: Outcome,
    /// Got bytes that are wrong.
    pub(crate) broken: u64,
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
    /// A playing player got nothing for this long.
    pub(super) fn silent(&mut self, ns: u64) {
        self.gaps += u64::from(ns > GAP_NS);
        self.longest_gap_ns = self.longest_gap_ns.max(ns);
    }
}
