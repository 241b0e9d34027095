//! Rows into records: keys, values, and what becomes of rows that are taken back.

use std::collections::HashMap;

use logmill_record::Batch;

use super::errors::EpochError;
use super::output::OutputBatch;
use super::progress::Counters;
use super::sinks::{TopicWriter, codec};
use crate::format::{RecordEncoder, encode_key};
use crate::murmur2::partition_for_key;
use crate::plan::{OutputMode, Sink, SinkErrorPolicy};
use crate::rows::{Rows, row_text};
use crate::state::{Keys, encode_row};

/// Writes one sink's records of one epoch.
#[derive(Debug)]
pub(super) struct SinkWriter<'p> {
    sink: &'p Sink,
    partitions: i32,
    encoder: RecordEncoder,
    writer: TopicWriter,
    names: Vec<String>,
    value: Vec<u8>,
}

/// A row of an epoch: its chunk, and its place there.
type Place = (usize, usize);

/// What became of the rows of one key in an epoch.
#[derive(Debug, Default)]
struct Folded {
    /// Each distinct row with how often it was given more than taken back, and where it was last.
    rows: Vec<(Vec<u8>, i64, Place)>,
}

impl<'p> SinkWriter<'p> {
    pub(super) fn new(sink: &'p Sink, partitions: i32) -> Self {
        Self {
            partitions,
            encoder: RecordEncoder::new(&sink.format, &sink.columns)
                .expect("the pipeline was built with the same encoder"),
            writer: TopicWriter::new(&sink.topic, codec(sink.compression)),
            names: sink.key.iter().map(|key| key.name.clone()).collect(),
            value: Vec::new(),
            sink,
        }
    }

    /// Writes the epoch's rows; `origin` says where the row of an order came from, where it is a source's.
    pub(super) fn write(
        mut self,
        chunks: &[Rows],
        counters: &mut Counters,
        origin: impl Fn(u64) -> Option<String>,
    ) -> Result<Vec<OutputBatch>, EpochError> {
        match self.sink.mode {
            OutputMode::Append => {
                for rows in chunks {
                    debug_assert!(rows.marks.iter().all(|mark| !mark.back), "the planner saw to it");
                    for row in 0..rows.len() {
                        self.write_row(rows, row, counters, &origin)?;
                    }
                }
            }
            OutputMode::Upsert | OutputMode::Update | OutputMode::Retract => {
                self.write_changes(chunks, counters, &origin)?;
            }
        }
        Ok(self.writer.finish())
    }

