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
use crate::log::ReadError;

/// What a removal of segments did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Bytes of batches that were freed.
    pub bytes: u64,
    /// Partitions that the disk had no room for tidying up: they are tried again.
    pub full: usize,
    /// Partitions with segments that nobody reads any more and that wait for a checkpoint.
    pub waiting: usize,
}

/// What retention did.
#[derive(Debug, Clone, Default)]
pub struct Retained {
    /// Partitions and their new starts, on their way to the journal.
    pub trimmed: Vec<(PartitionId, i64)>,
    /// Partitions that could not be looked at. They keep everything.
    pub failed: Vec<(PartitionId, ReadError)>,
}

impl Store {
    /// Deletes the records of a partition before an offset: from the moment the deletion is durable and `done` is called,
    /// reads below it are out of range. Never undone by a crash. An offset below the start changes nothing.
    ///
    /// [`Rejection::TrimOutOfRange`] above the high watermark.
    pub fn delete_records(&self, id: PartitionId, offset: i64, done: Done) -> Result<Committed, Rejection> {
        self.commit(Frame { trims: vec![(id, offset)], ..Frame::default() }, done)
    }

    /// Deletes what partitions need not keep any more, by `retention.ms` and `retention.bytes`: their new starts are one
    /// frame. [`Store::remove_trimmed`] frees the space later. Nothing at or behind the last stable offset goes.
    ///
    /// Also closes segments that are old enough and hold nothing that says so: whoever appends sees only timestamps.
    ///
    /// `now` in ms since the epoch; without one only sizes count, as when the clock is not to be trusted. Blocks on files.
    pub fn retain(&self, now: Option<i64>) -> Result<Retained, Fatal> {
        self.check_alive()?;
        let mut retained = Retained::default();
        for listed in self.sequencer.partitions() {
            let retention = &listed.options.retention;
            if now.is_some_and(|now| listed.state.log.is_aged(now)) {
                self.close_active(&listed.state)?;
            }
            if !listed.options.cleanup.delete || retention.is_unlimited() {
                continue;
            }
            let state = &listed.state;
            let start = state.log.log_start_offset();
            // Both, as the log may be behind what is published.
            let upper = state.published().last_stable_offset.min(state.log.end_offset());
            let kept = match state.log.retained(retention, upper, now) {
                Ok(kept) if kept.start > start => kept,
                Ok(_) => continue,
                Err(error) => {
                    retained.failed.push((state.id, error));
                    continue;
                }
            };
            if kept.closes_active && !self.close_active(state)? {
                continue;
            }
            retained.trimmed.push((state.id, kept.start));
        }
        if !retained.trimmed.is_empty() {
            let frame = Frame { trims: retained.trimmed.clone(), ..Frame::default() };
            // A partition that was deleted meanwhile makes it another round's work.
            if self.commit(frame, None).is_err() {
                retained.trimmed.clear();
            }
        }
        Ok(retained)
    }

    /// False when the partition is being deleted.
    fn close_active(&self, state: &Arc<PartitionState>) -> Result<bool, Fatal> {
        let _cleaning = state.cleaning.lock();
        if state.leaving.load(Ordering::Acquire) {
            return Ok(false);
        }
        match state.log.close_active() {
            Err(error) if !error.is_full() => {
                Err(self.poison(Fatal::Log { partition: state.id, source: error }))
            }
            // Without space for a new segment the old one stays.
            _ => Ok(true),
        }
    }

    /// Removes segments that lie wholly before the start of their partitions and were flushed before the last checkpoint.
    /// Blocks on files. Commits, rounds, reads and checkpoints go on meanwhile.
    pub fn remove_trimmed(&self) -> Result<Removed, Fatal> {
        self.check_alive()?;
        let mut removed = Removed::default();
        for listed in self.sequencer.partitions() {
            match self.remove_trimmed_of(&listed.state) {
                Ok(bytes) => {
                    removed.bytes += bytes;
                    removed.waiting += usize::from(listed.state.log.has_trimmed_segments());
                }
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
        if state.leaving.load(Ordering::Acquire) {
            return Ok(0);
        }
        let removed = state.log.remove_segments_before_start(limit);
        removed.map_err(|source| Fatal::Log { partition: state.id, source })
    }
}
