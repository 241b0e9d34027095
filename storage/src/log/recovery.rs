//! Opening a log, after a clean stop or a crash.
//!
//! ```text
//!   settled segments          │ scanned                                    │ tail
//!   known to be on the device │ every batch checked, everything derived    │ torn, stale or foreign bytes:
//!   (read when asked for)     │ from them made again                       │ reported, cut only by `cut`
//!                      recovery point                                 valid end
//! ```
//!
//! The journal is replayed onto the valid end before anything is cut: what looks torn may be a batch that the journal has.

mod aborted;
mod loader;
mod settled;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use logmill_record::Batch;

use super::compaction::swap::Swap;
use super::epochs::LeaderEpochs;
use super::error::{Corruption, LogError, ReadError};
use super::metadata;
use super::names::FileKind;
use super::options::LogOptions;
use super::partition_log::{PartitionLog, View, Writer};
use super::segment::{LogEnvironment, Segment, remove_if_there, remove_segment_files};
use super::transactions::AbortedTransaction;

use aborted::aborted_again;
pub(super) use loader::Loaded;
use loader::Loader;

/// What is known of a log from elsewhere, when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenAt {
    /// Everything before this offset is on the device, by an earlier flush.
    pub recovery_point: i64,
    /// First offset that may be read.
    pub log_start_offset: i64,
    /// What lies behind the recovery point may be in these files only, and in no journal.
    pub unjournaled: bool,
}

/// What opening a log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Offset after the last valid batch; not before the recovery point.
    pub valid_end: i64,
    /// Bytes behind the recovery point that were read and checked.
    pub scanned_bytes: u64,
    /// What lies behind the last valid batch.
    pub tail: Option<Tail>,
    /// Damage before the recovery point that was met: not all there may be, as settled segments are read when somebody asks.
    /// Reads of these offsets fail with it; what lies behind is read.
    pub damaged: Vec<Corruption>,
    /// Derived files that were missing or wrong and have been made again.
    pub rebuilt: Vec<PathBuf>,
}

/// Bytes behind the last valid batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The segment they begin in.
    pub file: PathBuf,
    /// Where.
    pub position: u64,
    /// How many there are, later segments included.
    pub bytes: u64,
    /// Why they are not a batch of this log.
    pub reason: String,
}

/// What became of a batch that was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It was there already.
    Present,
    /// It was missing or torn, and is there now.
    Written,
}

/// What became of batches that were replayed, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayedRun {
    /// Were there already.
    pub present: u64,
    /// Were missing or torn, and are there now.
    pub written: u64,
}

impl PartitionLog {
    /// Opens a log. Cuts nothing: after it come the journal's batches ([`PartitionLog::replay`]), and then, always,
    /// [`PartitionLog::cut`] at the end that the store has found, before the first new append.
    ///
    /// Batches that were on the device and are gone cost their own offsets, which read as damaged. Fails with
    /// [`LogError::LostBelowRecoveryPoint`] when the producers as of the recovery point, or all of the log, are gone with
    /// them.
    pub fn open(
        environment: &LogEnvironment,
        directory: &Path,
        options: LogOptions,
        at: OpenAt,
    ) -> Result<(PartitionLog, Recovered), LogError> {
        let shared: Arc<Path> = Arc::from(directory);
        let topic_id = metadata::read(&*environment.disk, directory)?;
        Swap::resume(&*environment.disk, directory)?;
        let (loaded, recovered) = Loader::new(environment, &shared, options, at)?.load()?;
        Ok((PartitionLog::assemble(environment, shared, topic_id, loaded), recovered))
    }

    /// Opens a log of which nothing is known but its files: every batch is checked, and everything that is derived from
    /// them is made again. Offsets may be missing between segments, as compaction leaves them. After it, too, comes
    /// [`PartitionLog::cut`].
    pub fn open_unknown(
        environment: &LogEnvironment,
        directory: &Path,
        options: LogOptions,
        log_start_offset: i64,
    ) -> Result<(PartitionLog, Recovered), LogError> {
        let shared: Arc<Path> = Arc::from(directory);
        let topic_id = metadata::read(&*environment.disk, directory)?;
        Swap::resume(&*environment.disk, directory)?;
        let at = OpenAt { recovery_point: 0, log_start_offset, unjournaled: true };
        let mut loader = Loader::new(environment, &shared, options, at)?;
        loader.allow_gaps();
        let (loaded, recovered) = loader.load()?;
        Ok((PartitionLog::assemble(environment, shared, topic_id, loaded), recovered))
    }

