//! The driver: one lock, all machines, every step one frame.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use logmill_coordinator::SchemaError;
use logmill_coordinator::groups::{self, GroupMachine};
use logmill_coordinator::transactions::{self, TransactionMachine};
use logmill_coordinator::{Machine, RequestId, Step, partition_for};
use logmill_record::control::{EndTxnMarker, marker_batch};
use logmill_storage::{Append, Check, Committed, Frame, PartitionId, Rejection};
use logmill_wire::ErrorCode;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::gate::Gate;
use super::loading::{MachineName, Rest, coordinator_error};
use super::log_records;
use super::slot::Slot;
use crate::clock::Clock;
use crate::features::{Features, TRANSACTION_VERSION};
use crate::partitions::{Partition, Partitions};
use crate::topics::{CreateTopicError, NewTopic, OFFSETS_TOPIC, TRANSACTIONS_TOPIC, Topic, Topics};

/// Segments of the internal topics, as in Kafka: compaction gets at a record only when its segment is closed.
const INTERNAL_SEGMENT_BYTES: u32 = 100 << 20;

/// Partitions of each internal topic, as in Kafka.
const INTERNAL_PARTITIONS: i32 = 50;

/// What the machines are made with.
#[derive(Clone, Debug, Default)]
pub struct CoordinatorSettings {
    /// For every group machine.
    pub groups: groups::Settings,
    /// For every transaction machine.
    pub transactions: transactions::Settings,
}

/// All coordinators of the broker; cheap to clone.
#[derive(Clone)]
pub struct Coordinators(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) partitions: Partitions,
    pub(super) topics: Topics,
    pub(super) features: Features,
    pub(super) settings: CoordinatorSettings,
    pub(super) clock: Clock,
    pub(super) deadlines: Arc<Notify>,
    /// When the deadlines are looked at next without being rung for.
    pub(super) armed: AtomicI64,
}

/// Everything behind the lock.
pub(super) struct State {
    next_request: u64,
    pub(super) groups: BTreeMap<i32, Slot<GroupMachine>>,
    pub(super) transactions: BTreeMap<i32, Slot<TransactionMachine>>,
    /// Machines whose frame was rejected, or whose log could not be read: their deadlines count again once they are
    /// loaded.
    pub(super) resting: BTreeMap<MachineName, Rest>,
}

/// What becomes one frame: steps of machines, by the partition they live in, and appends of others.
#[derive(Default)]
pub(super) struct Together {
    pub(super) groups: Vec<(i32, Step<groups::Record, groups::Reply>)>,
    pub(super) transactions: Vec<(i32, Step<transactions::Record, transactions::Reply>)>,
    /// Appends that come first in the frame, so that their offsets come first in what is committed.
    pub(super) first: Vec<Append>,
    /// What else must be durable before the frame is: offsets of partitions that it was computed from.
    pub(super) requires: Vec<(PartitionId, i64)>,
    /// Told when the frame is durable, before any reply is released.
    pub(super) done: Option<Box<dyn FnOnce() + Send>>,
}

impl State {
    pub(super) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }
}

