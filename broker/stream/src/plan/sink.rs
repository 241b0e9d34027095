//! A topic written as a table.

use serde::{Deserialize, Serialize};

use super::{Column, RecordFormat};

/// A topic written as a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sink {
    /// The table's name in the script.
    pub table: String,
    /// The node whose rows are written. Its first columns are the sink's; the rest serve the key only.
    pub input: usize,
    /// The topic it writes.
    pub topic: String,
    /// How its records are written.
    pub format: RecordFormat,
    /// Its columns, in the order of the fields.
    pub columns: Vec<Column>,
    /// The columns of the input that make the record's key; none writes records without a key.
    pub key: Vec<SinkKey>,
    /// What of the rows becomes a record.
    pub mode: OutputMode,
    /// How its batches are compressed.
    pub compression: Compression,
    /// What happens to a row that cannot be computed or written.
    pub on_error: SinkErrorPolicy,
}

/// A column of a record's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkKey {
    /// Its name in the key.
    pub name: String,
    /// Its index among the columns of the sink's input.
    pub column: usize,
}

/// What of an operator's rows becomes a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputMode {
    /// Every row is a record; rows are never taken back.
    Append,
    /// The last row of each key in an epoch replaces the one before it; a key without a row is a record without a
    /// value. For a compacted topic.
    Upsert,
    /// The last row of each key in an epoch is a record; a key that is gone is not mentioned.
    Update,
    /// Every change of a key in an epoch is a record with the row before and after it, in Debezium's manner.
    Retract,
    /// All rows of the table after every epoch that changed it, in partition 0: each a record whose headers
    /// `logmill.epoch`, `logmill.row` and `logmill.rows` say of which epoch the table is, the row's place in it from 0, and
    /// how many there are. An empty table is one record without key and value, of 0 rows.
    Complete,
}

impl OutputMode {
    /// The mode as the option `'output'` names it.
    pub fn name(self) -> &'static str {
        match self {
            OutputMode::Append => "append",
            OutputMode::Upsert => "upsert",
            OutputMode::Update => "changes",
            OutputMode::Retract => "retract",
            OutputMode::Complete => "complete",
        }
    }
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
