//! Goal: no message from another shard waits longer than the heartbeat allows, although glommio can park an
//! executor that has runnable tasks.
//! Method: four pairs of shards. The first of a pair posts one message after another, sleeping 5 to 100 µs in
//! between, to the second, which does nothing else; in half of the runs other threads keep the cores busy. The
//! first's sleeps can be lost just as the second's mail can. 20 runs of a second. The ignored counterpart does
//! the same with the heartbeat off and must find runs that hang:
//! `cargo test -p shards --test lost_wakeups -- --ignored --nocapture`

mod support;

use shards::executor::HEARTBEAT_IDLE;
use shards::{Control, Ctx, Next, ShardId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::Lab;

const RUN: Duration = Duration::from_secs(1);
/// Pairs of shards, each a chance to find the fault.
const PAIRS: u16 = 4;
/// Threads that keep the cores busy in every other run.
const BUSY: usize = 2;
/// What the scheduler of a loaded machine may add.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Tally {
    posted: AtomicU64,
    arrived: AtomicU64,
    worst_us: AtomicU64,
    senders_done: AtomicU64,
    idle_again: AtomicBool,
}

/// One run; true if every message came in time, the one that ends the shards included.
fn run_once(run: usize, heartbeat: bool, awake: bool) -> (bool, Arc<Tally>) {
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
                let me = live.me().0;
                if !me.is_multiple_of(2) {
                    return std::future::pending().await;
                }
                let mut pause_us = 0;
                let began = Instant::now();
                while began.elapsed() < RUN {
                    live.post(ShardId(me + 1), Instant::now());
                    from.posted.fetch_add(1, Ordering::SeqCst);
                    // 5 to 100 µs, in no order: about as long as shard 1 takes to wake and park again.
                    pause_us = (pause_us * 61 + 17) % 96;
                    live.sleep(Duration::from_micros(5 + pause_us)).await;
                }
                from.senders_done.fetch_add(1, Ordering::SeqCst);
            })
    };
    let running = shards::master::run_with(&support::unpinned(PAIRS * 2), &[], make, heartbeat).unwrap();
    let busy: Vec<_> = (0..if run.is_multiple_of(2) { 0 } else { BUSY })
        .map(|_| {
            let tally = Arc::clone(&tally);
            std::thread::spawn(move || {
                while !tally.idle_again.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let all_in = || {
        tally.senders_done.load(Ordering::SeqCst) == u64::from(PAIRS)
            && tally.arrived.load(Ordering::SeqCst) == tally.posted.load(Ordering::SeqCst)
    };
    let deadline = Instant::now() + RUN + HEARTBEAT_IDLE + SLACK;
    while !all_in() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    tally.idle_again.store(true, Ordering::SeqCst);
    for thread in busy {
        thread.join().unwrap();
    }
    let late = Duration::from_micros(tally.worst_us.load(Ordering::SeqCst)) > HEARTBEAT_IDLE + SLACK;
    running.broadcast(Control::Stop); // a message like any other
    // A shard that sleeps for good is left to the end of the process.
    let (ended, has_ended) = flume::bounded(1);
    std::thread::spawn(move || {
        support::join(running);
        let _ = ended.send(());
    });
    let in_time = all_in() && !late && has_ended.recv_timeout(HEARTBEAT_IDLE + SLACK).is_ok();
    (in_time, tally)
}

#[test]
fn no_message_waits_longer_than_the_heartbeat() {
    for run in 0..20 {
        let (in_time, tally) = run_once(run, true, run % 4 < 2);
        assert!(in_time, "run {run}: {tally:?}");
        assert!(tally.posted.load(Ordering::SeqCst) > 100, "run {run} posted next to nothing: {tally:?}");
    }
}

#[test]
#[ignore = "shows the fault itself, in 60 runs of a second"]
#[allow(clippy::print_stderr)]
fn without_the_heartbeat_it_hangs() {
    let runs = 60;
    let hung = (0..runs)
        .filter(|run| {
            let (in_time, tally) = run_once(*run, false, false);
            eprintln!("run {run}: {}, {tally:?}", if in_time { "fine" } else { "hung" });
            !in_time
        })
        .count();
    assert!(hung > 0, "{runs} runs without a hang: does glommio no longer lose wake-ups?");
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [posted, arrived, worst_us] =
            [&self.posted, &self.arrived, &self.worst_us].map(|n| n.load(Ordering::SeqCst));
        write!(f, "{arrived} of {posted} posts arrived, the slowest after {worst_us} µs")
    }
}
