//! How often a shard writes to its viewers under `mw_latency = "auto"`: at the end of every turn while the
//! shard is quiet, in ever larger ticks when it is busy.
//!
//! What a viewer costs is decided by how *often* it is written to, not by how: 1000 viewers of 250 kbit/s
//! cost 450–560 µs of CPU per viewer and second at a send per message, 75 merged at 100 ms, 32 at 350 ms.
//!
//! A step up takes 250 ms. What a step back would cost is not known: nothing, if the streams bring no more messages than
//! there are ticks, or more than twice as much. So it is tried, and if the shard is too busy then it goes up again
//! and waits twice as long before the next try.

/// The steps, in ms between two writes. Of 25 or 30 pictures a second 40 ms would merge none or few, 50 do.
pub const STEPS_MS: [u32; 7] = [0, 10, 20, 50, 100, 200, 350];
/// Length of one sample of the shard's load.
pub const SAMPLE_MS: u64 = 250;
/// Above this share of a core the shard goes one step up.
const BUSY: f64 = 0.40;
/// Below this share a step back is worth a try …
const CALM: f64 = 0.30;
/// … after so many samples in a row, two seconds; twice as many after each try that failed, up to five minutes.
const CALM_SAMPLES: u32 = 8;
const CALM_SAMPLES_MAX: u32 = 1200;
/// Below this share no step back can be too much: a step makes at most two and a half times as many writes.
const QUIET: f64 = 0.12;
/// A try has succeeded when the shard was not too busy for so many samples.
const TRIED_SAMPLES: u32 = 8;

/// The step a shard has taken.
#[derive(Clone, Debug)]
pub struct AutoCadence {
    step: usize,
    /// Samples in a row that were calm.
    calm: u32,
    /// How many there must be before the next try.
    patience: u32,
    /// Samples since a step back was tried.
    tried: Option<u32>,
}

impl Default for AutoCadence {
    fn default() -> AutoCadence {
        AutoCadence { step: 0, calm: 0, patience: CALM_SAMPLES, tried: None }
    }
}

impl AutoCadence {
    /// The interval in force, in ms.
    pub fn interval_ms(&self) -> u32 {
        STEPS_MS[self.step]
    }

    /// Takes one sample: the share of a core that the shard used or waited for in the last [`SAMPLE_MS`].
    pub fn sample(&mut self, busy: f64) {
        self.tried = self.tried.map(|samples| samples + 1);
        if self.tried.is_some_and(|samples| samples > TRIED_SAMPLES) {
            (self.tried, self.patience) = (None, CALM_SAMPLES);
        }
        if busy > BUSY {
            if self.tried.take().is_some() {
                self.patience = (self.patience * 2).min(CALM_SAMPLES_MAX);
            }
            self.step = (self.step + 1).min(STEPS_MS.len() - 1);
        }
        self.calm = if busy < CALM { self.calm + 1 } else { 0 };
        let enough = if busy < QUIET { CALM_SAMPLES } else { self.patience };
        if self.step > 0 && self.calm >= enough {
            self.calm = 0;
            self.tried = Some(0);
            self.step -= 1;
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

    /// Number of steps up and of samples above [`BUSY`] once the first 25 s are over, in an hour.
    fn hour(cost: impl Fn(usize) -> f64) -> (u32, u32, AutoCadence) {
        let mut cadence = AutoCadence::default();
        let (mut ups, mut busy_samples) = (0, 0);
        for sample in 0..4 * 3600 {
            let (before, busy) = (cadence.step, cost(cadence.step));
            cadence.sample(busy);
            if sample > 100 {
                ups += u32::from(cadence.step > before);
                busy_samples += u32::from(busy > BUSY);
            }
        }
        (ups, busy_samples, cadence)
    }

    #[test]
    fn a_busy_shard_reaches_the_last_step_in_two_seconds_and_returns_slowly() {
        let mut cadence = AutoCadence::default();
        (0..6).for_each(|_| cadence.sample(0.9));
        assert_eq!(cadence.interval_ms(), 350);
        (0..CALM_SAMPLES - 1).for_each(|_| cadence.sample(0.05));
        assert_eq!(cadence.interval_ms(), 350);
        cadence.sample(0.05);
        assert_eq!(cadence.interval_ms(), 200);
    }

    #[test]
    fn a_burst_of_joins_is_forgotten_if_the_streams_cost_no_more_at_a_shorter_step() {
        // 20 pictures a second: ticks of 50 ms and less all mean a write per picture.
        let mut cadence = AutoCadence::default();
        (0..3).for_each(|_| cadence.sample(0.6));
        assert_eq!(cadence.interval_ms(), 50);
        (0..3 * CALM_SAMPLES).for_each(|_| cadence.sample(0.22));
        assert_eq!(cadence.interval_ms(), 0);
    }

    #[test]
    fn it_hardly_ever_swings_for_any_number_of_viewers() {
        // µs per viewer and second at each step, as measured, and the worst that can be: a write for each tick.
        let measured = [464.0, 400.0, 300.0, 178.0, 88.0, 44.0, 32.0];
        let worst = [2048.0, 1024.0, 512.0, 205.0, 102.0, 51.0, 29.0];
        for cost in [measured, worst] {
            for viewers in (100..12_000).step_by(100) {
                let (ups, busy_samples, _) = hour(|step| f64::from(viewers) * cost[step] / 1e6);
                // Tries grow rarer until there is one in five minutes.
                assert!(ups <= 20 && busy_samples <= 20, "{viewers} viewers: {ups}, {busy_samples}");
            }
        }
    }
}
