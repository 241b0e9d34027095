//! What the transaction coordinator keeps: the records of `__transaction_state`, and the markers that end a
//! transaction in the partitions it touched.

use std::collections::BTreeSet;

use super::TopicPartition;
use crate::Str;

/// One record of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// For `__transaction_state`: a transactional id's state; `None` is a tombstone.
    State {
        /// The transactional id.
        transactional_id: Str,
        /// Its new state.
        value: Option<Transaction>,
    },
    /// For another partition: a control batch.
    Marker(Marker),
}

/// The end of a transaction in one partition. The driver leaves out markers for partitions that no longer
/// exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Where.
    pub partition: TopicPartition,
    /// Whose.
    pub producer_id: i64,
    /// With which epoch: the transaction's own, or one more when it fences.
    pub producer_epoch: i16,
    /// The epoch of the coordinator that ends it.
    pub coordinator_epoch: i32,
    /// Commit, or abort.
    pub commit: bool,
    /// Whether the epoch must be greater than the partition's (transaction version 2).
    pub transaction_v2: bool,
}

/// A transactional id as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    /// Producer id of its transactions.
    pub producer_id: i64,
    /// The producer id before the epochs of the last one were used up, -1 when there was none.
    pub previous_producer_id: i64,
    /// The producer id to go on with after a `Prepare*` state, -1 when it does not change.
    pub next_producer_id: i64,
    /// Current epoch.
    pub producer_epoch: i16,
    /// The epoch to go on with under `next_producer_id`, -1 for the first.
    pub next_producer_epoch: i16,
    /// How long a transaction may take, in ms.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: TransactionState,
    /// Partitions in the open transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the transaction began, in ms; -1 when none has.
    pub started: i64,
    /// When this record was made, in ms.
    pub updated: i64,
    /// The client's transaction version: 0, 1 or 2.
    pub client_version: i16,
}

/// Kafka's states of a transactional id. The `Prepare*` ones are only read, from imported logs: here a
/// transaction ends in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// Has a producer id and no transaction yet.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// About to commit.
    PrepareCommit,
    /// About to abort.
    PrepareAbort,
    /// The last transaction was committed.
    CompleteCommit,
    /// The last transaction was aborted.
    CompleteAbort,
    /// Expired.
    Dead,
    /// About to abort because the producer is fenced.
    PrepareEpochFence,
}

impl TransactionState {
    /// The name Kafka's tools show.
    pub fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
            TransactionState::Dead => "Dead",
            TransactionState::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state of this name, in Kafka's spelling.
    pub fn from_name(name: &str) -> Option<TransactionState> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// A transaction of this state is on its way to its end.
    pub(super) fn is_ending(self) -> bool {
        use TransactionState::{PrepareAbort, PrepareCommit, PrepareEpochFence};
        matches!(self, PrepareCommit | PrepareAbort | PrepareEpochFence)
    }

    /// The last transaction has ended.
    pub(super) fn is_complete(self) -> bool {
        matches!(self, TransactionState::CompleteCommit | TransactionState::CompleteAbort)
    }

    /// Every state, in the order of Kafka's numbers.
    pub const ALL: [TransactionState; 8] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
        TransactionState::Dead,
        TransactionState::PrepareEpochFence,
    ];
}
