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
//!   leader-epoch-checkpoint       leader epoch -> first offset            ┘
//! ```
//!
//! What a caller sees:
//!
//! ```text
//! PartitionLog::create(disk, dir, topic_id, LogOptions) -> Result<PartitionLog, LogError>
//!     directory, metadata and first segment, durable on return (the caller syncs the parent directory)
//! PartitionLog::open(disk, dir, LogOptions, OpenAt { recovery_point, log_start_offset })
//!         -> Result<(PartitionLog, Recovered), LogError>
//!     reads the state at and behind the recovery point; cuts nothing. `Recovered` says how far valid batches reach.
//!
//! One writer at a time (applier, replay, checkpoint take turns; an inner lock guards it):
//!   append(&[Batch])                 stamped batches that go on where the log ends; all or nothing
//!   replay(&Batch) -> Replayed       the same for a batch of the journal that may already be there
//!   cut(end_offset)                  recovery only: drops everything at and behind the offset, and stale files
//!   flush() -> Flushed               or prepare_flush() -> Flush, Flush::files(), Flush::finish() to sync many at once
//!   expire_producers(now, after_ms)
//!   set_options(LogOptions)          from the next append on
//!   advance_log_start(offset)        DeleteRecords and retention; whole segments before it can then be removed
//!   remove_segments_before_start()
//!
//! Any number of readers, concurrently with the writer:
//!   read(offset, max_bytes, upper_offset, min_one_batch) -> Result<Vec<Bytes>, ReadError>
//!   aborted_transactions(from, upper) -> Vec<AbortedTransaction>
//!   offset_for_timestamp(timestamp, upper_offset), max_timestamp(upper_offset)
//!   end_offset_for_epoch(epoch), leader_epoch_at(offset), last_leader_epoch()
//!   end_offset(), log_start_offset(), size_bytes(), producers(), open_transactions()
//! ```
//!
//! ```text
//! OpenAt    { recovery_point: i64, log_start_offset: i64 }       from the store's checkpoint; 0 and 0 without one
//! Recovered { valid_end: i64,                                     offset after the last valid batch, >= recovery_point
//!             scanned_bytes: u64,                                 read and checked behind the recovery point
//!             tail: Option<Tail { file, position, bytes, reason }>, what lies behind the last valid batch
//!             rebuilt: Vec<PathBuf> }                             derived files that were made again
//! Replayed  { Present, Written }                                  the batch was there already / has been written
//! Flushed   { end_offset: i64, bytes: u64 }                       everything before the offset is on the device
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
//! - Bytes are checked (header, CRC-32C, offset) whenever they come from a file. What does not check out below the end
//!   of the log is [`error::ReadError::Corrupt`] with file and position. It is never skipped, cut or repaired here.

pub mod buffers;
pub mod epochs;
pub mod error;
mod flush;
mod index;
mod metadata;
mod names;
pub mod options;
pub mod partition_log;
pub mod producers;
pub mod recovery;
mod segment;
mod timestamps;
pub mod transactions;
mod walk;

pub use buffers::ReadBuffers;
pub use epochs::LeaderEpochs;
pub use error::{Corruption, LogError, ReadError};
pub use flush::{Flush, Flushed};
pub use options::{Durability, LogOptions};
pub use partition_log::{ClosedSegment, PartitionLog};
pub use producers::{ProducerView, Producers};
pub use recovery::{OpenAt, Recovered, Replayed, Tail};
pub use segment::LogEnvironment;
pub use timestamps::TimestampOffset;
pub use transactions::{AbortedTransaction, EndedTransaction, OpenTransactions, TransactionEvent};

#[cfg(test)]
mod tests;
