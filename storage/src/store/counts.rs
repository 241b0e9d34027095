//! What the store has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the store was opened, and sizes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Frames sequenced.
    pub frames: u64,
    /// Frames that were duplicates.
    pub duplicates: u64,
    /// Frames rejected.
    pub rejections: u64,
    /// Frames written to the journal.
    pub journal_frames: u64,
    /// Journal writes that carried frames; frames divided by writes is how well the group commit groups.
    pub journal_writes: u64,
    /// Most frames that one journal write carried.
    pub largest_group_frames: u64,
    /// Bytes written to the journal, padding included.
    pub journal_bytes: u64,
    /// Writes that only said up to where frames are durable.
    pub idle_writes: u64,
    /// Sequence of the last durable frame in the journal: a point up to which everything is consistent.
    pub durable_sequence: u64,
    /// Bytes of the journal's files.
    pub journal_file_bytes: u64,
    /// Bytes of them in use: what a start would replay.
    pub journal_used_bytes: u64,
    /// Batches written to segments.
    pub applied_batches: u64,
    /// Bytes written to segments.
    pub applied_bytes: u64,
    /// Calls that wrote to segments.
    pub applied_writes: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Partitions that checkpoints flushed.
    pub flushed_partitions: u64,
    /// Journal files that checkpoints gave back.
    pub recycled_files: u64,
    /// Rounds and checkpoints that found the disk full.
    pub full_disk: u64,
    /// Bytes in segments that no checkpoint covers: with the journal, what a start reads.
    pub unflushed_bytes: u64,
    /// Segment files open.
    pub open_files: u64,
    /// Files that wait to be flushed, and stay open until then.
    pub unflushed_files: u64,
    /// Frames replayed when the store was opened.
    pub replayed_frames: u64,
    /// Bytes of batches in memory for tail reads.
    pub tail_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) frames: Count,
    pub(crate) duplicates: Count,
    pub(crate) rejections: Count,
    pub(crate) journal_frames: Count,
    pub(crate) journal_writes: Count,
    pub(crate) journal_bytes: Count,
    pub(crate) idle_writes: Count,
    pub(crate) applied_batches: Count,
    pub(crate) applied_bytes: Count,
    pub(crate) applied_writes: Count,
    pub(crate) largest_group_frames: Count,
    pub(crate) checkpoints: Count,
    pub(crate) flushed_partitions: Count,
    pub(crate) recycled_files: Count,
    pub(crate) full_disk: Count,
    pub(crate) replayed_frames: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn at_least(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// What was counted; sizes are the store's to add.
    pub(crate) fn stats(&self) -> StoreStats {
        StoreStats {
            frames: self.frames.get(),
            duplicates: self.duplicates.get(),
            rejections: self.rejections.get(),
            journal_frames: self.journal_frames.get(),
            journal_writes: self.journal_writes.get(),
            journal_bytes: self.journal_bytes.get(),
            idle_writes: self.idle_writes.get(),
            applied_batches: self.applied_batches.get(),
            applied_bytes: self.applied_bytes.get(),
            applied_writes: self.applied_writes.get(),
            checkpoints: self.checkpoints.get(),
            replayed_frames: self.replayed_frames.get(),
            largest_group_frames: self.largest_group_frames.get(),
            flushed_partitions: self.flushed_partitions.get(),
            recycled_files: self.recycled_files.get(),
            full_disk: self.full_disk.get(),
            ..StoreStats::default()
        }
    }
}
