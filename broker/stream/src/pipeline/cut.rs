//! What one epoch covers, decided before it runs and recorded with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use logmill_record::Batch;
use serde::{Deserialize, Serialize};

/// A partition of a source topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The offsets `from..to` of one input partition: `from` is the first that belongs to the epoch, `to` the first that
/// does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The first offset covered. It is where the previous epoch ended.
    pub from: i64,
    /// The offset after the last one covered.
    pub to: i64,
}

impl OffsetRange {
    /// Whether the range holds no offset.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    /// Whether `offset` belongs to the epoch.
    pub fn contains(&self, offset: i64) -> bool {
        (self.from..self.to).contains(&offset)
    }
}

/// One epoch's cut. Together with the input's bytes it decides everything the epoch does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The range of each input partition. A partition that is not named does not move.
    pub ranges: BTreeMap<TopicPartition, OffsetRange>,
    /// Processing time, frozen for the epoch: the timestamp of its changelog and progress records, and what closes
    /// windows of processing time. Never before that of the epoch before.
    pub now: i64,
    /// The seed of everything random in the epoch.
    pub seed: u64,
    /// At most this many rows of closed windows are written; what is left goes on in the next epoch. At least 1.
    pub emit_rows: u32,
    /// The input is declared finished: the end offset of every source partition. Once declared it stays; see
    /// [`Pipeline::declared_ends`](crate::Pipeline::declared_ends).
    pub ends: Option<BTreeMap<TopicPartition, i64>>,
    /// The partitions that have had no record for longer than their table's `'idle-timeout'`: they hold no watermark
    /// back. Of these the cut covers nothing.
    pub idle: BTreeSet<TopicPartition>,
    /// What of the ranges is shed.
    pub shedding: Shedding,
}

/// So many shed records of so many are all of them.
pub const WHOLE_LEVEL: u32 = 10_000;

/// What an epoch sheds, decided before it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shedding {
    /// The sources that shed now, by their index in the plan, and how many of [`WHOLE_LEVEL`] records each: 1 or more.
    /// Where the policy takes no share it is [`WHOLE_LEVEL`].
    pub levels: BTreeMap<usize, u32>,
    /// The first offset that is read, of partitions whose oldest records are passed over. It lies in the cut's range, or
    /// is its end.
    pub passed_over: BTreeMap<TopicPartition, i64>,
}

/// The newest event time that an epoch may take of each source, by its index in the plan; no bound for others.
pub(crate) type Newest = BTreeMap<usize, i64>;

/// The first record of a partition that is beyond what an epoch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadStop {
    /// Its offset.
    pub offset: i64,
    /// Its event time, in milliseconds.
    pub time: i64,
}

/// What a reader hands to an epoch for one partition: durable batches that cover the cut's range.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where the batches come from.
    pub partition: TopicPartition,
    /// Whole batches in offset order. Records outside the cut's range, control batches and aborted batches are
    /// passed over by the engine.
    pub batches: Vec<Batch>,
    /// Aborted transactions that overlap the batches; empty when the reader has left their batches out.
    pub aborted: Vec<AbortedRange>,
}

impl Input {
    /// Whether the batch belongs to an aborted transaction.
    pub(super) fn is_aborted(&self, batch: &Batch) -> bool {
        let header = batch.header();
        header.is_transactional()
            && self.aborted.iter().any(|range| {
                range.producer_id == header.producer_id
                    && (range.first_offset..=range.last_offset).contains(&header.base_offset)
            })
    }
}

/// The batches of one aborted transaction in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedRange {
    /// The transactional producer.
    pub producer_id: i64,
    /// The offset of its first record.
    pub first_offset: i64,
    /// The offset of its abort marker.
    pub last_offset: i64,
}
