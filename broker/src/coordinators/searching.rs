//! Runs the searches that group machines ask for: what the members' patterns stand for, among all topics' names.

use logmill_coordinator::Machine;
use logmill_coordinator::groups::{RegexSearch, RegexesFound};

use super::commit::Together;
use super::driver::Coordinators;
use crate::blocking::beside;

/// How many searches run at a time: a topic that comes makes every group with patterns search.
pub(super) const SEARCHES_AT_A_TIME: usize = 2;

impl Coordinators {
    /// Runs searches beside the lock and beside the runtime's workers; each answer is a step of the machine that lives
    /// in the partition by then.
    pub(super) fn run_searches(&self, partition: i32, searches: Vec<RegexSearch>) {
        for search in searches {
            let coordinators = self.clone();
            tokio::spawn(async move {
                let Ok(_turn) = coordinators.0.searches.acquire().await else { return };
                // It ends without a result when the broker stops.
                if let Ok(found) = beside(move || search.run()).await {
                    coordinators.take_found(partition, &found);
                }
            });
        }
    }

    fn take_found(&self, partition: i32, found: &RegexesFound) {
        let mut state = self.lock();
        // Without a machine a member's next heartbeat loads one, which asks again.
        let Some(slot) = self.group_slot(&mut state, partition) else { return };
        let step = slot.machine.take_found(self.now(), found);
        let together = Together { groups: vec![(partition, step)], ..Together::default() };
        // A rejection drops the machine, and the next one asks again.
        let _ = self.commit(&mut state, together);
        let next = state.groups.get(&partition).and_then(|slot| slot.machine.next_deadline());
        drop(state);
        self.ring_deadlines(next);
    }
}
