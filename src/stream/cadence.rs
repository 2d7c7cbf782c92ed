//! How often a shard writes to its viewers under `mw_latency = "auto"`: at the end of every turn while the
//! shard is quiet, in ever larger ticks when it is busy.
//!
//! What a viewer costs is decided by how *often* it is written to, not by how: 1000 viewers of 250 kbit/s
//! cost 450–560 µs of CPU per viewer and second at a send per message, 75 merged at 100 ms, 32 at 350 ms. A
//! step up takes 250 ms; a step back needs 5 s below a much lower mark, since one step cuts the cost to a
//! half or a third and would otherwise swing.

/// The steps, in ms between two writes.
pub const STEPS_MS: [u32; 7] = [0, 10, 20, 40, 80, 160, 350];
/// Length of one sample of the shard's load.
pub const SAMPLE_MS: u64 = 250;
/// Above this share of a core the shard goes one step up.
const BUSY: f64 = 0.40;
/// Below this share …
const QUIET: f64 = 0.12;
/// … for so many samples in a row it goes one step back.
const QUIET_SAMPLES: u32 = 20;

/// The step a shard has taken.
#[derive(Clone, Debug, Default)]
pub struct AutoCadence {
    step: usize,
    quiet: u32,
}

impl AutoCadence {
    /// The interval in force, in ms.
    pub fn interval_ms(&self) -> u32 {
        STEPS_MS[self.step]
    }

    /// Takes one sample: the share of a core that the shard used in the last [`SAMPLE_MS`].
    pub fn sample(&mut self, busy: f64) {
        if busy > BUSY {
            self.step = (self.step + 1).min(STEPS_MS.len() - 1);
        }
        self.quiet = if busy < QUIET { self.quiet + 1 } else { 0 };
        if self.quiet >= QUIET_SAMPLES {
            self.quiet = 0;
            self.step = self.step.saturating_sub(1);
        }
    }
}

/// The next multiple of `interval_ms` after `since_ms`: all streams of one interval share their ticks, so one
/// wake-up serves them all.
pub fn next_tick(since_ms: u64, interval_ms: u32) -> u64 {
    let interval = u64::from(interval_ms.max(1));
    (since_ms / interval + 1) * interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_shard_reaches_the_last_step_in_two_seconds_and_returns_slowly() {
        let mut cadence = AutoCadence::default();
        (0..6).for_each(|_| cadence.sample(0.9));
        assert_eq!(cadence.interval_ms(), 350);
        (0..19).for_each(|_| cadence.sample(0.05));
        assert_eq!(cadence.interval_ms(), 350);
        cadence.sample(0.05);
        assert_eq!(cadence.interval_ms(), 160);
    }

    #[test]
    fn it_does_not_swing_for_any_number_of_viewers() {
        // µs per viewer and second at each step, as measured; between the marks it must come to rest.
        let cost = [464.0, 400.0, 300.0, 222.0, 110.0, 55.0, 32.0];
        for viewers in (100..12_000).step_by(100) {
            let mut cadence = AutoCadence::default();
            let mut moves_late = 0;
            for sample in 0..2000 {
                let before = cadence.step;
                cadence.sample(f64::from(viewers) * cost[before] / 1e6);
                moves_late += u32::from(sample > 100 && cadence.step != before);
            }
            assert_eq!(moves_late, 0, "{viewers} viewers");
        }
    }
}
