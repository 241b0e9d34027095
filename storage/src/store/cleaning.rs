//! Deleting old records: DeleteRecords, and the removal of segments that nobody reads any more.
//!
//! ```text
//! delete_records ─► a frame that trims ─► durable: the partition begins at the new offset, for every reader
//!                                                      │
//!              checkpoint: flushed up to R ────────────┴─► remove_trimmed: segments wholly before both are removed
//! ```
//!
//! A segment is removed only when a checkpoint on the device says that everything in it is flushed: replay never looks
//! for it, and a partition's first segment is never behind where replay begins.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::Fatal;
use super::frame::{Committed, Done, Frame, Rejection};
use super::publish::PartitionState;
use super::{PartitionId, Store};

/// What a removal of segments did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Bytes of batches that were freed.
    pub bytes: u64,
    /// Partitions that the disk had no room for tidying up: they are tried again.
    pub full: usize,
}

impl Store {
    /// Deletes the records of a partition before an offset: from the moment the deletion is durable and `done` is called,
    /// reads below it are out of range. Never undone by a crash. An offset below the start changes nothing.
    ///
    /// [`Rejection::TrimOutOfRange`] above the high watermark.
    pub fn delete_records(&self, id: PartitionId, offset: i64, done: Done) -> Result<Committed, Rejection> {
        self.commit(Frame { trims: vec![(id, offset)], ..Frame::default() }, done)
    }

    /// Removes segments that lie wholly before the start of their partitions and were flushed before the last checkpoint.
    /// Blocks on files. Commits, rounds, reads and checkpoints go on meanwhile.
    pub fn remove_trimmed(&self) -> Result<Removed, Fatal> {
        self.check_alive()?;
        let mut removed = Removed::default();
        for listed in self.sequencer.partitions() {
            match self.remove_trimmed_of(&listed.state) {
                Ok(bytes) => removed.bytes += bytes,
                Err(Fatal::Log { source, .. }) if source.is_full() => removed.full += 1,
                Err(fatal) => return Err(self.poison(fatal)),
            }
        }
        Ok(removed)
    }

    fn remove_trimmed_of(&self, state: &Arc<PartitionState>) -> Result<u64, Fatal> {
        let limit = state.checkpointed_end.load(Ordering::Acquire);
        // Whoever deletes the partition waits for this one.
        let _cleaning = state.cleaning.lock();
        if state.deleted.load(Ordering::Acquire) {
            return Ok(0);
        }
        let removed = state.log.remove_segments_before_start(limit);
        removed.map_err(|source| Fatal::Log { partition: state.id, source })
    }
}
