//! One partition's log: the segments, and who may do what with them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use logmill_record::{Batch, EndTxnMarker};
use parking_lot::{Mutex, MutexGuard, RwLock};
use uuid::Uuid;

use crate::disk::{Disk, OpenOptions, Replacement};

use super::epochs::LeaderEpochs;
use super::error::{LogError, ReadError};
use super::files::Unflushed;
use super::manifest::{SEGMENT_MANIFEST, SegmentManifest};
use super::metadata;
use super::names::FileKind;
use super::options::LogOptions;
use super::producers::{LastAppends, ProducerView, Producers};
use super::segment::{LogEnvironment, Segment, remove_if_there};
use super::transactions::{OpenTransactions, TransactionEvent};

/// Positions and relative offsets in the index files are signed 32-bit numbers.
pub(super) const SEGMENT_MAX: u64 = i32::MAX as u64;
/// Room for one more entry of the larger kind keeps an index from growing over its bound.
const LARGEST_INDEX_ENTRY: usize = 12;

/// One partition's log. Any number of readers beside one writer at a time; see the module's head for who is who.
#[derive(Debug)]
pub struct PartitionLog {
    pub(super) environment: LogEnvironment,
    pub(super) directory: Arc<Path>,
    topic_id: Uuid,
    /// What readers see. The writer replaces it when a segment is added or removed.
    pub(super) view: RwLock<Arc<View>>,
    /// First offset that may be read.
    pub(super) log_start_offset: AtomicI64,
    pub(super) end_offset: AtomicI64,
    pub(super) epochs: RwLock<LeaderEpochs>,
    pub(super) writer: Mutex<Writer>,
    /// What the manifest's file says. Held from a flush's beginning to its end: who finds nothing left to flush must not be
    /// told so before it is done. Held, too, by whoever replaces or removes segments. Taken before the other locks.
    pub(super) flushing: Mutex<SegmentManifest>,
    /// Held for writing while a compacted segment takes its place: by then its files and the view do not agree. Who reads
    /// files by their names holds it for reading.
    pub(super) swapping: RwLock<()>,
}

/// The segments at one moment, never empty, in the order of their offsets. The last is the one that is written to.
#[derive(Debug)]
pub(super) struct View {
    pub(super) segments: Vec<Arc<Segment>>,
}

/// What only the writer knows.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) options: LogOptions,
    /// Producers as of the end of the log.
    pub(super) producers: Producers,
    pub(super) last_epoch: Option<i32>,
    /// Timestamp of the first batch of the active segment that has one.
    pub(super) first_timestamp: Option<i64>,
    pub(super) untimed_since: Option<i64>,
    /// Files that were written and are not being written any more.
    pub(super) unflushed: Unflushed,
    pub(super) flushed_end: i64,
    /// A flush has failed, or was given up half way: there is no other.
    pub(super) lost: bool,
    /// Bytes written to the active segment since it was last flushed.
    pub(super) unflushed_bytes: u64,
    pub(super) directory_changed: bool,
    pub(super) epochs_changed: bool,
    /// Offsets of the producer snapshots in the directory.
    pub(super) snapshots: BTreeSet<i64>,
    /// Segments found behind the end of the valid batches, until `cut`.
    pub(super) stale_segments: Vec<i64>,
    pub(super) recovery_point: i64,
    /// Differs from partition to partition.
    pub(super) jitter_seed: u64,
}

impl PartitionLog {
    /// Makes the directory with its first, empty segment. Durable on return, except for the directory's own name: the
    /// caller syncs its parent. What is already there of a log is emptied.
    pub fn create(
        environment: &LogEnvironment,
        directory: &Path,
        topic_id: Uuid,
        options: LogOptions,
    ) -> Result<PartitionLog, LogError> {
        let (log, metadata) = PartitionLog::create_unflushed(environment, directory, topic_id, options)?;
        let disk = &*environment.disk;
        let flushed = metadata.file.sync_data().and_then(|()| metadata.rename(disk));
        flushed.and_then(|()| disk.sync_dir(directory)).map_err(LogError::io("finish", directory))?;
        Ok(log)
    }

