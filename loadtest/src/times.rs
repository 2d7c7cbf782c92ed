//! Times of one kind – latencies, waits for a first picture – as HDR histograms: every value to 0.1 %, whatever its
//! size, and sums that lose nothing.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// A longer time counts as this one: an hour.
const MAX_US: u64 = 3_600_000_000;
/// Steps of the curve per halving of what is left above it.
const STEPS_PER_HALVING: u32 = 4;

/// Times in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

/// What is told of [`Times`], in milliseconds; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// How many were measured.
    pub(crate) count: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p90_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) p999_ms: Option<f64>,
    pub(crate) max_ms: Option<f64>,
}

/// A point of the curve: this share of the times, in percent, was at most so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    pub(crate) percentile: f64,
    pub(crate) ms: f64,
}

impl Default for Times {
    fn default() -> Times {
        Times(Histogram::new_with_bounds(1, MAX_US, 3).expect("bounds are in order and 3 digits are allowed"))
    }
}

impl Times {
    /// Adds one time.
    pub(crate) fn add_ns(&mut self, ns: u64) {
        self.0.saturating_record((ns / 1000).clamp(1, MAX_US));
    }

    /// Adds all of another's.
    pub(crate) fn add_all(&mut self, other: &Times) {
        self.0.add(&other.0).expect("the bounds are the same");
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let ms = |us: u64| (!self.0.is_empty()).then_some(us as f64 / 1000.0);
        let quantile = |q: f64| ms(self.0.value_at_quantile(q));
        Percentiles {
            count: self.0.len(),
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            max_ms: ms(self.0.max()),
        }
    }

    /// The whole distribution, finer the nearer to its end.
    pub(crate) fn curve(&self) -> Vec<Point> {
        let point =
            |value: u64, quantile: f64| Point { percentile: quantile * 100.0, ms: value as f64 / 1000.0 };
        let steps = self.0.iter_quantiles(STEPS_PER_HALVING);
        steps.map(|step| point(step.value_iterated_to(), step.quantile_iterated_to())).collect()
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.p50_ms, self.p90_ms, self.p99_ms, self.p999_ms, self.max_ms) {
            (Some(p50), Some(p90), Some(p99), Some(p999), Some(max)) => write!(
                f,
                "p50 {p50:.1} ms, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1} ({} values)",
                self.count
            ),
            _ => f.write_str("not measured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, ms: f64) -> bool {
        found.is_some_and(|f| (f - ms).abs() <= ms / 500.0)
    }

    #[test]
    fn percentiles_of_known_times() {
        let mut times = Times::default();
        assert_eq!((times.percentiles(), times.curve()), (Percentiles::default(), vec![]));
        for ms in 1..=1000u64 {
            times.add_ns(ms * 1_000_000);
        }
        let p = times.percentiles();
        assert!(
            p.count == 1000 && near(p.p50_ms, 500.0) && near(p.p90_ms, 900.0) && near(p.p99_ms, 990.0),
            "{p}"
        );
        assert!(near(p.p999_ms, 999.0) && near(p.max_ms, 1000.0), "{p}");
    }

    #[test]
    fn a_sum_is_as_if_all_were_measured_together() {
        let (mut low, mut high, mut all) = (Times::default(), Times::default(), Times::default());
        for ms in 1..=400u64 {
            (if ms % 3 == 0 { &mut low } else { &mut high }).add_ns(ms * 1_000_000);
            all.add_ns(ms * 1_000_000);
        }
        low.add_all(&high);
        assert_eq!((low.percentiles(), low.curve()), (all.percentiles(), all.curve()));
        low.clear();
        assert_eq!(low.percentiles().count, 0);
    }

    #[test]
    fn a_curve_rises_from_the_least_to_the_greatest() {
        let mut times = Times::default();
        (1..=10_000u64).for_each(|us| times.add_ns(us * 1000));
        let curve = times.curve();
        assert!(curve.windows(2).all(|w| w[0].percentile <= w[1].percentile && w[0].ms <= w[1].ms));
        let last = curve.last().expect("there are values");
        assert_eq!((last.percentile, times.percentiles().max_ms), (100.0, Some(last.ms)));
    }

    #[test]
    fn a_time_beyond_the_scale_counts_as_the_longest() {
        let mut times = Times::default();
        times.add_ns(u64::MAX);
        times.add_ns(0);
        let p = times.percentiles();
        assert_eq!(p.count, 2);
        assert!(p.max_ms.is_some_and(|ms| ms >= 3_590_000.0), "{p}");
    }
}
