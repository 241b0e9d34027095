//! What opening a data directory found and did, for whoever starts it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::recovering::Recovering;
use crate::PartitionId;
use crate::journal::Cut;
use crate::log::{Corruption, ReplayedRun};
use crate::store::error::StoreError;

/// What opening did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The directory was empty.
    pub new: bool,
    /// The last stop was a clean one: nothing had to be replayed.
    pub clean: bool,
    /// Partitions, by id.
    pub partitions: Vec<FoundPartition>,
    /// Frames of the journal that were not covered by the checkpoint.
    pub replayed_frames: u64,
    /// Their batches that were in the segments already, from before the stop.
    pub present_batches: u64,
    /// Their batches that were missing or torn in the segments, and were written.
    pub written_batches: u64,
    /// Bytes of the journal that were read.
    pub journal_bytes: u64,
    /// The torn end of the journal: what was being written when the machine went down, and nobody was told about.
    pub journal_cut: Option<Cut>,
    /// Appends of replayed frames to partitions that do not exist any more, with their number: deleted topics.
    pub unknown_partitions: BTreeMap<PartitionId, u64>,
    /// Ends of partitions that were cut.
    pub truncations: Vec<Truncation>,
    /// Damage in segments that was met: reads of these offsets fail, all others go on.
    pub damaged: Vec<Corruption>,
    /// Indexes and snapshots that were made again.
    pub rebuilt_files: usize,
    /// The checkpoint's file, or its copy, that was damaged, lost or put back from before: the other one was used.
    pub unusable_checkpoint: Option<PathBuf>,
    /// Directories of deleted partitions, and of ones that were never finished, that were removed.
    pub removed_directories: Vec<PathBuf>,
    /// Directories of deleted partitions that could not be removed, and why. Nothing depends on them; each checkpoint tries
    /// again.
    pub unremoved_directories: Vec<(PathBuf, String)>,
}

/// A partition that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPartition {
    /// Which.
    pub id: PartitionId,
    /// Name of its topic, from its directory.
    pub topic_name: String,
    /// First offset that may be read.
    pub log_start_offset: i64,
    /// Offset after the last record.
    pub end_offset: i64,
}

/// The end of a partition that was cut, because no frame vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncation {
    /// Which partition.
    pub partition: PartitionId,
    /// Offset at which it ends now.
    pub end_offset: i64,
    /// Valid batches ended here before.
    pub found_end: i64,
    /// Bytes behind the valid batches that were no batches.
    pub torn_bytes: u64,
}

impl Recovery {
    pub(super) fn count(&mut self, done: ReplayedRun) {
        self.present_batches += done.present;
        self.written_batches += done.written;
    }

    pub(super) fn finish_runs(
        &mut self,
        partitions: &mut BTreeMap<PartitionId, Recovering>,
    ) -> Result<(), StoreError> {
        for partition in partitions.values_mut() {
            self.count(partition.finish_run()?);
        }
        Ok(())
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.partitions.len();
        if self.new {
            return write!(f, "new data directory");
        }
        if self.clean {
            write!(f, "after a clean stop: {partitions} partitions")?;
        } else {
            write!(
                f,
                "after an unclean stop: {partitions} partitions, {} frames replayed",
                self.replayed_frames
            )?;
        }
        if let Some(cut) = &self.journal_cut {
            write!(f, "; journal {} torn at position {}, cut there", cut.file.display(), cut.position)?;
        }
        if !self.truncations.is_empty() {
            write!(f, "; {} partitions had torn ends, cut", self.truncations.len())?;
        }
        if let Some(file) = &self.unusable_checkpoint {
            write!(f, "; {} was damaged or lost, the other one of the two was used", file.display())?;
        }
        for damage in &self.damaged {
            write!(f, "; {damage}")?;
        }
        if self.rebuilt_files > 0 {
            write!(f, "; {} indexes and snapshots made again", self.rebuilt_files)?;
        }
        if !self.unknown_partitions.is_empty() {
            let appends: u64 = self.unknown_partitions.values().sum();
            write!(f, "; {appends} appends to deleted partitions passed over")?;
        }
        for (directory, why) in &self.unremoved_directories {
            write!(f, "; {} of a deleted partition cannot be removed: {why}", directory.display())?;
        }
        Ok(())
    }
}
