//! Loading one machine: when it is first asked for, and again when a frame of its was rejected. One whose log cannot be read
//! rests between the attempts. [`starting`](super::starting) loads what is there at the start.

use logmill_coordinator::Machine;
use logmill_coordinator::groups::GroupMachine;
use logmill_coordinator::transactions::TransactionMachine;
use logmill_wire::ErrorCode;

use super::commit::Together;
use super::driver::{Coordinators, State};
use super::slot::{LoadError, Slot};
use crate::blocking::blocking;
use crate::partitions::Partition;
use crate::topics::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};

/// How long a machine that could not be loaded waits before the next attempt, in ms: doubled each time, up to the second
/// number. A log that cannot be read is not read again for every request that asks.
pub(super) const RELOAD_PAUSE_MS: (i64, i64) = (10, 10_000);

/// The names under which machines wait to be loaded: topic and partition.
pub(super) type MachineName = (&'static str, i32);

/// A machine that is not loaded, though it should be.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    pub(super) until: i64,
    /// How long that is, for a log that could not be read; 0 for one that only has to be waited for.
    pub(super) pause_ms: i64,
}

impl Coordinators {
    pub(super) fn load_group(&self, state: &mut State, partition: i32) -> Result<(), LoadError> {
        if state.groups.contains_key(&partition) {
            return Ok(());
        }
        let log = self.log_to_load(state, (OFFSETS_TOPIC, partition))?;
        let machine = GroupMachine::new(self.0.settings.groups.clone());
        let loaded =
            blocking(|| Slot::load(machine, log)).and_then(|slot| self.take_group(state, partition, slot));
        self.rested(state, (OFFSETS_TOPIC, partition), loaded)
    }

    pub(super) fn take_group(
        &self,
        state: &mut State,
        partition: i32,
        mut slot: Slot<GroupMachine>,
    ) -> Result<(), LoadError> {
        slot.machine.see_topics(self.0.topics.image());
        slot.machine.see_times(self.0.topics.group_times());
        let step = slot.machine.loaded(self.now());
        state.groups.insert(partition, slot);
        self.finish_loading(state, Together { groups: vec![(partition, step)], ..Together::default() })
    }

    pub(super) fn load_transaction(&self, state: &mut State, partition: i32) -> Result<(), LoadError> {
        if state.transactions.contains_key(&partition) {
            return Ok(());
        }
        let log = self.log_to_load(state, (TRANSACTIONS_TOPIC, partition))?;
        let machine = TransactionMachine::new(self.0.settings.transactions.clone());
        let loaded = blocking(|| Slot::load(machine, log))
            .and_then(|slot| self.take_transaction(state, partition, slot));
        self.rested(state, (TRANSACTIONS_TOPIC, partition), loaded)
    }

    pub(super) fn take_transaction(
        &self,
        state: &mut State,
        partition: i32,
        mut slot: Slot<TransactionMachine>,
    ) -> Result<(), LoadError> {
        let step = slot.machine.loaded(self.now());
        state.transactions.insert(partition, slot);
        self.finish_loading(state, Together { transactions: vec![(partition, step)], ..Together::default() })
    }

    fn finish_loading(&self, state: &mut State, together: Together) -> Result<(), LoadError> {
        self.commit(state, together).map(drop).map_err(LoadError::Commit)
    }

    /// The log of a machine that is not loaded, unless it was tried a moment ago, or is being loaded.
    fn log_to_load(&self, state: &State, (topic, partition): MachineName) -> Result<Partition, LoadError> {
        if state.loading.contains(&(topic, partition)) {
            return Err(LoadError::InProgress);
        }
        match state.resting.get(&(topic, partition)).filter(|rest| rest.until > self.now()) {
            Some(Rest { pause_ms: 0, .. }) => return Err(LoadError::InProgress),
            Some(_) => return Err(LoadError::Resting),
            None => {}
        }
        let log = self.0.topics.get(topic).and_then(|topic| topic.partition(partition).cloned());
        log.ok_or(LoadError::NoSuchPartition)
    }

    /// Remembers how an attempt to load a machine ended, and says what is wrong with it.
    pub(super) fn rested(
        &self,
        state: &mut State,
        machine: MachineName,
        loaded: Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let before = state.resting.remove(&machine);
        if let Err(error) = &loaded {
            let (shortest, longest) = RELOAD_PAUSE_MS;
            let pause_ms = match error {
                LoadError::InProgress => 0,
                _ => before.map_or(0, |rest| rest.pause_ms).saturating_mul(2).clamp(shortest, longest),
            };
            let until = self.now() + pause_ms.max(shortest);
            state.resting.insert(machine, Rest { until, pause_ms });
            if !matches!(error, LoadError::InProgress) {
                let (topic, partition) = machine;
                tracing::error!(topic, partition, %error, again_in_ms = pause_ms, "a coordinator cannot be loaded");
            }
            self.0.deadlines.notify_one();
        }
        loaded
    }

    /// Loads the machines that were dropped, so that their sessions and transactions time out again.
    pub(super) fn reload_dropped(&self) {
        let now = self.now();
        let mut state = self.lock();
        let due: Vec<_> =
            state.resting.iter().filter(|(_, rest)| rest.until <= now).map(|(machine, _)| *machine).collect();
        for machine in due {
            // What stands in the way is said there, and the next attempt comes later.
            let _ = match machine {
                (OFFSETS_TOPIC, partition) => self.load_group(&mut state, partition),
                (_, partition) => self.load_transaction(&mut state, partition),
            };
            // A request was quicker.
            let (topic, partition) = machine;
            let is_loaded = match topic {
                OFFSETS_TOPIC => state.groups.contains_key(&partition),
                _ => state.transactions.contains_key(&partition),
            };
            if is_loaded {
                state.resting.remove(&machine);
            }
        }
    }
}

/// The error a client gets when the coordinator's log cannot be used.
pub(super) fn coordinator_error(error: &LoadError) -> ErrorCode {
    match error {
        LoadError::InProgress => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        _ => ErrorCode::COORDINATOR_NOT_AVAILABLE,
    }
}
