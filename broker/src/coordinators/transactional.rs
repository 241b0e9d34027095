//! Frames in which a client's append and the transaction's state become true together (KIP-890).
//!
//! The first append of a transaction to a partition carries the state record that adds the partition, so
//! there is no moment between checking and appending. A produce request that begins it in many partitions is one
//! frame with one state record: a record has the whole list, and one for each partition would write it n times. Clients of the older protocol have added it before;
//! for them the same frame is checked against the machine's state under the same lock.

use logmill_coordinator::groups::{self, CommitTransactionalOffsets};
use logmill_coordinator::transactions::{
    self, AddMode, AddOffsets, AddPartitions, Command, Marker, Reply, TopicPartition,
};
use logmill_coordinator::{Machine, Step};
use logmill_record::Batch;
use logmill_storage::{Append, Check, Rejection};
use logmill_wire::{ErrorCode, Str};
use tokio::sync::oneshot;

use super::commit::{CommitError, Together};
use super::driver::{Coordinators, State};
use super::loading::coordinator_error;
use super::starting::Patience;
use crate::partitions::{AppendError, Partition, Pending};
use crate::topics::OFFSETS_TOPIC;

/// The batches of one produce request that may be the transaction's first in their partitions. All are of one producer.
#[derive(Clone, Debug)]
pub struct TransactionalProduce {
    /// The transactional id of the request.
    pub transactional_id: Str,
    /// The batches, in the order of the request.
    pub batches: Vec<FirstBatch>,
    /// Whether the client lets the broker add the partitions (Produce version 12 and up).
    pub implicit: bool,
}

/// A batch that may be the transaction's first in its partition.
#[derive(Clone, Debug)]
pub struct FirstBatch {
    /// The topic's name.
    pub topic: Str,
    /// The partition.
    pub partition: Partition,
    /// The validated batch; its header names the producer.
    pub batch: Batch,
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
    /// Appends a transaction's first batches to their partitions, in one frame with the one state record that adds the
    /// partitions. Sequences at once, like [`Partitions::submit`](crate::partitions::Partitions::submit). The
    /// transactional id's partition must exist ([`Coordinators::ensure_transaction`]).
    ///
    /// What a partition has against its batch is that batch's alone: the frame is tried again by halves, until it is
    /// found, as is one that is too large.
    ///
    /// # Errors
    /// For each batch, in order, its offsets or a [`FirstProduceError`]; nothing happened to that batch then.
    pub fn produce_first(&self, produce: TransactionalProduce) -> Vec<Result<Pending, FirstProduceError>> {
        let TransactionalProduce { transactional_id, batches, implicit } = produce;
        let home = self.transaction_partition(&transactional_id);
        let mut outcomes = Vec::with_capacity(batches.len());
        let mut parts = vec![batches];
        let mut state = self.lock();
        while let Some(part) = parts.pop() {
            match self.sequence_first(&mut state, (home, &transactional_id), implicit, part) {
                First::Sequenced(results) => outcomes.extend(results),
                First::ByHalves(mut part) => {
                    let later = part.split_off(part.len() / 2);
                    parts.extend([later, part]);
                }
            }
        }
        let next = self.transaction_deadline(&state, home);
        drop(state);
        self.ring_deadlines(next);
        outcomes
    }

