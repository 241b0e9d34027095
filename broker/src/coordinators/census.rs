//! All coordinators in numbers, for whoever watches the broker.

use logmill_coordinator::groups::GroupCensus;

use super::driver::Coordinators;

/// What all machines that are loaded have.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Every group, by name within its partition.
    pub(crate) groups: Vec<GroupCensus>,
    /// Transactions that are open.
    pub(crate) open_transactions: usize,
    /// When the oldest of them began, in ms since the epoch.
    pub(crate) oldest_transaction: Option<i64>,
    /// Coordinators whose log cannot be read at the moment.
    pub(crate) resting: usize,
}

impl Coordinators {
    /// Takes the numbers of all machines, each as it is now.
    pub(crate) fn census(&self) -> Census {
        let state = self.lock();
        let mut census = Census { resting: state.resting.len(), ..Census::default() };
        for slot in state.groups.values() {
            census.groups.extend(slot.machine.census());
        }
        for slot in state.transactions.values() {
            let (open, oldest) = slot.machine.open();
            census.open_transactions += open;
            census.oldest_transaction = [census.oldest_transaction, oldest].into_iter().flatten().min();
        }
        census
    }
}
