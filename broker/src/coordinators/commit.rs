//! What several machines and others do together, as one frame.

use logmill_coordinator::groups;
use logmill_coordinator::transactions::{self, TopicPartition};
use logmill_coordinator::{SchemaError, Step};
use logmill_record::control::{EndTxnMarker, marker_batch};
use logmill_storage::{Append, Check, Committed, Frame, PartitionId, Rejection};
use logmill_wire::ErrorCode;
use tokio::sync::oneshot;

use super::driver::{Coordinators, State};
use super::gate::Gate;
use super::loading::Rest;
use super::log_records;
use super::slot::LoadError;
use crate::features::TRANSACTION_VERSION;
use crate::partitions::Partition;
use crate::topics::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};

/// What becomes one frame: steps of machines, by the partition they live in, and appends of others.
#[derive(Default)]
pub(super) struct Together {
    pub(super) groups: Vec<(i32, Step<groups::Record, groups::Reply>)>,
    pub(super) transactions: Vec<(i32, Step<transactions::Record, transactions::Reply>)>,
    /// Markers that nobody's step asks for.
    pub(super) markers: Vec<transactions::Marker>,
    /// Appends that come first in the frame, so that their offsets come first in what is committed.
    pub(super) first: Vec<Append>,
    /// What else must be durable before the frame is: offsets of partitions that it was computed from.
    pub(super) requires: Vec<(PartitionId, i64)>,
    /// Told when the frame is durable, before any reply is released.
    pub(super) done: Option<Box<dyn FnOnce() + Send>>,
}

impl Coordinators {
    /// Commits a frame of somebody else's appends together with offsets of a group that belongs to them
    /// (a pipeline's epoch and its mirrored input offsets).
    ///
    /// # Errors
    /// A definite [`Rejection`]; nothing happened.
    pub fn commit_owned(
        &self,
        group: &str,
        offsets: Vec<groups::Record>,
        frame: Frame,
    ) -> Result<(Committed, oneshot::Receiver<()>), CommitError> {
        let mut state = self.lock();
        let partition = self.group_partition(group);
        self.load_group(&mut state, partition)
            .map_err(|error| CommitError::Coordinator(error.to_string()))?;
        let (done, durable) = oneshot::channel();
        let together = Together {
            groups: vec![(partition, Step { records: offsets, replies: Vec::new() })],
            first: frame.appends,
            requires: frame.requires,
            done: Some(Box::new(move || {
                // A pipeline that was stopped does not wait any more.
                let _ = done.send(());
            })),
            ..Together::default()
        };
        let committed = self.commit(&mut state, together)?;
        Ok((committed, durable))
    }

    /// Sequences everything as one frame, applies it, and releases the answers when it is durable.
    ///
    /// A rejected frame drops the machines that had records in it, unless the append of somebody else was
    /// the reason: nothing of the step has happened then, and nothing of it was in waiting state either.
    pub(super) fn commit(&self, state: &mut State, together: Together) -> Result<Committed, CommitError> {
        let now = self.now();
        let Together { groups, transactions, markers, first, requires, done } = together;
        let foreign: Vec<_> = first.iter().map(|append| append.partition).collect();
        let mut frame = Frame { appends: first, requires, ..Frame::default() };
        let mut ends = Vec::new();
        let transaction_level = self.0.features.finalized().level(TRANSACTION_VERSION);
        for (partition, step) in &transactions {
            let Some(slot) = state.transactions.get(partition) else { continue };
            if let Some(batch) =
                log_records::transaction_batch(now, &step.records, transaction_level).map_err(unwritable)?
            {
                frame.appends.push(internal(&slot.log, batch, Some(slot.end)));
            }
            for record in &step.records {
                if let transactions::Record::Marker(marker) = record
                    && !self.is_passed(marker)
                {
                    self.marker(state, now, marker, &mut frame, &mut ends);
                }
            }
        }
        for marker in &markers {
            self.marker(state, now, marker, &mut frame, &mut ends);
        }
        for (partition, step) in &groups {
            let Some(slot) = state.groups.get(partition) else { continue };
            let batches = log_records::group_batches(now, &step.records).map_err(unwritable)?;
            for (nth, batch) in batches.into_iter().enumerate() {
                frame.appends.push(internal(&slot.log, batch, (nth == 0).then_some(slot.end)));
            }
        }
        if frame.appends.is_empty() {
            for (partition, step) in groups {
                if let Some(slot) = state.groups.get_mut(&partition) {
                    slot.finish(step, None);
                }
            }
            for (partition, step) in transactions {
                if let Some(slot) = state.transactions.get_mut(&partition) {
                    slot.finish(step, None);
                }
            }
            if let Some(done) = done {
                done();
            }
            return Ok(Committed { sequence: 0, appends: Vec::new() });
        }
        let gate = Gate::closed();
        if let Some(done) = done {
            gate.after(done);
        }
        let committed = match self.0.partitions.store().commit(frame, Some(gate.opener())) {
            Ok(committed) => committed,
            Err(rejection) => {
                let is_theirs = match rejection.partition() {
                    Some(partition) => foreign.contains(&partition),
                    // Too large, or no room: the bytes are theirs.
                    None => !foreign.is_empty(),
                };
                if !is_theirs {
                    tracing::warn!(%rejection, "a coordinator's frame was rejected; its machine is loaded again");
                    let rest = Rest { until: now, pause_ms: 0 };
                    groups.iter().filter(|(_, step)| !step.records.is_empty()).for_each(|(partition, _)| {
                        state.groups.remove(partition);
                        state.resting.entry((OFFSETS_TOPIC, *partition)).or_insert(rest);
                    });
                    transactions.iter().for_each(|(partition, _)| {
                        state.transactions.remove(partition);
                        state.resting.entry((TRANSACTIONS_TOPIC, *partition)).or_insert(rest);
                    });
                    self.0.deadlines.notify_one();
                }
                return Err(rejection.into());
            }
        };
        for (partition, step) in groups {
            if let Some(slot) = state.groups.get_mut(&partition) {
                let end = slot.log.sequenced_end();
                slot.finish(step, Some((&gate, end)));
            }
        }
        for (partition, step) in transactions {
            if let Some(slot) = state.transactions.get_mut(&partition) {
                let end = slot.log.sequenced_end();
                slot.finish(step, Some((&gate, end)));
            }
        }
        for (partition, marker) in ends {
            if let Some(slot) = state.groups.get_mut(&partition) {
                slot.machine.apply_marker(marker.producer_id, marker.producer_epoch, marker.commit);
                slot.end = slot.log.sequenced_end();
                slot.gate = gate.clone();
            }
        }
        Ok(committed)
    }

