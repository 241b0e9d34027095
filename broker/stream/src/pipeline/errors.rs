//! What can go wrong in an epoch, and what it leaves behind.

use std::collections::BTreeMap;

use logmill_record::BatchError;
use thiserror::Error;

use super::cut::{AheadStop, TopicPartition};
use super::progress::ProgressError;
use crate::state::ColdError;

/// Why one record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The value is not what the format says.
    #[error("cannot be decoded: {reason}")]
    Decode {
        /// What is wrong, and where in the value.
        reason: String,
    },
    /// An expression of the query fails for it.
    #[error("`{expression}` fails: {reason}")]
    Evaluate {
        /// The expression.
        expression: String,
        /// Why.
        reason: String,
    },
    /// The event time is missing.
    #[error("the event time `{column}` is null; every record of a table with a WATERMARK needs one")]
    NoEventTime {
        /// The event time's column.
        column: String,
    },
}

impl RecordError {
    /// The part of the pipeline that refused the record: what a dead letter's `operator` header says.
    pub fn operator(&self) -> &'static str {
        match self {
            RecordError::Decode { .. } => "decode",
            RecordError::Evaluate { .. } => "evaluate",
            RecordError::NoEventTime { .. } => "event-time",
        }
    }
}

/// A record that was passed over under `'on-error' = 'skip'` or `'dlq'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Where the record is.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// What is wrong with it.
    pub error: RecordError,
    /// Where it was sent to.
    pub dead_letter: Option<String>,
}

