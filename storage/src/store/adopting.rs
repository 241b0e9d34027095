//! Taking in a partition's directory that was written elsewhere, by Apache Kafka or by another store.
//!
//! ```text
//!  source ──► <topic>-<p>.<id>-import/ ─────────────────────► <topic>-<p>/ ──────────► sequencer ──► checkpoint
//!  (is only   batches copied, every one checked, everything   renamed, opened where
//!   read)     derived from them made again, flushed           the batches end
//!                                                    └─ <topic>-<p>.<id>-imported/ until the checkpoint knows it ─┘
//! ```
//!
//! A crash before the checkpoint leaves nothing: a start removes what has a name with `-import`, and a partition with a mark
//! that ends with `-imported`, unless the checkpoint knows it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::checkpoint_file::CheckpointFile;
use super::directories::{DELETED_SUFFIX, is_topic_name, parse_directory_name, shard_of};
use super::error::{Fatal, StoreError};
use super::partition::Partition;
use super::publish::{PartitionState, Place};
use super::{PartitionSpec, Store};
use crate::PartitionId;
use crate::disk::{Disk, OpenOptions, read_file, replace_file};
use crate::inspect::{FileRole, PartitionDirectory};
use crate::log::names::LEADER_EPOCHS;
use crate::log::{Durability, LeaderEpochs, LogEnvironment, LogError, OpenAt, PartitionLog};

/// Suffix of the directory in which an import is being made.
pub(super) const IMPORT_SUFFIX: &str = "-import";
/// Suffix of the mark of an import that is in its place and in no checkpoint yet.
pub(super) const IMPORTED_SUFFIX: &str = "-imported";
/// How much is copied at a time.
const COPY_BYTES: usize = 1 << 20;
/// Suffix of files that Apache Kafka's cleaner was putting into their places.
const KAFKA_SWAP: &str = ".swap";