    /// Whether a partition has nothing open of the marker's producer, and would refuse it: an administrator, or files of
    /// another cluster, brought newer epochs there. The frame would be refused for ever, and with it the end of the
    /// transaction everywhere else.
    fn is_passed(&self, marker: &transactions::Marker) -> bool {
        let TopicPartition { topic, partition } = &marker.partition;
        let topic = self.0.topics.get(topic);
        let log = topic.as_ref().and_then(|topic| topic.partition(*partition));
        let is_passed = log.and_then(|log| log.producer(marker.producer_id)).is_some_and(|known| {
            known.transaction_first_offset.is_none()
                && (known.producer_epoch > marker.producer_epoch
                    || known.coordinator_epoch > marker.coordinator_epoch)
        });
        if is_passed {
            let (topic, epoch) = (&*marker.partition.topic, marker.producer_epoch);
            tracing::warn!(
                topic,
                partition,
                producer_id = marker.producer_id,
                epoch,
                "a marker is left out: the partition knows newer epochs, and nothing is open there"
            );
        }
        is_passed
    }

    /// Adds a transaction's marker to the frame; a partition that is gone needs none.
    fn marker(
        &self,
        state: &mut State,
        now: i64,
        marker: &transactions::Marker,
        frame: &mut Frame,
        ends: &mut Vec<(i32, transactions::Marker)>,
    ) {
        let Some(topic) = self.0.topics.get(&marker.partition.topic) else { return };
        let Some(partition) = topic.partition(marker.partition.partition) else { return };
        if &*topic.name == OFFSETS_TOPIC {
            // Where it cannot be loaded now, the machine reads the marker when it is.
            if let Err(error) = self.load_group(state, marker.partition.partition)
                && !matches!(error, LoadError::InProgress)
            {
                tracing::warn!(partition = marker.partition.partition, %error, "a marker goes to groups that are not loaded");
            }
            ends.push((marker.partition.partition, marker.clone()));
        }
        let end = EndTxnMarker { commit: marker.commit, coordinator_epoch: marker.coordinator_epoch };
        frame.appends.push(Append {
            partition: partition.id(),
            batch: marker_batch(marker.producer_id, marker.producer_epoch, end, now),
            check: Check::Marker {
                coordinator_epoch: marker.coordinator_epoch,
                transaction_v2: marker.transaction_v2,
            },
        });
    }
}

/// Why a frame of coordinators was not committed. Definite.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The frame was rejected.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A record cannot be written in Kafka's encoding. The machines let nothing in that cannot.
    #[error("a coordinator's record cannot be written: {0}")]
    Unwritable(SchemaError),
    /// The group's coordinator cannot be loaded now.
    #[error("the group's coordinator cannot be loaded: {0}")]
    Coordinator(String),
}

impl CommitError {
    /// The error a client gets.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Rejected(Rejection::ExpectedEnd { .. }) => ErrorCode::NOT_COORDINATOR,
            Self::Rejected(Rejection::InvalidProducerEpoch { .. }) => ErrorCode::INVALID_PRODUCER_EPOCH,
            Self::Rejected(_) | Self::Coordinator(_) => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            Self::Unwritable(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

fn unwritable(error: SchemaError) -> CommitError {
    tracing::error!(%error, "a coordinator's record cannot be written");
    CommitError::Unwritable(error)
}

fn internal(log: &Partition, batch: logmill_record::Batch, expected_end: Option<i64>) -> Append {
    Append { partition: log.id(), batch, check: Check::Internal { expected_end } }
}
