//! Making a log durable.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::MutexGuard;

use crate::disk::{DiskFile, Replacement};

use super::error::LogError;
use super::files::Unflushed;
use super::manifest::SegmentManifest;
use super::names::LEADER_EPOCHS;
use super::partition_log::{PartitionLog, Writer};

/// Everything before an offset is on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// The offset: the log's recovery point.
    pub end_offset: i64,
}

/// A flush whose bytes have been written and must now be made durable, by the caller, for many logs at once:
/// first [`Flush::files`], or the whole file system, then [`Flush::directory`], then [`Flush::finish`]. With many logs,
/// [`Flush::replace`] and the directories again before that.
///
/// When making them durable fails, the flush is lost and nothing may be assumed of the files: the caller gives up for good.
#[derive(Debug)]
#[must_use = "nothing is durable before `finish`"]
pub struct Flush<'a> {
    log: &'a PartitionLog,
    end_offset: i64,
    files: Unflushed,
    directory_changed: bool,
    /// Leader epochs and manifest, which say something of the bytes that are flushed, and are put in their places after them.
    replacements: Vec<Replacement>,
    replaced: bool,
    /// What the segments hold now, when the file says something else.
    manifest: Option<SegmentManifest>,
    written_manifest: MutexGuard<'a, SegmentManifest>,
}

impl PartitionLog {
    /// Makes everything appended so far durable. Fatal when it fails: a second try would lie.
    pub fn flush(&self) -> Result<Flushed, LogError> {
        let flush = self.prepare_flush()?;
        for file in flush.files() {
            file.sync_data().map_err(not_durable("flush files of", &self.directory))?;
        }
        if let Some(directory) = flush.directory() {
            let disk = &*self.environment.disk;
            disk.sync_dir(directory).map_err(not_durable("flush", directory))?;
        }
        flush.finish()
    }

    /// Lets the device have what was appended when that is so many bytes, so that the next flush finds little to do. It
    /// changes nothing else, and a failure is as fatal as that of a flush. False when there was less, or a flush is under
    /// way: it uses the same handle, which is told of a failure once.
    pub fn flush_ahead(&self, from_bytes: u64) -> Result<bool, LogError> {
        let Some(flushing) = self.flushing.try_lock() else { return Ok(false) };
        let file = {
            let mut writer = self.writer.lock();
            if writer.unflushed_bytes < from_bytes {
                return Ok(false);
            }
            writer.unflushed_bytes = 0;
            self.active().writing_file()?
        };
        let flushed = file.sync_data();
        if flushed.is_err() {
            self.writer.lock().lost = true;
        }
        drop(flushing);
        flushed.map_err(not_durable("flush files of", &self.directory))?;
        Ok(true)
    }

    /// Writes indexes and the producers' snapshot, and collects what has to be made durable. Another flush of the log waits
    /// until this one is finished or dropped.
    pub fn prepare_flush(&self) -> Result<Flush<'_>, LogError> {
        let written_manifest = self.flushing.lock();
        let mut writer = self.writer.lock();
        if writer.lost {
            let lost = io::Error::other("an earlier flush failed: nobody knows what is on the device");
            return Err(LogError::io("flush", &self.directory)(lost));
        }
        let end_offset = self.end_offset();
        let active = self.active();
        writer.write_snapshot(&self.environment, &self.directory, end_offset)?;
        // Into the writer's own list: should the disk be full half way, the next flush flushes what this one wrote.
        let mut indexes = Vec::new();
        let written = active.write_out_indexes(&mut indexes);
        // An index file may be new. The name of a transaction index must not be lost: no such file means no such entry.
        writer.directory_changed |= !indexes.is_empty();
        writer.unflushed.extend(indexes);
        written?;
        let manifest = SegmentManifest::of(&self.view().segments);
        let manifest = manifest.replaces(&written_manifest).then_some(manifest);
        let replacements = self.write_replacements(&writer, manifest.as_ref())?;
        let active_file = if writer.flushed_end == end_offset { None } else { Some(active.writing_file()?) };
        let mut files = writer.unflushed.take();
        files.extend(active_file);
        files.extend(replacements.iter().map(|replacement| Arc::clone(&replacement.file)));
        writer.flushed_end = end_offset;
        writer.unflushed_bytes = 0;
        let directory_changed = std::mem::take(&mut writer.directory_changed);
        writer.epochs_changed = false;
        Ok(Flush {
            log: self,
            end_offset,
            files,
            directory_changed,
            replacements,
            replaced: false,
            manifest,
            written_manifest,
        })
    }

    fn write_replacements(
        &self,
        writer: &Writer,
        manifest: Option<&SegmentManifest>,
    ) -> Result<Vec<Replacement>, LogError> {
        let disk = &*self.environment.disk;
        let mut replacements = Vec::new();
        if writer.epochs_changed {
            let path = self.directory.join(LEADER_EPOCHS);
            let text = self.epochs.read().encode();
            replacements.push(
                Replacement::write(disk, &path, text.as_bytes()).map_err(LogError::io("write", &path))?,
            );
        }
        if let Some(manifest) = manifest {
            replacements.push(manifest.replacement(disk, &self.directory)?);
        }
        Ok(replacements)
    }
}

