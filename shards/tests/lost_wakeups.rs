//! Goal: no message from another shard waits longer than the heartbeat allows, although glommio can park an
//! executor that has runnable tasks.
//! Method: shard 0 posts paced messages, one at a time, to an otherwise idle shard 1, while other threads
//! keep the cores busy. 20 runs of a second. The ignored counterpart does the same with the heartbeat off and
//! must find runs that hang:
//! `cargo test -p shards --test lost_wakeups -- --ignored --nocapture`

mod support;

use shards::executor::HEARTBEAT_IDLE;
use shards::{Control, Ctx, Next, ShardId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::Lab;

const RUN: Duration = Duration::from_secs(1);
const PACE: Duration = Duration::from_micros(100);
/// Threads that keep the cores busy.
const BUSY: usize = 2;
/// What the scheduler of a loaded machine may add.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Tally {
    posted: AtomicU64,
    arrived: AtomicU64,
    worst_us: AtomicU64,
    stop: AtomicBool,
}

/// One run; true if every message came in time.
fn run_once(heartbeat: bool, awake: bool) -> (bool, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    let shared = Arc::clone(&tally);
    let make = move |ctx: Ctx<Instant>| {
        let (to, from) = (Arc::clone(&shared), Arc::clone(&shared));
        let live = ctx.clone();
        Lab::new(ctx)
            .on_message(move |_, _, posted: Instant| {
                to.arrived.fetch_add(1, Ordering::SeqCst);
                to.worst_us.fetch_max(posted.elapsed().as_micros() as u64, Ordering::SeqCst);
            })
            .on_turn(|_| Next::Idle)
            .live(async move {
                let _awake = awake.then(|| live.stay_awake());
                if live.me() != ShardId(0) {
                    return std::future::pending().await;
                }
                let began = Instant::now();
                while began.elapsed() < RUN {
                    live.post(ShardId(1), Instant::now());
                    from.posted.fetch_add(1, Ordering::SeqCst);
                    // Spins up to the next post, yielding: its own sleep could be lost, too.
                    let next = Instant::now() + PACE;
                    while Instant::now() < next {
                        futures_lite::future::yield_now().await;
                    }
                }
                from.stop.store(true, Ordering::SeqCst);
            })
    };
    let running = shards::master::run_with(&support::unpinned(2), &[], make, heartbeat).unwrap();
    let busy: Vec<_> = (0..BUSY)
        .map(|_| {
            let tally = Arc::clone(&tally);
            std::thread::spawn(move || {
                while !tally.stop.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    for thread in busy {
        thread.join().unwrap();
    }
    let deadline = Instant::now() + HEARTBEAT_IDLE + SLACK;
    let all_in = || tally.arrived.load(Ordering::SeqCst) == tally.posted.load(Ordering::SeqCst);
    while !all_in() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let late = Duration::from_micros(tally.worst_us.load(Ordering::SeqCst)) > HEARTBEAT_IDLE + SLACK;
    let in_time = all_in() && !late;
    running.broadcast(Control::Stop);
    if in_time {
        support::join(running);
    } // else a shard sleeps for good: its thread is left to the end of the process
    (in_time, tally)
}

#[test]
fn no_message_waits_longer_than_the_heartbeat() {
    for run in 0..20 {
        let (in_time, tally) = run_once(true, run % 2 == 0);
        assert!(in_time, "run {run}: {tally:?}");
        assert!(tally.posted.load(Ordering::SeqCst) > 100, "run {run} posted next to nothing: {tally:?}");
    }
}

#[test]
#[ignore = "shows the fault itself, in up to 60 runs of a second"]
fn without_the_heartbeat_it_hangs() {
    for run in 1..=60 {
        let (in_time, tally) = run_once(false, false);
        if !in_time {
            eprintln!("hung in run {run}: {tally:?}");
            return;
        }
    }
    panic!("60 runs without a hang: does glommio no longer lose wake-ups?");
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [posted, arrived, worst_us] =
            [&self.posted, &self.arrived, &self.worst_us].map(|n| n.load(Ordering::SeqCst));
        write!(f, "{arrived} of {posted} posts arrived, the slowest after {worst_us} µs")
    }
}
