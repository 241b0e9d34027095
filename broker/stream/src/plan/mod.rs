//! The plan: what a pipeline does, as plain data.
//!
//! It is ours from end to end: nothing of the SQL parser is stored or hashed in it, so that it stays the same when
//! the parser changes. [`Plan::explain`] is its text, and [`Plan::fingerprint`] its identity: state is only ever
//! restored under the plan that wrote it.

mod explain;
mod expression;
mod expression_text;
mod format;
mod function;
mod pattern;

pub use expression::{BinaryOperator, Branch, Expression, RegexOperation};
pub use format::{
    AvroFormat, ColumnOrigin, CsvFormat, DebeziumFormat, Format, JsonFormat, ProtobufFormat, ProtobufSchema,
    RecordFormat, TimestampText,
};
pub use function::{
    Digest, Function, IntegerType, JsonKind, JsonResult, Math, PatternStyle, Side, TimeField, TimeUnit,
};
pub use pattern::Pattern;
use serde::{Deserialize, Serialize};

use crate::value::DataType;

/// One pipeline: a source, what is done with its rows, and a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Where rows come from.
    pub source: Source,
    /// Only rows for which this is true go on; over the source's columns.
    pub filter: Option<Expression>,
    /// What is computed.
    pub body: Body,
    /// Where rows go.
    pub sink: Sink,
}

impl Plan {
    /// The topic for records that cannot be used, if the source has one.
    pub fn dead_letter_topic(&self) -> Option<&str> {
        match &self.source.on_error {
            ErrorPolicy::DeadLetter { topic } => Some(topic),
            ErrorPolicy::Fail | ErrorPolicy::Skip => None,
        }
    }
}

/// A topic read as a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The table's name in the script.
    pub table: String,
    /// The topic it reads.
    pub topic: String,
    /// How its records are read.
    pub format: RecordFormat,
    /// The columns in use, in the table's order; the decoder makes only these.
    pub columns: Vec<Column>,
    /// The event time, if the table declares a watermark.
    pub event_time: Option<EventTime>,
    /// What happens to a record that cannot be decoded or computed.
    pub on_error: ErrorPolicy,
}

/// A column of a source or a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, and the name of its field.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Declared `NOT NULL`: a missing value is an error of the record.
    pub required: bool,
    /// Where in a record it is.
    #[serde(default)]
    pub origin: ColumnOrigin,
}

impl Column {
    /// A column of the value that may be `NULL`.
    pub fn of_value(name: &str, data_type: DataType) -> Self {
        Self { name: name.to_owned(), data_type, required: false, origin: ColumnOrigin::Value }
    }
}

/// Event time with bounded disorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTime {
    /// The index of the `TIMESTAMP` column among [`Source::columns`].
    pub column: usize,
    /// How far a record may be behind the newest of its partition, in milliseconds.
    pub delay_ms: i64,
}

/// What happens to a record that cannot be decoded or computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorPolicy {
    /// Everything before the record is committed, then the pipeline stops and names it.
    Fail,
    /// The record is counted and left out.
    Skip,
    /// The record's own bytes go to this topic, in the same epoch.
    DeadLetter {
        /// The dead-letter topic.
        topic: String,
    },
}

/// What is computed from the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// One output row for each input row.
    Project {
        /// One expression for each sink column, over the source's columns.
        outputs: Vec<Expression>,
    },
    /// One output row for each group and window, when the window closes.
    Window(WindowAggregate),
}

/// A `GROUP BY` over tumbling windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowAggregate {
    /// The window's length in milliseconds; windows are aligned to the epoch.
    pub size_ms: i64,
    /// The group key beside the window, over the source's columns.
    pub keys: Vec<NamedExpression>,
    /// The aggregates, each computed once however often it is written.
    pub aggregates: Vec<Aggregate>,
    /// Only groups for which this is true are written; over the group's row (see [`WindowAggregate::row`]).
    pub having: Option<Expression>,
    /// One expression for each sink column, over the group's row.
    pub outputs: Vec<Expression>,
}

impl WindowAggregate {
    /// The columns of a closed group's row: `window_start`, `window_end`, the keys, the aggregates.
    pub fn row(&self) -> Vec<DataType> {
        let mut row = vec![DataType::Timestamp, DataType::Timestamp];
        row.extend(self.keys.iter().map(|key| key.expression.data_type()));
        row.extend(self.aggregates.iter().map(Aggregate::data_type));
        row
    }
}

/// An expression with the name it goes by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedExpression {
    /// The name.
    pub name: String,
    /// The expression.
    pub expression: Expression,
}

/// One aggregate of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// What is computed.
    pub function: AggregateFunction,
    /// Of what; `None` only for `COUNT(*)`.
    pub argument: Option<Expression>,
    /// `FILTER (WHERE ...)`: only rows for which this is true count.
    pub filter: Option<Expression>,
}

impl Aggregate {
    /// The type of the result.
    pub fn data_type(&self) -> DataType {
        match (self.function, &self.argument) {
            (AggregateFunction::Average, _) => DataType::Double,
            (AggregateFunction::Count, _) | (_, None) => DataType::BigInt,
            (_, Some(argument)) => argument.data_type(),
        }
    }
}

/// The functions that fold many rows into one value. All but `COUNT(*)` pass over `NULL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// How many.
    Count,
    /// The sum, in the argument's type; exact for `BIGINT`, in record order for `DOUBLE`.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The mean, always a `DOUBLE`.
    Average,
}

/// A topic written as a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sink {
    /// The table's name in the script.
    pub table: String,
    /// The topic it writes.
    pub topic: String,
    /// How its records are written.
    pub format: RecordFormat,
    /// Its columns, in the order of the fields.
    pub columns: Vec<Column>,
    /// How its batches are compressed.
    pub compression: Compression,
    /// What happens to a row that cannot be computed or written.
    pub on_error: SinkErrorPolicy,
}

/// How batches of a sink are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// What happens to an output row that cannot be computed or written. No single input record is at fault, so there
/// is nothing to put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SinkErrorPolicy {
    /// The pipeline stops and names the row.
    Fail,
    /// The row is counted and left out.
    Skip,
}
