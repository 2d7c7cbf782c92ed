//! What the runs tried: a simulation that never meets the trouble it is for proves nothing.

/// Something that the runs must have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Frames,
    Jumps,
    Takeovers,
    /// A takeover while blocks are dropped for an edge.
    TakeoversWhileLagging,
    /// An edge found bytes missing between two blocks.
    EdgeGaps,
    /// A publisher ran out of credit.
    Starved,
    /// A shard took no turn for a second or more.
    LongStalls,
    Reloads,
    /// An item came for a subscription that was no more.
    LateItems,
    /// A publisher left before it was answered.
    Withdrawn,
    StreamPanics,
    FeedPanics,
}

/// Each with how often 1000 seeds meet it at least.
const LEAST: [(Tried, u64); 12] = [
    (Tried::Frames, 1_000_000),
    (Tried::Jumps, 40),
    (Tried::Takeovers, 500),
    (Tried::TakeoversWhileLagging, 1),
    (Tried::EdgeGaps, 5),
    (Tried::Starved, 200),
    (Tried::LongStalls, 500),
    (Tried::Reloads, 500),
    (Tried::LateItems, 1_000),
    (Tried::Withdrawn, 150),
    (Tried::StreamPanics, 30),
    (Tried::FeedPanics, 7),
];

/// How often each was met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally([u64; LEAST.len()]);

impl Tally {
    pub(crate) fn note(&mut self, what: Tried, times: u64) {
        self.0[what as usize] += times;
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, its)| *mine += its);
    }

    pub(crate) fn assert_tried(&self, seeds: u64) {
        for (what, least) in LEAST {
            let (times, least) = (self.0[what as usize], least * seeds / 1000);
            assert!(times >= least, "{what:?}: {times} in {seeds} runs, at least {least} are wanted: {self}");
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        LEAST.iter().try_for_each(|(what, _)| write!(f, "{what:?} {}, ", self.0[*what as usize]))
    }
}
