//! A topic read as a table.

use serde::{Deserialize, Serialize};

use super::{Column, Expression, Format, RecordFormat, Shed};

/// A topic read as a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The table's name in the script.
    pub table: String,
    /// The topic it reads.
    pub topic: String,
    /// How its records are read.
    pub format: RecordFormat,
    /// The columns that are read, in the table's order; the decoder makes only these.
    pub columns: Vec<Column>,
    /// How many columns the table declares of the record's key. Those that nothing reads are not among the columns.
    #[serde(default)]
    pub key_fields: usize,
    /// The columns that are computed from those before them. They come behind the columns that are read.
    pub computed: Vec<Computed>,
    /// The event time, if the table declares a watermark.
    pub event_time: Option<EventTime>,
    /// The columns of the primary key, when a record replaces the one before it of the same key and a record without
    /// a value deletes it (a compacted topic).
    pub upsert_key: Vec<usize>,
    /// What happens to a record that cannot be decoded or computed.
    pub on_error: ErrorPolicy,
    /// Where records go whose windows are closed already; `None` only counts them.
    pub late_topic: Option<String>,
    /// A partition that was read to its end for so long, in milliseconds, holds the watermark back no more until it
    /// has a record again. `None`: it always does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<i64>,
    /// By how many milliseconds a partition may be ahead of the slowest in event time while there is more to read in that
    /// one; `None`: by any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ahead_ms: Option<i64>,
    /// What it leaves out when the pipeline is behind; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shed: Option<Shed>,
}

impl Source {
    /// Whether its records also take rows back that others have given. Where it has a key, they replace rows instead.
    pub fn changes(&self) -> bool {
        matches!(self.format.value, Format::Debezium(_)) && self.upsert_key.is_empty()
    }

    /// The topics that take records of it which did not become rows: dead letters, late records and what is shed.
    pub fn side_topics(&self) -> impl Iterator<Item = &str> {
        let dead = match &self.on_error {
            ErrorPolicy::DeadLetter { topic } => Some(topic.as_str()),
            ErrorPolicy::Fail | ErrorPolicy::Skip => None,
        };
        let shed = self.shed.as_ref().and_then(|shed| shed.topic.as_deref());
        dead.into_iter().chain(self.late_topic.as_deref()).chain(shed)
    }

    /// The names and types of a row: what is read, then what is computed.
    pub fn row(&self) -> Vec<Column> {
        let computed = self
            .computed
            .iter()
            .map(|computed| Column::of_value(&computed.name, computed.expression.data_type()));
        self.columns.iter().cloned().chain(computed).collect()
    }
}

/// A column of a source that is computed: `name AS expression`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Computed {
    /// Its name.
    pub name: String,
    /// Its value, over the columns before it.
    pub expression: Expression,
}

/// Event time with bounded disorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTime {
    /// The index of the `TIMESTAMP` column among [`Source::columns`] and [`Source::computed`].
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