impl PartitionLog {
    /// A checkpoint with this recovery point is durable: no start begins before it any more. Removes the producer
    /// snapshots that nobody needs then, which are all before the one that it begins with, but for those at segments'
    /// beginnings. There may have been any number of flushes, and of snapshots, since the checkpoint before.
    pub fn checkpointed(&self, recovery_point: i64) -> Result<(), LogError> {
        let view = self.view();
        let mut writer = self.lock_writer();
        let Some(first_needed) = writer.snapshots.range(..=recovery_point).next_back().copied() else {
            return Ok(());
        };
        let needed = |offset: i64| view.segments.iter().any(|segment| segment.base_offset() == offset);
        writer.remove_snapshots(self, |offset| offset < first_needed && !needed(offset))
    }
}

impl Flush<'_> {
    /// Files to be flushed, by these handles. Empty when nothing was written since the last flush.
    pub fn files(&self) -> &[Arc<dyn DiskFile>] {
        self.files.files()
    }

    /// The directory, when names in it have to be made durable.
    pub fn directory(&self) -> Option<&Path> {
        self.directory_changed.then_some(&*self.log.directory)
    }

    /// The offset before which everything will be durable.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// To be called when files and directory are durable: puts what says something of them in its place. True when the
    /// directory has to be flushed again before [`Flush::finish`].
    pub fn replace(&mut self) -> Result<bool, LogError> {
        let log = self.log;
        let first = !std::mem::replace(&mut self.replaced, true);
        for replacement in self.replacements.iter().filter(|_| first) {
            if let Err(error) = replacement.rename(&*log.environment.disk) {
                // The next flush writes them, if there is one.
                log.lock_writer().epochs_changed = true;
                return Err(LogError::io("put files in place in", &log.directory)(error));
            }
        }
        Ok(first && !self.replacements.is_empty())
    }

    /// To be called when files and directory are durable: puts in place what was not yet.
    pub fn finish(mut self) -> Result<Flushed, LogError> {
        let log = self.log;
        if self.replace()? {
            let disk = &*log.environment.disk;
            disk.sync_dir(&log.directory).map_err(not_durable("flush", &log.directory))?;
        }
        if let Some(manifest) = self.manifest.take() {
            *self.written_manifest = manifest;
        }
        let mut writer = log.lock_writer();
        writer.recovery_point = writer.recovery_point.max(self.end_offset);
        if log.end_offset() == self.end_offset {
            log.active().set_flushed();
        }
        Ok(Flushed { end_offset: self.end_offset })
    }
}

impl Drop for Flush<'_> {
    /// What was taken to be made durable, and was not, is with nobody now: no later flush may say that it is on the device.
    fn drop(&mut self) {
        if !self.replaced {
            self.log.lock_writer().lost = true;
        }
    }
}

/// A flush that failed, for whatever reason: also with a full disk another try would lie.
pub(super) fn not_durable(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::io(operation, file)(source).not_full()
}
