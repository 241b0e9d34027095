//! One store on one simulated disk, turned by hand: what its threads do in a broker, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_record::{BatchBuilder, BatchOptions};
use logmill_storage::PartitionId;
use logmill_storage::disk::{Disk, SimDisk};
use logmill_storage::store::{
    Append, Check, Checkpointed, Committed, Fatal, Frame, Partition, Recovery, Rejection, Store, StoreError,
    StoreOptions,
};
use parking_lot::Mutex;

use crate::model::{Condition, PlannedAppend, PlannedFrame, Refusal};
use crate::trace::Violation;

/// Rounds within which everything that was committed has to be done.
const DRAIN_ROUNDS: usize = 400;

/// An open store.
pub(crate) struct Machine {
    pub store: Arc<Store>,
    shards: usize,
    /// Tickets of commits whose `done` was called, in that order.
    done: Arc<Mutex<Vec<u64>>>,
    next_ticket: u64,
    pending: u64,
}

/// Why a step ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The store gave up; fine if the machine went down, else not.
    Failed(String),
    Violation(Violation),
}

impl From<Fatal> for Stop {
    fn from(fatal: Fatal) -> Stop {
        Stop::Failed(format!("{fatal}; {fatal:?}"))
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Failed(format!("{error}; {error:?}"))
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Stop {
        Stop::Violation(violation)
    }
}

impl Machine {
    pub(crate) fn open(disk: &SimDisk, options: &StoreOptions) -> Result<(Machine, Recovery), StoreError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let shards = options.applier_shards;
        let (store, recovery) = Store::open(disk, options.clone())?;
        let machine = Machine { store, shards, done: Arc::default(), next_ticket: 0, pending: 0 };
        Ok((machine, recovery))
    }

    pub(crate) fn partitions(&self) -> BTreeMap<PartitionId, Partition> {
        self.store.partitions().into_iter().map(|partition| (partition.id(), partition)).collect()
    }

    /// Commits a frame. The ticket comes back from [`Machine::take_done`] when the frame is done.
    pub(crate) fn commit(&mut self, planned: &PlannedFrame) -> Result<(u64, Committed), Rejection> {
        let ticket = self.next_ticket;
        let done = Arc::clone(&self.done);
        let frame = Frame {
            appends: planned
                .appends
                .iter()
                .map(|append| Append {
                    partition: append.partition,
                    batch: append.batch.clone(),
                    check: check(append.condition),
                })
                .collect(),
            requires: planned.requires.clone(),
            trims: planned.trims.clone(),
        };
        let committed = self.store.commit(frame, Some(Box::new(move || done.lock().push(ticket))))?;
        self.next_ticket += 1;
        self.pending += 1;
        Ok((ticket, committed))
    }

    /// Commits a batch of which nothing is known but that it may be appended.
    pub(crate) fn commit_plain(&mut self, partition: PartitionId) -> Result<(), Rejection> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(0, None, Some(b"late"), &[]);
        let append = PlannedAppend {
            partition,
            batch: builder.build(),
            condition: Condition::Client { begins: false, v2: false },
        };
        let frame = PlannedFrame { what: "late", appends: vec![append], ..PlannedFrame::default() };
        self.commit(&frame).map(drop)
    }

    pub(crate) fn take_done(&mut self) -> Vec<u64> {
        let done = std::mem::take(&mut *self.done.lock());
        self.pending -= done.len() as u64;
        done
    }

    /// Commits that are not done.
    pub(crate) fn pending(&self) -> u64 {
        self.pending - self.done.lock().len() as u64
    }

    pub(crate) fn journal(&self) -> Result<(), Stop> {
        self.store.journal_round()?;
        Ok(())
    }

    /// A part of what the journal's next file needs, if that is due.
    pub(crate) fn prepare(&self) -> Result<(), Stop> {
        self.store.prepare_round()?;
        Ok(())
    }

    /// Commits are refused until a round finds room.
    pub(crate) fn takes_disk_for_full(&self) -> bool {
        self.store.congestion().storage_full
    }

    /// True when the disk is full.
    pub(crate) fn apply(&self, shard: usize) -> Result<bool, Stop> {
        Ok(self.store.apply_round(shard)?.full)
    }

    pub(crate) fn apply_all(&self) -> Result<(), Stop> {
        (0..self.shards).try_for_each(|shard| self.apply(shard).map(drop))
    }

    pub(crate) fn checkpoint(&self) -> Result<Checkpointed, Stop> {
        Ok(self.store.checkpoint()?)
    }

    /// Everything that was committed is done afterwards.
    pub(crate) fn drain(&self) -> Result<(), Stop> {
        for _ in 0..DRAIN_ROUNDS {
            if self.pending() == 0 {
                return self.apply_all();
            }
            self.journal()?;
            self.apply_all()?;
            if self.store.checkpoint_due() {
                self.checkpoint()?;
            }
        }
        Err(Violation(format!("{} commits are still not done after {DRAIN_ROUNDS} rounds", self.pending()))
            .into())
    }
}

fn check(condition: Condition) -> Check {
    match condition {
        Condition::Client { begins, v2 } => Check::Client { begins, transaction_v2: v2 },
        Condition::Internal { expected_end } => Check::Internal { expected_end },
        Condition::Marker { coordinator_epoch, v2 } => {
            Check::Marker { coordinator_epoch, transaction_v2: v2 }
        }
    }
}

/// The model's word for a rejection; `None` for those that the model never gives.
pub(crate) fn refusal(rejection: &Rejection) -> Option<Refusal> {
    match rejection {
        Rejection::UnknownPartition { .. } => Some(Refusal::UnknownPartition),
        Rejection::OutOfOrderSequence { .. } => Some(Refusal::OutOfOrderSequence),
        Rejection::DuplicateSequence { .. } => Some(Refusal::DuplicateSequence),
        Rejection::InvalidProducerEpoch { .. } => Some(Refusal::InvalidProducerEpoch),
        Rejection::TransactionNotOpen { .. } => Some(Refusal::TransactionNotOpen),
        Rejection::OutsideOpenTransaction { .. } => Some(Refusal::OutsideOpenTransaction),
        Rejection::ExpectedEnd { .. } => Some(Refusal::ExpectedEnd),
        Rejection::CoordinatorFenced { .. } => Some(Refusal::CoordinatorFenced),
        Rejection::TrimOutOfRange { .. } => Some(Refusal::TrimOutOfRange),
        _ => None,
    }
}
