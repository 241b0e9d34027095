//! Wakes the machines when their time comes: sessions that expire, transactions that take too long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use logmill_coordinator::Machine;
use tokio::sync::Notify;

use super::commit::Together;
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

    pub(super) fn deadlines_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.0.deadlines)
    }

    /// When the next machine wants to be called, or waits to be loaded again.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        // Whoever sets a deadline from here on rings.
        self.0.armed.store(i64::MAX, Ordering::SeqCst);
        let state = self.lock();
        let groups = state.groups.values().filter_map(|slot| slot.machine.next_deadline());
        let transactions = state.transactions.values().filter_map(|slot| slot.machine.next_deadline());
        let reload = state.resting.values().map(|rest| rest.until);
        let next = groups.chain(transactions).chain(reload).min();
        self.0.armed.store(next.unwrap_or(i64::MAX), Ordering::SeqCst);
        next
    }

    pub(super) fn meet_deadlines(&self) {
        let now = self.now();
        let mut state = self.lock();
        let is_due = |deadline: Option<i64>| deadline.is_some_and(|at| at <= now);
        let due: Vec<i32> = state
            .groups
            .iter()
            .filter(|(_, slot)| is_due(slot.machine.next_deadline()))
            .map(|(p, _)| *p)
            .collect();
        for partition in due {
            if let Some(slot) = self.group_slot(&mut state, partition) {
                let step = slot.machine.on_deadline(now);
                // A rejection drops the machine, and its deadlines start anew when it is loaded.
                let _ = self
                    .commit(&mut state, Together { groups: vec![(partition, step)], ..Together::default() });
            }
        }
        let due: Vec<i32> = state
            .transactions
            .iter()
            .filter(|(_, slot)| is_due(slot.machine.next_deadline()))
            .map(|(p, _)| *p)
            .collect();
        for partition in due {
            if let Some(slot) = state.transactions.get_mut(&partition) {
                let step = slot.machine.on_deadline(now);
                let together = Together { transactions: vec![(partition, step)], ..Together::default() };
                let _ = self.commit(&mut state, together);
            }
        }
    }

    /// Wakes whoever meets the deadlines, when this one comes before all it knows of.
    pub(super) fn ring_deadlines(&self, next: Option<i64>) {
        if next.is_some_and(|next| next < self.0.armed.load(Ordering::SeqCst)) {
            self.0.deadlines.notify_one();
        }
    }
}
