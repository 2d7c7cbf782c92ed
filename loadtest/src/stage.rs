//! What a run's conductor and its groups share: where the run is, and how each group fares.
//!
//! Groups look at the stage at each of their turns and write their gauges there; nothing here is touched per message.

use crate::times::Times;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    pub(crate) fn set(gauge: &AtomicU64, value: u64) {
        gauge.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(gauge: &AtomicU64) -> u64 {
        gauge.load(Ordering::Relaxed)
    }
}
