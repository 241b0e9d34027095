//! Frames in which a client's append and the transaction's state become true together (KIP-890).
//!
//! The first append of a transaction to a partition carries the state record that adds the partition, so
//! there is no moment between checking and appending. Clients of the older protocol have added it before;
//! for them the same frame is checked against the machine's state under the same lock.

use logmill_coordinator::Machine;
use logmill_coordinator::groups::{self, CommitTransactionalOffsets};
use logmill_coordinator::transactions::{
    AddMode, AddOffsets, AddPartitions, Command, Marker, Reply, TopicPartition,
};
use logmill_record::Batch;
use logmill_storage::{Append, Check, Rejection};
use logmill_wire::{ErrorCode, Str};
use tokio::sync::oneshot;

use super::commit::{CommitError, Together};
use super::driver::Coordinators;
use super::loading::coordinator_error;
use crate::partitions::{AppendError, Partition, Pending};
use crate::topics::OFFSETS_TOPIC;

/// A produce that may be the transaction's first in its partition.
#[derive(Clone, Debug)]
pub struct TransactionalProduce {
    /// The transactional id of the request.
    pub transactional_id: Str,
    /// The topic's name.
    pub topic: Str,
    /// The partition.
    pub partition: Partition,
    /// The validated batch; its header names the producer.
    pub batch: Batch,
    /// Whether the client lets the broker add the partition (Produce version 12 and up).
    pub implicit: bool,
}

/// Why a transaction's first produce was not appended. Definite.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirstProduceError {
    /// The transaction coordinator says no.
    #[error("the transaction coordinator refused: {0:?}")]
    Coordinator(ErrorCode),
    /// The log says no.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Offsets to be committed with a transaction.
#[derive(Clone, Debug)]
pub struct OffsetsInTransaction {
    /// The transactional id of the request.
    pub transactional_id: Str,
    /// The command for the group's machine.
    pub commit: CommitTransactionalOffsets,
    /// Whether the client lets the broker add the partition (TxnOffsetCommit version 5 and up).
    pub implicit: bool,
}

impl Coordinators {
    /// Appends a transaction's first batch to a partition, in one frame with the state record that adds the
    /// partition. Sequences at once, like [`Partitions::submit`](crate::partitions::Partitions::submit).
    /// The transactional id's partition must exist ([`Coordinators::ensure_transaction`]).
    ///
    /// # Errors
    /// [`FirstProduceError`]; nothing happened.
    pub fn produce_first(&self, produce: TransactionalProduce) -> Result<Pending, FirstProduceError> {
        let header = *produce.batch.header();
        let home = self.transaction_partition(&produce.transactional_id);
        let mut state = self.lock();
        self.load_transaction(&mut state, home)
            .map_err(|error| FirstProduceError::Coordinator(coordinator_error(&error)))?;
        let request = state.request();
        let slot = self
            .transaction_slot(&mut state, home)
            .ok_or(FirstProduceError::Coordinator(ErrorCode::COORDINATOR_NOT_AVAILABLE))?;
        let command = Command::AddPartitions(AddPartitions {
            version: 4,
            transactional_id: produce.transactional_id,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            partitions: vec![TopicPartition { topic: produce.topic, partition: produce.partition.index() }],
            mode: if produce.implicit { AddMode::Implicit } else { AddMode::Verify },
        });
        let step = slot.machine.handle(self.now(), request, command);
        for (_, reply) in &step.replies {
            if let Reply::PartitionsAdded(results) = reply
                && let Some((_, error)) = results.iter().find(|(_, error)| *error != ErrorCode::NONE)
            {
                return Err(FirstProduceError::Coordinator(*error));
            }
        }
        let (done, durable) = oneshot::channel();
        let append = Append {
            partition: produce.partition.id(),
            batch: produce.batch,
            check: Check::Client { begins: true, transaction_v2: produce.implicit },
        };
        let together = Together {
            transactions: vec![(home, step)],
            first: vec![append],
            done: Some(Box::new(move || {
                // A connection that went away waits no more.
                let _ = done.send(());
            })),
            ..Together::default()
        };
        let mut committed = self.commit(&mut state, together).map_err(|error| match error {
            CommitError::Rejected(rejection) => AppendError::Rejected(rejection).into(),
            other => FirstProduceError::Coordinator(other.code()),
        })?;
        let next = self.transaction_deadline(&state, home);
        drop(state);
        self.ring_deadlines(next);
        Ok(Pending::new(committed.appends.swap_remove(0), durable))
    }

