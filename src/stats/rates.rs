//! Bit rates over the last 30 seconds, and histograms of lag.

/// The window of [`Rate`], as in SRS's `kbps.recv_30s` and `kbps.send_30s`.
pub const WINDOW_MS: u64 = 30_000;
/// The window slides in steps of this: taking a rate more often changes nothing.
pub const STEP_MS: u64 = 5_000;
/// The samples that span a window: both ends count.
const SAMPLES: usize = (WINDOW_MS / STEP_MS) as usize + 1;

/// The mean rate of a counter of bytes over the last 30 seconds, or over its life if that was shorter.
///
/// SRS takes the mean of 30 s and renews it each 30 s; this one slides in steps of 5 s, so a stream that
/// stopped reads 0 after 30 to 35 s.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// A ring of (time in ms, total in bytes).
    samples: [(u64, u64); SAMPLES],
    /// Where the newest sample stands, and how many there are.
    newest: usize,
    count: usize,
    kbps: u32,
}

impl Rate {
    /// A rate of a counter that stood at `total_bytes` at `now_ms`.
    pub fn new(now_ms: u64, total_bytes: u64) -> Rate {
        let mut rate = Rate { count: 1, ..Rate::default() };
        rate.samples[0] = (now_ms, total_bytes);
        rate
    }

    /// Takes the counter's present value; may be called as often as is convenient. `now_ms` is a monotonic
    /// clock. A counter that went down (it was reset) begins anew.
    pub fn tick(&mut self, now_ms: u64, total_bytes: u64) {
        let (newest_ms, newest_bytes) = self.samples[self.newest];
        if self.count == 0 || total_bytes < newest_bytes || now_ms < newest_ms {
            *self = Rate::new(now_ms, total_bytes);
            return;
        }
        let at = |age: usize| (self.newest + SAMPLES - age) % SAMPLES;
        // Only the oldest sample may be older than the window.
        let mut age = self.count - 1;
        while age > 0 && now_ms - self.samples[at(age - 1)].0 >= WINDOW_MS {
            age -= 1;
        }
        let (oldest_ms, oldest_bytes) = self.samples[at(age)];
        if let Some(rate) = (total_bytes - oldest_bytes).saturating_mul(8).checked_div(now_ms - oldest_ms) {
            // Bits per millisecond are kilobits per second.
            self.kbps = u32::try_from(rate).unwrap_or(u32::MAX);
        }
        if now_ms - newest_ms >= STEP_MS {
            self.newest = (self.newest + 1) % SAMPLES;
            self.count = (self.count + 1).min(SAMPLES);
            self.samples[self.newest] = (now_ms, total_bytes);
        }
    }

    /// Kilobits (1000 bits) per second, as of the last tick.
    pub fn kbps_30s(&self) -> u32 {
        self.kbps
    }
}

/// Upper bounds of the buckets of a [`LagHistogram`], in milliseconds, inclusive (Prometheus's `le`); one
/// more bucket takes what is above.
pub const LAG_BOUNDS_MS: [u32; 14] =
    [5, 10, 20, 40, 80, 160, 350, 700, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000];

/// How far behind live viewers are: counts in fixed buckets, so that shards' histograms add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LagHistogram {
    buckets: [u64; LAG_BOUNDS_MS.len() + 1],
    sum_ms: u64,
}

impl LagHistogram {
    /// Counts one observation.
    pub fn observe(&mut self, lag_ms: u32) {
        self.buckets[LAG_BOUNDS_MS.partition_point(|&bound| bound < lag_ms)] += 1;
        self.sum_ms += u64::from(lag_ms);
    }

    /// Adds what another shard counted.
    pub fn merge(&mut self, other: &LagHistogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum_ms += other.sum_ms;
    }

    /// Observations per bucket, not cumulative; the last bucket has no bound.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// The number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all observations, in milliseconds.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_steady_rate_is_shown_from_the_first_second_and_fades_in_a_window() {
        // 250 kbit/s are 31,250 bytes a second.
        let mut rate = Rate::new(1_000, 0);
        assert_eq!(rate.kbps_30s(), 0);
        for second in 1..=100u64 {
            rate.tick(1_000 + second * 1000, second * 31_250);
            assert_eq!(rate.kbps_30s(), 250, "after {second} s");
        }
        rate.tick(116_000, 3_125_000);
        assert!((100..=150).contains(&rate.kbps_30s()), "{}", rate.kbps_30s());
        for second in 117..=141 {
            rate.tick(second * 1000, 3_125_000);
        }
        assert_eq!(rate.kbps_30s(), 0);
    }

    #[test]
    fn a_counter_reset_begins_anew_and_one_instant_has_no_rate() {
        let mut rate = Rate::default();
        rate.tick(0, 1_000_000);
        rate.tick(0, 2_000_000);
        assert_eq!(rate.kbps_30s(), 0);
        rate.tick(1000, 2_000_000);
        assert_eq!(rate.kbps_30s(), 8000);
        rate.tick(2000, 0);
        rate.tick(3000, 125);
        assert_eq!(rate.kbps_30s(), 1);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket_and_the_last_bucket_takes_all() {
        let mut lag = LagHistogram::default();
        for ms in [0, 5, 6, 30_000, 30_001, u32::MAX] {
            lag.observe(ms);
        }
        assert_eq!((&lag.buckets()[..3], &lag.buckets()[13..]), (&[2, 1, 0][..], &[1, 2][..]));
        assert_eq!((lag.count(), lag.sum_ms()), (6, 60_012 + u64::from(u32::MAX)));
    }

    proptest! {
        #[test]
        fn merged_is_as_if_one_had_seen_all(
            a in prop::collection::vec(0..60_000u32, 0..50), b in prop::collection::vec(any::<u32>(), 0..50),
        ) {
            let of = |lags: &[u32]| {
                let mut histogram = LagHistogram::default();
                lags.iter().for_each(|&ms| histogram.observe(ms));
                histogram
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(&merged, &of(&[a.clone(), b.clone()].concat()));
            for (at, &count) in merged.buckets().iter().enumerate() {
                let above = at.checked_sub(1).map(|before| LAG_BOUNDS_MS[before]);
                let within = LAG_BOUNDS_MS.get(at);
                let naive = a.iter().chain(&b).filter(|&ms| {
                    above.is_none_or(|bound| *ms > bound) && within.is_none_or(|bound| ms <= bound)
                });
                prop_assert_eq!(count, naive.count() as u64);
            }
        }
    }
}
