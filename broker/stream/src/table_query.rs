//! Queries over what a pipeline has written, as it is after one of its epochs.
//!
//! ```text
//! SELECT … FROM <a pipeline's table> ─► TableQuery
//! records of the table's topic ─► TableRows (of an upsert table the last of each key) ─► TableQuery::run ─► rows
//! ```
//!
//! Where the query says the whole key of an upsert table, [`TableQuery::look_up`] says which records alone matter.

mod answer;
mod keys;
mod rows;
mod tables;

use std::collections::BTreeMap;

use thiserror::Error;

use self::answer::Answer;
pub use self::keys::KeyLookUp;
use self::rows::RecordAt;
pub use self::rows::TableRows;
pub use self::tables::QueryTable;
use crate::epoch_loop::{EpochLimits, TurnError};
use crate::pipeline::{EpochError, OutputBatch, RecordError, TopicPartition};
use crate::plan::{ColumnOrigin, ErrorPolicy, Sink, Source};
use crate::sql::{BoundSelect, EMPTY_ROW_TOPIC, GivenTable, RESULT_TOPIC, SqlError, compile_select};
use crate::trial::{TrialError, TrialOptions, TrialRecord, run_while};
use crate::value::{DataType, Value};

/// So many records, or bytes of them, are computed between two looks at the time, and at what the query has made of them: a
/// query may make a thousand bytes of each.
const STEP_RECORDS: u64 = 1024;
const STEP_BYTES: usize = 1 << 20;

/// A `SELECT` over the rows of one table, compiled.
#[derive(Debug)]
pub struct TableQuery {
    bound: BoundSelect,
    table: QueryTable,
    look_up: Option<KeyLookUp>,
}

/// What a query gave.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRows {
    /// The names and types of the columns.
    pub columns: Vec<(String, DataType)>,
    /// The rows, a value for each column.
    pub rows: Vec<Vec<Value>>,
    /// How many rows of the table were looked at.
    pub scanned: u64,
}

/// Why a query gave nothing.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The table has more rows than may be looked at.
    #[error("the rows of `{table}` take more than {max_bytes} bytes; ask a pipeline to aggregate them")]
    TooManyRows {
        /// The table.
        table: String,
        /// How many bytes are allowed.
        max_bytes: usize,
    },
    /// The result has too many rows.
    #[error("the result has {rows} rows or more, and {max_rows} may be asked for; add LIMIT {max_rows}")]
    TooManyResults {
        /// How many there are at least.
        rows: usize,
        /// How many are allowed.
        max_rows: usize,
    },
    /// What comes of the rows takes too much memory.
    #[error(
        "the rows that the query makes take more than {max_bytes} bytes; select fewer columns and shorter texts, let it look \
         at fewer rows, or ask a pipeline to aggregate them"
    )]
    TooLarge {
        /// How many bytes are allowed.
        max_bytes: usize,
    },
    /// The time was over.
    #[error("the query took longer than it may; let it look at fewer rows, or ask a pipeline")]
    TimeOver,
    /// A batch of the topic cannot be read.
    #[error("a batch of `{table}` cannot be read, at {partition}, offset {offset}: {reason}")]
    Damaged {
        /// The table.
        table: String,
        /// Where the batch is.
        partition: TopicPartition,
        /// Its first offset.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// A record of the topic is no row of the table.
    #[error("the record at {partition}, offset {offset}, is no row of `{table}`: {reason}; {help}")]
    NoRow {
        /// The table.
        table: String,
        /// Where the record is.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        help: String,
    },
    /// A row cannot be computed.
    #[error("{0}")]
    Failed(String),
}

impl TableQuery {
    /// Compiles a query over one of these tables.
    ///
    /// # Errors
    /// Where the query is wrong, and what to write.
    pub fn compile(sql: &str, tables: &[QueryTable]) -> Result<TableQuery, SqlError> {
        let given =
            |table: &QueryTable| GivenTable { source: source(&table.sink), refusal: table.refusal.clone() };
        let bound = compile_select(tables.iter().map(given).collect(), sql)?;
        let read = bound.plan.sources.iter().find(|source| source.topic != EMPTY_ROW_TOPIC);
        let is_it = |table: &&QueryTable| {
            read.is_some_and(|read| read.topic == table.sink.topic && read.table == table.sink.table)
        };
        let table = tables.iter().find(is_it).expect("the query reads one of the tables").clone();
        let look_up = KeyLookUp::of(&bound.plan, &table);
        Ok(TableQuery { bound, table, look_up })
    }

