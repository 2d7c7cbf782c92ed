//! What a run is made of, as parts that it can do without.
//!
//! Every part draws from a chance of its own, so that the others stay as they are when one is left out.

use std::collections::BTreeSet;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Shards take no turn for a while.
    Stalls,
    /// Posts take their time.
    Delays,
    /// Credit comes late, and in crumbs.
    LateCredit,
    /// A vhost's settings change.
    Reloads,
    /// Publishers fall silent without leaving.
    Silence,
    /// Viewers pause.
    Pauses,
    /// Connections of viewers are reset.
    Resets,
    /// Viewers take little, now and then, or nothing more.
    SlowViewers,
    /// Streams and feeds panic.
    Panics,
    /// Shards change their step of cadence.
    Cadence,
}

/// One thing that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Fault(Fault),
    Stream(usize),
    Session(usize),
    Viewer(usize),
}

/// What a run does without.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    parts: BTreeSet<Part>,
    /// The trouble is over after so long.
    pub(crate) chaos_ms: Option<u64>,
}

impl Cut {
    /// Everything but these.
    pub(crate) fn all_but(all: &[Part], kept: &[Part], chaos_ms: Option<u64>) -> Cut {
        Cut { parts: all.iter().filter(|part| !kept.contains(part)).copied().collect(), chaos_ms }
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    pub(crate) fn keeps(&self, fault: Fault) -> bool {
        !self.has(Part::Fault(fault))
    }
}

/// All parts that a run of so many can have.
pub(crate) fn parts(streams: usize, sessions: usize, viewers: usize) -> Vec<Part> {
    use Fault::*;
    let faults = [Stalls, Delays, LateCredit, Reloads, Silence, Pauses, Resets, SlowViewers, Panics, Cadence];
    let faults = faults.into_iter().map(Part::Fault);
    let streams = (0..streams).map(Part::Stream);
    let sessions = (0..sessions).map(Part::Session);
    faults.chain(streams).chain(sessions).chain((0..viewers).map(Part::Viewer)).collect()
}
