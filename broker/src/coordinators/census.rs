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
    /// Takes the numbers of all machines, one after another: requests have their turn in between, and no group is
    /// looked at twice.
    pub(crate) fn census(&self) -> Census {
        let (groups, transactions, resting) = {
            let state = self.lock();
            let groups: Vec<i32> = state.groups.keys().copied().collect();
            let transactions: Vec<i32> = state.transactions.keys().copied().collect();
            (groups, transactions, state.resting.len())
        };
        let mut census = Census { resting, ..Census::default() };
        for partition in groups {
            let counted = self.lock().groups.get(&partition).map(|slot| slot.machine.census());
            census.groups.extend(counted.into_iter().flatten());
        }
        for partition in transactions {
            let counted = self.lock().transactions.get(&partition).map(|slot| slot.machine.open());
            let Some((open, oldest)) = counted else { continue };
            census.open_transactions += open;
            census.oldest_transaction = [census.oldest_transaction, oldest].into_iter().flatten().min();
        }
        census
    }
}
