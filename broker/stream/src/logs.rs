//! The seam: how the engine reaches logs.
//!
//! The broker implements it over its own partitions; tests implement it in memory; another implementation may reach
//! a foreign Kafka cluster.

use logmill_record::Batch;
use thiserror::Error;

use crate::pipeline::{AbortedRange, EpochOutput, TopicPartition};

/// Reads durable, committed batches and commits epochs. Calls may block; the engine never calls two at a time.
pub trait Logs {
    /// What is left to wait for after an epoch is committed.
    type Ticket;

    /// The offset up to which committed records of a partition can be read: its last stable offset.
    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError>;

    /// Whole batches that cover `from`, about `max_bytes` of them and at least one if there is one. What lies behind the
    /// readable end that was told is passed over.
    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError>;

    /// The end of the committed records of a partition: at or behind the readable end, where not all of them are at hand.
    fn committed_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.readable_end(partition)
    }

    /// The end of a partition's log, behind records that are not committed yet, too: who is there has read everything. A log
    /// that does not know it now says `i64::MAX`, and nobody is there.
    fn log_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.readable_end(partition)
    }

    /// Of a log that is not at hand: what is known of how long it has ended at its [`Logs::log_end`]. `now` is the clock of the
    /// turn. `None` of one that is at hand: what its end is now is known whenever somebody asks.
    fn heard(&mut self, partition: &TopicPartition, now: i64) -> Result<Option<Heard>, LogsError> {
        let _ = (partition, now);
        Ok(None)
    }

    /// The timestamp of the batch that holds the record at an offset, or the first one behind it: of its first record, in
    /// milliseconds. `None` where there is none to be read.
    fn time_at(&mut self, partition: &TopicPartition, offset: i64) -> Result<Option<i64>, LogsError> {
        let read = self.read(partition, offset, 1)?;
        Ok(read.batches.first().map(|batch| batch.header().base_timestamp))
    }

    /// The offset of the first record at or behind `from` whose timestamp is at least `time`, or one shortly before it;
    /// `None` where there is none to be read. A log with a time index overrides this: it looks through the batches.
    fn offset_at(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        time: i64,
    ) -> Result<Option<i64>, LogsError> {
        look_for_time(self, partition, from, time)
    }

    /// Commits an epoch as one frame, under its precondition (see [`EpochOutput`]). `Ok` is definite as to order:
    /// nothing else can come between; the ticket tells when it is durable. `Err` is definite too: nothing happened.
    fn commit(&mut self, epoch: EpochOutput) -> Result<Self::Ticket, CommitError>;

    /// Waits until a committed epoch is durable.
    fn wait(&mut self, ticket: Self::Ticket) -> Result<(), LogsError>;
}

/// See [`Logs::offset_at`]: what looks through the batches.
///
/// # Errors
/// What keeps the partition from being read.
pub fn look_for_time<L: Logs + ?Sized>(
    logs: &mut L,
    partition: &TopicPartition,
    from: i64,
    time: i64,
) -> Result<Option<i64>, LogsError> {
    const AT_ONCE: usize = 1024 * 1024;
    let end = logs.readable_end(partition)?;
    let mut next = from;
    while next < end {
        let read = logs.read(partition, next, AT_ONCE)?;
        for header in read.batches.iter().map(Batch::header) {
            if header.max_timestamp >= time {
                return Ok(Some(header.base_offset.max(next)));
            }
            next = next.max(header.next_offset());
        }
        if read.batches.is_empty() {
            break;
        }
    }
    Ok(None)
}

/// From when to when, in milliseconds of the wall clock, a log is known to have ended where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Since when, without a gap.
    pub since: i64,
    /// When it was last heard.
    pub until: i64,
}

/// What a read found.
#[derive(Debug, Clone, Default)]
pub struct ReadBatches {
    /// Whole batches in offset order.
    pub batches: Vec<Batch>,
    /// Aborted transactions that overlap them; empty when their batches are left out already.
    pub aborted: Vec<AbortedRange>,
}

/// A log that cannot be read or waited for.
#[derive(Debug, Error)]
pub enum LogsError {
    /// Retention or a delete has overtaken the pipeline. Never skipped in silence.
    #[error(
        "{partition}: offset {offset} is gone, the log begins at {log_start}; records were deleted before the \
         pipeline read them: start the pipeline again under another name, or keep the topic's data longer"
    )]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset the pipeline is at.
        offset: i64,
        /// The first offset that is left.
        log_start: i64,
    },
    /// The log ends before where the pipeline is: it is not the one that was read, or has lost records.
    #[error(
        "{partition}: the pipeline has read up to offset {offset}, and the log ends at {log_end}; the topic was made anew, \
         or has lost records: delete the pipeline and run it again to read what there is, or start it under another name, \
         with other sinks"
    )]
    BeyondEnd {
        /// The partition.
        partition: TopicPartition,
        /// The offset the pipeline is at.
        offset: i64,
        /// Where the log ends.
        log_end: i64,
    },
    /// The topic was deleted, and another one has its name.
    #[error(
        "topic {topic} was deleted and made again while it was read: it had the id {read}, and has {found} now; delete the \
         pipeline and run it again to read the new topic from its beginning, or start it under another name, with other \
         sinks"
    )]
    OtherTopic {
        /// The topic.
        topic: String,
        /// The id of the topic that was read.
        read: String,
        /// The id of the topic that there is now.
        found: String,
    },
    /// The partition does not exist.
    #[error("{partition}: no such partition")]
    UnknownPartition {
        /// The partition.
        partition: TopicPartition,
    },
    /// Reading or waiting failed.
    #[error("{what}")]
    Failed {
        /// What failed, where and why.
        what: String,
    },
}

/// An epoch that was not committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Another generation or epoch is the last one: this pipeline object is stale and must stop.
    #[error("pipeline {pipeline} (generation {generation}, epoch {epoch}) is fenced: {reason}")]
    Fenced {
        /// The pipeline.
        pipeline: String,
        /// The generation that lost.
        generation: u32,
        /// The epoch that was to be committed.
        epoch: u64,
        /// What was found instead.
        reason: String,
    },
    /// The epoch has more bytes than a frame may have. Restore the pipeline, and compute a smaller one.
    #[error("pipeline {pipeline}: epoch {epoch} has {bytes} bytes, and a frame may have {limit}")]
    TooLarge {
        /// The pipeline.
        pipeline: String,
        /// The epoch.
        epoch: u64,
        /// Its size as a frame.
        bytes: u64,
        /// What a frame may have.
        limit: u64,
    },
    /// The frame cannot be taken now (full disk). Restore the pipeline, and try again after a while.
    #[error("pipeline {pipeline}: epoch {epoch} cannot be committed now: {reason}")]
    Unavailable {
        /// The pipeline.
        pipeline: String,
        /// The epoch.
        epoch: u64,
        /// Why, and what to do.
        reason: String,
    },
    /// The frame was refused for another reason (topic gone): it will be again.
    #[error("pipeline {pipeline}: epoch {epoch} was refused: {reason}")]
    Refused {
        /// The pipeline.
        pipeline: String,
        /// The epoch.
        epoch: u64,
        /// Why.
        reason: String,
    },
}
