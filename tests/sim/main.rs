//! The stream core under virtual time: publishers, shards, viewers and all that can go wrong between them,
//! in one thread per run and from one seed (DESIGN §6).
//!
//! The hubs are the real code. What surrounds them is made up here: a network that keeps order per pair of
//! shards and no further ([`network`]), connections that are slow, moody or stuck ([`wire`]), publishers
//! whose frames say what they are ([`script`]), panics on purpose ([`bomb`]), and players that hold every
//! frame against what was published ([`player`]). [`world`] lets them meet.
//!
//! `SIM_SEEDS=n` runs so many seeds, `SIM_FIRST=n` from this one on, `SIM_SEED=n` one. The lowest that fails
//! is made small ([`shrink`]) and told with its last events, unless there is `SIM_BRIEF`. [`mutants`] shows that
//! all this sees what it is for.

mod bomb;
mod cut;
mod mutants;
mod network;
mod player;
mod report;
mod rng;
mod script;
mod shrink;
mod tally;
mod wire;
mod world;

use cut::Cut;
use report::Failure;
use srs_shard::stream::block::sealed_bytes;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tally::Tally;

/// Seeds in CI.
const SEEDS: u64 = 10_000;
/// After so many failures no more seeds are tried.
const FAILURES: usize = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn in_sim_threads(threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let builder = std::thread::Builder::new().name(report::THREAD.to_owned());
            builder.spawn_scoped(scope, &work).unwrap();
        }
    });
}

#[test]
fn whatever_happens_viewers_get_every_frame_or_jump_to_a_keyframe() {
    report::keep_panics();
    let began = Instant::now();
    let one = number("SIM_SEED");
    let first = one.or_else(|| number("SIM_FIRST")).unwrap_or(0);
    let seeds = if one.is_some() { 1 } else { number("SIM_SEEDS").unwrap_or(SEEDS) };
    let next = AtomicU64::new(first);
    let tally = Mutex::new(Tally::default());
    // Seeds are handed out in order and all that were are finished: the lowest that fails is always among them.
    let failures: Mutex<Vec<(u64, Failure)>> = Mutex::default();
    in_sim_threads(std::thread::available_parallelism().map_or(1, usize::from), || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || failures.lock().unwrap().len() >= FAILURES {
                return;
            }
            match report::run(seed, &Cut::default()) {
                Ok(tried) => tally.lock().unwrap().add(&tried),
                Err(failure) => failures.lock().unwrap().push((seed, failure)),
            }
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|(seed, _)| *seed);
    if let Some((seed, failure)) = failures.first() {
        let all = failures.iter().map(|(seed, failure)| format!("seed {seed} fails: {failure}\n"));
        let all: String = all.collect();
        let story = Mutex::new(String::new());
        if std::env::var_os("SIM_BRIEF").is_none() {
            in_sim_threads(1, || *story.lock().unwrap() = shrink::story(*seed, failure.clone()));
        }
        panic!("\n{all}{}", story.into_inner().unwrap());
    }
    assert_eq!(sealed_bytes(), 0, "all runs are over, and blocks are left");
    let tally = tally.into_inner().unwrap();
    if std::env::var_os("SIM_SEEDS").is_some() {
        let rate = seeds as f64 / began.elapsed().as_secs_f64();
        writeln!(std::io::stderr(), "{seeds} seeds from {first}, {rate:.0} a second; met: {tally}").unwrap();
    }
    // The runs must have tried what they are for.
    if seeds >= SEEDS {
        tally.assert_tried(seeds);
    }
}
