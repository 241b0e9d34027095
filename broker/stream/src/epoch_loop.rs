//! The loop of a pipeline, without a thread of its own: cut, read, step, commit.
//!
//! ```text
//! loop {
//!     match epochs.turn(&mut logs, now, seed)? {
//!         Turn::Committed { ticket, .. } => wait for the ticket of the turn before, keep this one
//!         Turn::Idle                     => wait until an input grows
//!         Turn::Finished                 => done
//!     }
//! }
//! ```

use std::collections::BTreeMap;

use logmill_record::Batch;
use thiserror::Error;

use crate::logs::{CommitError, Logs, LogsError};
use crate::pipeline::{
    Cut, EpochError, EpochOutput, Input, OffsetRange, Pipeline, Progress, RecordError, TopicPartition,
};

/// How large epochs grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochLimits {
    /// About this many bytes of batches are read for one epoch, shared by the partitions that have some; at least one
    /// batch of each.
    pub input_bytes: usize,
    /// About this many records are taken into one epoch, shared in the same way.
    pub input_records: u64,
    /// At most this many rows of closed windows are written in one epoch.
    pub emit_rows: u32,
}

impl Default for EpochLimits {
    /// 8 MiB or 65,536 records in, 50,000 rows of closed windows out.
    fn default() -> Self {
        Self { input_bytes: 8 * 1024 * 1024, input_records: 65_536, emit_rows: 50_000 }
    }
}

/// What one turn did.
#[derive(Debug)]
pub enum Turn<T> {
    /// An epoch was committed. Only two may be on their way: wait for the ticket of the one before.
    Committed {
        /// What the epoch did.
        progress: Box<Progress>,
        /// What to wait for until it is durable.
        ticket: T,
    },
    /// There is nothing to do until an input grows.
    Idle,
    /// The bounded run is over; nothing comes after.
    Finished,
}

/// Why a turn failed. The loop must not be turned again: restore the pipeline and make a new one.
#[derive(Debug, Error)]
pub enum TurnError {
    /// A record fails under `'on-error' = 'fail'`. Everything before it is committed.
    #[error(
        "pipeline {pipeline} stopped at {partition}, offset {offset}: {error}. Everything before it is committed. \
         Set 'on-error' = 'skip' or 'dlq' on the table to go on without such records"
    )]
    Poison {
        /// The pipeline.
        pipeline: String,
        /// Where the record is.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// An epoch cannot be computed.
    #[error("pipeline {pipeline}: {error}")]
    Epoch {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: EpochError,
    },
    /// A log cannot be read.
    #[error("pipeline {pipeline}: {error}")]
    Logs {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: LogsError,
    },
    /// An epoch was not committed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// An end of the input that cannot be declared.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeclareEndError {
    /// A partition is missing, or is none of the pipeline's.
    #[error("{partition}: ends are declared for every input partition and for no other")]
    OtherPartitions {
        /// The partition.
        partition: TopicPartition,
    },
    /// The pipeline is beyond the end.
    #[error("{partition}: the pipeline has read up to {position}, the input cannot end at {end}")]
    Behind {
        /// The partition.
        partition: TopicPartition,
        /// Where the pipeline is.
        position: i64,
        /// The end declared.
        end: i64,
    },
    /// Other ends are declared already.
    #[error("{partition}: the end {declared} is declared already, not {end}")]
    Declared {
        /// The partition.
        partition: TopicPartition,
        /// The end declared before.
        declared: i64,
        /// The end declared now.
        end: i64,
    },
}

/// Turns a pipeline from cut to cut.
#[derive(Debug)]
pub struct EpochLoop {
    pipeline: Pipeline,
    limits: EpochLimits,
    ends: Option<BTreeMap<TopicPartition, i64>>,
}

