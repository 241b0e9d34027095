//! Queries over what a pipeline has written, as it is after one of its epochs.
//!
//! ```text
//! SELECT … FROM <a pipeline's table> ─► TableQuery
//! records of the table's topic ─► TableRows (of an upsert table the last of each key) ─► TableQuery::run ─► rows
//! ```
//!
//! Where the query says the whole key of an upsert table, [`TableQuery::look_up`] says which records alone matter.

mod keys;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use logmill_record::{Batch, BatchBuilder, BatchError, BatchOptions, Record};
use thiserror::Error;

pub use self::keys::KeyLookUp;
use crate::column::Column;
use crate::epoch_loop::{EpochLimits, TurnError};
use crate::format::{Landed, RecordPlace, RowDecoder, created};
use crate::plan::{ColumnOrigin, ErrorPolicy, Format, OutputMode, Sink, Source};
use crate::sql::{
    BoundSelect, EMPTY_ROW_TOPIC, GivenTable, RESULT_TOPIC, SelectOrder, SqlError, compile_select,
};
use crate::state::encode_key_part;
use crate::trial::{TrialError, TrialOptions, TrialRecord, run_while};
use crate::value::{DataType, Value};

/// A batch decompresses to at most this much.
const DECOMPRESSED_BATCH_BYTES: usize = 256 * 1024 * 1024;
/// So many records are computed between two looks at the time.
const STEP_RECORDS: u64 = 8192;

/// A table that a pipeline writes.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryTable {
    /// The pipeline.
    pub pipeline: String,
    /// What it writes.
    pub sink: Sink,
}

/// A `SELECT` over the rows of one table, compiled.
#[derive(Debug)]
pub struct TableQuery {
    bound: BoundSelect,
    table: QueryTable,
    look_up: Option<KeyLookUp>,
}

/// The rows of a table's topic that a query reads, within a bound of memory.
#[derive(Debug)]
pub struct TableRows {
    /// Whether a record replaces the one before it of its key.
    keyed: bool,
    all: Vec<TrialRecord>,
    by_key: BTreeMap<(i32, Vec<u8>), TrialRecord>,
    bytes: usize,
    max_bytes: usize,
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
    /// The result is too large.
    #[error("the result has {rows} rows, and {max_rows} may be asked for; add LIMIT {max_rows}")]
    TooManyResults {
        /// How many there are.
        rows: usize,
        /// How many are allowed.
        max_rows: usize,
    },
    /// The time was over.
    #[error("the query took longer than it may; let it look at fewer rows, or ask a pipeline")]
    TimeOver,
    /// A batch of the topic cannot be read.
    #[error("a batch of `{table}` cannot be read: {reason}")]
    Damaged {
        /// The table.
        table: String,
        /// Why.
        reason: String,
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
        let given = |table: &QueryTable| GivenTable {
            source: source(&table.sink),
            refusal: no_rows(table.sink.mode).map(|reason| {
                let Sink { table, mode, .. } = &table.sink;
                format!("`{table}` is written with 'output' = '{}': {reason}", mode.name())
            }),
        };
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

    /// No rows yet; they may take this many bytes.
    pub fn rows(&self, max_bytes: usize) -> TableRows {
        TableRows {
            keyed: self.table.sink.mode == OutputMode::Upsert,
            all: Vec::new(),
            by_key: BTreeMap::new(),
            bytes: 0,
            max_bytes,
        }
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
        let records: Vec<TrialRecord> = rows.all.into_iter().chain(rows.by_key.into_values()).collect();
        let scanned = records.len() as u64;
        let limits =
            EpochLimits { input_records: STEP_RECORDS, input_bytes: usize::MAX, ..EpochLimits::default() };
        let options = TrialOptions { limits, now, epoch_ms: 0, ..TrialOptions::default() };
        let mut inputs = BTreeMap::from([(self.table.sink.topic.clone(), records)]);
        if self.bound.plan.source_topics().contains(&EMPTY_ROW_TOPIC) {
            let row = TrialRecord { value: Some(b"{}".to_vec()), ..TrialRecord::default() };
            inputs.insert(EMPTY_ROW_TOPIC.to_owned(), vec![row]);
        }
        let trial = run_while(&self.bound.plan, inputs, options, &mut go_on);
        let mut trial = trial.map_err(|error| failed(&error))?.ok_or(QueryError::TimeOver)?;
        let records = trial.outputs.remove(RESULT_TOPIC).unwrap_or_default();
        let sink = &self.bound.plan.sinks[0];
        let given = GivenRows::decode(sink, &records)?;
        let (mut places, columns) = (given.left(), given.columns);
        places.sort_by(|left, right| compare(&columns, &self.bound.order, *left, *right));
        let limit = self.bound.limit.unwrap_or(usize::MAX);
        let places: Vec<usize> = places.into_iter().skip(self.bound.offset).take(limit).collect();
        if places.len() > max_rows {
            return Err(QueryError::TooManyResults { rows: places.len(), max_rows });
        }
        let shown = &columns[..self.bound.names.len()];
        let row = |place: usize| shown.iter().map(|column| column.value(place)).collect();
        let types = sink.columns.iter().map(|column| column.data_type);
        Ok(QueryRows {
            columns: self.bound.names.iter().cloned().zip(types).collect(),
            rows: places.into_iter().map(row).collect(),
            scanned,
        })
    }
}

impl TableRows {
    /// Takes the records of a batch that lie before an offset; of a query that looks keys up those of these keys alone.
    ///
    /// # Errors
    /// [`QueryError::TooManyRows`] and [`QueryError::Damaged`].
    pub fn take(
        &mut self,
        query: &TableQuery,
        partition: i32,
        batch: &Batch,
        end: i64,
    ) -> Result<(), QueryError> {
        self.take_of(query, partition, batch, (i64::MIN, end))
    }

