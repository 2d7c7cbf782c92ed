//! A failure made small: what it does not need is left out, as long as the same check fails.

use crate::cut::{Cut, Part};
use crate::report::{self, Failure};
use crate::world::World;

/// Runs that shrinking may take.
const RUNS: u32 = 400;

/// A run that fails in the same way as another, with less in it.
pub(crate) struct Shrunk {
    pub(crate) cut: Cut,
    pub(crate) kept: Vec<Part>,
    pub(crate) failure: Failure,
    pub(crate) runs: u32,
}

/// Leaves out what it can: parts by halves, quarters … down to single ones, then time.
pub(crate) fn shrink(seed: u64, first: Failure) -> Shrunk {
    let all = World::new(seed, &Cut::default()).parts();
    let mut best = Shrunk { cut: Cut::default(), kept: all.clone(), failure: first, runs: 0 };
    let mut size = best.kept.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.kept.len() && best.runs < RUNS {
            let to = (at + size).min(best.kept.len());
            let kept = [&best.kept[..at], &best.kept[to..]].concat();
            if !best.does_with(seed, &all, kept, best.cut.chaos_ms) {
                at = to;
            }
        }
        size /= 2;
    }
    let mut chaos_ms = 4_000;
    while chaos_ms > 0 && best.runs < RUNS {
        best.does_with(seed, &all, best.kept.clone(), Some(chaos_ms));
        chaos_ms /= 2;
    }
    best
}

impl Shrunk {
    fn does_with(&mut self, seed: u64, all: &[Part], kept: Vec<Part>, chaos_ms: Option<u64>) -> bool {
        let cut = Cut::all_but(all, &kept, chaos_ms);
        self.runs += 1;
        match report::run(seed, &cut) {
            Err(failure) if failure.check == self.failure.check => {
                (self.cut, self.kept, self.failure) = (cut, kept, failure);
                true
            }
            _ => false,
        }
    }
}

/// The story of a seed that fails, made small.
pub(crate) fn story(seed: u64, first: Failure) -> String {
    let shrunk = shrink(seed, first);
    let all = World::new(seed, &Cut::default()).parts();
    let left = |what: &str, is: fn(&Part) -> bool| {
        let count = |parts: &[Part]| parts.iter().filter(|part| is(part)).count();
        format!("{} of {} {what}", count(&shrunk.kept), count(&all))
    };
    let faults: Vec<&Part> = shrunk.kept.iter().filter(|part| matches!(part, Part::Fault(_))).collect();
    format!(
        "seed {seed}, made small in {} runs, with {}, {}, {}, {} and {faults:?}:\n{}\n{}",
        shrunk.runs,
        left("streams", |part| matches!(part, Part::Stream(_))),
        left("sessions", |part| matches!(part, Part::Session(_))),
        left("viewers", |part| matches!(part, Part::Viewer(_))),
        shrunk.cut.chaos_ms.map_or("all the time".to_owned(), |ms| format!("{ms} ms of trouble")),
        shrunk.failure,
        report::traced(seed, &shrunk.cut),
    )
}