    /// Offsets that are missing between segments that were scanned, each from the first to the one behind the last.
    pub(crate) fn gaps(&self) -> Vec<(i64, i64)> {
        let view = self.view();
        let pairs = view.segments.windows(2).map(|pair| (pair[0].end_offset(), pair[1].base_offset()));
        pairs.filter(|(end, next)| end < next).collect()
    }

    /// Whether these leader epochs say of every batch what it says itself; they may know more.
    pub(crate) fn agrees_with_epochs(&self, known: &LeaderEpochs) -> bool {
        let own = self.epochs.read();
        own.entries().iter().all(|&(epoch, start)| known.epoch_at(start) == Some(epoch))
    }

    /// Puts a stamped batch of the journal where it belongs: [`PartitionLog::replay_run`] of one.
    pub fn replay(&self, batch: &Batch) -> Result<Replayed, LogError> {
        let run = self.replay_run(std::slice::from_ref(batch))?;
        Ok(if run.written == 0 { Replayed::Present } else { Replayed::Written })
    }

    /// Puts stamped batches of the journal where they belong, each beginning where the one before ends. The same batches
    /// may be given any number of times.
    ///
    /// Runs come in the order of their offsets. A batch that is there already is written again all the same: whether the
    /// device has it is not known. [`LogError::NotNext`] when there is a gap before one, [`LogError::Diverged`] when
    /// another batch is in its place. Reads and writes are for the whole run, so long runs are much cheaper than many
    /// single batches.
    pub fn replay_run(&self, batches: &[Batch]) -> Result<ReplayedRun, LogError> {
        let mut writer = self.writer.lock();
        let recovery_point = writer.recovery_point;
        let settled = batches.partition_point(|batch| batch.header().next_offset() <= recovery_point);
        let there = batches.partition_point(|batch| batch.header().base_offset < self.end_offset());
        let (present, missing) = batches.split_at(there.max(settled));
        let mut rest = present.get(settled..).unwrap_or_default();
        while !rest.is_empty() {
            rest = &rest[self.write_again(rest)?..];
        }
        if !missing.is_empty() {
            self.append_locked(&mut writer, missing)?;
        }
        Ok(ReplayedRun { present: present.len() as u64, written: missing.len() as u64 })
    }

    /// Writes the first of these batches, which are there, over themselves: as many as lie back to back in one segment.
    /// Returns how many, at least one.
    fn write_again(&self, batches: &[Batch]) -> Result<usize, LogError> {
        let offset = batches[0].header().base_offset;
        let view = self.view();
        let segment = &view.holding(offset)[0];
        let Some(located) = segment.locate(offset)? else {
            let directory = self.directory.to_path_buf();
            return Err(LogError::NotNext { directory, expected: self.end_offset(), found: offset });
        };
        let candidates = batches.partition_point(|batch| batch.header().base_offset < segment.end_offset());
        let same = segment.count_same(located.position, &batches[..candidates.max(1)])?;
        if same == 0 {
            let file = segment.path(FileKind::Log);
            return Err(LogError::Diverged { file, position: located.position, offset });
        }
        // The segment is behind the recovery point, and so among the files that the next flush flushes.
        segment.write_again(&batches[..same], located.position)?;
        Ok(same)
    }

    /// Writes over themselves, in the files, the batches behind the recovery point that no journal has. Whether the device has
    /// them is not known, and the page cache may say that it has, when that is not so: after a flush that failed. To be
    /// flushed with all else that was found.
    pub fn write_unjournaled_again(&self) -> Result<(), LogError> {
        let recovery_point = self.writer.lock().recovery_point;
        for segment in self.view().holding(recovery_point) {
            let from = segment.locate(recovery_point)?.map_or(segment.size(), |located| located.position);
            segment.copy_over_itself(from)?;
        }
        Ok(())
    }

