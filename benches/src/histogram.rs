//! Latencies, counted in buckets of equal relative width.

use std::time::Duration;

/// Buckets for each doubling: a bucket is at most 1/64 of its value wide.
const STEPS: u64 = 64;
const STEPS_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = ((64 - STEPS_BITS as usize) + 1) * STEPS as usize;

/// How often each latency occurred: exact below 128 ns, to 1.6 % above, up to any length. Adding allocates nothing.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The latency that this share of all (0 to 1) did not exceed; zero when there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(highest(index).min(self.max));
            }
        }
        self.max()
    }
}

/// Values below `2 * STEPS` have a bucket each; above, the first bits of a value choose.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEPS_BITS;
    (u64::from(shift) * STEPS + (nanos >> shift)) as usize
}

/// The largest value of a bucket.
fn highest(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    let first = (index % STEPS + STEPS) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_narrow_bucket() {
        let mut values: Vec<u64> = (0..100_000).collect();
        values.extend((0..64).flat_map(|bit| [1_u64 << bit, (1_u64 << bit) - 1, (1_u64 << bit) | 1]));
        values.push(u64::MAX);
        for value in values {
            let index = bucket(value);
            assert!(index < BUCKETS, "{value}");
            assert!(highest(index) >= value, "{value}");
            assert!(highest(index) - value <= value / STEPS, "{value} in a bucket up to {}", highest(index));
            assert_eq!(bucket(highest(index)), index, "{value}");
            if index > 0 {
                assert!(highest(index - 1) < value, "{value}");
            }
        }
    }

    #[test]
    fn quantiles_and_the_maximum() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        let near = |share: f64, micros: f64| {
            let got = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!(got >= micros && got <= micros * 1.02, "{share}: {got} µs, not {micros}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        near(0.999, 999.0);
        assert_eq!(histogram.quantile(1.0), Duration::from_micros(1000));
        assert_eq!(histogram.max(), Duration::from_micros(1000));
    }

    #[test]
    fn merging_counts_both() {
        let (mut one, mut other) = (Histogram::new(), Histogram::new());
        one.add(Duration::from_micros(10));
        other.add(Duration::from_millis(10));
        other.add(Duration::from_millis(20));
        one.merge(&other);
        assert_eq!(one.count(), 3);
        assert_eq!(one.max(), Duration::from_millis(20));
        assert!(one.quantile(0.5) >= Duration::from_millis(10));
    }
}