/// Why a directory was not taken in. Nothing of it stays, now or at the latest after the next start.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// There are no batches to take.
    #[error("{} has no segment (a file named by 20 digits and .log)", directory.display())]
    NoSegments {
        /// The directory.
        directory: PathBuf,
    },
    /// Whoever wrote the directory was about to replace segments by a compacted one.
    #[error(
        "{}: a compaction was interrupted; start the broker that the directory is from, stop it cleanly, and copy again",
        file.display()
    )]
    Compacting {
        /// The file that says so.
        file: PathBuf,
    },
    /// Not all of the log can be read.
    #[error(
        "{} is damaged at position {position}: {reason}; {bytes} bytes would be lost: copy it again, or cut the copy with \
         `logmill storage repair --cut-damaged-end`",
        file.display()
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the damage begins.
        position: u64,
        /// Bytes from there on.
        bytes: u64,
        /// What is wrong.
        reason: String,
    },
    /// The log cannot begin where it was asked to.
    #[error("{} has the offsets {first} to {end}: it cannot begin at {wanted}", directory.display())]
    Start {
        /// The directory.
        directory: PathBuf,
        /// The start asked for.
        wanted: i64,
        /// First offset of the first segment.
        first: i64,
        /// Offset after the last batch.
        end: i64,
    },
    /// The partition is there already.
    #[error("partition {0} exists")]
    Exists(PartitionId),
    /// The disk is full.
    #[error("no space left for the checkpoint in {}; free some, and import again", directory.display())]
    Full {
        /// The data directory.
        directory: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Fatal> for AdoptError {
    fn from(fatal: Fatal) -> AdoptError {
        AdoptError::Store(fatal.into())
    }
}

/// A partition that was taken in.
#[derive(Debug)]
pub struct Adopted {
    /// Its handle.
    pub partition: Partition,
    /// Segments it has.
    pub segments: usize,
    /// Offsets that are missing between two segments, each from the first to the one behind the last. Compaction leaves such
    /// gaps; a lost segment does, too.
    pub gaps: Vec<(i64, i64)>,
}

impl Store {
    /// Takes in a partition's directory: copies it, checks every batch, and has it in a checkpoint on return. Offsets,
    /// producers, aborted transactions and leader epochs stay as they are. The log begins at `start`, or with its first
    /// segment. Only for a partition whose owner knows nothing of it yet. Blocks on files for as long as copying takes.
    ///
    /// # Errors
    /// [`AdoptError`]; the source is as it was, and there is no such partition.
    pub fn adopt_partition(
        &self,
        source: &PartitionDirectory,
        spec: PartitionSpec,
        start: Option<i64>,
    ) -> Result<Adopted, AdoptError> {
        if !is_topic_name(&spec.topic_name) || spec.id.partition < 0 {
            return Err(StoreError::InvalidTopicName { name: spec.topic_name }.into());
        }
        // No checkpoint, and no frame that may be replayed, speaks of an earlier partition of the same id.
        self.checkpoint_or_full()?;
        let mut directories = self.directories.lock();
        if self.partition(spec.id).is_some() {
            return Err(AdoptError::Exists(spec.id));
        }
        let name = format!("{}-{}", spec.topic_name, spec.id.partition);
        let directory = self.options.data_dir.join(&name);
        let disk = &*self.environment.disk;
        if disk.exists(&directory).map_err(StoreError::io("look at", &directory))? {
            let owner = "something that is not of this store".to_owned();
            return Err(StoreError::DirectoryTaken { directory, owner }.into());
        }
        let marked =
            |suffix: &str| self.options.data_dir.join(format!("{name}.{}{suffix}", spec.id.topic.simple()));
        let (staging, mark) = (marked(IMPORT_SUFFIX), marked(IMPORTED_SUFFIX));
        let staged = stage(&self.environment, source, &staging, &spec, start).inspect_err(|_| {
            // The next start removes what cannot be removed now.
            let _ = disk.remove_dir_all(&staging);
        })?;
        disk.create_dir_all(&mark).map_err(StoreError::io("create", &mark))?;
        self.sync_names()?;
        disk.rename(&staging, &directory).map_err(StoreError::io("rename", &staging))?;
        self.sync_names()?;
        let at = OpenAt { recovery_point: staged.end, log_start_offset: staged.start, unjournaled: true };
        let (log, _) = PartitionLog::open(&self.environment, &directory, spec.options, at)?;
        log.cut(staged.end)?;
        log.flush()?;
        let place = Place {
            shard: shard_of(spec.id, self.appliers.count()),
            // Clients that saw the log elsewhere are told that it has another leader now.
            leader_epoch: staged.last_epoch.map_or(0, |last| last + 1),
            page_cache: spec.options.durability == Durability::PageCache,
            flushed_end: staged.end,
        };
        directories.insert(directory.clone(), spec.id);
        let state = Arc::new(PartitionState::new(spec.id, spec.topic_name, directory, log, place));
        self.sequencer.insert(Arc::clone(&state), spec.options);
        drop(directories);
        if let Err(error) = self.checkpoint_or_full() {
            // The caller is told that nothing was taken in. What cannot be removed now, the next start removes by its mark.
            let _ = self.delete_partition(spec.id);
            return Err(error);
        }
        // A mark that stays means nothing now, and the next start removes it.
        let _ = disk.remove_dir_all(&mark);
        let partition = Partition { state, sequencer: Arc::clone(&self.sequencer) };
        Ok(Adopted { partition, segments: staged.segments, gaps: staged.gaps })
    }

    fn checkpoint_or_full(&self) -> Result<(), AdoptError> {
        if self.checkpoint()?.full {
            return Err(AdoptError::Full { directory: self.options.data_dir.clone() });
        }
        Ok(())
    }
}

/// A copy that is complete, checked and flushed.
struct Staged {
    start: i64,
    end: i64,
    last_epoch: Option<i32>,
    segments: usize,
    gaps: Vec<(i64, i64)>,
}

fn stage(
    environment: &LogEnvironment,
    source: &PartitionDirectory,
    staging: &Path,
    spec: &PartitionSpec,
    start: Option<i64>,
) -> Result<Staged, AdoptError> {
    let disk = &*environment.disk;
    let bases = source.segments();
    let Some(&first) = bases.first() else {
        return Err(AdoptError::NoSegments { directory: source.path().to_owned() });
    };
    let is_swap = |file: &&crate::inspect::DirectoryFile| {
        file.role == FileRole::SwapNote || file.path.to_string_lossy().ends_with(KAFKA_SWAP)
    };
    if let Some(file) = source.files().iter().find(is_swap) {
        return Err(AdoptError::Compacting { file: file.path.clone() });
    }
    match disk.remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("remove", staging)(error).into());
        }
        _ => {}
    }
    disk.create_dir_all(staging).map_err(StoreError::io("create", staging))?;
    for file in source.files() {
        // Everything else is made again from the batches, but for what was there before the first of them.
        let needed = match file.role {
            FileRole::Log => true,
            FileRole::ProducerSnapshot => file.offset.is_some_and(|offset| offset <= first),
            _ => false,
        };
        if needed {
            copy(disk, &file.path, &staging.join(file.path.file_name().unwrap_or_default()))?;
        }
    }
    PartitionLog::write_topic_id(disk, staging, spec.id.topic)?;

    let (log, recovered) = PartitionLog::open_unknown(environment, staging, spec.options, first)?;
    if let Some(tail) = recovered.tail {
        let file = source.path().join(tail.file.file_name().unwrap_or_default());
        return Err(AdoptError::Damaged {
            file,
            position: tail.position,
            bytes: tail.bytes,
            reason: tail.reason,
        });
    }
    let end = log.cut(recovered.valid_end)?;
    log.flush()?;
    let begin = start.unwrap_or(first);
    if !(first..=end).contains(&begin) {
        let directory = source.path().to_owned();
        return Err(AdoptError::Start { directory, wanted: begin, first, end });
    }
    let known = read_epochs(disk, source)?;
    let last_epoch = known.as_ref().and_then(LeaderEpochs::last_epoch).max(log.last_leader_epoch());
    if let Some(known) = known.filter(|known| log.agrees_with_epochs(known)) {
        let path = staging.join(LEADER_EPOCHS);
        replace_file(disk, &path, known.encode().as_bytes()).map_err(LogError::io("write", &path))?;
    }
    let gaps = log.gaps();
    Ok(Staged { start: begin, end, last_epoch, segments: bases.len(), gaps })
}