impl EpochLoop {
    /// A loop over a pipeline that is at its beginning or restored.
    pub fn new(pipeline: Pipeline, limits: EpochLimits) -> EpochLoop {
        EpochLoop { ends: pipeline.declared_ends(), pipeline, limits }
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Declares the input finished: each partition ends at this offset, later records are not read. The next epoch
    /// records it. Declaring the same ends again changes nothing.
    pub fn declare_ends(&mut self, ends: BTreeMap<TopicPartition, i64>) -> Result<(), DeclareEndError> {
        let positions: BTreeMap<&TopicPartition, i64> = self.pipeline.positions().collect();
        if let Some(partition) = ends.keys().find(|partition| !positions.contains_key(partition)) {
            return Err(DeclareEndError::OtherPartitions { partition: partition.clone() });
        }
        for (partition, position) in positions {
            let partition = partition.clone();
            let Some(end) = ends.get(&partition).copied() else {
                return Err(DeclareEndError::OtherPartitions { partition });
            };
            if end < position {
                return Err(DeclareEndError::Behind { partition, position, end });
            }
            let declared = self.ends.as_ref().and_then(|declared| declared.get(&partition).copied());
            if let Some(declared) = declared.filter(|declared| *declared != end) {
                return Err(DeclareEndError::Declared { partition, declared, end });
            }
        }
        self.ends = Some(ends);
        Ok(())
    }

    /// Computes and commits one epoch, if there is anything to do. `now` is the wall clock in milliseconds, `seed`
    /// anything random; both are frozen into the epoch.
    pub fn turn<L: Logs>(&mut self, logs: &mut L, now: i64, seed: u64) -> Result<Turn<L::Ticket>, TurnError> {
        if self.pipeline.is_finished() {
            return Ok(Turn::Finished);
        }
        let input = match self.pipeline.emission_pending() {
            true => Vec::new(),
            false => self.read(logs).map_err(|error| TurnError::Logs { pipeline: self.name(), error })?,
        };
        let mut cut = Cut {
            ranges: self.ranges(&input),
            now,
            seed,
            emit_rows: self.limits.emit_rows,
            ends: self.ends.clone(),
        };
        let news = self.pipeline.emission_pending() || self.ends != self.pipeline.declared_ends();
        if !news && cut.ranges.values().all(OffsetRange::is_empty) {
            return Ok(Turn::Idle);
        }
        let output = self.step_before_poison(&mut cut, &input)?;
        let progress = Box::new(output.progress.clone());
        let ticket = logs.commit(output)?;
        Ok(Turn::Committed { progress, ticket })
    }

    /// Steps over the cut, or over what comes before the records in it that fail. Once nothing does in the partition
    /// of the first of them, this is the end: no other partition runs on without it.
    fn step_before_poison(&mut self, cut: &mut Cut, input: &[Input]) -> Result<EpochOutput, TurnError> {
        let mut something_before = false;
        loop {
            match self.pipeline.step(cut, input) {
                Ok(output) => return Ok(output),
                Err(EpochError::Poison { partition, offset, error }) => {
                    let range = cut.ranges.get_mut(&partition).expect("the record lies in the cut");
                    range.to = offset;
                    something_before |= !range.is_empty();
                    if !something_before {
                        return Err(TurnError::Poison { pipeline: self.name(), partition, offset, error });
                    }
                }
                Err(error) => return Err(TurnError::Epoch { pipeline: self.name(), error }),
            }
        }
    }

    fn name(&self) -> String {
        self.pipeline.spec().name.clone()
    }

    /// Batches from where the pipeline is, of every partition that has some.
    fn read<L: Logs>(&self, logs: &mut L) -> Result<Vec<Input>, LogsError> {
        let mut readable = Vec::new();
        for (partition, position) in self.pipeline.positions() {
            let mut end = logs.readable_end(partition)?;
            if let Some(declared) = self.ends.as_ref().and_then(|ends| ends.get(partition)) {
                end = end.min(*declared);
            }
            if position < end {
                readable.push((partition, position));
            }
        }
        let share = self.limits.input_bytes / readable.len().max(1);
        readable
            .into_iter()
            .map(|(partition, position)| {
                let read = logs.read(partition, position, share)?;
                Ok(Input { partition: partition.clone(), batches: read.batches, aborted: read.aborted })
            })
            .collect()
    }

    /// The ranges that the batches read cover, as far as the limit of records and the declared ends allow.
    fn ranges(&self, input: &[Input]) -> BTreeMap<TopicPartition, OffsetRange> {
        let positions: BTreeMap<&TopicPartition, i64> = self.pipeline.positions().collect();
        let share = self.limits.input_records / input.len().max(1) as u64;
        input
            .iter()
            .map(|Input { partition, batches, .. }| {
                let from = positions[partition];
                let mut to = from;
                let mut records = 0;
                for header in batches.iter().map(Batch::header) {
                    records += u64::try_from(header.count).unwrap_or(0);
                    if records > share && to > from {
                        break;
                    }
                    to = to.max(header.next_offset());
                }
                if let Some(end) = self.ends.as_ref().and_then(|ends| ends.get(partition)) {
                    to = to.min(*end);
                }
                (partition.clone(), OffsetRange { from, to })
            })
            .collect()
    }
}
