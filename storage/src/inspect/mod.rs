//! Partition directories looked at from outside: nothing of them is running, and nothing is changed unless asked for.
//!
//! ```text
//!   PartitionDirectory::open(disk, path)     what files there are; ours or Apache Kafka's
//!     .segment(base).batches()               every batch, checked, with its position; damage is passed over and named
//!     .entries(file)                         the entries of an index, a snapshot, or a checkpoint
//!   verify(&directory, depth) -> Verification     every file against the log it is derived from
//!   repair(&directory, repair) -> Repaired        derived files made again; a damaged end cut when that is asked for
//! ```
//!
//! The batches are the truth. What is derived from them (indexes, snapshots, leader epochs) is computed again from
//! the batches and compared with the files.

mod batches;
mod derived;
mod directory;
mod entries;
mod repair;
mod start;
mod verify;

pub use crate::log::names::PARTITION_METADATA;
pub use crate::store::lock_if_there;
pub use batches::{Damage, Found, SegmentBatches, SegmentFile, StoredBatch};
pub use directory::{DirectoryFile, FileRole, PartitionDirectory};
pub use entries::{Entries, ManifestEntry, OffsetIndexEntry, SnapshotEntry, TimeIndexEntry};
pub use repair::{Repair, RepairError, Repaired, repair};
pub use verify::{Depth, Finding, Severity, Verification, verify};

#[cfg(test)]
mod tests;
