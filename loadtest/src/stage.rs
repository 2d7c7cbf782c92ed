//! What a run's conductor and its groups share: where the run is, how each group fares, and what came of it.
//!
//! Groups look at the stage at each of their turns and write their gauges there; nothing here is touched per message.

use crate::times::Times;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reasons of failures that a report names.
const MAX_REASONS: usize = 5;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Act {
    /// Encoders come, then players.
    Ramp,
    /// All are there; what rings off the start dies away.
    Settling,
    /// What is measured.
    Window,
    /// Players leave.
    Leaving,
    /// Encoders leave, too.
    Over,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stage {
    act: AtomicU8,
    latency: Mutex<Times>,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage { act: AtomicU8::new(Act::Ramp as u8), latency: Mutex::default() }
    }

    pub(crate) fn act(&self) -> Act {
        match self.act.load(Ordering::Acquire) {
            0 => Act::Ramp,
            1 => Act::Settling,
            2 => Act::Window,
            3 => Act::Leaving,
            _ => Act::Over,
        }
    }

    /// Goes on to an act.
    pub(crate) fn enter(&self, act: Act) {
        self.act.store(act as u8, Ordering::Release);
    }

    /// Latencies of the last second; a group adds its own once a second, and the conductor takes the sum.
    pub(crate) fn latency(&self) -> MutexGuard<'_, Times> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a group's connections.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// Times that a player came to play, or a stream to be live.
    pub(crate) started: u64,
    /// Times that one did not.
    pub(crate) failed: u64,
    /// Had started, and ended against their will.
    pub(crate) closed: u64,
    /// Left by themselves: to make place for others, or to come again.
    pub(crate) left: u64,
    /// The first few reasons of those that failed or were closed.
    pub(crate) reasons: Vec<String>,
}

impl Outcome {
    /// One never started.
    pub(crate) fn fail(&mut self, reason: String) {
        self.failed += 1;
        self.note(reason);
    }

    /// One that had started was ended.
    pub(crate) fn close(&mut self, reason: String) {
        self.closed += 1;
        self.note(reason);
    }

    fn note(&mut self, reason: String) {
        if self.reasons.len() < MAX_REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Whether all went as it should.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed + self.closed == 0
    }
}

/// How a group fares.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// All have come, or failed to.
    pub(crate) up: AtomicBool,
    /// Players that play, or streams that are live.
    pub(crate) there: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) gaps: AtomicU64,
    /// Received by players, or sent by encoders.
    pub(crate) bytes: AtomicU64,
}

impl Gauges {
    /// Tells how many are there, what came of the others, and how many bytes have gone.
    pub(crate) fn tell(&self, there: usize, outcome: &Outcome, bytes: u64) {
        Gauges::set(&self.there, there as u64);
        Gauges::set(&self.failed, outcome.failed);
        Gauges::set(&self.closed, outcome.closed);
        Gauges::set(&self.bytes, bytes);
    }

    pub(crate) fn set(gauge: &AtomicU64, value: u64) {
        gauge.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(gauge: &AtomicU64) -> u64 {
        gauge.load(Ordering::Relaxed)
    }
}
