//! What is told of a run: its trace while it goes, and why it ended where a check did not hold.

use crate::cut::Cut;
use crate::tally::Tally;
use crate::world::World;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Events kept of a traced run.
const EVENTS: usize = 400;
/// Those of them that a report shows.
const EVENTS_SHOWN: usize = 50;

thread_local! {
    static TRACING: Cell<bool> = const { Cell::new(false) };
    static TRACE: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
    static CAST: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static WHY: RefCell<(String, String)> = const { RefCell::new((String::new(), String::new())) };
    static STEP: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Notes an event, if this run is traced.
macro_rules! trace {
    ($now:expr, $($text:tt)*) => {
        if $crate::report::is_tracing() {
            $crate::report::event(format!("{:>6} {}", $now, format!($($text)*)));
        }
    };
}
pub(crate) use trace;

pub(crate) fn is_tracing() -> bool {
    TRACING.get()
}

pub(crate) fn event(line: String) {
    TRACE.with_borrow_mut(|lines| {
        if lines.len() == EVENTS {
            lines.pop_front();
        }
        lines.push_back(line);
    });
}

/// Who plays in a traced run.
pub(crate) fn cast(lines: Vec<String>) {
    CAST.set(lines);
}

/// The run is at this step, at this virtual time.
pub(crate) fn at(step: u64, now_ms: u64) {
    STEP.set((step, now_ms));
}

/// Ends the run: a check did not hold.
pub(crate) fn violated(check: &str, what: String) -> ! {
    panic!("{check}: {what}")
}

/// A panic that was caught and not asked for ends the run.
pub(crate) fn caught_panic() -> ! {
    let (why, place) = WHY.take();
    violated("panic", format!("{why} [{place}]"))
}

/// Panics of runs are kept as the reason they ended, not printed.
pub(crate) fn keep_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some(THREAD) {
            return before(info);
        }
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let why = info.payload();
        let text = why.downcast_ref::<String>().cloned();
        let why = text.or_else(|| why.downcast_ref::<&str>().map(|&s| s.to_owned())).unwrap_or_default();
        WHY.set((why, place));
    }));
}

/// The name of threads in which runs happen.
pub(crate) const THREAD: &str = "sim";

/// A check that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its name; of a panic that no check made, its place.
    pub(crate) check: String,
    pub(crate) what: String,
    pub(crate) step: u64,
    pub(crate) now_ms: u64,
}

impl Failure {
    fn of_panic() -> Failure {
        let (why, place) = WHY.take();
        let (step, now_ms) = STEP.get();
        let why = why.trim_start_matches("assertion `left == right` failed: ").replace('\n', ",");
        let named = why.split_once(": ").filter(|(check, _)| !check.contains(' '));
        let (check, what) = match named {
            Some((check, what)) => (check.to_owned(), format!("{what} [{place}]")),
            None => (place, why),
        };
        Failure { check, what, step, now_ms }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} (step {}, {} ms)", self.check, self.what, self.step, self.now_ms)
    }
}

/// Runs one seed, without what is cut.
pub(crate) fn run(seed: u64, cut: &Cut) -> Result<Tally, Failure> {
    catch_unwind(AssertUnwindSafe(|| World::new(seed, cut).run())).map_err(|_| Failure::of_panic())
}

/// Runs one seed again and tells who played and the last events.
pub(crate) fn traced(seed: u64, cut: &Cut) -> String {
    TRACING.set(true);
    TRACE.take();
    let result = run(seed, cut);
    TRACING.set(false);
    let (cast, events) = (CAST.take(), TRACE.take());
    let skipped = events.len().saturating_sub(EVENTS_SHOWN);
    let mut lines = vec!["who plays:".to_owned()];
    lines.extend(cast.into_iter().map(|line| format!("  {line}")));
    lines.push(format!("the last {} events (ms, what):", events.len() - skipped));
    lines.extend(events.into_iter().skip(skipped));
    lines.extend(result.err().map(|failure| failure.to_string()));
    lines.join("\n")
}
