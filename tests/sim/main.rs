//! The stream core under virtual time: publishers, shards, viewers and all that can go wrong between them,
//! in one thread per run and from one seed (DESIGN §6).
//!
//! The hubs are the real code. What surrounds them is made up here: a network that keeps order per pair of
//! shards and no further ([`network`]), connections that are slow, moody or stuck ([`wire`]), publishers
//! whose frames say what they are ([`script`]), and players that hold every frame against what was published
//! ([`player`]). [`world`] lets them meet.
//!
//! `SIM_SEED=n` runs one seed with its trace, `SIM_SEEDS=n` so many; a failure prints its seed.

mod network;
mod player;
mod rng;
mod script;
mod wire;
mod world;

use srs_shard::stream::post::{FeedItem, Post};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds in CI.
const SEEDS: u64 = 10_000;
/// Lines of trace kept.
const TRACE_LINES: usize = 400;

thread_local! {
    static TRACING: Cell<bool> = const { Cell::new(false) };
    static TRACE: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
    static WHY: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Notes a line, if this run is traced.
macro_rules! trace {
    ($now:expr, $($text:tt)*) => {
        if $crate::TRACING.get() {
            $crate::trace_line(format!("{:>6} {}", $now, format!($($text)*)));
        }
    };
}
pub(crate) use trace;

fn trace_line(line: String) {
    TRACE.with_borrow_mut(|lines| {
        if lines.len() == TRACE_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    });
}

/// Ends the run: a check did not hold.
fn violated(check: &str, what: String) -> ! {
    panic!("{check}: {what}")
}

fn short(post: &Post) -> String {
    match post {
        Post::Media { key, epoch, messages } => format!("Media {key} {epoch:?} × {}", messages.len()),
        Post::Publish { key, source, client, .. } => format!("Publish {key} {source:?} nonce {client}"),
        Post::Subscribe { key, format, sub, wish_ms, .. } => {
            format!("Subscribe {key} {format:?} {sub:?} wish {wish_ms}")
        }
        Post::Feed { key, sub, item, .. } => match item {
            FeedItem::Block { epoch, block } => format!(
                "Block {key} {sub:?} {epoch:?} at {} + {}, prelude {}, {} units",
                block.start.0,
                block.bytes.len(),
                block.prelude.version,
                block.units.len(),
            ),
            FeedItem::Start { live, blocks, end, .. } => {
                format!("Start {key} {sub:?} {live:?}, {} blocks to {}", blocks.len(), end.0)
            }
            other => format!("{key} {sub:?} {other:?}"),
        },
        other => format!("{other:?}"),
    }
}

/// Runs one seed; the check that did not hold, and the trace if asked for.
fn run(seed: u64, tracing: bool) -> Result<(u64, u64), String> {
    TRACING.set(tracing);
    TRACE.with_borrow_mut(VecDeque::clear);
    let run = catch_unwind(AssertUnwindSafe(|| {
        let world = world::World::new(seed);
        (world.frames(), world.gaps())
    }));
    run.map_err(|_| WHY.take())
}

/// Panics of the runs' threads are kept as the reason, not printed.
fn keep_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some("sim") {
            let at = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            let why = info.payload();
            let text = why.downcast_ref::<String>().cloned();
            let why = text.or_else(|| why.downcast_ref::<&str>().map(|&s| s.to_owned())).unwrap_or_default();
            WHY.with_borrow_mut(|to| *to = format!("{why} [{at}]"));
        } else {
            before(info);
        }
    }));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn in_sim_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new().name("sim".to_owned()).spawn_scoped(scope, f).unwrap().join().unwrap()
    })
}

#[test]
fn whatever_happens_viewers_get_every_frame_or_jump_to_a_keyframe() {
    keep_panics();
    if let Some(seed) = number("SIM_SEED") {
        let (result, trace) = in_sim_thread(|| (run(seed, true), TRACE.take()));
        if let Err(why) = result {
            panic!("seed {seed}: {why}\n{}", trace.into_iter().collect::<Vec<_>>().join("\n"));
        }
        return;
    }
    let (first, seeds) = (number("SIM_FIRST").unwrap_or(0), number("SIM_SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(first);
    let (frames, gaps, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failures = std::sync::Mutex::new(Vec::new());
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            match run(seed, false) {
                Ok((f, g)) => {
                    frames.fetch_add(f, Ordering::Relaxed);
                    gaps.fetch_add(g, Ordering::Relaxed);
                }
                Err(why) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    failures.lock().unwrap().push((seed, why));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            std::thread::Builder::new().name("sim".to_owned()).spawn_scoped(scope, worker).unwrap();
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    if let Some((seed, _)) = failures.first() {
        let trace = in_sim_thread(|| {
            let _ = run(*seed, true);
            TRACE.take()
        });
        let list: Vec<_> =
            failures.iter().take(40).map(|(seed, why)| format!("seed {seed}: {why}")).collect();
        let trace: Vec<_> = trace.into_iter().rev().take(40).collect();
        let trace: Vec<_> = trace.into_iter().rev().collect();
        panic!(
            "{} of {seeds} seeds failed (rerun one with SIM_SEED):\n{}\ntrace of the first:\n{}",
            failures.len(),
            list.join("\n"),
            trace.join("\n")
        );
    }
    // The runs must have tried what they are for.
    let (frames, gaps) = (frames.into_inner(), gaps.into_inner());
    assert!(frames > seeds * 100, "only {frames} frames came through in {seeds} runs");
    assert!(seeds < 1000 || gaps > seeds / 50, "only {gaps} viewers jumped in {seeds} runs");
}
