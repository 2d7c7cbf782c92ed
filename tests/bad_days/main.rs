//! Bad days of the real binary: whatever peers, the machine or the clock do, the neighbour's viewers get every frame
//! with no gap over 2 s, memory comes back to what the limits say, and the log names the cause, once a second.
//!
//! One kind of day per module. Most of the time is spent waiting for timeouts: `cargo test --test bad_days --
//! --test-threads=8`. Cycles of `cycles.rs` can be as many as wanted: `CYCLES=5000`.

#![allow(clippy::print_stderr)] // figures of a run: `-- --nocapture`

#[path = "../support/mod.rs"]
mod support;

mod clocks;
mod crowds;
mod cycles;
mod encoders;
mod exhaustion;
mod hostile_bytes;
mod peers;
mod slow_peers;
#[cfg(feature = "fault-injection")]
mod stalls;
