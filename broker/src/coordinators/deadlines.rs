//! Wakes the machines when their time comes: sessions that expire, transactions that take too long.

use std::time::Duration;

use super::driver::Coordinators;

/// The longest sleep; a machine's clock is the wall clock, which may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

impl Coordinators {
    /// Runs until it is dropped.
    pub async fn run_deadlines(self) {
        loop {
            let changed = self.deadlines_changed();
            let sleep = match self.next_deadline() {
                None => LONGEST_SLEEP,
                Some(at) => {
                    let wait = at.saturating_sub(self.now()).max(1);
                    Duration::from_millis(u64::try_from(wait).unwrap_or(1)).min(LONGEST_SLEEP)
                }
            };
            if tokio::time::timeout(sleep, changed.notified()).await.is_err() {
                self.meet_deadlines();
            }
        }
    }
}
