//! How far an engine is and what that cost, and the figures that follow.

use std::time::{Duration, Instant};

/// Where warm-up ends: a Java machine has compiled by then what it runs often.
const WARM: f64 = 0.2;
/// With a smaller share left after the first look past [`WARM`], the run was too short to leave anything out.
const ENOUGH: f64 = 0.3;

/// One look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Records that are committed as read.
    pub(crate) done: u64,
    /// Of the engine and the broker together.
    pub(crate) cpu: Duration,
}

/// What a run through prefilled topics gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Throughput {
    pub(crate) per_cpu_second: f64,
    pub(crate) per_second: f64,
    /// From which share of the records to which it was measured.
    pub(crate) from: f64,
    pub(crate) until: f64,
}

/// Events between the first look past a fifth of what was done in the end and the last one, by what they cost. A run that is over
/// too soon for that counts from its first look. `None` when nothing was done between.
pub(crate) fn throughput(samples: &[Sample], total: u64) -> Option<Throughput> {
    // What is seen later than the last commit cost nothing for it.
    let done = samples.last()?.done;
    let last = samples.iter().find(|sample| sample.done == done)?;
    let warm = samples.iter().find(|sample| sample.done as f64 >= WARM * done as f64)?;
    let enough = (done - warm.done) as f64 >= ENOUGH * done as f64;
    let first = if enough { warm } else { samples.first()? };
    let events = last.done.checked_sub(first.done).filter(|events| *events > 0)? as f64;
    let share = |sample: &Sample| sample.done as f64 / total.max(1) as f64;
    Some(Throughput {
        per_cpu_second: events / (last.cpu.saturating_sub(first.cpu)).as_secs_f64(),
        per_second: events / (last.at - first.at).as_secs_f64(),
        from: share(first),
        until: share(last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(looks: &[(u64, u64, u64)]) -> Vec<Sample> {
        let start = Instant::now();
        let sample = |&(ms, done, cpu_ms): &(u64, u64, u64)| Sample {
            at: start + Duration::from_millis(ms),
            done,
            cpu: Duration::from_millis(cpu_ms),
        };
        looks.iter().map(sample).collect()
    }

    #[test]
    fn warm_up_is_left_out() {
        // Slow at first; then 600 records in 1 s of wall time and 2 s of CPU; then nothing more.
        let looks = [(0, 0, 0), (5_000, 400, 9_000), (6_000, 1_000, 11_000), (9_000, 1_000, 11_500)];
        let found = throughput(&samples(&looks), 1_000).unwrap();
        assert_eq!((found.per_cpu_second, found.per_second), (300.0, 600.0));
        assert_eq!((found.from, found.until), (0.4, 1.0));
    }

    #[test]
    fn a_run_that_is_over_at_once_counts_as_a_whole() {
        let found = throughput(&samples(&[(0, 0, 500), (1_000, 1_000, 1_500)]), 1_000).unwrap();
        assert_eq!((found.per_cpu_second, found.from), (1_000.0, 0.0));
    }

    #[test]
    fn what_did_not_get_far_is_measured_as_far_as_it_got() {
        let looks = [(0, 0, 0), (10_000, 40, 3_000), (60_000, 100, 9_000)];
        let found = throughput(&samples(&looks), 1_000).unwrap();
        assert_eq!((found.per_cpu_second, found.from, found.until), (10.0, 0.04, 0.1));
        assert_eq!(throughput(&samples(&[(0, 0, 0), (60_000, 0, 9_000)]), 1_000), None);
        assert_eq!(throughput(&[], 1_000), None);
    }
}
