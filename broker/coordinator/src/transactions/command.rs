//! What can be asked of the transaction coordinator.

use crate::Str;

/// A partition by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Str,
    /// Partition.
    pub partition: i32,
}

impl TopicPartition {
    /// A copy with memory of its own.
    pub(super) fn detached(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.detached(), partition: self.partition }
    }
}

/// One request, for transactional ids of this machine's partition.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Get a producer id and epoch, fencing whoever had the transactional id before.
    InitProducer(InitProducer),
    /// Make partitions part of the transaction, which begins with the first.
    AddPartitions(AddPartitions),
    /// Make a group's partition of `__consumer_offsets` part of the transaction.
    AddOffsets(AddOffsets),
    /// Commit or abort.
    EndTransaction(EndTransaction),
    /// Show transactional ids in detail.
    Describe(Describe),
    /// Show which transactional ids there are.
    List(List),
}

/// InitProducerId with a transactional id (without one a fresh producer id is the whole answer).
#[derive(Debug, Clone, PartialEq)]
pub struct InitProducer {
    /// Version of the request: below 4 a fenced producer is told INVALID_PRODUCER_EPOCH.
    pub version: i16,
    /// The transactional id.
    pub transactional_id: Str,
    /// How long a transaction may take, in ms.
    pub timeout_ms: i32,
    /// The (producer id, epoch) the caller has already, to go on from (version 3+, KIP-360).
    pub current: Option<(i64, i16)>,
    /// A producer id nobody has. Used or not, it may not be offered again.
    pub fresh_producer_id: i64,
}

/// AddPartitionsToTxn, or a produce request that begins a transaction in a partition by itself (KIP-890).
#[derive(Debug, Clone, PartialEq)]
pub struct AddPartitions {
    /// Version of the AddPartitionsToTxn request: below 2 a fenced producer is told
    /// INVALID_PRODUCER_EPOCH. A produce request counts as 2 or more.
    pub version: i16,
    /// The transactional id.
    pub transactional_id: Str,
    /// The caller's producer id.
    pub producer_id: i64,
    /// The caller's producer epoch.
    pub producer_epoch: i16,
    /// The partitions.
    pub partitions: Vec<TopicPartition>,
    /// How.
    pub mode: AddMode,
}

/// What to do with partitions that are not in the transaction yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddMode {
    /// Add them: an explicit request of a client of transaction version 0 or 1.
    Explicit,
    /// Add them: implied by a produce or an offset commit of a client of transaction version 2.
    Implicit,
    /// Only say whether they are in it: TRANSACTION_ABORTABLE where not.
    Verify,
}

/// AddOffsetsToTxn, or a TxnOffsetCommit of transaction version 2.
#[derive(Debug, Clone, PartialEq)]
pub struct AddOffsets {
    /// Version of the AddOffsetsToTxn request: below 2 a fenced producer is told INVALID_PRODUCER_EPOCH.
    pub version: i16,
    /// The transactional id.
    pub transactional_id: Str,
    /// The caller's producer id.
    pub producer_id: i64,
    /// The caller's producer epoch.
    pub producer_epoch: i16,
    /// The partition of `__consumer_offsets` the group lives in.
    pub offsets: TopicPartition,
    /// How; a TxnOffsetCommit below version 5 is verified.
    pub mode: AddMode,
}

/// EndTxn.
#[derive(Debug, Clone, PartialEq)]
pub struct EndTransaction {
    /// Version of the request: below 2 a fenced producer is told INVALID_PRODUCER_EPOCH; 5 and above ends
    /// by the rules of transaction version 2 (the epoch is bumped with every transaction).
    pub version: i16,
    /// The transactional id.
    pub transactional_id: Str,
    /// The caller's producer id.
    pub producer_id: i64,
    /// The caller's producer epoch.
    pub producer_epoch: i16,
    /// Commit, or abort.
    pub commit: bool,
    /// A producer id nobody has, for when the epochs of this one are used up.
    pub fresh_producer_id: i64,
}

/// DescribeTransactions.
#[derive(Debug, Clone, PartialEq)]
pub struct Describe {
    /// The transactional ids.
    pub transactional_ids: Vec<Str>,
}

/// ListTransactions. Filters by pattern are the caller's: this crate knows no regular expressions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct List {
    /// Only these states, by name; empty: all.
    pub states: Vec<Str>,
    /// Only these producer ids; empty: all.
    pub producer_ids: Vec<i64>,
    /// Only transactions that have been running for at least so many ms; negative: all.
    pub running_for_ms: i64,
}