    /// The same for many logs at once: the metadata is written, and has to be flushed, renamed, and flushed with the
    /// directory, before the log may be used.
    pub(crate) fn create_unflushed(
        environment: &LogEnvironment,
        directory: &Path,
        topic_id: Uuid,
        options: LogOptions,
    ) -> Result<(PartitionLog, Replacement), LogError> {
        let disk = &*environment.disk;
        let shared: Arc<Path> = Arc::from(directory);
        disk.create_dir_all(directory).map_err(LogError::io("create", directory))?;
        let epochs = LeaderEpochs::default();
        remove_if_there(disk, &directory.join(SEGMENT_MANIFEST))?;
        let first = Segment::create(environment, &shared, 0, options.index_interval_bytes)?;
        // The metadata last: a directory without it was never finished. It makes all names durable.
        let metadata = metadata::replacement(disk, directory, topic_id)?;
        let mut writer = Writer::new(environment, options, Producers::default(), 0);
        writer.jitter_seed = jitter_seed(topic_id, directory);
        let log = PartitionLog {
            environment: environment.clone(),
            directory: shared,
            topic_id,
            view: RwLock::new(Arc::new(View { segments: vec![Arc::new(first)] })),
            log_start_offset: AtomicI64::new(0),
            end_offset: AtomicI64::new(0),
            epochs: RwLock::new(epochs),
            writer: Mutex::new(writer),
            flushing: Mutex::default(),
            swapping: RwLock::new(()),
        };
        Ok((log, metadata))
    }

    pub(super) fn assemble(
        environment: &LogEnvironment,
        directory: Arc<Path>,
        topic_id: Uuid,
        mut loaded: super::recovery::Loaded,
    ) -> PartitionLog {
        loaded.writer.jitter_seed = jitter_seed(topic_id, &directory);
        PartitionLog {
            environment: environment.clone(),
            directory,
            topic_id,
            view: RwLock::new(Arc::new(loaded.view)),
            log_start_offset: AtomicI64::new(loaded.log_start_offset),
            end_offset: AtomicI64::new(loaded.end_offset),
            epochs: RwLock::new(loaded.epochs),
            writer: Mutex::new(loaded.writer),
            flushing: Mutex::new(loaded.manifest),
            swapping: RwLock::new(()),
        }
    }

    /// Whose directory it is, from `partition.metadata`, without opening the log.
    pub fn read_topic_id(disk: &dyn Disk, directory: &Path) -> Result<Uuid, LogError> {
        metadata::read(disk, directory)
    }

    /// Writes `partition.metadata` again, durably, for a directory whose owner is known from elsewhere.
    pub fn write_topic_id(disk: &dyn Disk, directory: &Path, topic_id: Uuid) -> Result<(), LogError> {
        metadata::write(disk, directory, topic_id)
    }

    /// The topic's id, from `partition.metadata`.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// The partition's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Offset after the last batch.
    pub fn end_offset(&self) -> i64 {
        self.end_offset.load(Ordering::Acquire)
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset.load(Ordering::Acquire)
    }

