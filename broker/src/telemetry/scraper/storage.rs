//! The log: journal, segments, checkpoints, cleaning.

use super::Scraper;
use crate::telemetry::Family;

impl Scraper {
    #[rustfmt::skip]
    pub(super) fn storage(&self) -> Vec<Family> {
        let stats = self.store.stats();
        let congestion = self.store.congestion();
        let measured = &self.telemetry;
        let cleaning = &measured.cleaning;
        let mut families = vec![
            Family::counter("logmill_frames_total", "Frames accepted: sets of appends that become durable together.").of(stats.frames),
            Family::counter("logmill_frames_rejected_total", "Frames refused; nothing of them happened. A transaction's first batch in a partition may be one where the last transaction had the same epoch (version 0 and 1), and comes again with its state.").of(stats.rejections),
            Family::counter("logmill_frames_duplicate_total", "Batches that a producer sent again.").of(stats.duplicates),
            Family::counter("logmill_journal_writes_total", "Writes of the journal that carried frames.").of(stats.journal_writes),
            Family::counter("logmill_journal_frames_total", "Frames made durable by the journal.").of(stats.journal_frames),
            Family::counter("logmill_journal_bytes_total", "Bytes written to the journal, padding included.").of(stats.journal_bytes),
            Family::counter("logmill_journal_idle_writes_total", "Small writes when the journal becomes idle.").of(stats.idle_writes),
            Family::histogram("logmill_journal_write_duration_seconds", "Time until a write of the journal was on the device.").spread(measured.journal_writes.seconds()),
            Family::histogram("logmill_journal_group_frames", "Frames that one write of the journal carried: who waited for it.").spread(measured.journal_frames.distribution(1.0)),
            Family::gauge("logmill_journal_queued_bytes", "Bytes that wait for the journal.").of(congestion.queued_bytes),
            Family::gauge("logmill_journal_used_bytes", "Bytes of the journal in use: what a start would replay. A checkpoint is due at half of the limit.").of(stats.journal_used_bytes),
            Family::gauge("logmill_journal_files_bytes", "Bytes of the journal's files.").of(stats.journal_file_bytes),
            Family::gauge("logmill_journal_limit_bytes", "The most bytes the journal may have.").of(self.limits.journal_bytes),
            Family::gauge("logmill_journal_durable_sequence", "Number of the last durable frame.").of(stats.durable_sequence),
            Family::counter("logmill_segment_batches_total", "Batches written to segments.").of(stats.applied_batches),
            Family::counter("logmill_segment_bytes_total", "Bytes written to segments.").of(stats.applied_bytes),
            Family::counter("logmill_segment_writes_total", "Calls that wrote to segments.").of(stats.applied_writes),
            Family::gauge("logmill_unapplied_bytes", "Durable bytes that are not in the segments yet: how far the appliers are behind.").of(congestion.unapplied_bytes),
            Family::gauge("logmill_unflushed_bytes", "Bytes in segments that no checkpoint covers.").of(stats.unflushed_bytes),
            Family::counter("logmill_checkpoints_total", "Checkpoints.").of(stats.checkpoints),
            Family::histogram("logmill_checkpoint_duration_seconds", "Time a checkpoint took.").spread(measured.checkpoints.seconds()),
            Family::counter("logmill_checkpoint_partitions_total", "Partitions that checkpoints flushed.").of(stats.flushed_partitions),
            Family::counter("logmill_journal_files_recycled_total", "Files of the journal that checkpoints gave back.").of(stats.recycled_files),
            Family::gauge("logmill_open_segment_files", "Segment files open.").of(stats.open_files),
            Family::gauge("logmill_open_segment_files_limit", "Segment files that may be open.").of(self.limits.open_files),
            Family::gauge("logmill_unflushed_segment_files", "Segment files that wait to be flushed.").of(stats.unflushed_files),
            Family::gauge("logmill_tail_bytes", "Memory held by the newest records, from which consumers at the end are served.").of(stats.tail_bytes),
            Family::gauge("logmill_tail_limit_bytes", "The most memory for the newest records, beside what is not in the segments yet.").of(self.limits.tail_bytes),
            Family::counter("logmill_disk_full_total", "Rounds and checkpoints that found the disk full.").of(stats.full_disk),
            Family::gauge("logmill_disk_full", "1 while the disk is full and produces are refused.").of(u64::from(congestion.storage_full)),
            Family::gauge("logmill_replayed_frames", "Frames replayed when the broker started.").of(stats.replayed_frames),
            Family::counter("logmill_cleaning_rounds_total", "Times the cleaner looked for what may go.").of(cleaning.rounds.get()),
            Family::counter("logmill_cleaning_failures_total", "Partitions that the cleaner could not look at or compact.").of(cleaning.failures.get()),
            Family::counter("logmill_retention_trims_total", "Partitions whose beginning retention moved.").of(cleaning.trimmed_partitions.get()),
            Family::counter("logmill_retention_removed_bytes_total", "Bytes of segments removed.").of(cleaning.removed_bytes.get()),
            Family::counter("logmill_compactions_total", "Passes of compaction over a partition.").of(cleaning.compactions.get()),
            Family::counter("logmill_compaction_read_bytes_total", "Bytes of segments that compaction looked at.").of(cleaning.compaction_read_bytes.get()),
            Family::counter("logmill_compaction_written_bytes_total", "Bytes of segments that are there instead.").of(cleaning.compaction_written_bytes.get()),
            Family::counter("logmill_compaction_removed_records_total", "Records that compaction removed.").of(cleaning.compacted_records.get()),
            Family::counter("logmill_producers_expired_total", "Idle producers that were forgotten.").of(cleaning.expired_producers.get()),
        ];
        if let Ok(space) = rustix::fs::statvfs(&self.data_dir) {
            families.push(Family::gauge("logmill_disk_free_bytes", "Room left on the disk of the data directory.").of(space.f_bavail.saturating_mul(space.f_frsize)));
            families.push(Family::gauge("logmill_disk_size_bytes", "Size of that disk.").of(space.f_blocks.saturating_mul(space.f_frsize)));
        }
        families
    }
}