    /// Ends recovery: drops the batches at and behind `end_offset`, if there are any, and every byte and file behind the
    /// end. What is left is exactly the log. Returns the end, which is smaller when `end_offset` lies inside a batch.
    pub fn cut(&self, end_offset: i64) -> Result<i64, LogError> {
        let mut manifest = self.flushing.lock();
        let mut writer = self.writer.lock();
        let disk = &*self.environment.disk;
        if end_offset < self.end_offset() {
            let mut shorter = manifest.clone();
            if shorter.cut_end(end_offset) {
                shorter.write(disk, &self.directory)?;
                *manifest = shorter;
            }
            self.drop_batches_from(&mut writer, end_offset)?;
        }
        let end = self.end_offset();
        // A start of the log that was durable was not behind its end.
        self.log_start_offset.fetch_min(end, Ordering::AcqRel);
        for stale in std::mem::take(&mut writer.stale_segments) {
            remove_segment_files(disk, &self.directory, stale)?;
        }
        let stale: Vec<i64> = writer.snapshots.range(end + 1..).copied().collect();
        for offset in stale {
            remove_if_there(disk, &FileKind::ProducerSnapshot.path(&self.directory, offset))?;
            writer.snapshots.remove(&offset);
        }
        let active = self.active();
        writer.unflushed.extend(active.trim_files()?);
        if self.epochs.write().truncate_from_end(end) {
            writer.epochs_changed = true;
        }
        writer.last_epoch = self.epochs.read().last_epoch();
        writer.directory_changed = true;
        Ok(end)
    }

    /// Shortens the files and loads the log again from what is left.
    fn drop_batches_from(&self, writer: &mut Writer, end_offset: i64) -> Result<(), LogError> {
        let view = self.view();
        let kept = view.segments.partition_point(|s| s.base_offset() < end_offset).max(1);
        for later in &view.segments[kept..] {
            later.remove_files()?;
        }
        let last = &view.segments[kept - 1];
        let located = last.locate(end_offset)?;
        let (size, end) = match located {
            // An offset inside a batch takes the whole batch with it.
            Some(located) => (located.position, located.header.base_offset.min(end_offset)),
            None => (last.size(), last.end_offset().min(end_offset)),
        };
        last.set_extent(size, end.max(last.base_offset()));
        last.trim_log()?;
        let at = OpenAt {
            recovery_point: writer.recovery_point.min(end),
            log_start_offset: self.log_start_offset().min(end),
            unjournaled: false,
        };
        let mut loader = Loader::new(&self.environment, &self.directory, writer.options, at)?;
        loader.keep_unflushed(writer.unflushed.take());
        let stale = std::mem::take(&mut writer.stale_segments);
        let (mut loaded, _) = loader.load()?;
        loaded.writer.stale_segments.extend(stale);
        loaded.writer.stale_segments.sort_unstable();
        loaded.writer.stale_segments.dedup();
        *writer = loaded.writer;
        *self.epochs.write() = loaded.epochs;
        *self.view.write() = Arc::new(loaded.view);
        self.log_start_offset.store(loaded.log_start_offset, Ordering::Release);
        self.end_offset.store(loaded.end_offset, Ordering::Release);
        Ok(())
    }

    /// Looks at the aborted transactions of a segment, whose file is made again when it is wrong.
    pub(super) fn with_aborted<T>(
        &self,
        view: &View,
        segment: &Segment,
        look: impl Fn(&[AbortedTransaction]) -> T,
    ) -> Result<T, ReadError> {
        match segment.with_aborted(&look) {
            Err(ReadError::Corrupt(wrong)) => {
                let again = aborted_again(&self.environment, &self.directory, &view.segments, segment)?;
                if again.met_damage && (again.entries.len() as u64) < segment.aborted_sum().entries {
                    // Who is told of fewer would take aborted records for committed ones.
                    return Err(ReadError::Corrupt(wrong));
                }
                segment.replace_aborted(again.entries);
                segment.with_aborted(look)
            }
            looked => looked,
        }
    }
}