    /// The keys of the only records that the answer is made of, where the query says them.
    pub fn look_up(&self) -> Option<&KeyLookUp> {
        self.look_up.as_ref()
    }

    /// The table it reads.
    pub fn table(&self) -> &QueryTable {
        &self.table
    }

    /// No rows yet; they may take this many bytes, and as many each what the query makes of them and what it keeps for that.
    pub fn rows(&self, max_bytes: usize) -> TableRows {
        TableRows::new(self, max_bytes)
    }

    /// Computes the result over the table's rows, at the time `now` in milliseconds. `go_on` is asked now and then whether
    /// there is time left.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn run(
        &self,
        rows: TableRows,
        max_rows: usize,
        now: i64,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<QueryRows, QueryError> {
        let max_bytes = rows.max_bytes();
        let mut answer = Answer::new(&self.bound, max_rows, max_bytes)?;
        let (places, records) = rows.into_records();
        let scanned = records.len() as u64;
        let limits =
            EpochLimits { input_records: STEP_RECORDS, input_bytes: STEP_BYTES, ..EpochLimits::default() };
        let options = TrialOptions { limits, now, epoch_ms: 0, ..TrialOptions::default() };
        let mut inputs = BTreeMap::from([(self.table.sink.topic.clone(), records)]);
        if self.bound.plan.source_topics().contains(&EMPTY_ROW_TOPIC) {
            let row = TrialRecord { value: Some(b"{}".to_vec()), ..TrialRecord::default() };
            inputs.insert(EMPTY_ROW_TOPIC.to_owned(), vec![row]);
        }
        let mut ended = None;
        let mut take = |given: Vec<OutputBatch>, state_bytes: u64| {
            let mut results = given.iter().filter(|output| output.topic == RESULT_TOPIC);
            ended = match results.try_for_each(|output| answer.take(&output.batch)) {
                Err(error) => Some(Err(error)),
                Ok(()) if answer.is_enough() => Some(Ok(())),
                // Groups, say, of which none is in the answer.
                Ok(()) if state_bytes > max_bytes as u64 => Some(Err(QueryError::TooLarge { max_bytes })),
                Ok(()) if !go_on() => Some(Err(QueryError::TimeOver)),
                Ok(()) => None,
            };
            ended.is_none()
        };
        run_while(&self.bound.plan, inputs, options, &mut take)
            .map_err(|error| self.failed(error, &places))?;
        ended.unwrap_or(Ok(()))?;
        let types = self.bound.plan.sinks[0].columns.iter().map(|column| column.data_type);
        Ok(QueryRows {
            columns: self.bound.names.iter().cloned().zip(types).collect(),
            rows: answer.finish()?,
            scanned,
        })
    }

    /// Why nothing came of the records that are at these places of the table's topic.
    fn failed(&self, error: TrialError, places: &[RecordAt]) -> QueryError {
        let sink = &self.table.sink;
        match error {
            TrialError::Turn(TurnError::Poison { partition, offset, error, .. }) => {
                let at = usize::try_from(offset).ok().and_then(|index| places.get(index));
                match (at.filter(|_| partition.topic == sink.topic), error) {
                    (Some(at), RecordError::Decode { reason }) => at.no_row(self, reason),
                    (Some(at), error) => QueryError::Failed(format!(
                        "a row cannot be computed: {error}; it is the record at {}, offset {}: leave such rows out with \
                         WHERE, or let CASE pass over them",
                        TopicPartition::new(&sink.topic, at.partition),
                        at.offset
                    )),
                    (None, error) => QueryError::Failed(format!("a row cannot be computed: {error}")),
                }
            }
            TrialError::Turn(TurnError::Epoch { error: EpochError::TooMuch { limit, .. }, .. }) => {
                QueryError::TooLarge { max_bytes: usize::try_from(limit).unwrap_or(usize::MAX) }
            }
            TrialError::Turn(TurnError::Epoch { error, .. }) => QueryError::Failed(error.to_string()),
            other => QueryError::Failed(other.to_string()),
        }
    }
}

/// A table that is written, as one that is read.
fn source(sink: &Sink) -> Source {
    Source {
        table: sink.table.clone(),
        topic: sink.topic.clone(),
        format: sink.format.clone(),
        key_fields: sink.columns.iter().filter(|column| column.origin == ColumnOrigin::Key).count(),
        columns: sink.columns.clone(),
        computed: Vec::new(),
        event_time: None,
        upsert_key: Vec::new(),
        on_error: ErrorPolicy::Fail,
        late_topic: None,
        idle_ms: None,
        max_ahead_ms: None,
        shed: None,
    }
}
