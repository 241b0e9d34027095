//! What goes by itself: transactions that take too long, half-ended ones of an imported log, and
//! transactional ids nobody uses.

use super::record::{Transaction, TransactionState};
use super::turn::Turn;

impl Turn<'_> {
    /// Does what is due first. One id per step: an end may not be split over frames, and frames have a
    /// largest size.
    pub(super) fn expire(&mut self) {
        let transactions = self.transactions;
        let Some((id, transaction)) = transactions.due(self.now) else { return };
        self.waiting.superseded.remove(id);
        let (ended, commit) = match transaction.state {
            // The producer is fenced: what it still sends belongs to no transaction.
            TransactionState::Ongoing => (transaction.fenced(), false),
            TransactionState::PrepareAbort | TransactionState::PrepareEpochFence => {
                (transaction.prepared(), false)
            }
            TransactionState::PrepareCommit => (transaction.prepared(), true),
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort
            | TransactionState::Dead => return self.record(id, None),
        };
        let marker_epoch = match transaction.state {
            TransactionState::Ongoing => ended.producer_epoch,
            _ => transaction.producer_epoch,
        };
        let state = if commit { TransactionState::CompleteCommit } else { TransactionState::CompleteAbort };
        self.record(id, Some(ended.closed(state, self.now)));
        self.mark(transaction.markers(commit, marker_epoch, self.settings.coordinator_epoch));
    }
}

impl Transaction {
    /// With what a transaction goes on that another coordinator has prepared: its epoch is bumped already,
    /// and the producer id that follows is chosen.
    fn prepared(&self) -> Transaction {
        if self.next_producer_id < 0 {
            return self.clone();
        }
        Transaction {
            producer_id: self.next_producer_id,
            producer_epoch: self.next_producer_epoch.max(0),
            previous_producer_id: self.producer_id,
            ..self.clone()
        }
    }
}