    /// Takes one record of a batch. Whether it is there, and has one of the keys that are looked up.
    ///
    /// # Errors
    /// As [`TableRows::take`].
    pub fn take_one(
        &mut self,
        query: &TableQuery,
        partition: i32,
        batch: &Batch,
        offset: i64,
    ) -> Result<bool, QueryError> {
        let before = self.all.len() + self.by_key.len();
        self.take_of(query, partition, batch, (offset, offset + 1))?;
        Ok(self.all.len() + self.by_key.len() > before)
    }

    /// Takes records at offsets from one up to another, if they matter.
    fn take_of(
        &mut self,
        query: &TableQuery,
        partition: i32,
        batch: &Batch,
        (from, end): (i64, i64),
    ) -> Result<(), QueryError> {
        let table = || query.table.sink.table.clone();
        if batch.header().is_control() {
            return Ok(());
        }
        let damaged = |reason: String| QueryError::Damaged { table: table(), reason };
        let open = batch.open(DECOMPRESSED_BATCH_BYTES).map_err(|error| damaged(error.to_string()))?;
        for view in open.records() {
            let view = view.map_err(|error| damaged(error.to_string()))?;
            if view.offset >= end {
                break;
            }
            let matters = |look_up: &KeyLookUp| view.key.is_some_and(|key| look_up.has(key));
            if view.offset < from || !query.look_up().is_none_or(matters) {
                continue;
            }
            let key = view.key.map(<[u8]>::to_vec);
            // A change is the row that it leaves: which one was there before it is in the record before.
            let value = match (view.value, self.keyed && is_change(query)) {
                (Some(change), true) => created(change).map_err(damaged)?.map(Cow::Owned),
                (value, _) => value.map(Cow::Borrowed),
            };
            let Some(value) = value else {
                if let (true, Some(key)) = (self.keyed, key)
                    && let Some(gone) = self.by_key.remove(&(partition, key))
                {
                    self.bytes -= size(&gone);
                }
                continue;
            };
            let header = |header: Result<(&[u8], Option<&[u8]>), BatchError>| {
                let (name, value) = header.map_err(|error| damaged(error.to_string()))?;
                Ok((String::from_utf8_lossy(name).into_owned(), value.map(<[u8]>::to_vec)))
            };
            let headers = view.headers().map(header).collect::<Result<Vec<_>, QueryError>>()?;
            let record = TrialRecord {
                partition: 0,
                timestamp: view.timestamp,
                key: key.clone(),
                value: Some(value.into_owned()),
                headers,
            };
            self.bytes += size(&record);
            match (self.keyed, key) {
                (true, Some(key)) => {
                    if let Some(before) = self.by_key.insert((partition, key), record) {
                        self.bytes -= size(&before);
                    }
                }
                _ => self.all.push(record),
            }
            if self.bytes > self.max_bytes {
                return Err(QueryError::TooManyRows { table: table(), max_bytes: self.max_bytes });
            }
        }
        Ok(())
    }
}

/// Whether the records say what they replace.
fn is_change(query: &TableQuery) -> bool {
    matches!(query.table.sink.format.value, Format::Debezium(_))
}

/// About what a record takes in memory.
fn size(record: &TrialRecord) -> usize {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    // Its key stands beside it, too.
    size_of::<TrialRecord>() + 64 + 2 * bytes(&record.key) + bytes(&record.value)
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

fn failed(error: &TrialError) -> QueryError {
    let text = match error {
        TrialError::Turn(TurnError::Poison { error, .. }) => {
            format!("a row cannot be computed: {error}")
        }
        TrialError::Turn(TurnError::Epoch { error, .. }) => error.to_string(),
        other => other.to_string(),
    };
    QueryError::Failed(text)
}

/// Why the records of a topic are not the rows of a table, where they are not.
fn no_rows(mode: OutputMode) -> Option<&'static str> {
    match mode {
        OutputMode::Append | OutputMode::Upsert => None,
        OutputMode::Update => Some("the topic does not say which rows are gone"),
        OutputMode::Retract => Some("its records are changes"),
        OutputMode::Complete => Some("its records are whole tables, one behind the other"),
    }
}

/// The rows that the engine has written itself, those that it took back among them.
struct GivenRows {
    columns: Vec<Column>,
    /// Of each row, whether it is taken back.
    back: Vec<bool>,
}

impl GivenRows {
    fn decode(sink: &Sink, records: &[Record]) -> Result<GivenRows, QueryError> {
        let failed = |reason: String| QueryError::Failed(format!("the result cannot be read: {reason}"));
        let mut decoder = RowDecoder::new(&sink.format, &sink.columns, records.len())
            .map_err(|error| failed(error.to_string()))?;
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in records {
            builder.push(0, None, record.value.as_deref(), &[]);
        }
        let mut back = Vec::with_capacity(records.len());
        if builder.is_empty() {
            return Ok(GivenRows { columns: decoder.finish(), back });
        }
        let batch = builder.build();
        let open = batch.open(usize::MAX).map_err(|error| failed(error.to_string()))?;
        let place = RecordPlace {
            topic: RESULT_TOPIC,
            partition: 0,
            timestamp_type: batch.header().attributes.timestamp_type(),
        };
        for view in open.records() {
            let view = view.map_err(|error| failed(error.to_string()))?;
            match decoder.decode(place, &view).map_err(failed)? {
                Landed::Row | Landed::Tombstone => back.push(false),
                Landed::TakenBack => back.push(true),
                Landed::Replaced | Landed::Moved => back.extend([true, false]),
                Landed::Nothing => {}
            }
        }
        Ok(GivenRows { columns: decoder.finish(), back })
    }

