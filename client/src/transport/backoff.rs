//! How long to wait before trying again, and until when.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// The pause before attempt number `attempt` (counted from one): doubling from 20 ms to 1 s. Up to a fifth is
/// taken off by `chance`, so that clients which failed together do not come back together.
pub(crate) fn pause(attempt: u32, chance: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(LONGEST);
    whole - whole / 100 * (chance % 21)
}

/// Until when an operation may be tried.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    operation: String,
    allowed: Duration,
    end: Instant,
    attempt: u32,
    last: Option<Box<Error>>,
}

impl Deadline {
    pub(crate) fn new(operation: impl Into<String>, allowed: Duration) -> Self {
        let operation = operation.into();
        Self { operation, allowed, end: Instant::now() + allowed, attempt: 0, last: None }
    }

    /// When it is over.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    pub(crate) fn timed_out(&self) -> Error {
        Error::Timeout { operation: self.operation.clone(), after: self.allowed, last: self.last.clone() }
    }

    /// Waits before the next attempt. Gives the error back if it is not worth another attempt, or says that the
    /// time is over. `chance` is as for [`pause`].
    pub(crate) async fn retry(&mut self, error: Error, chance: u32) -> Result<()> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.attempt += 1;
        tracing::debug!(operation = %self.operation, attempt = self.attempt, %error, "trying again");
        self.last = Some(Box::new(error));
        let pause = pause(self.attempt, chance);
        if Instant::now() + pause >= self.end {
            return Err(self.timed_out());
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let pauses: Vec<u128> = [1, 2, 3, 6, 7, 40].map(|attempt| pause(attempt, 0).as_millis()).to_vec();
        assert_eq!(pauses, [20, 40, 80, 640, 1000, 1000]);
    }

    #[test]
    fn chance_takes_off_at_most_a_fifth() {
        for chance in 0..100 {
            let pause = pause(7, chance);
            assert!((Duration::from_millis(800)..=Duration::from_secs(1)).contains(&pause), "{pause:?}");
        }
    }
}
