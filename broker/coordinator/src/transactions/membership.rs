//! What both ways of adding to a transaction share: who may, and what becomes of it.

use super::command::{AddMode, TopicPartition};
use super::record::{Transaction, TransactionState};
use super::turn::{Turn, fenced};
use crate::{ErrorCode, Str};

/// From this version clients know PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;

/// A producer that acts under a transactional id.
pub(super) struct Who<'a> {
    pub(super) version: i16,
    pub(super) transactional_id: &'a Str,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
}

impl<'a> Turn<'a> {
    /// Whether the caller is the transactional id's current producer, and may go on.
    pub(super) fn check_who(&self, who: &Who<'_>) -> Result<&'a Transaction, ErrorCode> {
        if who.transactional_id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let transactions = self.transactions;
        let transaction = transactions
            .get(who.transactional_id)
            .filter(|transaction| transaction.producer_id == who.producer_id)
            .ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        if transaction.producer_epoch != who.producer_epoch {
            Err(fenced(who.version, FENCED_FROM))
        } else if transaction.state.is_ending() {
            Err(ErrorCode::CONCURRENT_TRANSACTIONS)
        } else {
            Ok(transaction)
        }
    }

    /// Makes the partitions part of the transaction, which begins if none is open. Nothing happens when all
    /// are in it already, so that asking again is free.
    pub(super) fn add(
        &mut self,
        transactional_id: &Str,
        before: &Transaction,
        partitions: &[TopicPartition],
        mode: AddMode,
    ) {
        let open = before.state == TransactionState::Ongoing;
        if partitions.is_empty() || open && partitions.iter().all(|one| before.partitions.contains(one)) {
            return;
        }
        let mut after = before.clone();
        after.state = TransactionState::Ongoing;
        after.partitions.extend(partitions.iter().map(TopicPartition::detached));
        after.started = if open { before.started } else { self.now };
        after.updated = self.now;
        after.client_version = if mode == AddMode::Implicit { 2 } else { 0 };
        self.record(transactional_id, Some(after));
    }
}

impl Transaction {
    /// Whether the partition is in the open transaction.
    pub(super) fn verify(&self, partition: &TopicPartition) -> ErrorCode {
        let open = self.state == TransactionState::Ongoing;
        if open && self.partitions.contains(partition) {
            ErrorCode::NONE
        } else {
            ErrorCode::TRANSACTION_ABORTABLE
        }
    }
}
