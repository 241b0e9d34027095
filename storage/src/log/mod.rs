//! One partition's directory, in Kafka's on-disk format.
//!
//! ```text
//! <topic>-<partition>/
//!   partition.metadata            topic id                                truth
//!   00000000000000000000.log      batches, back to back                   truth
//!   00000000000000000000.index    offset    -> position, sparse           ┐
//!   00000000000000000000.timeindex  timestamp -> offset, sparse           │ derived: checked when opened or used,
//!   00000000000000000000.txnindex   aborted transactions that end here    │ made again when missing, short or wrong
//!   00000000000000004711.snapshot producers and open transactions before  │
//!   compaction-swap               which segments a compacted one replaces, while it does
//!   leader-epoch-checkpoint       leader epoch -> first offset            ┘
//! ```
//!
//! What a caller sees:
//!
//! ```text
//! PartitionLog::create(environment, directory, topic_id, options)   the caller syncs the parent directory
//! PartitionLog::open(environment, directory, options, OpenAt)      -> what it found; cuts nothing
//!
//! Recovery, in this order:      replay(&Batch) for what the journal has, then always cut(end_offset)
//!
//! One writer at a time (appliers, replay, checkpoint take turns; an inner lock sees to it):
//!   append(&[Batch])            stamped batches that go on where the log ends
//!   flush()                     of many logs at once: GroupFlush
//!   remove_segments_before_start(limit), close_active()     DeleteRecords and retention (retained())
//!
//! One cleaner at a time, beside the writer:
//!   compact(pass)               when dirty() says that it is due
//!
//! Anybody:
//!   advance_log_start(offset), expire_producers(now, after_ms), set_options(options)
//!
//! Any number of readers, concurrently with the writer:
//!   read(offset, max_bytes, upper_offset, min_one_batch)
//!   aborted_transactions(from, upper), offset_for_timestamp(timestamp, upper), max_timestamp(upper)
//!   end_offset_for_epoch(epoch, log_end), leader_epoch_at(offset), last_leader_epoch()
//!   end_offset(), log_start_offset(), size_bytes(), producers(), producer_state(), open_transactions()
//! ```
//!
//! The pieces that decide are pure, and the sequencer uses them too:
//! - [`producers::Producers`]: epochs, sequences and open transactions per producer. `check_*` says what would happen to
//!   a batch, [`producers::Producers::apply`] lets it happen and says whether a transaction began or ended by it;
//!   [`producers::Producers::save`] and `restore` take back a frame that is rejected half way.
//! - [`transactions::OpenTransactions`]: first offsets of open transactions, hence the last stable offset. The published
//!   view keeps one of its own and feeds it with the [`transactions::TransactionEvent`]s that `apply` gave.
//! - [`epochs::LeaderEpochs`]: where each leader epoch begins (KIP-320).
//!
//! Invariants:
//! - Offsets only grow along the directory: within a segment, and from a segment to the next. A batch lies wholly in one
//!   segment, whose file name is not above its base offset.
//! - Readers see a batch only after all its bytes were written; bytes behind the valid size are never looked at.
//! - Between a directory's opening and its first new append comes a `cut`; after it, nothing of an earlier life is left in
//!   any file that could come back.
//! - A file that a later start relies on is flushed through the handle it was written with, its name with the directory.
//! - Bytes are checked (header, CRC-32C, offset) whenever they come from a file. What does not check out below the end
//!   of the log is [`error::ReadError::Corrupt`] with file and position. It is never skipped, cut or repaired here.

pub mod buffers;
pub mod compaction;
pub mod epochs;
pub mod error;
pub mod files;
mod flush;
mod group_flush;
pub(crate) mod index;
pub(crate) mod manifest;
mod metadata;
pub(crate) mod names;
pub mod options;
pub mod partition_log;
pub mod producers;
mod reading;
pub mod recovery;
pub mod retention;
mod segment;
mod timestamps;
pub mod transactions;
mod trimming;
pub(crate) mod walk;

pub use buffers::ReadBuffers;
pub use compaction::{Compacted, Dirty, Pass, key_map::KeyMap};
pub use epochs::LeaderEpochs;
pub use error::{Corruption, LogError, ReadError};
pub use files::OpenFiles;
pub use flush::{Flush, Flushed};
pub use group_flush::GroupFlush;
pub use options::{Cleanup, Compaction, Durability, LogOptions};
pub use partition_log::{ClosedSegment, PartitionLog};
pub use producers::{ProducerView, Producers};
pub use recovery::{OpenAt, Recovered, Replayed, ReplayedRun, Tail};
pub use retention::{Retained, Retention};
pub use segment::LogEnvironment;
pub use timestamps::TimestampOffset;
pub use transactions::{AbortedTransaction, EndedTransaction, OpenTransactions, TransactionEvent};

#[cfg(test)]
mod tests;
