//! The driver: one lock, all machines, every step one frame.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
use super::log_records;
use super::slot::{LoadError, Slot};
use crate::clock::Clock;
use crate::partitions::{Partition, Partitions};
use crate::topics::{CreateTopicError, NewTopic, OFFSETS_TOPIC, TRANSACTIONS_TOPIC, Topic, Topics};

/// Partitions of each internal topic, as in Kafka.
const INTERNAL_PARTITIONS: i32 = 50;

/// How long a machine that was dropped waits before it is tried to load it again, in ms.
const RELOAD_PAUSE_MS: i64 = 10;

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
pub struct Coordinators(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    partitions: Partitions,
    topics: Topics,
    settings: CoordinatorSettings,
    clock: Clock,
    deadlines: Arc<Notify>,
}

/// Everything behind the lock.
pub(super) struct State {
    next_request: u64,
    groups: BTreeMap<i32, Slot<GroupMachine>>,
    transactions: BTreeMap<i32, Slot<TransactionMachine>>,
    /// Machines whose frame was rejected: their deadlines count again once they are loaded.
    dropped: BTreeSet<(&'static str, i32)>,
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
    pub fn new(partitions: Partitions, topics: Topics, settings: CoordinatorSettings, clock: Clock) -> Self {
        let state = State {
            next_request: 0,
            groups: BTreeMap::new(),
            transactions: BTreeMap::new(),
            dropped: BTreeSet::new(),
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            partitions,
            topics,
            settings,
            clock,
            deadlines: Arc::new(Notify::new()),
        }))
    }

    /// Loads every machine that has a log. Blocking; called before the first request is taken.
    ///
    /// # Errors
    /// The text names the log and what is wrong with it: a coordinator that cannot read its log must not
    /// answer.
    pub fn load(&self) -> Result<(), String> {
        let mut state = self.lock();
        for (topic, load) in [
            (OFFSETS_TOPIC, Self::load_group as fn(&Self, &mut State, i32) -> Result<(), LoadError>),
            (TRANSACTIONS_TOPIC, Self::load_transaction),
        ] {
            let partitions = self.0.topics.get(topic).map_or(0, |topic| topic.partitions.len());
            for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
                load(self, &mut state, partition).map_err(|error| format!("{topic}-{partition}: {error}"))?;
            }
        }
        drop(state);
        self.0.deadlines.notify_one();
        Ok(())
    }

    /// The partition of `__consumer_offsets` a group lives in.
    #[must_use]
    pub fn group_partition(&self, group: &str) -> i32 {
        partition_for(group, self.partition_count(OFFSETS_TOPIC))
    }

    /// Makes sure that the groups' internal topic is there.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE when it cannot be created now.
    pub async fn ensure_groups(&self) -> Result<Arc<Topic>, ErrorCode> {
        self.ensure(OFFSETS_TOPIC).await
    }

    /// Makes sure that the transactions' internal topic is there.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE when it cannot be created now.
    pub async fn ensure_transactions(&self) -> Result<Arc<Topic>, ErrorCode> {
        self.ensure(TRANSACTIONS_TOPIC).await
    }

    async fn ensure(&self, name: &str) -> Result<Arc<Topic>, ErrorCode> {
        let new = NewTopic {
            name: name.to_owned(),
            partitions: Some(INTERNAL_PARTITIONS),
            configs: BTreeMap::from([
                ("cleanup.policy".to_owned(), "compact".to_owned()),
                // Commits and transactions are on disk whatever the broker's default is.
                ("logmill.durability".to_owned(), "disk".to_owned()),
            ]),
            owner: None,
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
        self.ensure_groups().await?;
        let answer = self.ask_group(self.group_partition(group), command)?;
        answer.await.map_err(|_| ErrorCode::NOT_COORDINATOR)
    }

    /// Asks the machines of all partitions, for lists.
    ///
    /// # Errors
    /// As [`Coordinators::group`].
    pub async fn all_groups(&self, command: groups::Command) -> Result<Vec<groups::Reply>, ErrorCode> {
        let Some(topic) = self.0.topics.get(OFFSETS_TOPIC) else { return Ok(Vec::new()) };
        let answers = (0..i32::try_from(topic.partitions.len()).unwrap_or(0))
            .map(|partition| self.ask_group(partition, command.clone()))
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
        self.ensure_transactions().await?;
        let partition = self.transaction_partition(transactional_id);
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
        for partition in 0..i32::try_from(topic.partitions.len()).unwrap_or(0) {
            let answer = self.ask_transaction(partition, command.clone())?;
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
        self.load_group(&mut state, partition)
            .map_err(|error| coordinator_error(OFFSETS_TOPIC, partition, &error))?;
        let request = state.request();
        let slot = self.group_slot(&mut state, partition).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let answer = slot.wait_for(request);
        let step = slot.machine.handle(self.now(), request, command);
        let together = Together { groups: vec![(partition, step)], ..Together::default() };
        self.commit(&mut state, together).map_err(|error| error.code())?;
        drop(state);
        self.0.deadlines.notify_one();
        Ok(answer)
    }

    fn ask_transaction(
        &self,
        partition: i32,
        command: transactions::Command,
    ) -> Result<oneshot::Receiver<transactions::Reply>, ErrorCode> {
        let mut state = self.lock();
        self.load_transaction(&mut state, partition)
            .map_err(|error| coordinator_error(TRANSACTIONS_TOPIC, partition, &error))?;
        let request = state.request();
        let slot = state.transactions.get_mut(&partition).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let answer = slot.wait_for(request);
        let step = slot.machine.handle(self.now(), request, command);
        let together = Together { transactions: vec![(partition, step)], ..Together::default() };
        self.commit(&mut state, together).map_err(|error| error.code())?;
        drop(state);
        self.0.deadlines.notify_one();
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
        let mut frame = Frame { appends: first, requires };
        let mut ends = Vec::new();
        for (partition, step) in &transactions {
            let Some(slot) = state.transactions.get(partition) else { continue };
            if let Some(batch) = log_records::transaction_batch(now, &step.records).map_err(unwritable)? {
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
                if !rejection.partition().is_some_and(|partition| foreign.contains(&partition)) {
                    tracing::warn!(%rejection, "a coordinator's frame was rejected; its machine is loaded again");
                    groups.iter().filter(|(_, step)| !step.records.is_empty()).for_each(|(partition, _)| {
                        state.groups.remove(partition);
                        state.dropped.insert((OFFSETS_TOPIC, *partition));
                    });
                    transactions.iter().for_each(|(partition, _)| {
                        state.transactions.remove(partition);
                        state.dropped.insert((TRANSACTIONS_TOPIC, *partition));
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

    pub(super) fn load_group(&self, state: &mut State, partition: i32) -> Result<(), LoadError> {
        let settings = &self.0.settings.groups;
        self.load_slot(OFFSETS_TOPIC, partition, |coordinators, log| {
            if state.groups.contains_key(&partition) {
                return Ok(());
            }
            let mut machine = GroupMachine::new(settings.clone());
            machine.see_topics(coordinators.0.topics.image());
            let slot = Slot::load(machine, log)?;
            state.groups.insert(partition, slot);
            let slot = state.groups.get_mut(&partition).expect("just inserted");
            let step = slot.machine.loaded(coordinators.now());
            coordinators
                .finish_loading(state, Together { groups: vec![(partition, step)], ..Together::default() })
        })
    }

    pub(super) fn load_transaction(&self, state: &mut State, partition: i32) -> Result<(), LoadError> {
        let settings = &self.0.settings.transactions;
        self.load_slot(TRANSACTIONS_TOPIC, partition, |coordinators, log| {
            if state.transactions.contains_key(&partition) {
                return Ok(());
            }
            let slot = Slot::load(TransactionMachine::new(settings.clone()), log)?;
            state.transactions.insert(partition, slot);
            let slot = state.transactions.get_mut(&partition).expect("just inserted");
            let step = slot.machine.loaded(coordinators.now());
            let together = Together { transactions: vec![(partition, step)], ..Together::default() };
            coordinators.finish_loading(state, together)
        })
    }

    fn load_slot(
        &self,
        topic: &str,
        partition: i32,
        load: impl FnOnce(&Self, Partition) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let log = self.0.topics.get(topic).and_then(|topic| topic.partition(partition).cloned());
        load(self, log.ok_or(LoadError::NoSuchPartition)?)
    }

    fn finish_loading(&self, state: &mut State, together: Together) -> Result<(), LoadError> {
        self.commit(state, together).map(drop).map_err(LoadError::Commit)
    }

    pub(super) fn transaction_partition(&self, transactional_id: &str) -> i32 {
        partition_for(transactional_id, self.partition_count(TRANSACTIONS_TOPIC))
    }

    fn partition_count(&self, topic: &str) -> i32 {
        let count = self.0.topics.get(topic).map(|topic| topic.partitions.len());
        count.and_then(|count| i32::try_from(count).ok()).unwrap_or(INTERNAL_PARTITIONS)
    }

    pub(super) fn now(&self) -> i64 {
        self.0.clock.now_ms()
    }

    pub(super) fn deadlines_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.0.deadlines)
    }

    /// Loads the machines that were dropped, so that their sessions and transactions time out again.
    pub(super) fn reload_dropped(&self) {
        let mut state = self.lock();
        for (topic, partition) in std::mem::take(&mut state.dropped) {
            let loaded = match topic {
                OFFSETS_TOPIC => self.load_group(&mut state, partition),
                _ => self.load_transaction(&mut state, partition),
            };
            if let Err(error) = loaded {
                tracing::debug!(topic, partition, %error, "a coordinator cannot be loaded again yet");
                state.dropped.insert((topic, partition));
            }
        }
    }

    /// When the next machine wants to be called; soon, when one waits to be loaded again.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        let state = self.lock();
        let groups = state.groups.values().filter_map(|slot| slot.machine.next_deadline());
        let transactions = state.transactions.values().filter_map(|slot| slot.machine.next_deadline());
        let reload = (!state.dropped.is_empty()).then(|| self.now() + RELOAD_PAUSE_MS);
        groups.chain(transactions).chain(reload).min()
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
        Some(slot)
    }

    pub(super) fn transaction_slot<'a>(
        &self,
        state: &'a mut State,
        partition: i32,
    ) -> Option<&'a mut Slot<TransactionMachine>> {
        state.transactions.get_mut(&partition)
    }

    pub(super) fn ring_deadlines(&self) {
        self.0.deadlines.notify_one();
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

/// The error a client gets when the coordinator's log cannot be used.
pub(super) fn coordinator_error(topic: &str, partition: i32, error: &LoadError) -> ErrorCode {
    match error {
        LoadError::InProgress => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        _ => {
            tracing::error!(topic, partition, %error, "a coordinator cannot be loaded");
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        }
    }
}
