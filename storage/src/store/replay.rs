//! Opening a data directory.
//!
//! ```text
//! checkpoint ─► logs opened at their recovery points ─► frames behind the checkpoint put where they belong
//!            ─► only then is cut what lies beyond each partition's last frame ─► flush ─► new incarnation, checkpoint
//! ```
//!
//! Everything up to the new checkpoint can be repeated: a crash on the way changes nothing of the outcome.

mod found;
mod recovering;
mod report;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};

use parking_lot::Mutex;

use self::found::{Claim, Found, claim};
use self::recovering::Recovering;
pub use self::report::{FoundPartition, Recovery, Truncation};
use super::appliers::Appliers;
use super::checkpoint::CheckpointStage;
use super::checkpoint_file::{CHECKPOINT_NAME, CheckpointFile, CheckpointedPartition};
use super::cleaned_offsets::CleanedOffsets;
use super::counts::Counts;
use super::directories::Directories;
use super::error::StoreError;
use super::rounds::JournalStage;
use super::sequencer::Sequencer;
use super::tail::TailBudget;
use super::write_time::WriteTime;
use super::{Store, StoreOptions};
use crate::PartitionId;
use crate::disk::{Disk, DiskLock};
use crate::journal::{
    Journal, JournalOptions, NewIncarnation, ReplayStart, Scanned, inspect, next_incarnation, recover,
};
use crate::log::names::PARTITION_METADATA;
use crate::log::{
    Cleanup, Durability, GroupFlush, LogEnvironment, LogOptions, OpenAt, OpenFiles, PartitionLog, ReadBuffers,
};

const LOCK_NAME: &str = ".lock";
const JOURNAL_NAME: &str = "journal";
/// Bytes of replayed batches that are kept to be put into the logs together.
const REPLAY_BYTES: usize = 16 << 20;

pub(crate) fn open(
    disk: Arc<dyn Disk>,
    mut options: StoreOptions,
) -> Result<(Arc<Store>, Recovery), StoreError> {
    options.journal = options.journal.normalised();
    let data_dir = options.data_dir.clone();
    let lock = lock(&*disk, &data_dir)?;
    let journal_dir = data_dir.join(JOURNAL_NAME);
    disk.create_dir_all(&journal_dir).map_err(StoreError::io("create", &journal_dir))?;
    disk.sync_dir(&data_dir).map_err(StoreError::io("flush", &data_dir))?;
    let environment = LogEnvironment {
        disk: Arc::clone(&disk),
        buffers: ReadBuffers::new(options.read_buffer_bytes),
        files: OpenFiles::new(options.open_files),
    };

    let group_flush = GroupFlush::new(Arc::clone(&disk), &data_dir, options.whole_flush_files)
        .map_err(StoreError::io("open", &data_dir))?;
    let found = Found::read(&*disk, &data_dir)?;
    let mut opening = Opening {
        disk: &*disk,
        group_flush,
        environment: &environment,
        data_dir: &data_dir,
        journal_dir: &journal_dir,
        defaults: options.log,
        recovery: Recovery::default(),
        partitions: BTreeMap::new(),
    };
    let journal = match CheckpointFile::read(&*disk, &data_dir)? {
        Some((checkpoint, unusable)) => {
            opening.recovery.unusable_checkpoint = unusable;
            opening.replay(&checkpoint, &found)?
        }
        None => opening.begin(options.directory_id, &found)?,
    };
    opening.finish(found, journal, options, lock)
}

fn lock(disk: &dyn Disk, data_dir: &Path) -> Result<Box<dyn DiskLock>, StoreError> {
    let existed = disk.exists(data_dir).map_err(StoreError::io("look at", data_dir))?;
    disk.create_dir_all(data_dir).map_err(StoreError::io("create", data_dir))?;
    if !existed && let Some(parent) = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent).map_err(StoreError::io("flush", parent))?;
    }
    let path = data_dir.join(LOCK_NAME);
    disk.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => StoreError::Locked { directory: data_dir.to_owned() },
        _ => StoreError::io("lock", &path)(error),
    })
}

/// Takes the lock of a directory that may be a data directory: one that never was has no lock to take.
pub fn lock_if_there(disk: &dyn Disk, data_dir: &Path) -> Result<Option<Box<dyn DiskLock>>, StoreError> {
    let path = data_dir.join(LOCK_NAME);
    let there = disk.exists(&path).map_err(StoreError::io("look at", &path))?;
    there.then(|| lock(disk, data_dir)).transpose()
}

/// How the journal goes on.
struct NextJournal {
    directory_id: uuid::Uuid,
    /// The incarnation that was read.
    incarnation: Option<u64>,
    scanned: Scanned,
    last_commit: u64,
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    group_flush: GroupFlush,
    environment: &'a LogEnvironment,
    data_dir: &'a Path,
    journal_dir: &'a Path,
    defaults: LogOptions,
    recovery: Recovery,
    partitions: BTreeMap<PartitionId, Recovering>,
}

