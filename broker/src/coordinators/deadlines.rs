//! Wakes the machines when their time comes: sessions that expire, transactions that take too long.

use std::time::Duration;

use super::driver::Coordinators;

/// The longest sleep; a machine's clock is the wall clock, which may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

impl Coordinators {
    /// Runs until it is dropped. Whoever woke it, what is due is met.
    pub async fn run_deadlines(self) {
        let changed = self.deadlines_changed();
        loop {
            self.reload_dropped();
            let sleep = match self.next_deadline() {
                None => LONGEST_SLEEP,
                Some(at) => {
                    let wait = at.saturating_sub(self.now());
                    if wait <= 0 {
                        self.meet_deadlines();
                        // Others have their turn between two deadlines that are due at once.
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Duration::from_millis(u64::try_from(wait).unwrap_or(1)).min(LONGEST_SLEEP)
                }
            };
            // Either way the next turn looks at what is due.
            let _ = tokio::time::timeout(sleep, changed.notified()).await;
        }
    }
}
