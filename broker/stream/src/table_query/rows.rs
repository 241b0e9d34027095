//! The rows of a table that a query reads.

use std::borrow::Cow;
use std::collections::BTreeMap;

use logmill_record::{Batch, BatchError};

use super::keys::KeyLookUp;
use super::{QueryError, TableQuery};
use crate::format::created;
use crate::pipeline::TopicPartition;
use crate::plan::{Format, OutputMode, Sink};
use crate::trial::TrialRecord;

/// A batch decompresses to at most this much.
const DECOMPRESSED_BATCH_BYTES: usize = 256 * 1024 * 1024;

/// The rows of a table's topic that a query reads, within a bound of memory.
#[derive(Debug)]
pub struct TableRows {
    /// Whether a record replaces the one before it of its key.
    keyed: bool,
    all: Vec<(RecordAt, TrialRecord)>,
    by_key: BTreeMap<(i32, Vec<u8>), (RecordAt, TrialRecord)>,
    bytes: usize,
    max_bytes: usize,
}

/// Where a record is in the table's topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordAt {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl RecordAt {
    /// Of a record that cannot be read as a row.
    pub(super) fn no_row(self, query: &TableQuery, reason: String) -> QueryError {
        let Sink { table, topic, mode, .. } = &query.table.sink;
        let RecordAt { partition, offset } = self;
        let help = match mode {
            // Its topic is compacted, and nothing is deleted there by offset.
            OutputMode::Upsert => "let the pipeline write a new topic".to_owned(),
            _ => format!(
                "delete it with all before it (`logmill topic trim {topic} --partition {partition} --before {}`), or let the \
                 pipeline write a new topic",
                offset + 1
            ),
        };
        QueryError::NoRow {
            table: table.clone(),
            partition: TopicPartition::new(topic, partition),
            offset,
            reason,
            help,
        }
    }
}

impl TableRows {
    pub(super) fn new(query: &TableQuery, max_bytes: usize) -> TableRows {
        TableRows {
            keyed: query.table.sink.mode == OutputMode::Upsert,
            all: Vec::new(),
            by_key: BTreeMap::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// How many bytes they may take.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The records, and where each is in the topic.
    pub(super) fn into_records(self) -> (Vec<RecordAt>, Vec<TrialRecord>) {
        self.all.into_iter().chain(self.by_key.into_values()).unzip()
    }

    /// Takes the records of a batch that lie before an offset; of a query that looks keys up those of these keys alone.
    ///
    /// # Errors
    /// [`QueryError::TooManyRows`], [`QueryError::Damaged`] and [`QueryError::NoRow`].
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
        let sink = &query.table.sink;
        if batch.header().is_control() {
            return Ok(());
        }
        let damaged = |error: BatchError| QueryError::Damaged {
            table: sink.table.clone(),
            partition: TopicPartition::new(&sink.topic, partition),
            offset: batch.header().base_offset,
            reason: error.to_string(),
        };
        let open = batch.open(DECOMPRESSED_BATCH_BYTES).map_err(damaged)?;
        for view in open.records() {
            let view = view.map_err(damaged)?;
            if view.offset >= end {
                break;
            }
            let matters = |look_up: &KeyLookUp| view.key.is_some_and(|key| look_up.has(key));
            if view.offset < from || !query.look_up().is_none_or(matters) {
                continue;
            }
            let at = RecordAt { partition, offset: view.offset };
            let key = view.key.map(<[u8]>::to_vec);
            // A change is the row that it leaves: which one was there before it is in the record before.
            let value = match (view.value, self.keyed && is_change(query)) {
                (Some(change), true) => {
                    created(change).map_err(|reason| at.no_row(query, reason))?.map(Cow::Owned)
                }
                (value, _) => value.map(Cow::Borrowed),
            };
            let Some(value) = value else {
                if let (true, Some(key)) = (self.keyed, key)
                    && let Some((_, gone)) = self.by_key.remove(&(partition, key))
                {
                    self.bytes -= size(&gone);
                }
                continue;
            };
            let header = |header: Result<(&[u8], Option<&[u8]>), BatchError>| {
                let (name, value) = header.map_err(damaged)?;
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
                    if let Some((_, before)) = self.by_key.insert((partition, key), (at, record)) {
                        self.bytes -= size(&before);
                    }
                }
                _ => self.all.push((at, record)),
            }
            if self.bytes > self.max_bytes {
                return Err(QueryError::TooManyRows { table: sink.table.clone(), max_bytes: self.max_bytes });
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