    /// Bytes of batches in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.view().segments.iter().map(|segment| segment.size()).sum()
    }

    /// Takes effect from the next append on.
    pub fn set_options(&self, options: LogOptions) {
        self.writer.lock().options = options;
    }

    /// Producers as of the end of the log.
    pub fn producers(&self) -> Vec<ProducerView> {
        self.writer.lock().producers.views().collect()
    }

    /// All that is known of the producers as of the end of the log: what a sequencer begins with.
    pub fn producer_state(&self) -> Producers {
        self.writer.lock().producers.clone()
    }

    /// Transactions open at the end of the log.
    pub fn open_transactions(&self) -> OpenTransactions {
        self.writer.lock().producers.open_transactions().clone()
    }

    /// Forgets producers that were silent for `after_ms`, except those with an open transaction.
    pub fn expire_producers(&self, now: i64, after_ms: i64) -> usize {
        self.writer.lock().producers.expire(now, after_ms)
    }

    /// Appends stamped batches that go on exactly where the log ends, in as few writes as there are segments touched.
    ///
    /// On an error a prefix may have been appended: [`PartitionLog::end_offset`] says how far, and the same batches from
    /// there on may be given again, for instance when the disk is no longer full.
    pub fn append(&self, batches: &[Batch]) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        self.append_locked(&mut writer, batches)
    }

    pub(super) fn append_locked(&self, writer: &mut Writer, batches: &[Batch]) -> Result<(), LogError> {
        let mut expected = self.end_offset();
        for batch in batches {
            if batch.header().base_offset != expected {
                let directory = self.directory.to_path_buf();
                return Err(LogError::NotNext { directory, expected, found: batch.header().base_offset });
            }
            expected = batch.header().next_offset();
        }
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let mut active = self.active();
            if writer.must_roll(&active, active.size(), first) {
                active = self.roll(writer, first.header().base_offset)?;
            }
            let mut size = active.size() + first.size() as u64;
            let mut run = 1;
            while let Some(next) = rest.get(run)
                && !writer.must_roll(&active, size, next)
            {
                size += next.size() as u64;
                run += 1;
            }
            let (now, later) = rest.split_at(run);
            active.append(now)?;
            writer.unflushed_bytes += now.iter().map(|batch| batch.size() as u64).sum::<u64>();
            self.observe(writer, &active, now);
            rest = later;
        }
        Ok(())
    }

    /// Follows batches that are now in the active segment, and publishes them.
    fn observe(&self, writer: &mut Writer, active: &Segment, batches: &[Batch]) {
        for batch in batches {
            let header = batch.header();
            let marker = if header.is_control() { EndTxnMarker::from_batch(batch).ok() } else { None };
            let event = writer.producers.apply(header, marker);
            if let Some(TransactionEvent::Ended(ended)) = event
                && let Some(aborted) = ended.aborted()
            {
                active.add_aborted(aborted);
            }
            writer.observe_timestamp(header.max_timestamp);
            if writer.last_epoch.is_none_or(|last| header.leader_epoch > last)
                && self.epochs.write().observe(header.leader_epoch, header.base_offset)
            {
                writer.last_epoch = Some(header.leader_epoch);
                writer.epochs_changed = true;
            }
        }
        if let Some(last) = batches.last() {
            self.end_offset.store(last.header().next_offset(), Ordering::Release);
        }
    }

    /// Closes the active segment and begins one at `base_offset`, with a snapshot of the producers before it.
    pub(super) fn roll(&self, writer: &mut Writer, base_offset: i64) -> Result<Arc<Segment>, LogError> {
        let closed = self.active();
        let files = closed.seal()?;
        writer.write_snapshot(&self.environment, &self.directory, base_offset)?;
        let segment = Segment::create(
            &self.environment,
            &self.directory,
            base_offset,
            writer.options.index_interval_bytes,
        )?;
        let segment = Arc::new(segment);
        writer.stale_segments.retain(|stale| *stale != base_offset);
        writer.unflushed.extend(files);
        writer.unflushed.extend([closed.writing_file()?]);
        closed.set_flushed();
        writer.unflushed_bytes = 0;
        writer.directory_changed = true;
        (writer.first_timestamp, writer.untimed_since) = (None, None);
        let view = self.view();
        let mut segments = view.segments.clone();
        segments.push(Arc::clone(&segment));
        *self.view.write() = Arc::new(View { segments });
        Ok(segment)
    }

    /// Base offset, end offset, bytes and largest timestamp of each closed segment, oldest first: what retention decides
    /// on. The active segment is not among them.
    pub fn closed_segments(&self) -> Result<Vec<ClosedSegment>, ReadError> {
        let (_swapping, view) = self.reading();
        let (_, closed) = view.segments.split_last().expect("a log has a segment");
        closed
            .iter()
            .map(|segment| {
                Ok(ClosedSegment {
                    base_offset: segment.base_offset(),
                    end_offset: segment.end_offset(),
                    size_bytes: segment.size(),
                    max_timestamp: segment.largest()?.map(|largest| largest.timestamp),
                })
            })
            .collect()
    }

    /// The newest leader epoch of the log.
    pub fn last_leader_epoch(&self) -> Option<i32> {
        self.epochs.read().last_epoch()
    }

    /// The leader epoch in which the batch at `offset` was appended.
    pub fn leader_epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.read().epoch_at(offset)
    }

    /// For a client that last saw `epoch`: the largest epoch not above it, and the offset at which that ended
    /// ([`LeaderEpochs::end_offset_for`]). `log_end` is where the newest epoch ends for this client.
    pub fn end_offset_for_epoch(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        self.epochs.read().end_offset_for(epoch, log_end)
    }

    pub(super) fn last_appends(&self) -> LastAppends {
        self.writer.lock().producers.last_appends()
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    pub(super) fn active(&self) -> Arc<Segment> {
        let view = self.view.read();
        Arc::clone(view.segments.last().expect("a log has a segment"))
    }

    pub(super) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }
}