    /// The places of the rows that were not taken back, in the order in which they were given.
    fn left(&self) -> Vec<usize> {
        if !self.back.contains(&true) {
            return (0..self.back.len()).collect();
        }
        let mut given: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (place, back) in self.back.iter().enumerate() {
            let mut row = Vec::new();
            self.columns.iter().for_each(|column| encode_key_part(column, place, &mut row));
            let places = given.entry(row).or_default();
            match back {
                true => drop(places.pop()),
                false => places.push(place),
            }
        }
        let mut left: Vec<usize> = given.into_values().flatten().collect();
        left.sort_unstable();
        left
    }
}

fn compare(columns: &[Column], order: &[SelectOrder], left: usize, right: usize) -> Ordering {
    for SelectOrder { column, descending, nulls_first } in order {
        let (left, right) = (columns[*column].value(left), columns[*column].value(right));
        let null = if *nulls_first { Ordering::Less } else { Ordering::Greater };
        let ordering = match (&left, &right) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => null,
            (_, Value::Null) => null.reverse(),
            (left, right) if *descending => of_values(right, left),
            (left, right) => of_values(left, right),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

/// The order of two values of one column.
fn of_values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
        (Value::BigInt(left), Value::BigInt(right)) | (Value::Timestamp(left), Value::Timestamp(right)) => {
            left.cmp(right)
        }
        (Value::Double(left), Value::Double(right)) => left.total_cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        // Of one scale: they stand in one column.
        (Value::Decimal(left), Value::Decimal(right)) => left.unscaled.cmp(&right.unscaled),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        _ => Ordering::Equal,
    }
}