impl Opening<'_> {
    /// A directory without a checkpoint is new, or not one of ours.
    fn begin(&mut self, directory_id: uuid::Uuid, found: &Found) -> Result<NextJournal, StoreError> {
        let missing = |what: String| StoreError::CheckpointMissing {
            directory: self.data_dir.to_owned(),
            what,
            checkpoint: CHECKPOINT_NAME,
        };
        if let Some(name) = found.names().next() {
            return Err(missing(format!("the partition directory {name}")));
        }
        let (files, has_frames) = inspect(self.disk, self.journal_dir)?;
        if has_frames {
            return Err(missing("a journal".to_owned()));
        }
        self.recovery.new = true;
        self.recovery.clean = true;
        let scanned = Scanned {
            last_sequence: 0,
            last_commit: 0,
            frames: 0,
            bytes: 0,
            cut: None,
            last_incarnation: 0,
            last_file_number: 0,
            files,
        };
        Ok(NextJournal { directory_id, incarnation: None, scanned, last_commit: 0 })
    }

    fn replay(&mut self, checkpoint: &CheckpointFile, found: &Found) -> Result<NextJournal, StoreError> {
        self.open_logs(checkpoint, found)?;
        self.check_missing(checkpoint, found)?;
        let partitions = &mut self.partitions;
        let recovery = &mut self.recovery;
        let mut waiting = 0;
        let scanned = recover(self.disk, self.journal_dir, &checkpoint.start, |frame| {
            for entry in frame.entries {
                let Some(partition) = partitions.get_mut(&entry.partition) else {
                    *recovery.unknown_partitions.entry(entry.partition).or_insert(0) += 1;
                    continue;
                };
                let (bytes, done) = partition.replay(entry.batch)?;
                recovery.count(done);
                waiting += bytes;
            }
            for trim in frame.trims {
                if let Some(partition) = partitions.get_mut(&trim.partition) {
                    partition.log.advance_log_start(trim.offset);
                }
            }
            if waiting > REPLAY_BYTES {
                waiting = 0;
                recovery.finish_runs(partitions)?;
            }
            Ok::<(), StoreError>(())
        })?;
        recovery.finish_runs(partitions)?;
        self.recovery.clean = checkpoint.start.closed && scanned.frames == 0;
        self.recovery.replayed_frames = scanned.frames;
        self.recovery.journal_bytes = scanned.bytes;
        self.recovery.journal_cut.clone_from(&scanned.cut);
        self.cut()?;
        Ok(NextJournal {
            directory_id: checkpoint.start.directory,
            incarnation: Some(checkpoint.start.incarnation),
            last_commit: checkpoint.last_commit.max(scanned.last_commit),
            scanned,
        })
    }

    fn open_logs(&mut self, checkpoint: &CheckpointFile, found: &Found) -> Result<(), StoreError> {
        let known: BTreeMap<PartitionId, &CheckpointedPartition> =
            checkpoint.partitions.iter().map(|partition| (partition.id, partition)).collect();
        let known_names: BTreeMap<(&str, i32), PartitionId> = checkpoint
            .partitions
            .iter()
            .map(|partition| ((partition.topic_name.as_str(), partition.id.partition), partition.id))
            .collect();
        for (name, topic_name, index) in &found.partitions {
            let directory = self.data_dir.join(name);
            let known_here = known_names.get(&(topic_name.as_str(), *index)).and_then(|id| known.get(id));
            // What waits to be removed may be an earlier partition of the same id.
            let is_the_same = |known: &&CheckpointedPartition| {
                let topic = PartitionLog::read_topic_id(self.disk, &directory);
                topic.is_ok_and(|topic| topic == known.id.topic)
            };
            let expected = known_here.filter(|known| !found.is_dying(known) || is_the_same(known));
            if expected.is_none() {
                if found.is_imported(name) {
                    self.remove(&directory)?;
                    continue;
                }
                match claim(self.disk, &directory)? {
                    Claim::Partition => {}
                    Claim::Unfinished => {
                        self.remove(&directory)?;
                        continue;
                    }
                    Claim::Nobody => continue,
                }
            }
            // By its id: a directory that was deleted and made again by the same name is another partition.
            let topic = match (PartitionLog::read_topic_id(self.disk, &directory), expected) {
                (Err(error), Some(expected)) if error.is_bad_metadata() => {
                    PartitionLog::write_topic_id(self.disk, &directory, expected.id.topic)?;
                    self.recovery.rebuilt_files += 1;
                    expected.id.topic
                }
                (read, _) => read?,
            };
            if let Some(expected) = expected.filter(|expected| expected.id.topic != topic) {
                return Err(StoreError::OtherTopic {
                    file: directory.join(PARTITION_METADATA),
                    topic_name: topic_name.clone(),
                    expected: expected.id,
                    found: topic,
                });
            }
            let id = PartitionId { topic, partition: *index };
            let known = known.get(&id);
            let at = known.map_or(OpenAt::default(), |known| OpenAt {
                recovery_point: known.recovery_point,
                log_start_offset: known.log_start_offset,
                unjournaled: known.page_cache,
            });
            let (log, recovered) = PartitionLog::open(self.environment, &directory, self.defaults, at)?;
            let recovery_point = known.map_or(0, |known| known.recovery_point);
            let page_cache = known.is_some_and(|known| known.page_cache);
            let recovering = Recovering {
                topic_name: topic_name.clone(),
                recovered,
                recovery_point,
                frames_end: recovery_point,
                leader_epoch: known.map_or(0, |known| known.leader_epoch),
                keeps_unjournaled: page_cache || known.is_none(),
                page_cache,
                run: Vec::new(),
                log,
                directory,
            };
            if let Some(first) = self.partitions.insert(id, recovering) {
                let second = self.data_dir.join(name);
                return Err(StoreError::PartitionTwice { partition: id, first: first.directory, second });
            }
        }
        Ok(())
    }

    /// A partition without a directory was deleted, and then the directory is still there by another name: it is removed
    /// only when no checkpoint knows the partition.
    fn check_missing(&self, checkpoint: &CheckpointFile, found: &Found) -> Result<(), StoreError> {
        for partition in &checkpoint.partitions {
            if !found.is_dying(partition) && !self.partitions.contains_key(&partition.id) {
                return Err(StoreError::PartitionMissing {
                    partition: partition.id,
                    topic_name: partition.topic_name.clone(),
                    directory: self.data_dir.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Cuts what lies beyond the last frame of each partition, and makes the rest durable.
    fn cut(&mut self) -> Result<(), StoreError> {
        let mut unflushed = Vec::new();
        for (&id, partition) in &mut self.partitions {
            let found_end = partition.log.end_offset();
            let end = if partition.keeps_unjournaled { found_end } else { partition.frames_end };
            let end_offset = partition.log.cut(end)?;
            if partition.keeps_unjournaled && !self.recovery.clean {
                partition.log.write_unjournaled_again()?;
            }
            let torn_bytes = partition.recovered.tail.as_ref().map_or(0, |tail| tail.bytes);
            if end_offset < found_end || torn_bytes > 0 {
                let truncation = Truncation { partition: id, end_offset, found_end, torn_bytes };
                self.recovery.truncations.push(truncation);
            }
            self.recovery.rebuilt_files += partition.recovered.rebuilt.len();
            let lost_something = !partition.recovered.damaged.is_empty();
            self.recovery.damaged.append(&mut partition.recovered.damaged);
            if end_offset != partition.recovery_point
                || torn_bytes > 0
                || found_end != end_offset
                || lost_something
            {
                unflushed.push(id);
            }
            partition.leader_epoch =
                partition.leader_epoch.max(partition.log.last_leader_epoch().unwrap_or(0));
            if partition.keeps_unjournaled && !self.recovery.clean {
                // Records that consumers saw may be gone: a new epoch tells them (KIP-320).
                partition.leader_epoch += 1;
            }
        }
        let logs: Vec<&PartitionLog> = unflushed.iter().map(|id| &self.partitions[id].log).collect();
        for flushed in self.group_flush.flush(&logs).map_err(|(_, error)| error)? {
            flushed?;
        }
        Ok(())
    }

    /// The journal with the new incarnation's first file: one that nothing was read from, or a new one. On a full disk what
    /// was read is written off before, being in the segments by now: then the files before the last one are free.
    fn begin_journal(
        &self,
        next: &NextJournal,
        identity: NewIncarnation,
        options: JournalOptions,
    ) -> Result<Journal, StoreError> {
        let start = |files| {
            let disk = Arc::clone(&self.environment.disk);
            Journal::start(disk, self.journal_dir.to_owned(), options, identity, files)
        };
        let mut files = next.scanned.files.clone();
        if let Some(journal) = start(files.clone())? {
            return Ok(journal);
        }
        let no_space = || StoreError::NoSpaceForJournal { directory: self.journal_dir.to_owned() };
        let last = next.scanned.last_file_number;
        let mut freed = false;
        for file in &mut files {
            freed |= file.live.take_if(|(number, _)| *number < last).is_some();
        }
        let incarnation = next.incarnation.filter(|_| freed).ok_or_else(no_space)?;
        let last_sequence = next.scanned.last_sequence;
        let checkpoint = CheckpointFile {
            start: ReplayStart {
                directory: next.directory_id,
                incarnation,
                file_number: last,
                covered: last_sequence,
                durable: last_sequence,
                closed: false,
            },
            last_commit: next.last_commit,
            partitions: self.partitions.iter().map(|(id, partition)| partition.checkpointed(*id)).collect(),
        };
        checkpoint.write(self.disk, self.data_dir).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => no_space(),
            _ => StoreError::io("write the checkpoint in", self.data_dir)(error),
        })?;
        start(files)?.ok_or_else(no_space)
    }

    fn remove(&mut self, directory: &Path) -> Result<(), StoreError> {
        self.disk.remove_dir_all(directory).map_err(StoreError::io("remove", directory))?;
        self.recovery.removed_directories.push(directory.to_owned());
        Ok(())
    }

    /// Begins the new incarnation and puts the store together.
    fn finish(
        mut self,
        found: Found,
        next: NextJournal,
        options: StoreOptions,
        lock: Box<dyn DiskLock>,
    ) -> Result<(Arc<Store>, Recovery), StoreError> {
        let last_sequence = next.scanned.last_sequence;
        let identity = NewIncarnation {
            directory: next.directory_id,
            incarnation: next_incarnation(next.scanned.last_incarnation, options.directory_id),
            file_number: next.scanned.last_file_number + 1,
            sequence: last_sequence + 1,
        };
        let mut journal = self.begin_journal(&next, identity, options.journal)?;
        let checkpoint = CheckpointFile {
            start: ReplayStart {
                directory: identity.directory,
                incarnation: identity.incarnation,
                file_number: identity.file_number,
                covered: last_sequence,
                durable: last_sequence,
                closed: false,
            },
            last_commit: next.last_commit,
            partitions: self.partitions.iter().map(|(id, partition)| partition.checkpointed(*id)).collect(),
        };
        checkpoint
            .write(self.disk, self.data_dir)
            .map_err(StoreError::io("write the checkpoint in", self.data_dir))?;
        for (partition, written) in self.partitions.values().zip(&checkpoint.partitions) {
            partition.log.checkpointed(written.recovery_point)?;
        }
        // Only now does nobody need the old frames, or the directories of deleted partitions, any more.
        journal.recycle(identity.file_number)?;
        let mut dying = Vec::new();
        for directory in found.dying.iter().map(|name| self.data_dir.join(name)) {
            if let Err(error) = self.disk.remove_dir_all(&directory) {
                self.recovery.unremoved_directories.push((directory.clone(), error.to_string()));
                dying.push(directory);
            } else {
                self.recovery.removed_directories.push(directory);
            }
        }
        for name in &found.imports {
            let directory = self.data_dir.join(name);
            self.remove(&directory)?;
        }

        let sequencer =
            Arc::new(Sequencer::new(next.last_commit, u64::from(options.journal.max_frame_bytes)));
        let appliers = Appliers::new(options.applier_shards, options.tail_bytes / 4, last_sequence);
        let mut directories = Directories::default();
        for (id, partition) in std::mem::take(&mut self.partitions) {
            self.recovery.partitions.push(FoundPartition {
                id,
                topic_name: partition.topic_name.clone(),
                log_start_offset: partition.log.log_start_offset(),
                end_offset: partition.log.end_offset(),
            });
            directories.insert(partition.directory.clone(), id);
            let durability =
                if partition.page_cache { Durability::PageCache } else { options.log.durability };
            // What becomes of old segments is for the topic to say; until it does, they stay.
            let cleanup = Cleanup { delete: false, compact: false };
            let log_options = LogOptions { durability, cleanup, ..options.log };
            sequencer.insert(Arc::new(partition.into_state(id, appliers.count())), log_options);
        }
        let counts = Counts::default();
        counts.replayed_frames.add(self.recovery.replayed_frames);
        let (ring_used, ring_total) = (journal.used_bytes(), journal.total_bytes());
        let store = Store {
            environment: self.environment.clone(),
            sequencer,
            journal: Mutex::new(JournalStage::new(journal)),
            appliers,
            tail: TailBudget::new(options.tail_bytes),
            checkpointing: Mutex::new(CheckpointStage { identity, dying }),
            cleaned: Mutex::new(CleanedOffsets::read(&*self.environment.disk, &options.data_dir)?),
            directories: Mutex::new(directories),
            checkpoint_requested: AtomicBool::new(false),
            ring_wants_checkpoint: AtomicBool::new(false),
            counts,
            journal_alarm: AtomicBool::new(false),
            rounds_under_way: AtomicUsize::new(0),
            ring_used: AtomicU64::new(ring_used),
            ring_total: AtomicU64::new(ring_total),
            ring_durable: AtomicU64::new(last_sequence),
            write_time: WriteTime::new(),
            unapplied_bytes: AtomicI64::new(0),
            unflushed_bytes: AtomicU64::new(0),
            group_flush: self.group_flush,
            _lock: lock,
            options,
        };
        Ok((Arc::new(store), self.recovery))
    }
}
