//! What is true about transactional ids: the sum of the records.

use std::collections::BTreeMap;

use super::record::{Record, Transaction, TransactionState};
use crate::Str;
use crate::deadlines::Deadlines;

/// Every transactional id's durable state, and when each is due, which follows from it. Changes only in
/// [`Transactions::apply`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transactions {
    by_id: BTreeMap<Str, Transaction>,
    due: Deadlines<Str>,
    id_expiry_ms: i64,
}

impl Transactions {
    pub(super) fn new(id_expiry_ms: i64) -> Transactions {
        Transactions { by_id: BTreeMap::new(), due: Deadlines::new(), id_expiry_ms }
    }

    pub(super) fn get(&self, transactional_id: &str) -> Option<&Transaction> {
        self.by_id.get(transactional_id).filter(|transaction| transaction.state != TransactionState::Dead)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Str, &Transaction)> {
        self.by_id.iter()
    }

    pub(super) fn next_due(&self) -> Option<i64> {
        self.due.next()
    }

    /// The id that is due first.
    pub(super) fn due(&self, now: i64) -> Option<(&Str, &Transaction)> {
        self.due.due(now).and_then(|id| self.by_id.get_key_value(id))
    }

    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::State { transactional_id, value: Some(transaction) } => {
                self.due.set(transactional_id.clone(), self.due_at(transaction));
                self.by_id.insert(transactional_id.clone(), transaction.clone());
            }
            Record::State { transactional_id, value: None } => {
                self.due.cancel(transactional_id);
                self.by_id.remove(transactional_id);
            }
            // Belongs to another partition; the state record beside it says the same.
            Record::Marker(_) => {}
        }
    }

    /// A transaction has to end in time, a half-ended one at once, and an id that is not used expires.
    fn due_at(&self, transaction: &Transaction) -> i64 {
        match transaction.state {
            TransactionState::Ongoing => {
                transaction.started.saturating_add(i64::from(transaction.timeout_ms))
            }
            TransactionState::PrepareCommit
            | TransactionState::PrepareAbort
            | TransactionState::PrepareEpochFence => i64::MIN,
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort
            | TransactionState::Dead => transaction.updated.saturating_add(self.id_expiry_ms),
        }
    }
}