fn jitter_seed(topic_id: Uuid, directory: &Path) -> u64 {
    let (high, low) = topic_id.as_u64_pair();
    directory
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(high ^ low, |seed, byte| (seed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A segment that is not written to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedSegment {
    /// First offset it may hold.
    pub base_offset: i64,
    /// Offset after the last it may hold.
    pub end_offset: i64,
    /// Bytes of its batches.
    pub size_bytes: u64,
    /// Its largest timestamp, ms; none when no batch has one.
    pub max_timestamp: Option<i64>,
}

impl View {
    /// The segments from the one that can hold `offset`.
    pub(super) fn holding(&self, offset: i64) -> &[Arc<Segment>] {
        let after = self.segments.partition_point(|segment| segment.base_offset() <= offset);
        &self.segments[after.saturating_sub(1)..]
    }
}

impl Writer {
    pub(super) fn new(
        environment: &LogEnvironment,
        options: LogOptions,
        producers: Producers,
        end_offset: i64,
    ) -> Writer {
        Writer {
            options,
            producers,
            last_epoch: None,
            first_timestamp: None,
            untimed_since: None,
            unflushed: Unflushed::new(&environment.files),
            flushed_end: end_offset,
            lost: false,
            unflushed_bytes: 0,
            directory_changed: false,
            epochs_changed: false,
            snapshots: BTreeSet::new(),
            stale_segments: Vec::new(),
            recovery_point: end_offset,
            jitter_seed: 0,
        }
    }

    /// Whether the batch has to go to a new segment, when the active one has `size` bytes.
    fn must_roll(&self, active: &Segment, size: u64, batch: &Batch) -> bool {
        if size == 0 {
            return false;
        }
        let header = batch.header();
        let full = size + batch.size() as u64 > u64::from(self.options.segment_bytes).min(SEGMENT_MAX);
        let far = header.last_offset() - active.base_offset() > SEGMENT_MAX as i64;
        let age = self.first_timestamp.map(|first| header.max_timestamp.saturating_sub(first));
        let old = age.is_some_and(|age| age > self.longest_ms(active.base_offset()));
        full || far
            || old
            || active.index_bytes() + LARGEST_INDEX_ENTRY > self.options.index_max_bytes as usize
    }

    /// The time span of a segment by its batches' timestamps.
    pub(super) fn longest_ms(&self, base_offset: i64) -> i64 {
        let LogOptions { segment_ms, segment_jitter_ms, cleanup, compaction, .. } = &self.options;
        let jitter = (*segment_jitter_ms).min(*segment_ms).max(0) as u64;
        // Any number that differs from segment to segment will do.
        let spread = (base_offset as u64 ^ self.jitter_seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        let longest = segment_ms - (spread % (jitter + 1)) as i64;
        if cleanup.compact { longest.min(compaction.max_lag_ms) } else { longest }
    }

    pub(super) fn observe_timestamp(&mut self, timestamp: i64) {
        if self.first_timestamp.is_none() && timestamp >= 0 {
            self.first_timestamp = Some(timestamp);
        }
    }

    /// Writes the producers' snapshot as of `offset`, which is the end of the log, unless it is there.
    pub(super) fn write_snapshot(
        &mut self,
        environment: &LogEnvironment,
        directory: &Path,
        offset: i64,
    ) -> Result<(), LogError> {
        if self.snapshots.contains(&offset) {
            return Ok(());
        }
        let path = FileKind::ProducerSnapshot.path(directory, offset);
        let bytes = self.producers.encode_snapshot();
        let file =
            environment.disk.open(&path, OpenOptions::CREATE).map_err(LogError::io("create", &path))?;
        file.write_at(&bytes, 0).map_err(LogError::io("write", &path))?;
        file.set_len(bytes.len() as u64).map_err(LogError::io("cut", &path))?;
        self.snapshots.insert(offset);
        self.unflushed.extend([file]);
        self.directory_changed = true;
        Ok(())
    }

    /// Removes producer snapshots.
    pub(super) fn remove_snapshots(
        &mut self,
        log: &PartitionLog,
        which: impl Fn(i64) -> bool,
    ) -> Result<(), LogError> {
        // The newest is what the next start begins with.
        let newest = self.snapshots.last().copied();
        let gone: Vec<i64> =
            self.snapshots.iter().copied().filter(|o| which(*o) && Some(*o) != newest).collect();
        for offset in gone {
            let path: PathBuf = FileKind::ProducerSnapshot.path(&log.directory, offset);
            remove_if_there(&*log.environment.disk, &path)?;
            self.snapshots.remove(&offset);
        }
        Ok(())
    }
}