/// The leader epochs as whoever wrote the directory knew them: also those of which compaction left no batch.
fn read_epochs(disk: &dyn Disk, source: &PartitionDirectory) -> Result<Option<LeaderEpochs>, LogError> {
    let Some(file) = source.files().iter().find(|file| file.role == FileRole::LeaderEpochs) else {
        return Ok(None);
    };
    let bytes = read_file(disk, &file.path).map_err(LogError::io("read", &file.path))?;
    Ok(LeaderEpochs::decode(&String::from_utf8_lossy(&bytes)).ok())
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), LogError> {
    let reading = || LogError::io("read", from);
    let writing = || LogError::io("write", to);
    let source = disk.open(from, OpenOptions::READ).map_err(LogError::io("open", from))?;
    let target = disk.open(to, OpenOptions::CREATE_NEW).map_err(LogError::io("create", to))?;
    let length = source.len().map_err(reading())?;
    let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(length).unwrap_or(COPY_BYTES))];
    let mut position = 0;
    while position < length {
        let read = source.read_full_at(&mut buffer, position).map_err(reading())?;
        if read == 0 {
            break;
        }
        target.write_at(&buffer[..read], position).map_err(writing())?;
        position += read as u64;
    }
    target.sync_data().map_err(LogError::io("flush", to))
}

/// Where a store's checkpoint says that a partition begins; `None` when it does not know it, or there is none.
pub(crate) fn checkpointed_start(
    disk: &dyn Disk,
    data_dir: &Path,
    (topic_name, index): (&str, i32),
    topic: Uuid,
) -> Result<Option<i64>, StoreError> {
    let Some((checkpoint, _)) = CheckpointFile::read(disk, data_dir)? else { return Ok(None) };
    let id = PartitionId { topic, partition: index };
    let known = checkpoint.partitions.iter().find(|known| known.id == id && known.topic_name == topic_name);
    Ok(known.map(|known| known.log_start_offset))
}

/// The directory that a mark of this suffix in the data directory speaks of.
pub(super) fn marked_directory<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    debug_assert!([DELETED_SUFFIX, IMPORT_SUFFIX, IMPORTED_SUFFIX].contains(&suffix));
    let (directory, id) = name.strip_suffix(suffix)?.rsplit_once('.')?;
    let hexadecimal = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hexadecimal && parse_directory_name(directory).is_some()).then_some(directory)
}
