//! Whether the time of day may decide what is deleted.
//!
//! A machine whose clock is set wrong must not lose its data by it. A clock that nobody sets says how much time has
//! passed; where the other one says something else, it jumped, and is not believed until it is back, or has been where it
//! is now for a day without anybody putting it right.

use std::time::Duration;

/// How long a clock that jumped has to go on steadily before it is believed.
const PROBATION_MS: i64 = 24 * 60 * 60 * 1000;

/// Follows the clock.
#[derive(Clone, Debug)]
pub(super) struct TrustedClock {
    max_jump_ms: i64,
    /// What the time of day is ahead of the steady clock by, as far as it is believed.
    believed: i64,
    /// What it is ahead by since it jumped, and when, on the steady clock, that began.
    doubted: Option<(i64, i64)>,
}

/// What there is to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    /// The time, ms since the epoch, if it is believed.
    pub(super) now: Option<i64>,
    /// It was believed before and is not any more, or the other way round.
    pub(super) changed: bool,
}

impl TrustedClock {
    /// Begins by believing what it is told.
    pub(super) fn new(max_jump: Duration, now_ms: i64, steady_ms: i64) -> Self {
        let max_jump_ms = i64::try_from(max_jump.as_millis()).unwrap_or(i64::MAX);
        Self { max_jump_ms, believed: now_ms.saturating_sub(steady_ms), doubted: None }
    }

    pub(super) fn observe(&mut self, now_ms: i64, steady_ms: i64) -> Observed {
        let ahead = now_ms.saturating_sub(steady_ms);
        let near = |other: i64| ahead.saturating_sub(other).saturating_abs() <= self.max_jump_ms;
        let doubted_before = self.doubted.is_some();
        if near(self.believed) {
            // Slow corrections of the clock are followed.
            self.believed = ahead;
            self.doubted = None;
        } else {
            let since = match self.doubted {
                Some((other, since)) if near(other) => since,
                _ => steady_ms,
            };
            self.doubted = Some((ahead, since));
            if steady_ms - since >= PROBATION_MS {
                self.believed = ahead;
                self.doubted = None;
            }
        }
        let now = self.doubted.is_none().then_some(now_ms);
        Observed { now, changed: doubted_before != self.doubted.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * 60 * 1000;
    const YEAR: i64 = 365 * 24 * HOUR;
    const NOW: i64 = 1_700_000_000_000;

    fn clock() -> TrustedClock {
        TrustedClock::new(Duration::from_secs(3600), NOW, 0)
    }

    #[test]
    fn a_clock_that_goes_on_is_believed() {
        let mut clock = clock();
        for steady in [1, 60_000, HOUR, 10 * HOUR, YEAR] {
            // It may be corrected by a little each time.
            let observed = clock.observe(NOW + steady + steady / 10_000, steady);
            assert_eq!(observed, Observed { now: Some(NOW + steady + steady / 10_000), changed: false });
        }
    }

    #[test]
    fn a_jump_is_not_believed_until_it_is_taken_back() {
        for jump in [10 * YEAR, -10 * YEAR, 2 * HOUR] {
            let mut clock = clock();
            assert_eq!(clock.observe(NOW + 1000 + jump, 1000), Observed { now: None, changed: true });
            assert_eq!(clock.observe(NOW + HOUR + jump, HOUR), Observed { now: None, changed: false });
            let back = clock.observe(NOW + 2 * HOUR, 2 * HOUR);
            assert_eq!(back, Observed { now: Some(NOW + 2 * HOUR), changed: true });
        }
    }

    #[test]
    fn a_clock_that_stays_where_it_jumped_to_is_believed_after_a_day() {
        let mut clock = clock();
        assert_eq!(clock.observe(NOW + YEAR, 1000).now, None);
        assert_eq!(clock.observe(NOW + YEAR + 23 * HOUR, 23 * HOUR).now, None);
        assert!(clock.observe(NOW + YEAR + 25 * HOUR, 25 * HOUR).now.is_some());
        assert!(clock.observe(NOW + YEAR + 26 * HOUR, 26 * HOUR).now.is_some());
        assert_eq!(clock.observe(NOW + 27 * HOUR, 27 * HOUR).now, None, "now that is the jump");
    }

    #[test]
    fn a_clock_that_jumps_about_is_never_believed() {
        let mut clock = clock();
        for hour in 1..100 {
            let jump = if hour % 2 == 0 { YEAR } else { -YEAR };
            assert_eq!(clock.observe(NOW + hour * HOUR + jump, hour * HOUR).now, None, "hour {hour}");
        }
    }
}
