//! What a pipeline's time goes into, and how long its epochs take.

use std::collections::VecDeque;
use std::time::Duration;

/// Epochs whose times are kept.
const EPOCHS: usize = 512;

/// What was measured counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(5);

/// What a pipeline is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everything is read.
    WaitingForInput,
    /// It reads and computes an epoch.
    Computing,
    /// An epoch is computed, and the one before on its way to the disk; or it is left to others, or has no room.
    WaitingForDisk,
}

const PHASES: [Phase; 3] = [Phase::WaitingForInput, Phase::Computing, Phase::WaitingForDisk];

/// How long epochs took from their first read until they were durable, the last ones of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EpochTimes {
    /// Epochs of this run.
    pub count: u64,
    /// All of their times together.
    pub sum: Duration,
    /// The last one.
    pub last: Duration,
    /// Half of the last 512 were quicker.
    pub p50: Duration,
    /// 99 of 100 were.
    pub p99: Duration,
}

/// Shares of the last seconds: what goes on now counts more than what was before. They add up to 1, or are all 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Without anything to read.
    pub waiting_for_input: f64,
    /// Reading and computing.
    pub computing: f64,
    /// Held up by the disk.
    pub waiting_for_disk: f64,
}

/// Measures one run. Times are those of a clock that only goes forward.
#[derive(Debug)]
pub(super) struct Meter {
    phase: Phase,
    since: Duration,
    spent: [f64; 3],
    last_epochs: VecDeque<Duration>,
    count: u64,
    sum: Duration,
}

impl Meter {
    pub(super) fn new(now: Duration) -> Meter {
        Meter {
            phase: Phase::Computing,
            since: now,
            spent: [0.0; 3],
            last_epochs: VecDeque::new(),
            count: 0,
            sum: Duration::ZERO,
        }
    }

    /// Goes over to another phase.
    pub(super) fn enter(&mut self, phase: Phase, now: Duration) {
        self.spent = self.spent_at(now);
        (self.phase, self.since) = (phase, now);
    }

    /// An epoch is durable.
    pub(super) fn epoch(&mut self, took: Duration) {
        if self.last_epochs.len() == EPOCHS {
            self.last_epochs.pop_front();
        }
        self.last_epochs.push_back(took);
        self.count += 1;
        self.sum += took;
    }

    pub(super) fn epoch_times(&self) -> EpochTimes {
        let mut sorted: Vec<Duration> = self.last_epochs.iter().copied().collect();
        sorted.sort_unstable();
        // The least value that so many of a hundred do not exceed.
        let quantile = |of_hundred: usize| {
            let rank = (sorted.len() * of_hundred).div_ceil(100).max(1) - 1;
            sorted.get(rank).copied().unwrap_or_default()
        };
        let last = self.last_epochs.back().copied().unwrap_or_default();
        EpochTimes { count: self.count, sum: self.sum, last, p50: quantile(50), p99: quantile(99) }
    }

    pub(super) fn shares(&self, now: Duration) -> Shares {
        let spent = self.spent_at(now);
        let all: f64 = spent.iter().sum();
        if all <= 0.0 {
            return Shares::default();
        }
        let [waiting_for_input, computing, waiting_for_disk] = spent.map(|spent| spent / all);
        Shares { waiting_for_input, computing, waiting_for_disk }
    }

    /// What most of the last seconds went into.
    pub(super) fn limiting(&self, now: Duration) -> Phase {
        let spent = self.spent_at(now);
        let most = PHASES.into_iter().zip(spent).max_by(|left, right| left.1.total_cmp(&right.1));
        most.map_or(self.phase, |(phase, _)| phase)
    }

    /// Seconds by phase, with those of the present one; older ones count less.
    fn spent_at(&self, now: Duration) -> [f64; 3] {
        let passed = now.saturating_sub(self.since).as_secs_f64();
        let faded = 0.5_f64.powf(passed / HALF_LIFE.as_secs_f64());
        let mut spent = self.spent.map(|spent| spent * faded);
        // The integral of what fades while it is spent.
        spent[self.phase as usize] += (1.0 - faded) * HALF_LIFE.as_secs_f64() / std::f64::consts::LN_2;
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_times_of_epochs_are_ranks_of_the_last_ones() {
        let mut meter = Meter::new(at(0));
        assert_eq!(meter.epoch_times(), EpochTimes::default());
        (1..=100).for_each(|ms| meter.epoch(at(ms)));
        let times = meter.epoch_times();
        assert_eq!((times.count, times.last), (100, at(100)));
        assert_eq!((times.p50, times.p99), (at(50), at(99)));
        (0..EPOCHS).for_each(|_| meter.epoch(at(7)));
        let times = meter.epoch_times();
        assert_eq!((times.p50, times.p99, times.count), (at(7), at(7), 100 + EPOCHS as u64));
    }

    #[test]
    fn what_limits_is_what_the_last_seconds_went_into() {
        let mut meter = Meter::new(at(0));
        assert_eq!(meter.shares(at(0)), Shares::default());
        meter.enter(Phase::WaitingForInput, at(1_000));
        assert_eq!(meter.limiting(at(1_500)), Phase::Computing);
        assert_eq!(meter.limiting(at(3_000)), Phase::WaitingForInput);
        meter.enter(Phase::WaitingForDisk, at(4_000));
        // An hour of waiting for the disk leaves nothing of what was before.
        let shares = meter.shares(at(3_600_000));
        assert!(shares.waiting_for_disk > 0.999, "{shares:?}");
        assert_eq!(meter.limiting(at(3_600_000)), Phase::WaitingForDisk);
        let shares = meter.shares(at(4_500));
        let sum = shares.waiting_for_input + shares.computing + shares.waiting_for_disk;
        assert!((sum - 1.0).abs() < 1e-9, "{shares:?}");
    }
}
