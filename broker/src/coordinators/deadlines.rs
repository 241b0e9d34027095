//! Wakes the machines when their time comes: sessions that expire, transactions that take too long.
//!
//! What a deadline records may be refused, on a full disk for one; then the machine is loaded again, and the same is due. So
//! its deadlines rest for a while, longer each time, and whoever asks it is answered meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use logmill_coordinator::Machine;
use tokio::sync::Notify;

use super::commit::Together;
use super::driver::Coordinators;
use super::loading::{MachineName, RELOAD_PAUSE_MS, Rest};
use crate::topics::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};

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
        let now = self.now();
        let state = self.lock();
        let groups = state.groups.iter().filter_map(|(partition, slot)| {
            state.refused.next((OFFSETS_TOPIC, *partition), slot.machine.next_deadline(), now)
        });
        let transactions = state.transactions.iter().filter_map(|(partition, slot)| {
            state.refused.next((TRANSACTIONS_TOPIC, *partition), slot.machine.next_deadline(), now)
        });
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
            .filter(|(p, slot)| {
                is_due(state.refused.next((OFFSETS_TOPIC, **p), slot.machine.next_deadline(), now))
            })
            .map(|(p, _)| *p)
            .collect();
        for partition in due {
            if let Some(slot) = self.group_slot(&mut state, partition) {
                let step = slot.machine.on_deadline(now);
                let together = Together { groups: vec![(partition, step)], ..Together::default() };
                let met = self.commit(&mut state, together).is_ok();
                state.refused.tell((OFFSETS_TOPIC, partition), met, now);
            }
        }
        let due: Vec<i32> = state
            .transactions
            .iter()
            .filter(|(p, slot)| {
                is_due(state.refused.next((TRANSACTIONS_TOPIC, **p), slot.machine.next_deadline(), now))
            })
            .map(|(p, _)| *p)
            .collect();
        for partition in due {
            if let Some(slot) = state.transactions.get_mut(&partition) {
                let step = slot.machine.on_deadline(now);
                let together = Together { transactions: vec![(partition, step)], ..Together::default() };
                let met = self.commit(&mut state, together).is_ok();
                state.refused.tell((TRANSACTIONS_TOPIC, partition), met, now);
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

/// How long the deadlines of machines rest after one of theirs was refused.
#[derive(Default)]
pub(super) struct Pauses(BTreeMap<MachineName, Rest>);

impl Pauses {
    /// When a machine may be called for its next deadline.
    fn next(&self, machine: MachineName, deadline: Option<i64>, now: i64) -> Option<i64> {
        let (_, longest) = RELOAD_PAUSE_MS;
        // A clock that was set back must not let it rest until then.
        let rest = self.0.get(&machine).filter(|rest| rest.until <= now + longest);
        let until = rest.map_or(i64::MIN, |rest| rest.until);
        deadline.map(|deadline| deadline.max(until))
    }

    /// How a deadline's frame ended. Longer each time in a row that it was refused.
    fn tell(&mut self, machine: MachineName, met: bool, now: i64) {
        let before = self.0.remove(&machine).map_or(0, |rest| rest.pause_ms);
        if !met {
            let (shortest, longest) = RELOAD_PAUSE_MS;
            let pause_ms = before.saturating_mul(2).clamp(shortest, longest);
            self.0.insert(machine, Rest { until: now + pause_ms, pause_ms });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_refused_rests_longer_each_time() {
        let machine = (TRANSACTIONS_TOPIC, 7);
        let mut pauses = Pauses::default();
        let mut now = 1_000;
        let mut attempts = 0;
        while now < 31_000 {
            now = pauses.next(machine, Some(1_000), now).expect("it is due");
            pauses.tell(machine, false, now);
            attempts += 1;
        }
        assert_eq!(attempts, 13, "10, 20, 40 ms and so on up to 10 s");
        assert_eq!(pauses.next((OFFSETS_TOPIC, 7), Some(1_000), now), Some(1_000), "others are not held up");
        assert_eq!(pauses.next(machine, None, now), None);
        assert!(pauses.next(machine, Some(1_000), now) > Some(now), "it rests");
        assert_eq!(pauses.next(machine, Some(1_000), now - 3_600_000), Some(1_000), "the clock was set back");
        pauses.tell(machine, true, now);
        assert_eq!(pauses.next(machine, Some(1_000), now), Some(1_000));
    }
}
