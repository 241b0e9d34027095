//! Queries over what pipelines have written, as it was after a committed epoch.
//!
//! ```text
//! epoch that is shown ─► where its outputs end ─► records up to there ─► the engine's own plan over them ─► rows
//! ```
//!
//! A query runs on a thread of its own with a pipeline's priority; few run at a time, and each is bounded in memory and
//! time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logmill_storage::{Isolation, PartitionId, ReadRequest};
use logmill_stream::{Plan, Progress, QueryError, QueryRows, QueryTable, SqlError, TableQuery, TableRows};
use tokio::sync::oneshot;

use super::error::PipelineError;
use super::manager::Pipelines;
use super::output_ends::OutputEnds;
use super::runner::lower_priority;
use crate::partitions::Partition;
use crate::topics::{PROGRESS_PREFIX, Topics};

/// Queries that run at a time; others wait.
pub(super) const AT_A_TIME: usize = 2;
/// What the rows that one query looks at take in memory.
const MAX_BYTES: usize = 128 << 20;
/// The most rows of an answer.
const MAX_ROWS: usize = 10_000;
/// The most bytes of an answer's texts and bytes.
const MAX_ANSWER_BYTES: usize = 3 << 20;
/// The longest that a query computes.
const TIME: Duration = Duration::from_secs(20);
/// The longest that it waits for a moment in which nothing is on its way.
const SETTLING: Duration = Duration::from_secs(5);
/// How much of a log is read at a time.
const READ_BYTES: usize = 4 << 20;
/// What a progress record's batch may unpack to.
const PROGRESS_BYTES: usize = 4 << 20;

/// What a query gave.
#[derive(Debug)]
pub struct QueryAnswer {
    /// The pipeline that writes the table.
    pub pipeline: String,
    /// The epoch after which it was so; 0 before the first.
    pub epoch: u64,
    /// The columns and the rows.
    pub rows: QueryRows,
}

/// Why a query gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It does not plan.
    #[error("{error}\n{excerpt}")]
    Sql {
        /// Why.
        error: SqlError,
        /// The line with a mark under the place.
        excerpt: String,
    },
    /// There is no such pipeline, or it cannot be looked at.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The rows cannot be computed, or are too many.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The answer is too large.
    #[error("the answer has more than {MAX_ANSWER_BYTES} bytes; select fewer columns, or add LIMIT")]
    Large,
    /// A log cannot be read.
    #[error("{0}")]
    Read(String),
}

/// A pipeline as queries see it.
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) plan: Arc<Plan>,
}

