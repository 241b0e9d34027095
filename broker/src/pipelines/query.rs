//! Queries over what pipelines have written, as it was after a committed epoch.
//!
//! ```text
//! epoch that is shown ─► where its outputs end ─► records up to there ─► the engine's own plan over them ─► rows
//!                                                 (by key: those of the keys, where an index says they are)
//! ```
//!
//! A query runs on a thread of its own with a pipeline's niceness; few run at a time, and each is bounded in memory and
//! time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logmill_record::Batch;
use logmill_storage::{Isolation, PartitionId, ReadRequest};
use logmill_stream::{
    KeyLookUp, Plan, Progress, QueryError, QueryRows, QueryTable, SqlError, TableQuery, TableRows,
};
use tokio::sync::oneshot;

use super::error::PipelineError;
use super::look_ups::TableIndex;
use super::manager::Pipelines;
use super::output_ends::OutputEnds;
use crate::partitions::Partition;
use crate::topics::{PROGRESS_PREFIX, Topic, Topics};

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
/// What a batch may unpack to whose keys are noted.
const OPEN_BYTES: usize = 256 << 20;
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
            if let Err(error) = logmill_scheduling::be_nicer() {
                tracing::debug!(%error, "a query keeps its priority");
            }
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
        let tables: Vec<QueryTable> =
            pipelines.flat_map(|asked| QueryTable::all(&asked.name, &asked.plan)).collect();
        let query = TableQuery::compile(sql, &tables)
            .map_err(|error| AskError::Sql { excerpt: error.excerpt(sql), error })?;
        let QueryTable { pipeline, sink, .. } = query.table().clone();
        let topic = self.topics().get(&sink.topic);
        let topic = topic.ok_or_else(|| PipelineError::State {
            name: pipeline.clone(),
            reason: format!("has lost its topic {:?}", sink.topic),
        })?;
        let began = Instant::now();
        let in_time = || began.elapsed() < TIME && is_wanted();
        let now = self.0.clock.now_ms();
        let (epoch, rows) = match query.look_up() {
            Some(look_up) => self.looked_up(&query, look_up, &pipeline, &topic, &in_time)?,
            None => {
                let (epoch, ends) = self.cut(&pipeline, &topic.partitions, is_wanted)?;
                let mut rows = query.rows(MAX_BYTES);
                for partition in &topic.partitions {
                    read(&query, partition, end_of(&ends, partition), &mut rows, &in_time)?;
                }
                (epoch, rows)
            }
        };
        let rows = query.run(rows, MAX_ROWS, now, in_time)?;
        if answer_bytes(&rows) > MAX_ANSWER_BYTES {
            return Err(AskError::Large);
        }
        Ok(QueryAnswer { pipeline, epoch, rows })
    }

    /// The rows of the keys that a query looks up, and the epoch. Of each partition that may have one of them no more is read
    /// than what was written since the last look-up, and the keys' own batches.
    fn looked_up(
        &self,
        query: &TableQuery,
        look_up: &KeyLookUp,
        pipeline: &str,
        topic: &Topic,
        in_time: &dyn Fn() -> bool,
    ) -> Result<(u64, TableRows), AskError> {
        let mut by_partition: BTreeMap<i32, Vec<&[u8]>> = BTreeMap::new();
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        for key in look_up.keys() {
            by_partition.entry(KeyLookUp::partition(key, count)).or_default().push(key);
        }
        let index = self.0.look_ups.table(&self.0.topics, &topic.name, topic.id);
        let Some(mut index) = index.try_lock_for(TIME) else { return Err(QueryError::TimeOver.into()) };
        loop {
            // Under the lock: what others have noted lies before.
            let (epoch, ends) = self.cut(pipeline, &topic.partitions, in_time)?;
            let mut rows = query.rows(MAX_BYTES);
            let mut all_found = true;
            for (partition, keys) in &by_partition {
                let Some(partition) = topic.partition(*partition) else { continue };
                let end = end_of(&ends, partition);
                match note_up_to(&mut index, partition, end, in_time)? {
                    true => all_found &= read_keys(query, &index, partition, keys, &mut rows, in_time)?,
                    false => read(query, partition, end, &mut rows, in_time)?,
                }
            }
            if all_found {
                return Ok((epoch, rows));
            }
            // Compaction has taken a record in whose place a later epoch has written another.
            if !in_time() {
                return Err(QueryError::TimeOver.into());
            }
        }
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
        let shown = {
            let known = self.0.known.lock();
            let known = known.get(pipeline).ok_or_else(|| PipelineError::Unknown(pipeline.to_owned()))?;
            known.shown.epoch()
        };
        // One that is not shown has not run since the broker started.
        shown.map_or_else(|| recorded_epoch(self.topics(), pipeline), Ok)
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

fn end_of(ends: &BTreeMap<PartitionId, i64>, partition: &Partition) -> i64 {
    ends.get(&partition.id()).copied().unwrap_or(0)
}

fn unreadable(partition: &Partition, offset: i64, error: &dyn std::fmt::Display) -> AskError {
    AskError::Read(format!("{partition:?} cannot be read at offset {offset}: {error}"))
}

/// Takes the records of a partition up to an end.
fn read(
    query: &TableQuery,
    partition: &Partition,
    end: i64,
    rows: &mut TableRows,
    in_time: &dyn Fn() -> bool,
) -> Result<(), AskError> {
    for_each_batch(partition, (0, end), READ_BYTES, in_time, |batch| {
        Ok(rows.take(query, partition.index(), batch, end)?)
    })
}

/// Notes where the records of a partition are, up to an end; `false` where there is no room for that. What is noted stays when
/// the time is over.
fn note_up_to(
    index: &mut TableIndex,
    partition: &Partition,
    end: i64,
    in_time: &dyn Fn() -> bool,
) -> Result<bool, AskError> {
    let number = partition.index();
    let Some(known) = index.known_end(number, end) else { return Ok(false) };
    let mut has_room = true;
    for_each_batch(partition, (known, end), READ_BYTES, in_time, |batch| {
        if !has_room || batch.header().is_control() {
            return Ok(());
        }
        let failed = |error: &dyn std::fmt::Display| unreadable(partition, batch.header().base_offset, error);
        let open = batch.open(OPEN_BYTES).map_err(|error| failed(&error))?;
        for view in open.records() {
            let view = view.map_err(|error| failed(&error))?;
            if view.offset >= end {
                break;
            }
            if let Some(key) = view.key.filter(|_| view.offset >= known) {
                has_room &= index.note(number, key, view.offset, view.value.is_some());
            }
        }
        if has_room {
            index.is_known_to(number, batch.header().next_offset().min(end));
        }
        Ok(())
    })?;
    if has_room {
        index.is_known_to(number, end);
    }
    Ok(has_room)
}

/// Takes the last record of each of these keys, where there is one. `false`: one of them is not there any more.
fn read_keys(
    query: &TableQuery,
    index: &TableIndex,
    partition: &Partition,
    keys: &[&[u8]],
    rows: &mut TableRows,
    in_time: &dyn Fn() -> bool,
) -> Result<bool, AskError> {
    let mut all_found = true;
    for offset in keys.iter().filter_map(|key| index.offset(partition.index(), key)) {
        // Deleted with everything before it.
        if offset < partition.published().log_start_offset {
            continue;
        }
        let mut found = false;
        for_each_batch(partition, (offset, offset + 1), 1, in_time, |batch| {
            found |= rows.take_one(query, partition.index(), batch, offset)?;
            Ok(())
        })?;
        all_found &= found;
    }
    Ok(all_found)
}

/// Goes through the batches of a partition that have records from an offset up to another, reading so many bytes at a time.
fn for_each_batch(
    partition: &Partition,
    (from, end): (i64, i64),
    bytes: usize,
    in_time: &dyn Fn() -> bool,
    mut take: impl FnMut(&Batch) -> Result<(), AskError>,
) -> Result<(), AskError> {
    let mut offset = from.max(partition.published().log_start_offset);
    while offset < end {
        if !in_time() {
            return Err(QueryError::TimeOver.into());
        }
        let request =
            ReadRequest { offset, max_bytes: bytes, isolation: Isolation::Committed, min_one_batch: true };
        let read = partition.read(request).map_err(|error| unreadable(partition, offset, &error))?;
        let before = offset;
        for chunk in read.chunks {
            for batch in logmill_record::batch::batches(chunk) {
                let batch = batch.map_err(|error| unreadable(partition, offset, &error))?;
                let header = *batch.header();
                offset = header.next_offset();
                // What somebody wrote in a transaction, before the topic was the pipeline's.
                let aborted = header.is_transactional()
                    && read.aborted.iter().any(|aborted| {
                        aborted.producer_id == header.producer_id
                            && (aborted.first_offset..=aborted.last_offset).contains(&header.base_offset)
                    });
                if !aborted {
                    take(&batch)?;
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