    /// The epoch of the coordinators of this broker.
    #[must_use]
    pub fn transaction_epoch(&self) -> i32 {
        self.0.settings.transactions.coordinator_epoch
    }

    /// Writes a marker that no transaction of ours asks for; done when it is durable and visible.
    ///
    /// # Errors
    /// What the partition says against it: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED,
    /// UNKNOWN_TOPIC_OR_PARTITION. Nothing happened.
    pub async fn write_marker(&self, marker: Marker) -> Result<(), ErrorCode> {
        let (done, durable) = oneshot::channel();
        let together = Together {
            markers: vec![marker],
            done: Some(Box::new(move || {
                // A connection that went away waits no more.
                let _ = done.send(());
            })),
            ..Together::default()
        };
        let committed = {
            let mut state = self.lock();
            self.commit(&mut state, together)
        };
        let committed = committed.map_err(|error| match error {
            CommitError::Rejected(Rejection::CoordinatorFenced { .. }) => {
                ErrorCode::TRANSACTION_COORDINATOR_FENCED
            }
            CommitError::Rejected(Rejection::UnknownPartition(_)) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            CommitError::Rejected(Rejection::InvalidBatch { .. }) => ErrorCode::INVALID_REQUEST,
            other => other.code(),
        })?;
        if committed.appends.is_empty() {
            // The partition went in between.
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        durable.await.map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)
    }

    /// Commits offsets with a transaction: the state record that adds the group's partition and the offsets
    /// in one frame.
    ///
    /// # Errors
    /// The error that holds for every partition asked.
    pub async fn commit_offsets_in_transaction(
        &self,
        offsets: OffsetsInTransaction,
    ) -> Result<groups::Committed, ErrorCode> {
        self.ensure_transaction(&offsets.transactional_id).await?;
        self.ensure_group(&offsets.commit.group).await?;
        let answer = self.sequence_offsets_in_transaction(offsets)?;
        match answer.await.map_err(|_| ErrorCode::NOT_COORDINATOR)? {
            groups::Reply::Committed(committed) => Ok(committed),
            _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
        }
    }

    fn sequence_offsets_in_transaction(
        &self,
        offsets: OffsetsInTransaction,
    ) -> Result<oneshot::Receiver<groups::Reply>, ErrorCode> {
        let home = self.transaction_partition(&offsets.transactional_id);
        let group = self.group_partition(&offsets.commit.group);
        let now = self.now();
        let mut state = self.lock();
        self.load_transaction(&mut state, home).map_err(|error| coordinator_error(&error))?;
        self.load_group(&mut state, group).map_err(|error| coordinator_error(&error))?;
        let add = AddOffsets {
            version: 4,
            transactional_id: offsets.transactional_id,
            producer_id: offsets.commit.producer_id,
            producer_epoch: offsets.commit.producer_epoch,
            offsets: TopicPartition { topic: Str::from(OFFSETS_TOPIC), partition: group },
            mode: if offsets.implicit { AddMode::Implicit } else { AddMode::Verify },
        };
        let request = state.request();
        let slot = self.transaction_slot(&mut state, home).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let added = slot.machine.handle(now, request, Command::AddOffsets(add));
        for (_, reply) in &added.replies {
            if let Reply::OffsetsAdded(error) = reply
                && *error != ErrorCode::NONE
            {
                return Err(*error);
            }
        }
        let request = state.request();
        let slot = self.group_slot(&mut state, group).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let answer = slot.wait_for(request);
        let step =
            slot.machine.handle(now, request, groups::Command::CommitTransactionalOffsets(offsets.commit));
        // Nothing to store means nothing to add either: the group refused.
        let transactions = if step.records.is_empty() { Vec::new() } else { vec![(home, added)] };
        let together = Together { groups: vec![(group, step)], transactions, ..Together::default() };
        self.commit(&mut state, together).map_err(|error| error.code())?;
        let next = self.transaction_deadline(&state, home);
        drop(state);
        self.ring_deadlines(next);
        Ok(answer)
    }
}
