//! The store: partitions behind one journal.
//!
//! ```text
//!  commit(frame) ─► sequencer ──────► journal ─────────► publish ─► appliers ─► segments ─► checkpoint
//!                   memory only:      one write for      high       per shard,  page        flush, write down
//!                   checks, offsets   all that waited    watermark  coalesced   cache       how far, recycle
//!                   `sequencer`       `rounds`           `publish`  `appliers`              `checkpoint`, `replay`
//! ```
//!
//! **Locks**, in the order in which they may be taken while another is held; none is held across a call to the outside:
//!
//! ```text
//! directories ─► checkpointing ─► cleaning ─► journal stage ─► shard turn ─► flushing ─► log writer ─► sequencer ─► tail order ─► view
//!                                                  ─► shard ready list, applied frames (leaves)
//! ```

mod adopting;
mod appliers;
mod checkpoint;
mod checkpoint_file;
mod cleaned_offsets;
mod cleaning;
mod compaction;
mod counts;
mod directories;
mod error;
mod frame;
mod partition;
mod publish;
mod replay;
mod rounds;
mod sequencer;
mod tail;
mod write_time;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use self::appliers::Appliers;
use self::checkpoint::CheckpointStage;
use self::cleaned_offsets::CleanedOffsets;
use self::counts::Counts;
use self::directories::Directories;
use self::rounds::JournalStage;
use self::sequencer::Sequencer;
use self::tail::TailBudget;
use self::write_time::WriteTime;
use crate::PartitionId;
use crate::disk::{Disk, DiskLock};
use crate::journal::JournalOptions;
use crate::log::{GroupFlush, LogEnvironment, LogOptions};

pub(crate) use self::adopting::checkpointed_start;
pub use self::adopting::{AdoptError, Adopted};
pub use self::checkpoint::Checkpointed;
pub use self::checkpoint_file::CHECKPOINT_VERSION;
pub use self::cleaning::{Removed, Retained};
pub use self::compaction::CompactionRound;
pub use self::counts::StoreStats;
pub(crate) use self::directories::parse_directory_name;
pub use self::error::{Fatal, StoreError};
pub use self::frame::{Append, Appended, Check, Committed, Done, Frame, Rejection};
pub use self::partition::{Isolation, Partition, ReadRequest, ReadResult};
pub use self::publish::Published;
pub use self::replay::lock_if_there;
pub use self::replay::{FoundPartition, Recovery, Truncation};
pub use self::rounds::{Congestion, Round};
pub use self::sequencer::Work;

/// Settings of a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Where everything is.
    pub data_dir: PathBuf,
    /// A fresh random id. It becomes the id of the data directory if that is new; and each start marks its frames by it.
    pub directory_id: Uuid,
    /// The journal.
    pub journal: JournalOptions,
    /// Memory for the newest batches of all partitions, in bytes, beyond what waits to be applied. Larger: consumers may
    /// lag further behind and still be served from memory.
    pub tail_bytes: usize,
    /// Shards of appliers; each wants a thread. More: a slow file delays fewer partitions.
    pub applier_shards: usize,
    /// Memory for read buffers that nobody uses at the moment, in bytes.
    pub read_buffer_bytes: usize,
    /// Segment files kept open at once. A checkpoint is due when half as many wait to be flushed, which have to stay open.
    pub open_files: usize,
    /// From so many files on that wait at once, the whole file system is flushed, where it tells of failures, instead of
    /// each file. Fewer: others who write to the file system are waited for more often.
    pub whole_flush_files: usize,
    /// So many bytes of one partition are flushed as they come, ahead of the checkpoint. Fewer: the device is busy with the
    /// checkpoint's bytes for a shorter time at once, during which the journal's writes take longer; more flushes.
    pub flush_ahead_bytes: u64,
    /// Log settings of partitions found at the start, until [`Store::set_options`].
    pub log: LogOptions,
    /// The owner's steady clock, in ns: by it writes of the journal are measured. The store decides nothing by it.
    pub measure: fn() -> u64,
}

impl StoreOptions {
    /// The defaults, for a data directory. `directory_id` is a fresh random id for the case that the directory is new.
    pub fn new(data_dir: PathBuf, directory_id: Uuid) -> StoreOptions {
        StoreOptions {
            data_dir,
            directory_id,
            journal: JournalOptions::default(),
            tail_bytes: 64 << 20,
            applier_shards: 2,
            read_buffer_bytes: 32 << 20,
            open_files: 4096,
            whole_flush_files: 64,
            flush_ahead_bytes: 4 << 20,
            log: LogOptions::default(),
            measure: || 0,
        }
    }
}

/// A partition to be made.
#[derive(Debug, Clone)]
pub struct PartitionSpec {
    /// Topic id and index.
    pub id: PartitionId,
    /// Name of the topic; the directory is `<name>-<index>`.
    pub topic_name: String,
    /// Log settings.
    pub options: LogOptions,
}