/// Why an epoch was not computed.
#[derive(Debug, Error)]
pub enum EpochError {
    /// A record fails under `'on-error' = 'fail'`. The pipeline is unchanged: it can still run the epoch that stops
    /// before the record.
    #[error("{partition}, offset {offset}: {error}")]
    Poison {
        /// Where the record is.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// The records of the cut unpack to more than the epoch may hold; only where a caller gave a bound. The pipeline
    /// is unchanged: it can still run the epoch that stops before this record and leaves the rest out.
    #[error("{partition}, offset {offset}: the records of the epoch unpack to more than it may hold")]
    OverBudget {
        /// Where the first record is that has no room.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// The partitions behind it, of which not everything was looked at.
        rest: Vec<TopicPartition>,
    },
    /// Records of the cut are beyond the event time that the epoch may take; only where a caller gave a bound. The pipeline
    /// is unchanged: it can still run the epoch that stops before these records.
    #[error("records of {} partitions are too far ahead in event time", stops.len())]
    Ahead {
        /// The first such record of each partition that has one.
        stops: BTreeMap<TopicPartition, AheadStop>,
    },
    /// A batch cannot be opened. The pipeline is unchanged.
    #[error("{partition}, batch at offset {base_offset}: {error}")]
    DamagedBatch {
        /// Where the batch is.
        partition: TopicPartition,
        /// Its first offset.
        base_offset: i64,
        /// What is wrong with it.
        error: BatchError,
    },
    /// The cut does not continue where the pipeline is, or the input does not fit the cut. The pipeline is
    /// unchanged.
    #[error("the cut of epoch {epoch} is wrong: {reason}")]
    WrongCut {
        /// The epoch.
        epoch: u64,
        /// What is wrong.
        reason: String,
    },
    /// The run is finished; nothing more is processed.
    #[error("the run finished with epoch {epoch}; start a new pipeline to process more")]
    Finished {
        /// The last epoch.
        epoch: u64,
    },
    /// An output row fails under the sink's `'on-error' = 'fail'`. The pipeline must be restored.
    #[error("the output row of {row} cannot be written: `{expression}` fails: {reason}")]
    OutputRow {
        /// Which row: its window and key, or the record it comes from.
        row: String,
        /// The expression that fails.
        expression: String,
        /// Why.
        reason: String,
    },
    /// An operator gives more than it may in one epoch: rows of which joins and windows made many copies, or many large
    /// ones that time made due. The pipeline must be restored; over less input, or with fewer rows due, it goes on.
    #[error("an operator gives {bytes} bytes of rows or more in one epoch, and may give {limit}")]
    TooMuch {
        /// How many bytes of rows there were when it was stopped.
        bytes: u64,
        /// How many there may be.
        limit: u64,
        /// Rows that time made due, if these were too much; else 0.
        rows: u64,
    },
    /// What the epoch needs of the state that is not in memory cannot be read back. The pipeline must be restored, with
    /// another store.
    #[error("state cannot be read back: {0}")]
    Cold(#[source] ColdError),
    /// An epoch touches more state that is not in memory than may be read back for it. The pipeline must be restored; over
    /// less input, or with fewer rows due, it goes on.
    #[error("an epoch reads {bytes} bytes of state or more back into memory, and may read {limit}")]
    ReadsBack {
        /// How many bytes there were when it was stopped.
        bytes: u64,
        /// How many there may be.
        limit: u64,
        /// Rows that time made due, if these were too much; else 0.
        rows: u64,
    },
    /// An earlier epoch failed half-way. The pipeline must be restored.
    #[error("an earlier epoch failed; restore the pipeline from its changelog")]
    NeedsRestore,
}

impl From<ColdError> for EpochError {
    fn from(error: ColdError) -> EpochError {
        match error {
            ColdError::TooMuch { bytes, limit } => EpochError::ReadsBack { bytes, limit, rows: 0 },
            error => EpochError::Cold(error),
        }
    }
}

impl EpochError {
    /// What is due, so many rows, cannot be read back.
    pub(super) fn reading_due(error: ColdError, due: u64) -> EpochError {
        match EpochError::from(error) {
            EpochError::ReadsBack { bytes, limit, .. } => EpochError::ReadsBack { bytes, limit, rows: due },
            error => error,
        }
    }

    /// Whether the pipeline object is spoilt and must be rebuilt with
    /// [`Pipeline::restore`](crate::Pipeline::restore).
    pub fn needs_restore(&self) -> bool {
        matches!(
            self,
            EpochError::OutputRow { .. }
                | EpochError::TooMuch { .. }
                | EpochError::Cold(_)
                | EpochError::ReadsBack { .. }
                | EpochError::NeedsRestore
        )
    }
}

/// Why a pipeline cannot be built from its changelog.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The progress record cannot be read.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// The state was written by another plan.
    #[error(
        "the state of pipeline {pipeline} was written by another query (plan {found:08x}, now {expected:08x}); \
         run the query it was started with, or start this one under another name"
    )]
    OtherPlan {
        /// The pipeline.
        pipeline: String,
        /// The fingerprint in the progress record.
        found: u32,
        /// The fingerprint of the plan given.
        expected: u32,
    },
    /// The pipeline's description does not fit its plan or its progress record.
    #[error("pipeline {pipeline} cannot run like this: {reason}")]
    WrongSpec {
        /// The pipeline.
        pipeline: String,
        /// What does not fit.
        reason: String,
    },
    /// The topic it has read is gone, and another one has its name.
    #[error(
        "topic {topic} is another one than the one that was read: that had the id {read}, this has {found}; its records \
         were never read. Delete the pipeline and run it again to read the new topic from its beginning, or start it \
         under another name, with other sinks"
    )]
    OtherTopic {
        /// The topic.
        topic: String,
        /// The id of the topic that was read.
        read: String,
        /// The id of the topic that there is now.
        found: String,
    },
    /// The state's keys are cut into another number of groups.
    #[error(
        "the keys of the state are in {found} groups, and this pipeline is to have {expected}: it stays with {found}"
    )]
    OtherKeyGroups {
        /// How many groups the state has.
        found: u16,
        /// How many were asked for.
        expected: u16,
    },
    /// Whoever was asked did not want to go on.
    #[error("the state was not read to its end")]
    GivenUp,
    /// A changelog record cannot be read.
    #[error("changelog record {index}: {reason}")]
    DamagedChangelog {
        /// Its place among the records given, from 0.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// The store for state that is not in memory fails.
    #[error(transparent)]
    Cold(#[from] ColdError),
}
