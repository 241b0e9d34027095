//! How values are spread: counters by size, so that a percentile can be told afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The most bounds a histogram has.
const MAX_BOUNDS: usize = 18;

/// Upper bounds of times, in ns: from a write to memory to a disk that hangs.
pub(crate) const TIMES: &[u64] = &[
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    60_000_000_000,
];

/// Upper bounds of counts.
pub(crate) const COUNTS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096];

/// A histogram that any thread may add to.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    counts: [AtomicU64; MAX_BOUNDS + 1],
    sum: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    /// Each upper bound with the values up to it, those of the bounds before included.
    pub(crate) up_to: Vec<(f64, u64)>,
    /// All values.
    pub(crate) count: u64,
    /// Their sum.
    pub(crate) sum: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        assert!(bounds.len() <= MAX_BOUNDS && bounds.is_sorted(), "bounds are few and in order");
        Self { bounds, counts: std::array::from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn add_time(&self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What it holds, each value divided by `unit`.
    pub(crate) fn distribution(&self, unit: f64) -> Distribution {
        let mut count = 0;
        let counts = self.counts.iter().map(|counted| counted.load(Ordering::Relaxed));
        let mut up_to = Vec::with_capacity(self.bounds.len());
        for (at, counted) in counts.enumerate() {
            count += counted;
            if let Some(bound) = self.bounds.get(at) {
                up_to.push((*bound as f64 / unit, count));
            }
        }
        Distribution { up_to, count, sum: self.sum.load(Ordering::Relaxed) as f64 / unit }
    }

    /// Times in seconds.
    pub(crate) fn seconds(&self) -> Distribution {
        self.distribution(1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_from_the_first_bound_that_holds_it() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1000] {
            histogram.add(value);
        }
        let held = histogram.distribution(10.0);
        assert_eq!(held, Distribution { up_to: vec![(1.0, 2), (2.0, 4)], count: 6, sum: 106.2 });
    }

    #[test]
    fn times_are_told_in_seconds() {
        let histogram = Histogram::new(TIMES);
        histogram.add_time(Duration::from_millis(3));
        let held = histogram.seconds();
        assert_eq!((held.count, held.sum), (1, 0.003));
        let first = held.up_to.iter().find(|(_, count)| *count == 1).unwrap();
        assert_eq!(first.0, 0.005);
    }
}
