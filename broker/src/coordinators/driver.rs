//! The driver: one lock, all machines, every step one frame. Here they are asked; [`commit`](super::commit) makes the
//! frame.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use logmill_coordinator::groups::{self, GroupMachine};
use logmill_coordinator::transactions::{self, TransactionMachine};
use logmill_coordinator::{Machine, RequestId};
use logmill_wire::ErrorCode;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::commit::Together;
use super::deadlines::Pauses;
use super::loading::{MachineName, Rest, coordinator_error};
use super::searching::SEARCHES_AT_A_TIME;
use super::slot::Slot;
use super::starting::{Patience, Starting};
use crate::clock::Clock;
use crate::features::Features;
use crate::partitions::Partitions;
use crate::topics::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, Topics};

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
    /// The loading at the start.
    pub(super) starting: Starting,
    /// Who may search topics now.
    pub(super) searches: Semaphore,
}

/// Everything behind the lock.
pub(super) struct State {
    next_request: u64,
    pub(super) groups: BTreeMap<i32, Slot<GroupMachine>>,
    pub(super) transactions: BTreeMap<i32, Slot<TransactionMachine>>,
    /// Machines whose frame was rejected, or whose log could not be read: their deadlines count again once they are
    /// loaded.
    pub(super) resting: BTreeMap<MachineName, Rest>,
    /// Machines that the start is still to load.
    pub(super) loading: BTreeSet<MachineName>,
    /// Machines whose last deadline was refused: they are asked, but not called for another one before.
    pub(super) refused: Pauses,
}

impl State {
    pub(super) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }
}

impl Coordinators {
    /// A driver without machines; `begin_loading` notes, and its result loads, what is on disk.
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
            loading: BTreeSet::new(),
            refused: Pauses::default(),
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
            starting: Starting::default(),
            searches: Semaphore::new(SEARCHES_AT_A_TIME),
        }))
    }

    /// Asks the machine of a group. The answer comes when what it tells of is durable; a parked request
    /// (join, sync) may take long.
    ///
    /// # Errors
    /// A retriable coordinator error: the command had no effect, or its effect is unknown
    /// (NOT_COORDINATOR) and asking again is safe.
    pub async fn group(
        &self,
        group: &str,
        patience: &Patience,
        command: groups::Command,
    ) -> Result<groups::Reply, ErrorCode> {
        let partition = self.ensure_group(group, patience).await?;
        let answer = self.ask_group(partition, command)?;
        answer.await.map_err(|_| ErrorCode::NOT_COORDINATOR)
    }

    /// Asks the machines of all partitions, for lists. A machine whose log cannot be read is left out: nobody would see
    /// any group while one partition is damaged.
    ///
    /// # Errors
    /// As [`Coordinators::group`], of the first machine that failed; the others were asked all the same.
    pub async fn all_groups(&self, command: groups::Command) -> Result<Vec<groups::Reply>, ErrorCode> {
        let Some(topic) = self.0.topics.get(OFFSETS_TOPIC) else { return Ok(Vec::new()) };
        self.await_machines(OFFSETS_TOPIC).await;
        let asked: Vec<_> = topic
            .partitions
            .iter()
            .map(|partition| self.ask_group(partition.index(), command.clone()))
            .collect();
        readable_ones(asked).await
    }

    /// Asks the machine of a transactional id.
    ///
    /// # Errors
    /// As [`Coordinators::group`].
    pub async fn transaction(
        &self,
        transactional_id: &str,
        patience: &Patience,
        command: transactions::Command,
    ) -> Result<transactions::Reply, ErrorCode> {
        let partition = self.ensure_transaction(transactional_id, patience).await?;
        let answer = self.ask_transaction(partition, command)?;
        answer.await.map_err(|_| ErrorCode::NOT_COORDINATOR)
    }

    /// Asks the transaction machines of all partitions, for lists; those whose log cannot be read are left out.
    ///
    /// # Errors
    /// As [`Coordinators::all_groups`].
    pub async fn all_transactions(
        &self,
        command: transactions::Command,
    ) -> Result<Vec<transactions::Reply>, ErrorCode> {
        let Some(topic) = self.0.topics.get(TRANSACTIONS_TOPIC) else { return Ok(Vec::new()) };
        self.await_machines(TRANSACTIONS_TOPIC).await;
        let asked: Vec<_> = topic
            .partitions
            .iter()
            .map(|partition| self.ask_transaction(partition.index(), command.clone()))
            .collect();
        readable_ones(asked).await
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
        let mut next = None;
        let mut searches = Vec::new();
        if let Some(slot) = state.groups.get_mut(&partition) {
            next = slot.machine.next_deadline();
            searches = slot.machine.take_searches();
        }
        drop(state);
        self.ring_deadlines(next);
        self.run_searches(partition, searches);
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    pub(super) fn now(&self) -> i64 {
        self.0.clock.now_ms()
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
}

/// What the machines answered that can be used; the first error of one that could be asked again soon.
async fn readable_ones<R>(asked: Vec<Result<oneshot::Receiver<R>, ErrorCode>>) -> Result<Vec<R>, ErrorCode> {
    let mut replies = Vec::with_capacity(asked.len());
    let mut failed = None;
    for answer in asked {
        match answer {
            Ok(answer) => match answer.await {
                Ok(reply) => replies.push(reply),
                Err(_) => failed = failed.or(Some(ErrorCode::NOT_COORDINATOR)),
            },
            Err(ErrorCode::COORDINATOR_NOT_AVAILABLE) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(replies), Err)
}