    fn write_row(
        &mut self,
        rows: &Rows,
        row: usize,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<(), EpochError> {
        if self.check(rows, row, counters, origin)? {
            self.value.clear();
            let written = self.encoder.value(&rows.columns, row, &mut self.value);
            self.write_record(rows, row, written, counters, origin)?;
        }
        Ok(())
    }

    /// Writes the record of a row, whose value is in the buffer.
    fn write_record(
        &mut self,
        rows: &Rows,
        row: usize,
        value: Result<bool, String>,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<(), EpochError> {
        let mut key = Vec::new();
        let written = value.and_then(|value| Ok((value, self.encoder.key(&rows.columns, row, &mut key)?)));
        let (has_value, has_key) = match written {
            Ok(written) => written,
            Err(reason) => {
                let format = self.sink.format.to_string();
                return self.refuse(rows, row, format, reason, counters, origin);
            }
        };
        let key = if has_key { Some(key) } else { self.key(rows, row) };
        let partition = self.partition(key.as_deref(), rows, row);
        let timestamp = self.encoder.timestamp(&rows.columns, row).unwrap_or(rows.marks[row].timestamp);
        let headers = self.encoder.headers(&rows.columns, row);
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            headers.iter().map(|(name, value)| (*name, Some(value.as_slice()))).collect();
        let value = has_value.then_some(&*self.value);
        self.writer.push(partition, timestamp, key.as_deref(), value, &headers);
        counters.written += 1;
        Ok(())
    }

    fn key(&self, rows: &Rows, row: usize) -> Option<Vec<u8>> {
        let values: Vec<_> = self.sink.key.iter().map(|key| rows.columns[key.column].value(row)).collect();
        encode_key(&self.names, &values)
    }

    fn partition(&self, key: Option<&[u8]>, rows: &Rows, row: usize) -> i32 {
        match key {
            Some(key) => partition_for_key(key, self.partitions),
            None if self.sink.key.is_empty() => rows.marks[row].partition % self.partitions,
            None => 0,
        }
    }

    /// Folds the rows of each key, and writes what is left of them, in the order in which keys came first.
    fn write_changes(
        &mut self,
        chunks: &[Rows],
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<(), EpochError> {
        let key_columns: Vec<usize> = match self.sink.key.is_empty() {
            true => (0..self.sink.columns.len()).collect(),
            false => self.sink.key.iter().map(|key| key.column).collect(),
        };
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut folded: Vec<Folded> = Vec::new();
        for (chunk, rows) in chunks.iter().enumerate() {
            let keys = Keys::of(rows, &key_columns);
            for row in 0..rows.len() {
                let place = *places.entry(keys.get(row).to_vec()).or_insert_with(|| {
                    folded.push(Folded::default());
                    folded.len() - 1
                });
                folded[place].add(rows, row, self.sink.columns.len(), (chunk, row));
            }
        }
        for (before, after) in folded.iter().flat_map(|key| key.steps(self.sink.mode)) {
            let Some((chunk, row)) = after.or(before) else { continue };
            let rows = &chunks[chunk];
            if after.is_some() && !self.check(rows, row, counters, origin)? {
                continue;
            }
            self.value.clear();
            let written = match (self.sink.mode, after) {
                (OutputMode::Retract, _) => {
                    let place = |(chunk, row): Place| (&*chunks[chunk].columns, row);
                    let (before, after) = (before.map(place), after.map(place));
                    Ok(self.encoder.change(before, after, &mut self.value))
                }
                (_, Some(_)) => self.encoder.value(&rows.columns, row, &mut self.value),
                (OutputMode::Upsert, None) => Ok(false),
                (_, None) => continue,
            };
            self.write_record(rows, row, written, counters, origin)?;
        }
        Ok(())
    }

    /// Whether the row can be written: it has a value for every `NOT NULL` column.
    fn check(
        &self,
        rows: &Rows,
        row: usize,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<bool, EpochError> {
        let declared = self.sink.columns.iter().zip(&rows.columns);
        let Some((missing, _)) =
            declared.into_iter().find(|(declared, column)| declared.required && column.is_null(row))
        else {
            return Ok(true);
        };
        let reason = "it is NULL, but the column is NOT NULL".to_owned();
        self.refuse(rows, row, missing.name.clone(), reason, counters, origin)?;
        Ok(false)
    }

    /// Applies the sink's policy to a row.
    fn refuse(
        &self,
        rows: &Rows,
        row: usize,
        expression: String,
        reason: String,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<(), EpochError> {
        match self.sink.on_error {
            SinkErrorPolicy::Skip => {
                counters.unwritten += 1;
                Ok(())
            }
            SinkErrorPolicy::Fail => Err(EpochError::OutputRow {
                row: origin(rows.marks[row].order).unwrap_or_else(|| row_text(&rows.columns, row)),
                expression,
                reason,
            }),
        }
    }
}

impl Folded {
    fn add(&mut self, rows: &Rows, row: usize, columns: usize, place: Place) {
        let mut bytes = Vec::new();
        encode_row(rows, row, 0..columns, &mut bytes);
        let by = if rows.marks[row].back { -1 } else { 1 };
        match self.rows.iter_mut().find(|(known, _, _)| *known == bytes) {
            Some((_, count, last)) => {
                *count += by;
                *last = place;
            }
            None => self.rows.push((bytes, by, place)),
        }
    }

    /// What becomes of the key: rows that are gone with the rows in their place. Under a key that several rows share
    /// each of them counts where every change is written.
    fn steps(&self, mode: OutputMode) -> Vec<(Option<Place>, Option<Place>)> {
        if mode != OutputMode::Retract {
            return vec![self.ends()];
        }
        let times = |wanted: i64| {
            let of_sign = self.rows.iter().filter(move |(_, count, _)| count.signum() == wanted);
            of_sign.flat_map(|(_, count, place)| std::iter::repeat_n(*place, count.unsigned_abs() as usize))
        };
        let (mut gone, mut there) = (times(-1), times(1));
        let step = || match (gone.next(), there.next()) {
            (None, None) => None,
            step => Some(step),
        };
        std::iter::from_fn(step).collect()
    }

    /// The row that is gone, and the row that is there now.
    fn ends(&self) -> (Option<Place>, Option<Place>) {
        let before = self.rows.iter().find(|(_, count, _)| *count < 0).map(|(_, _, place)| *place);
        let after = self.rows.iter().rev().find(|(_, count, _)| *count > 0).map(|(_, _, place)| *place);
        (before, after)
    }
}

/// CRC-32 over batches, in order.
pub(super) fn digest<'b>(batches: impl Iterator<Item = &'b Batch>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    batches.for_each(|batch| hasher.update(batch.bytes()));
    hasher.finalize()
}
