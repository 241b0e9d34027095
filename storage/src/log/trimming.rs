//! Letting a log begin later, and removing what lies before its start.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::LogError;
use super::flush::not_durable;
use super::partition_log::{PartitionLog, View};

impl PartitionLog {
    /// Moves the first offset that may be read (DeleteRecords, retention). Never back. The caller knows that the log
    /// reaches that far, here or in what is still to be appended. Returns the start in force. Never waits.
    pub fn advance_log_start(&self, offset: i64) -> i64 {
        self.log_start_offset.fetch_max(offset, Ordering::AcqRel).max(offset)
    }

    /// Closes the active segment, unless it is empty, so that retention and compaction get at its batches.
    pub fn close_active(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        if self.active().size() > 0 {
            self.roll(&mut writer, self.end_offset())?;
        }
        Ok(())
    }

    /// Removes segments that lie wholly before the log's start and before `limit`. The start must be durable before (it is
    /// the store's to write down), and everything before `limit` known to be flushed. Readers that hold a segment are told
    /// that its offsets are gone. Returns the bytes freed.
    pub fn remove_segments_before_start(&self, limit: i64) -> Result<u64, LogError> {
        let before = self.log_start_offset().min(limit);
        let removable = |view: &View| {
            // The last segment stays: it is written to.
            view.segments[1..].iter().take_while(|s| s.base_offset() <= before).count()
        };
        if removable(&self.view()) == 0 {
            return Ok(0);
        }
        // The segment that is the first from here on must not be lost.
        self.flush()?;
        let disk = &*self.environment.disk;
        let mut manifest = self.flushing.lock();
        let view = self.view();
        let (removed, kept) = view.segments.split_at(removable(&view));
        let first_kept = kept[0].base_offset();
        let mut without = manifest.clone();
        if without.cut_front(first_kept) {
            without.write(disk, &self.directory)?;
            *manifest = without;
        }
        // Whoever reads these segments is done with them before their files go.
        let swapping = self.swapping.write();
        let mut writer = self.writer.lock();
        // The writer may have added one meanwhile.
        let kept = self.view().segments[removed.len()..].to_vec();
        *self.view.write() = Arc::new(View { segments: kept });
        if self.epochs.write().truncate_from_start(self.log_start_offset()) {
            writer.epochs_changed = true;
        }
        writer.remove_snapshots(self, |offset| offset < first_kept)?;
        drop((writer, swapping, manifest));
        let mut freed = 0;
        for segment in removed {
            segment.remove_files()?;
            // One after another, so that a crash leaves no hole.
            disk.sync_dir(&self.directory).map_err(not_durable("flush", &self.directory))?;
            freed += segment.size();
        }
        Ok(freed)
    }

    /// Some closed segments lie wholly before the log's start.
    pub fn has_trimmed_segments(&self) -> bool {
        let start = self.log_start_offset();
        self.view().segments.get(1).is_some_and(|second| second.base_offset() <= start)
    }
}