    fn sequence_first(
        &self,
        state: &mut State,
        (home, transactional_id): (i32, &Str),
        implicit: bool,
        mut batches: Vec<FirstBatch>,
    ) -> First {
        let Some(header) = batches.first().map(|first| *first.batch.header()) else {
            return First::Sequenced(Vec::new());
        };
        if let Err(error) = self.load_transaction(state, home) {
            return First::refused(&batches, coordinator_error(&error));
        }
        let request = state.request();
        let Some(slot) = self.transaction_slot(state, home) else {
            return First::refused(&batches, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        };
        let partition = |first: &FirstBatch| TopicPartition {
            topic: first.topic.clone(),
            partition: first.partition.index(),
        };
        let command = Command::AddPartitions(AddPartitions {
            version: 4,
            transactional_id: transactional_id.clone(),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            partitions: batches.iter().map(partition).collect(),
            mode: if implicit { AddMode::Implicit } else { AddMode::Verify },
        });
        let step = slot.machine.handle(self.now(), request, command);
        let verdicts = verdicts(&step, batches.len());
        let check = Check::Client { begins: true, transaction_v2: implicit };
        let append = |first: &FirstBatch| Append {
            partition: first.partition.id(),
            // The bytes are kept until it is known that they need not be tried again.
            batch: first.batch.clone(),
            check,
        };
        let appends: Vec<Append> = batches
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| **verdict == ErrorCode::NONE)
            .map(|(first, _)| append(first))
            .collect();
        if appends.is_empty() {
            return First::Sequenced(
                verdicts.into_iter().map(|code| Err(FirstProduceError::Coordinator(code))).collect(),
            );
        }
        // Alone it is not tried again, and nobody but the frame holds its bytes.
        if let [_] = &*batches {
            batches.clear();
        }
        let (done, durable): (Vec<_>, Vec<_>) = appends.iter().map(|_| oneshot::channel()).unzip();
        let together = Together {
            transactions: vec![(home, step)],
            first: appends,
            done: Some(Box::new(move || {
                for done in done {
                    // A connection that went away waits no more.
                    let _ = done.send(());
                }
            })),
            ..Together::default()
        };
        let sequenced = match self.commit(state, together) {
            Ok(committed) => committed,
            Err(CommitError::Rejected(rejection)) if is_about_one(&rejection, &batches) => {
                return First::ByHalves(batches);
            }
            Err(error) => {
                return First::Sequenced(
                    verdicts.into_iter().map(|code| Err(rejected(code, &error))).collect(),
                );
            }
        };
        let mut pending =
            sequenced.appends.into_iter().zip(durable).map(|(one, durable)| Pending::new(one, durable));
        let outcome = |code| match code {
            ErrorCode::NONE => {
                pending.next().ok_or(FirstProduceError::Coordinator(ErrorCode::UNKNOWN_SERVER_ERROR))
            }
            code => Err(FirstProduceError::Coordinator(code)),
        };
        First::Sequenced(verdicts.into_iter().map(outcome).collect())
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
        patience: &Patience,
    ) -> Result<groups::Committed, ErrorCode> {
        self.ensure_transaction(&offsets.transactional_id, patience).await?;
        self.ensure_group(&offsets.commit.group, patience).await?;
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

/// What became of some first batches.
enum First {
    /// For each of them, in order.
    Sequenced(Vec<Result<Pending, FirstProduceError>>),
    /// One of them, or their size, stands in the way of the others; nothing happened.
    ByHalves(Vec<FirstBatch>),
}

impl First {
    fn refused(batches: &[FirstBatch], code: ErrorCode) -> First {
        First::Sequenced(batches.iter().map(|_| Err(FirstProduceError::Coordinator(code))).collect())
    }
}

/// What the coordinator says of each of so many partitions.
fn verdicts(step: &Step<transactions::Record, Reply>, partitions: usize) -> Vec<ErrorCode> {
    let results = step.replies.iter().find_map(|(_, reply)| match reply {
        Reply::PartitionsAdded(results) => Some(results.iter().map(|(_, error)| *error).collect()),
        _ => None,
    });
    results.unwrap_or_else(|| vec![ErrorCode::UNKNOWN_SERVER_ERROR; partitions])
}

/// Whether the frame could be right without some of the batches. Without bytes to try again (see above), it could not.
fn is_about_one(rejection: &Rejection, batches: &[FirstBatch]) -> bool {
    match rejection.partition() {
        Some(partition) => batches.iter().any(|first| first.partition.id() == partition),
        None => batches.len() > 1 && matches!(rejection, Rejection::FrameTooLarge { .. }),
    }
}

/// Why a batch of which the coordinator said this was not appended with its frame.
fn rejected(code: ErrorCode, error: &CommitError) -> FirstProduceError {
    match (code, error) {
        (ErrorCode::NONE, CommitError::Rejected(rejection)) => {
            AppendError::Rejected(rejection.clone()).into()
        }
        (ErrorCode::NONE, other) => FirstProduceError::Coordinator(other.code()),
        (code, _) => FirstProduceError::Coordinator(code),
    }
}
