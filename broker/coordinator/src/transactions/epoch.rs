//! Producer epochs: one producer id has 32,767 of them, and then there is another producer id.
//!
//! ```text
//!   0 … 32765   bumped by one
//!   32766       the last a client ever sees; the next bump gives a fresh producer id, epoch 0
//!   32767       only in markers: it fences the 32766 of the same producer id
//! ```

use super::record::{Marker, Transaction, TransactionState};

/// The last epoch given to a client.
pub(super) const LAST_CLIENT_EPOCH: i16 = i16::MAX - 1;

impl Transaction {
    /// Whether a bump takes a fresh producer id.
    pub(super) fn is_epoch_exhausted(&self) -> bool {
        self.producer_epoch >= LAST_CLIENT_EPOCH
    }

    /// The same producer with the next epoch, or with a fresh producer id when there is none.
    pub(super) fn bumped(&self, fresh_producer_id: i64) -> Transaction {
        if self.is_epoch_exhausted() {
            Transaction {
                producer_id: fresh_producer_id,
                producer_epoch: 0,
                previous_producer_id: self.producer_id,
                ..self.clone()
            }
        } else {
            Transaction { producer_epoch: self.producer_epoch + 1, ..self.clone() }
        }
    }

    /// The same producer id with an epoch that fences the current one, given to nobody unless it is a
    /// client's to have.
    pub(super) fn fenced(&self) -> Transaction {
        Transaction { producer_epoch: self.producer_epoch.saturating_add(1), ..self.clone() }
    }

    /// The transactional id with no transaction open.
    pub(super) fn closed(self, state: TransactionState, now: i64) -> Transaction {
        Transaction {
            state,
            next_producer_id: -1,
            next_producer_epoch: -1,
            partitions: Default::default(),
            started: -1,
            updated: now,
            ..self
        }
    }

    /// The markers that end the open transaction, with this epoch.
    pub(super) fn markers(&self, commit: bool, epoch: i16, coordinator_epoch: i32) -> Vec<Marker> {
        // Version 2 wants the marker's epoch to be greater than the transaction's. An imported `Prepare*`
        // has been bumped already, and an epoch at its end cannot be.
        let bumped = epoch > self.producer_epoch || self.state != TransactionState::Ongoing;
        self.partitions
            .iter()
            .map(|partition| Marker {
                partition: partition.clone(),
                producer_id: self.producer_id,
                producer_epoch: epoch,
                coordinator_epoch,
                commit,
                transaction_v2: self.client_version >= 2 && bumped,
            })
            .collect()
    }
}
