//! How often something took how long, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds. What took longer than the last counts too.
const BOUNDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Times, sorted into buckets from 50 µs to 60 s.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    longer: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts one time. Waits for nothing.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut buckets = BOUNDS.iter().zip(&self.buckets);
        let bucket = buckets.find(|(bound, _)| seconds <= **bound).map(|(_, bucket)| bucket);
        bucket.unwrap_or(&self.longer).fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The upper bound of each bucket and how many times are in it, those below not included. The
    /// last bound is infinite.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let counts = self.buckets.iter().chain([&self.longer]);
        bounds.zip(counts.map(|count| count.load(Ordering::Relaxed))).collect()
    }

    /// All times together, in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        let times = [0, 50, 51, 1_000, 1_001, 60_000_000, 60_000_001];
        for micros in times {
            histogram.observe(Duration::from_micros(micros));
        }
        let filled: Vec<_> =
            histogram.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        let expected =
            [(0.000_05, 2), (0.000_1, 1), (0.001, 1), (0.002_5, 1), (60.0, 1), (f64::INFINITY, 1)];
        assert_eq!(filled, expected);
        let sum = times.into_iter().map(Duration::from_micros).sum::<Duration>();
        assert!((histogram.sum() - sum.as_secs_f64()).abs() < 1e-9);
    }
}
