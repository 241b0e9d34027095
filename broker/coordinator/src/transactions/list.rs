//! ListTransactions.

use super::command::List;
use super::record::{Transaction, TransactionState};
use super::reply::{Listed, Listing, Reply};
use super::turn::Turn;
use crate::{RequestId, Str};

impl Turn<'_> {
    pub(super) fn list(&mut self, request: RequestId, list: &List) {
        let is_unknown = |name: &&Str| TransactionState::from_name(name).is_none();
        let unknown_states = list.states.iter().filter(is_unknown).cloned().collect();
        let now = self.now;
        let runs_long_enough = |transaction: &Transaction| {
            list.running_for_ms < 0
                || transaction.state == TransactionState::Ongoing
                    && now.saturating_sub(transaction.started) >= list.running_for_ms
        };
        let transactions = self
            .transactions
            .iter()
            .filter(|(_, transaction)| {
                let state = transaction.state;
                state != TransactionState::Dead
                    && (list.states.is_empty() || list.states.iter().any(|name| *name == state.name()))
                    && (list.producer_ids.is_empty() || list.producer_ids.contains(&transaction.producer_id))
                    && runs_long_enough(transaction)
            })
            .map(|(id, transaction)| Listing {
                transactional_id: id.clone(),
                producer_id: transaction.producer_id,
                state: transaction.state,
            })
            .collect();
        self.reply(request, Reply::Listed(Listed { unknown_states, transactions }));
    }
}
