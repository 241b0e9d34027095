//! Bytes on disk.

#![deny(unsafe_code)]

pub mod disk;
pub mod journal;
pub mod log;
pub mod store;

pub use disk::{Disk, RealDisk, SimDisk};
pub use journal::{JournalError, JournalOptions};
pub use log::{AbortedTransaction, Corruption, Durability, LogOptions, ProducerView, ReadError};
pub use store::{
    Append, Appended, Check, Checkpointed, Committed, Congestion, Done, Fatal, Frame, Isolation, Partition, PartitionSpec,
    Published, ReadRequest, ReadResult, Recovery, Rejection, Round, Store, StoreError, StoreOptions, StoreStats, Work,
};

use std::fmt;

use uuid::Uuid;

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
