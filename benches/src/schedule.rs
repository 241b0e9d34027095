//! When each message is to be sent, whatever happened to the ones before.
//!
//! A latency that is counted from the actual send hides the messages that a stall delayed. Counted from the schedule,
//! it does not.

use std::time::{Duration, Instant};

/// A constant rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    interval: Duration,
}

impl Schedule {
    /// `per_second` sends a second, the first at `start`.
    pub(crate) fn new(start: Instant, per_second: u32) -> Self {
        Self { start, interval: Duration::from_secs(1) / per_second.max(1) }
    }

    /// When send number `index` (from 0) is due.
    pub(crate) fn due(&self, index: u32) -> Instant {
        self.start + self.interval * index
    }

    /// Sleeps until send number `index` is due; not at all when it is late already.
    pub(crate) fn wait(&self, index: u32) -> Instant {
        let due = self.due(index);
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_are_due_at_the_rate_and_not_after_each_other() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 1000);
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(2500), start + Duration::from_millis(2500));
        std::thread::sleep(Duration::from_millis(5));
        let late = Instant::now();
        for index in 0..5 {
            assert_eq!(schedule.wait(index), start + Duration::from_millis(u64::from(index)));
        }
        assert!(late.elapsed() < Duration::from_secs(1), "what is late is not waited for");
    }

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let schedule = Schedule::new(Instant::now(), 200);
        for index in 0..4 {
            assert!(schedule.wait(index) <= Instant::now());
        }
    }
}