/// All partitions of a data directory.
///
/// The store has the code of the stages and no threads; its owner brings these, each a loop until `Work::Ended`:
///
/// ```text
/// journal     loop { match store.journal_wait()      { Work::Ended => break, _ => store.journal_round()? } }
/// applier s   loop { match store.apply_wait(s)       { Work::Ended => break, _ => store.apply_round(s)? } }   each shard
/// checkpoint  whenever `Round::checkpoint_due` comes out of a journal round: store.checkpoint()?, on a thread of its own
/// files       whenever `Round::prepare_due` comes out of a journal round: while store.prepare_round()? {}, likewise
/// ```
///
/// `Err(Fatal)` from any of them means: report it and end the process. Appliers and checkpoint may share a thread pool;
/// the journal needs a thread of its own, because everybody waits for it. At the end, [`Store::close`] does whatever the
/// loops had not done yet.
///
/// `commit`, and everything on [`Partition`] except reads below the tail, only touches memory and may be called from an
/// async task. `create_partition`, `delete_partition`, `checkpoint`, `close` and reads below the tail block on files.
///
/// In a simulation, one thread calls the rounds by hand and never waits.
pub struct Store {
    options: StoreOptions,
    environment: LogEnvironment,
    sequencer: Arc<Sequencer>,
    journal: Mutex<JournalStage>,
    appliers: Appliers,
    tail: TailBudget,
    checkpointing: Mutex<CheckpointStage>,
    /// How far each log is compacted. A leaf among the locks.
    cleaned: Mutex<CleanedOffsets>,
    directories: Mutex<Directories>,
    /// Somebody asked for a checkpoint that the journal does not need.
    checkpoint_requested: AtomicBool,
    /// The journal needs a checkpoint.
    ring_wants_checkpoint: AtomicBool,
    counts: Counts,
    /// The next wait for the journal ends by itself: an idle frame is to be written, or space to be tried for again.
    journal_alarm: AtomicBool,
    /// Rounds that threads are in, the part behind their locks too.
    rounds_under_way: AtomicUsize,
    /// Bytes of the journal in use, bytes of all its files, and its last durable sequence: for whoever does not want to
    /// wait for its lock.
    ring_used: AtomicU64,
    ring_total: AtomicU64,
    ring_durable: AtomicU64,
    write_time: WriteTime,
    /// Bytes of batches that are sequenced and not yet in the segments; below zero for a moment when a round is quicker than
    /// the commit that counts.
    unapplied_bytes: AtomicI64,
    /// Bytes written to segments since the last checkpoint: what a start has to read again, journaled or not.
    unflushed_bytes: AtomicU64,
    group_flush: GroupFlush,
    _lock: Box<dyn DiskLock>,
}

impl Store {
    /// Opens a data directory: takes its lock, reads the checkpoint, replays the journal, and begins a new incarnation.
    /// On an error nothing that was acknowledged is lost or cut.
    pub fn open(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<(Arc<Store>, Recovery), StoreError> {
        replay::open(disk, options)
    }

    /// The only way in. Checks the frame's preconditions and gives it its place, in memory and at once, or rejects it,
    /// and then nothing happened and `done` is dropped.
    ///
    /// `done` is called when the frame is durable and published. A batch that a producer sends again is answered with its
    /// first offsets, and `done` is called when those are durable and published.
    pub fn commit(&self, frame: Frame, done: Done) -> Result<Committed, Rejection> {
        let sequencing = self.sequencer.commit(frame, done).inspect_err(|_| self.counts.rejections.add(1))?;
        if let Some((partition, offset, done)) = sequencing.duplicate {
            self.counts.duplicates.add(1);
            if let Some(done) = done {
                partition.when_published(offset, done);
            }
            return Ok(sequencing.committed);
        }
        self.counts.frames.add(1);
        self.unapplied_bytes.fetch_add(sequencing.bytes as i64, Ordering::Relaxed);
        sequencing.plain.iter().for_each(|partition| self.appliers.ready(partition));
        Ok(sequencing.committed)
    }

    /// The handle of a partition that exists.
    pub fn partition(&self, id: PartitionId) -> Option<Partition> {
        let state = self.sequencer.partition(id)?;
        Some(Partition { state, sequencer: Arc::clone(&self.sequencer) })
    }

    /// All partitions, by id.
    pub fn partitions(&self) -> Vec<Partition> {
        let listed = self.sequencer.partitions().into_iter();
        listed
            .map(|listed| Partition { state: listed.state, sequencer: Arc::clone(&self.sequencer) })
            .collect()
    }

    /// Changes a partition's log settings, from the next append on. A change of the durability takes effect with the next
    /// checkpoint, which is made due by it.
    pub fn set_options(&self, id: PartitionId, options: LogOptions) -> Result<(), StoreError> {
        let before = self.sequencer.set_options(id, options).ok_or(StoreError::UnknownPartition(id))?;
        if before.durability != options.durability {
            self.checkpoint_requested.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Forgets producers that have appended nothing to a partition for `after_ms`, except those with an open transaction
    /// (`producer.id.expiration.ms`). By this clock, not by the times of records. Returns how many.
    pub fn expire_producers(&self, now: i64, after_ms: i64) -> usize {
        self.sequencer.expire_producers(now, after_ms)
    }

    /// Id of the data directory.
    pub fn directory_id(&self) -> Uuid {
        self.checkpointing.lock().identity.directory
    }

    /// How many shards of appliers there are.
    pub fn applier_shards(&self) -> usize {
        self.appliers.count()
    }

    /// Counts since the store was opened.
    pub fn stats(&self) -> StoreStats {
        let files = &self.environment.files;
        StoreStats {
            durable_sequence: self.ring_durable.load(Ordering::Relaxed),
            journal_file_bytes: self.ring_total.load(Ordering::Relaxed),
            journal_used_bytes: self.ring_used.load(Ordering::Relaxed),
            tail_bytes: self.tail.bytes() as u64,
            unflushed_bytes: self.unflushed_bytes.load(Ordering::Relaxed),
            open_files: files.open() as u64,
            unflushed_files: files.unflushed() as u64,
            ..self.counts.stats()
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("data_dir", &self.options.data_dir).finish_non_exhaustive()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Frames and partitions in flight hold each other.
        for listed in self.sequencer.partitions() {
            listed.state.view.lock().in_flight.clear();
        }
    }
}

#[cfg(test)]
mod tests;