impl Pipelines {
    /// Answers a query over one table that a pipeline writes. `pipeline` says whose table, where several write one of
    /// that name.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn query(&self, sql: &str, pipeline: Option<&str>) -> Result<QueryAnswer, AskError> {
        if let Some(name) = pipeline {
            self.view(name)?;
        }
        let (pipelines, sql) = (self.clone(), sql.to_owned());
        let only = pipeline.map(str::to_owned);
        let permit = Arc::clone(&self.0.queries).acquire_owned().await;
        let permit = permit.map_err(|error| AskError::Read(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let ask = move || {
            lower_priority();
            // Whoever asked may have gone: then nothing more is computed. It counts as long as it runs.
            let result = pipelines.ask(&sql, only.as_deref(), &|| !answer.is_closed());
            let _ = answer.send(result);
            drop(permit);
        };
        std::thread::Builder::new().name("query".to_owned()).spawn(ask).map_err(PipelineError::Thread)?;
        answered
            .await
            .map_err(|_| AskError::Read("the query met a defect of the broker: see its log".to_owned()))?
    }

    /// `is_wanted` says whether anybody still waits for the answer.
    fn ask(
        &self,
        sql: &str,
        only: Option<&str>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<QueryAnswer, AskError> {
        let pipelines = self.asked();
        let pipelines = pipelines.iter().filter(|asked| only.is_none_or(|only| only == asked.name));
        let table = |asked: &Asked, sink: &logmill_stream::plan::Sink| QueryTable {
            pipeline: asked.name.clone(),
            sink: sink.clone(),
        };
        let tables: Vec<QueryTable> =
            pipelines.flat_map(|asked| asked.plan.sinks.iter().map(move |sink| table(asked, sink))).collect();
        let query = TableQuery::compile(sql, &tables)
            .map_err(|error| AskError::Sql { excerpt: error.excerpt(sql), error })?;
        let QueryTable { pipeline, sink } = query.table().clone();
        let topic = self.topics().get(&sink.topic);
        let topic = topic.ok_or_else(|| PipelineError::State {
            name: pipeline.clone(),
            reason: format!("has lost its topic {:?}", sink.topic),
        })?;
        let began = Instant::now();
        let in_time = || began.elapsed() < TIME && is_wanted();
        let now = self.0.clock.now_ms();
        let (epoch, ends) = self.cut(&pipeline, &topic.partitions, is_wanted)?;
        let mut rows = query.rows(MAX_BYTES);
        for partition in &topic.partitions {
            let end = ends.get(&partition.id()).copied().unwrap_or(0);
            read(&query, partition, end, &mut rows, in_time)?;
        }
        let rows = query.run(rows, MAX_ROWS, now, in_time)?;
        if answer_bytes(&rows) > MAX_ANSWER_BYTES {
            return Err(AskError::Large);
        }
        Ok(QueryAnswer { pipeline, epoch, rows })
    }

    /// The last epoch that is committed, and where the partitions end after it.
    fn cut(
        &self,
        pipeline: &str,
        partitions: &[Partition],
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<(u64, BTreeMap<PartitionId, i64>), AskError> {
        let outputs: OutputEnds = self.output_ends(pipeline);
        let began = Instant::now();
        loop {
            let epoch = self.last_epoch(pipeline)?;
            if outputs.of(epoch).is_some() {
                let now = partitions
                    .iter()
                    .map(|partition| (partition.id(), partition.published().last_stable_offset));
                let mut ends: BTreeMap<PartitionId, i64> = now.collect();
                // What was written meanwhile is known by now: those that are not named have not changed.
                if let Some(known) = outputs.of(epoch)
                    && self.last_epoch(pipeline)? == epoch
                {
                    ends.extend(known);
                    return Ok((epoch, ends));
                }
            }
            if began.elapsed() > SETTLING || !is_wanted() {
                return Err(AskError::Read(format!(
                    "pipeline {pipeline:?} gives no rest to look at it; try again"
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The last epoch that is committed and published whole.
    fn last_epoch(&self, pipeline: &str) -> Result<u64, AskError> {
        match self.view(pipeline)?.progress {
            Some(progress) => Ok(progress.epoch),
            // It has not run since the broker started.
            None => recorded_epoch(self.topics(), pipeline),
        }
    }
}

/// The epoch of the last record of the progress log.
fn recorded_epoch(topics: &Topics, pipeline: &str) -> Result<u64, AskError> {
    let topic = topics.get(&format!("{PROGRESS_PREFIX}{pipeline}"));
    let Some(log) = topic.as_ref().and_then(|topic| topic.partition(0)) else { return Ok(0) };
    let published = log.published();
    if published.high_watermark <= published.log_start_offset {
        return Ok(0);
    }
    let request = ReadRequest {
        offset: published.high_watermark - 1,
        max_bytes: READ_BYTES,
        isolation: Isolation::Uncommitted,
        min_one_batch: true,
    };
    let failed = |error: String| AskError::Read(format!("the progress of pipeline {pipeline:?}: {error}"));
    let read = log.read(request).map_err(|error| failed(error.to_string()))?;
    let mut epoch = 0;
    for chunk in read.chunks {
        for batch in logmill_record::batch::batches(chunk) {
            let batch = batch.map_err(|error| failed(error.to_string()))?;
            for record in batch.records(PROGRESS_BYTES).map_err(|error| failed(error.to_string()))? {
                let Some(value) = record.value else { continue };
                epoch = Progress::decode(&value).map_err(|error| failed(error.to_string()))?.epoch;
            }
        }
    }
    Ok(epoch)
}

/// Reads the records of a partition up to an end.
fn read(
    query: &TableQuery,
    partition: &Partition,
    end: i64,
    rows: &mut TableRows,
    in_time: impl Fn() -> bool,
) -> Result<(), AskError> {
    let failed = |offset: i64, error: String| {
        AskError::Read(format!("{partition:?} cannot be read at offset {offset}: {error}"))
    };
    let mut offset = partition.published().log_start_offset;
    while offset < end {
        if !in_time() {
            return Err(QueryError::TimeOver.into());
        }
        let request = ReadRequest {
            offset,
            max_bytes: READ_BYTES,
            isolation: Isolation::Committed,
            min_one_batch: true,
        };
        let read = partition.read(request).map_err(|error| failed(offset, error.to_string()))?;
        let before = offset;
        for chunk in read.chunks {
            for batch in logmill_record::batch::batches(chunk) {
                let batch = batch.map_err(|error| failed(offset, error.to_string()))?;
                let header = *batch.header();
                offset = header.next_offset();
                // What somebody wrote in a transaction, before the topic was the pipeline's.
                let aborted = header.is_transactional()
                    && read.aborted.iter().any(|aborted| {
                        aborted.producer_id == header.producer_id
                            && (aborted.first_offset..=aborted.last_offset).contains(&header.base_offset)
                    });
                if !aborted {
                    rows.take(query, partition.index(), &batch, end)?;
                }
            }
        }
        if offset == before {
            // The rest was compacted away.
            break;
        }
    }
    Ok(())
}

fn answer_bytes(rows: &QueryRows) -> usize {
    use logmill_stream::Value;
    let bytes = |value: &Value| match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 16,
    };
    rows.rows.iter().flatten().map(bytes).sum()
}