impl Coordinators {
    /// A driver without machines; [`Coordinators::load`] loads what is on disk.
    #[must_use]
    pub fn new(
        partitions: Partitions,
        topics: Topics,
        features: Features,
        settings: CoordinatorSettings,
        clock: Clock,
    ) -> Self {
        let state = State {
            next_request: 0,
            groups: BTreeMap::new(),
            transactions: BTreeMap::new(),
            resting: BTreeMap::new(),
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            partitions,
            topics,
            features,
            settings,
            clock,
            deadlines: Arc::new(Notify::new()),
            armed: AtomicI64::new(i64::MAX),
        }))
    }

    /// The partition of `__consumer_offsets` a group lives in.
    #[must_use]
    pub fn group_partition(&self, group: &str) -> i32 {
        partition_for(group, self.partition_count(OFFSETS_TOPIC))
    }

    /// Makes sure that the partition of `__consumer_offsets` a group lives in is there, and says which it is.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE when it cannot be created now.
    pub async fn ensure_group(&self, group: &str) -> Result<i32, ErrorCode> {
        self.ensure(OFFSETS_TOPIC).await?;
        let partition = self.group_partition(group);
        self.ensure_partition(OFFSETS_TOPIC, partition).await?;
        Ok(partition)
    }

    /// Makes sure that the partition of `__transaction_state` a transactional id lives in is there, and says which it
    /// is.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE when it cannot be created now.
    pub async fn ensure_transaction(&self, transactional_id: &str) -> Result<i32, ErrorCode> {
        self.ensure(TRANSACTIONS_TOPIC).await?;
        let partition = self.transaction_partition(transactional_id);
        self.ensure_partition(TRANSACTIONS_TOPIC, partition).await?;
        Ok(partition)
    }

    async fn ensure_partition(&self, topic: &str, partition: i32) -> Result<(), ErrorCode> {
        self.0.topics.open_partition(topic, partition).await.map_err(|error| {
            tracing::error!(topic, partition, %error, "a partition of an internal topic could not be created");
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        })
    }

    async fn ensure(&self, name: &str) -> Result<Arc<Topic>, ErrorCode> {
        let new = NewTopic {
            name: name.to_owned(),
            partitions: Some(INTERNAL_PARTITIONS),
            configs: BTreeMap::from([
                ("cleanup.policy".to_owned(), "compact".to_owned()),
                ("segment.bytes".to_owned(), INTERNAL_SEGMENT_BYTES.to_string()),
                // Commits and transactions are on disk whatever the broker's default is.
                ("logmill.durability".to_owned(), "disk".to_owned()),
            ]),
            on_demand: true,
            ..NewTopic::default()
        };
        self.0.topics.ensure_internal(new).await.map_err(|error: CreateTopicError| {
            tracing::error!(topic = name, %error, "an internal topic could not be created");
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        })
    }

    /// Asks the machine of a group. The answer comes when what it tells of is durable; a parked request
    /// (join, sync) may take long.
    ///
    /// # Errors
    /// A retriable coordinator error: the command had no effect, or its effect is unknown
    /// (NOT_COORDINATOR) and asking again is safe.
    pub async fn group(&self, group: &str, command: groups::Command) -> Result<groups::Reply, ErrorCode> {
        let partition = self.ensure_group(group).await?;
        let answer = self.ask_group(partition, command)?;
        answer.await.map_err(|_| ErrorCode::NOT_COORDINATOR)
    }

    /// Asks the machines of all partitions, for lists.
    ///
    /// # Errors
    /// As [`Coordinators::group`].
    pub async fn all_groups(&self, command: groups::Command) -> Result<Vec<groups::Reply>, ErrorCode> {
        let Some(topic) = self.0.topics.get(OFFSETS_TOPIC) else { return Ok(Vec::new()) };
        let answers = topic
            .partitions
            .iter()
            .map(|partition| self.ask_group(partition.index(), command.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut replies = Vec::with_capacity(answers.len());
        for answer in answers {
            replies.push(answer.await.map_err(|_| ErrorCode::NOT_COORDINATOR)?);
        }
        Ok(replies)
    }

    /// Asks the machine of a transactional id.
    ///
    /// # Errors
    /// As [`Coordinators::group`].
    pub async fn transaction(
        &self,
        transactional_id: &str,
        command: transactions::Command,
    ) -> Result<transactions::Reply, ErrorCode> {
        let partition = self.ensure_transaction(transactional_id).await?;
        let answer = self.ask_transaction(partition, command)?;
        answer.await.map_err(|_| ErrorCode::NOT_COORDINATOR)
    }

    /// Asks the transaction machines of all partitions, for lists.
    ///
    /// # Errors
    /// As [`Coordinators::group`].
    pub async fn all_transactions(
        &self,
        command: transactions::Command,
    ) -> Result<Vec<transactions::Reply>, ErrorCode> {
        let Some(topic) = self.0.topics.get(TRANSACTIONS_TOPIC) else { return Ok(Vec::new()) };
        let mut replies = Vec::new();
        for partition in &topic.partitions {
            let answer = self.ask_transaction(partition.index(), command.clone())?;
            replies.push(answer.await.map_err(|_| ErrorCode::NOT_COORDINATOR)?);
        }
        Ok(replies)
    }

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

    fn ask_group(
        &self,
        partition: i32,
        command: groups::Command,
    ) -> Result<oneshot::Receiver<groups::Reply>, ErrorCode> {
        let mut state = self.lock();
        self.load_group(&mut state, partition).map_err(|error| coordinator_error(&error))?;
        let request = state.request();
        let slot = self.group_slot(&mut state, partition).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let answer = slot.wait_for(request);
        let step = slot.machine.handle(self.now(), request, command);
        let together = Together { groups: vec![(partition, step)], ..Together::default() };
        self.commit(&mut state, together).map_err(|error| error.code())?;
        let next = state.groups.get(&partition).and_then(|slot| slot.machine.next_deadline());
        drop(state);
        self.ring_deadlines(next);
        Ok(answer)
    }

    fn ask_transaction(
        &self,
        partition: i32,
        command: transactions::Command,
    ) -> Result<oneshot::Receiver<transactions::Reply>, ErrorCode> {
        let mut state = self.lock();
        self.load_transaction(&mut state, partition).map_err(|error| coordinator_error(&error))?;
        let request = state.request();
        let slot = state.transactions.get_mut(&partition).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let answer = slot.wait_for(request);
        let step = slot.machine.handle(self.now(), request, command);
        let together = Together { transactions: vec![(partition, step)], ..Together::default() };
        self.commit(&mut state, together).map_err(|error| error.code())?;
        let next = state.transactions.get(&partition).and_then(|slot| slot.machine.next_deadline());
        drop(state);
        self.ring_deadlines(next);
        Ok(answer)
    }

    /// Sequences everything as one frame, applies it, and releases the answers when it is durable.
    ///
    /// A rejected frame drops the machines that had records in it, unless the append of somebody else was
    /// the reason: nothing of the step has happened then, and nothing of it was in waiting state either.
    pub(super) fn commit(&self, state: &mut State, together: Together) -> Result<Committed, CommitError> {
        let now = self.now();
        let Together { groups, transactions, first, requires, done } = together;
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
                if let transactions::Record::Marker(marker) = record {
                    self.marker(state, now, marker, &mut frame, &mut ends);
                }
            }
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
            if let Err(error) = self.load_group(state, marker.partition.partition) {
                // The machine reads the marker when it is loaded.
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    pub(super) fn transaction_partition(&self, transactional_id: &str) -> i32 {
        partition_for(transactional_id, self.partition_count(TRANSACTIONS_TOPIC))
    }

    fn partition_count(&self, topic: &str) -> i32 {
        self.0.topics.get(topic).map_or(INTERNAL_PARTITIONS, |topic| topic.count)
    }

    pub(super) fn now(&self) -> i64 {
        self.0.clock.now_ms()
    }

    pub(super) fn deadlines_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.0.deadlines)
    }

    /// When the next machine wants to be called, or waits to be loaded again.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        // Whoever sets a deadline from here on rings.
        self.0.armed.store(i64::MAX, Ordering::SeqCst);
        let state = self.lock();
        let groups = state.groups.values().filter_map(|slot| slot.machine.next_deadline());
        let transactions = state.transactions.values().filter_map(|slot| slot.machine.next_deadline());
        let reload = state.resting.values().map(|rest| rest.until);
        let next = groups.chain(transactions).chain(reload).min();
        self.0.armed.store(next.unwrap_or(i64::MAX), Ordering::SeqCst);
        next
    }

    pub(super) fn meet_deadlines(&self) {
        let now = self.now();
        let mut state = self.lock();
        let is_due = |deadline: Option<i64>| deadline.is_some_and(|at| at <= now);
        let due: Vec<i32> = state
            .groups
            .iter()
            .filter(|(_, slot)| is_due(slot.machine.next_deadline()))
            .map(|(p, _)| *p)
            .collect();
        for partition in due {
            if let Some(slot) = self.group_slot(&mut state, partition) {
                let step = slot.machine.on_deadline(now);
                // A rejection drops the machine, and its deadlines start anew when it is loaded.
                let _ = self
                    .commit(&mut state, Together { groups: vec![(partition, step)], ..Together::default() });
            }
        }
        let due: Vec<i32> = state
            .transactions
            .iter()
            .filter(|(_, slot)| is_due(slot.machine.next_deadline()))
            .map(|(p, _)| *p)
            .collect();
        for partition in due {
            if let Some(slot) = state.transactions.get_mut(&partition) {
                let step = slot.machine.on_deadline(now);
                let together = Together { transactions: vec![(partition, step)], ..Together::default() };
                let _ = self.commit(&mut state, together);
            }
        }
    }

    /// A group machine that is loaded, knowing the topics as they are now.
    pub(super) fn group_slot<'a>(
        &self,
        state: &'a mut State,
        partition: i32,
    ) -> Option<&'a mut Slot<GroupMachine>> {
        let slot = state.groups.get_mut(&partition)?;
        slot.machine.see_topics(self.0.topics.image());
        slot.machine.see_times(self.0.topics.group_times());
        Some(slot)
    }

    pub(super) fn transaction_slot<'a>(
        &self,
        state: &'a mut State,
        partition: i32,
    ) -> Option<&'a mut Slot<TransactionMachine>> {
        state.transactions.get_mut(&partition)
    }

    pub(super) fn transaction_deadline(&self, state: &State, partition: i32) -> Option<i64> {
        state.transactions.get(&partition).and_then(|slot| slot.machine.next_deadline())
    }

    /// Wakes whoever meets the deadlines, when this one comes before all it knows of.
    pub(super) fn ring_deadlines(&self, next: Option<i64>) {
        if next.is_some_and(|next| next < self.0.armed.load(Ordering::SeqCst)) {
            self.0.deadlines.notify_one();
        }
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
