//! Bytes on disk: partitions in Kafka's own format, behind one journal.
//!
//! ```text
//!   commit(frame) ─────►┌──────────────────────────── store ────────────────────────────┐
//!                       │ sequencer ──► journal ──► publish ──► appliers ──► checkpoint │
//!                       └──────────────────┬──────────────────────┬─────────────────────┘
//!   Partition::read ◄── memory, or ────────┼──────────────── log (segments, indexes)
//!                                          ▼                      ▼
//!                                 journal/NNNNNN.journal   <topic>-<partition>/…        all through `disk`
//! ```
//!
//! A data directory:
//!
//! ```text
//! .lock                     held by the process that works here
//! logmill.checkpoint        up to where everything is in the segments: where replay begins
//! cleaner-offset-checkpoint how far each log is compacted; derived
//! journal/000000.journal …  the ring of the commit journal
//! <topic>-<partition>/      one partition, as Apache Kafka would write it
//! <topic>-<partition>.<topic id>-delete/   a deleted partition, until no checkpoint knows it any more
//! <topic>-<partition>.<topic id>-import/   a partition that is being imported; -imported/: until a checkpoint knows it
//! ```
//!
//! - [`store`]: frames in, reads out; [`Store::commit`] is the only way in. It has the stages and no threads.
//! - [`journal`]: frames made durable in groups; replay; what is torn and what is damaged.
//! - [`log`]: one partition's directory: segments, indexes, producers, leader epochs.
//! - [`inspect`]: a partition's directory looked at, checked and mended from outside, while nothing runs.
//! - [`disk`]: the seam to the operating system, with a simulated disk behind it for tests.
//!
//! Nothing here knows a socket, a Kafka request, tokio, a clock or a source of chance: time and ids come in as arguments.
//! Nothing here deletes or cuts bytes that were acknowledged: damage is an error that names file and position.

#![forbid(unsafe_code)]

pub mod disk;
pub mod inspect;
pub mod journal;
pub mod log;
pub mod store;

use std::fmt;

use uuid::Uuid;

pub use disk::{Disk, RealDisk, SimDisk};
pub use journal::{JournalError, JournalOptions};
pub use log::{
    AbortedTransaction, Cleanup, Compacted, Compaction, Durability, KeyMap, LogError, LogOptions,
    ProducerView, ReadError, Retention,
};
pub use store::{
    AdoptError, Adopted, Append, Appended, Check, Checkpointed, Committed, CompactionRound, Congestion, Done,
    Fatal, FoundPartition, Frame, Isolation, Partition, PartitionSpec, Published, ReadRequest, ReadResult,
    Recovery, Rejection, Removed, Retained, Round, Store, StoreError, StoreOptions, StoreStats, Truncation,
    Work,
};

/// One partition of one topic. The topic's name may be given to another topic later; its id is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// Id of the topic.
    pub topic: Uuid,
    /// Index of the partition, from 0.
    pub partition: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
