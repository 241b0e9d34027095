//! Rows into records: keys, values, and what becomes of rows that are taken back.

use logmill_record::Batch;

use super::errors::EpochError;
use super::output::OutputBatch;
use super::progress::Counters;
use super::sinks::{TopicWriter, codec};
use crate::format::{RecordEncoder, encode_key};
use crate::murmur2::partition_for_key;
use crate::plan::{OutputMode, Sink, SinkErrorPolicy};
use crate::rows::{Rows, row_text};
use crate::state::{HashMap, KeyGroups, Keys, encode_row};

/// Writes one sink's records of one epoch.
#[derive(Debug)]
pub(super) struct SinkWriter<'p> {
    pub(super) sink: &'p Sink,
    partitions: i32,
    pub(super) encoder: RecordEncoder,
    pub(super) writer: TopicWriter,
    names: Vec<String>,
    value: Vec<u8>,
    /// What each record says beside its row.
    pub(super) own_headers: Vec<(&'static str, Vec<u8>)>,
}

/// A row of an epoch: its chunk, and its place there.
type Place = (usize, usize);

/// What became of the rows of one key in an epoch: each distinct row once.
#[derive(Debug, Default)]
struct Folded {
    rows: Vec<FoldedRow>,
    /// Where the row of these bytes is; only of a key that has many.
    places: HashMap<Vec<u8>, usize>,
}

/// So many rows of a key are looked through one by one.
const FEW: usize = 8;

#[derive(Debug)]
struct FoldedRow {
    bytes: Vec<u8>,
    /// How often it was given more than taken back.
    count: i64,
    /// Where it was given last, or taken back if it is gone.
    place: Place,
}

/// What is left of the rows of one key: rows that are gone, and rows that are there, as often as they are. None of
/// them lacks a value that its column must have.
#[derive(Debug, Default)]
struct Left {
    gone: Vec<Place>,
    there: Vec<Place>,
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
            own_headers: Vec::new(),
            sink,
        }
    }

    /// Writes the rows of an epoch of this number; `origin` says where a row came from that is a source's.
    pub(super) fn write(
        mut self,
        chunks: &[Rows],
        epoch: u64,
        counters: &mut Counters,
        origin: impl Fn(u64) -> Option<String>,
    ) -> Result<Vec<OutputBatch>, EpochError> {
        match self.sink.mode {
            OutputMode::Append => {
                for rows in chunks {
                    debug_assert!(rows.marks.iter().all(|mark| !mark.back), "the planner saw to it");
                    for row in 0..rows.len() {
                        if self.check(rows, row, counters, &origin)? {
                            self.write_row(rows, row, counters, &origin)?;
                        }
                    }
                }
            }
            OutputMode::Upsert | OutputMode::Update | OutputMode::Retract => {
                self.write_changes(chunks, counters, &origin)?;
            }
            OutputMode::Complete => self.write_table(chunks, epoch, counters, &origin)?,
        }
        Ok(self.writer.finish())
    }

    pub(super) fn write_row(
        &mut self,
        rows: &Rows,
        row: usize,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<bool, EpochError> {
        self.value.clear();
        let written = self.encoder.value(&rows.columns, row, &mut self.value);
        self.write_record(rows, row, written, counters, origin)
    }

    /// Writes the record of a row, whose value is in the buffer. Whether it could be written.
    fn write_record(
        &mut self,
        rows: &Rows,
        row: usize,
        value: Result<bool, String>,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<bool, EpochError> {
        let mut key = Vec::new();
        let written = value.and_then(|value| Ok((value, self.encoder.key(&rows.columns, row, &mut key)?)));
        let (has_value, has_key) = match written {
            Ok(written) => written,
            Err(reason) => {
                let format = self.sink.format.to_string();
                return self.refuse(rows, row, format, reason, counters, origin).map(|()| false);
            }
        };
        let key = if has_key { Some(key) } else { self.key(rows, row) };
        let partition = self.partition(key.as_deref(), rows, row);
        let timestamp = self.encoder.timestamp(&rows.columns, row).unwrap_or(rows.marks[row].timestamp);
        let headers = self.encoder.headers(&rows.columns, row);
        let own = self.own_headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_slice())));
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            headers.iter().map(|(name, value)| (*name, Some(value.as_slice()))).chain(own).collect();
        let value = has_value.then_some(&*self.value);
        self.writer.push(partition, timestamp, key.as_deref(), value, &headers);
        counters.written += 1;
        Ok(true)
    }

    fn key(&self, rows: &Rows, row: usize) -> Option<Vec<u8>> {
        let values: Vec<_> = self.sink.key.iter().map(|key| rows.columns[key.column].value(row)).collect();
        encode_key(&self.names, &values)
    }

    fn partition(&self, key: Option<&[u8]>, rows: &Rows, row: usize) -> i32 {
        match key {
            _ if self.sink.mode == OutputMode::Complete => 0,
            Some(key) => partition_for_key(key, self.partitions),
            None if !self.sink.key.is_empty() => 0,
            // A row and what takes it back may be caused by records of different partitions.
            None if self.sink.mode == OutputMode::Retract => {
                let mut bytes = Vec::new();
                encode_row(rows, row, 0..self.sink.columns.len(), &mut bytes);
                partition_for_key(&bytes, self.partitions)
            }
            None => rows.marks[row].partition % self.partitions,
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
            // They tell rows apart, and are no state's.
            let keys = Keys::of(rows, &key_columns, KeyGroups::DEFAULT);
            for row in 0..rows.len() {
                let place = *places.entry(keys.get(row).to_vec()).or_insert_with(|| {
                    folded.push(Folded::default());
                    folded.len() - 1
                });
                folded[place].add(rows, row, self.sink.columns.len(), (chunk, row));
            }
        }
        for key in folded {
            let left = self.left(key, chunks, counters, origin)?;
            match self.sink.mode {
                OutputMode::Retract => self.write_steps(&left, chunks, counters, origin)?,
                _ => self.write_last(left, chunks, counters, origin)?,
            }
        }
        Ok(())
    }

    /// What is left of the rows of a key. A row that lacks a value is refused when it is there; when it goes it was
    /// never written.
    fn left(
        &self,
        key: Folded,
        chunks: &[Rows],
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<Left, EpochError> {
        let mut left = Left::default();
        for FoldedRow { count, place, .. } in key.rows {
            let (rows, row) = (&chunks[place.0], place.1);
            for _ in 0..count {
                if self.check(rows, row, counters, origin)? {
                    left.there.push(place);
                }
            }
            if count < 0 && self.missing(rows, row).is_none() {
                left.gone.extend(std::iter::repeat_n(place, count.unsigned_abs() as usize));
            }
        }
        Ok(left)
    }

    /// Writes every change of a key: rows that are gone with the rows in their place. Under a key that several rows
    /// share each of them counts.
    fn write_steps(
        &mut self,
        left: &Left,
        chunks: &[Rows],
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<(), EpochError> {
        for step in 0..left.gone.len().max(left.there.len()) {
            let (before, after) = (left.gone.get(step), left.there.get(step));
            let Some((chunk, row)) = after.or(before).copied() else { continue };
            let place = |(chunk, row): &Place| (&*chunks[*chunk].columns, *row);
            self.value.clear();
            let written = self.encoder.change(before.map(place), after.map(place), &mut self.value);
            self.write_record(&chunks[chunk], row, Ok(written), counters, origin)?;
        }
        Ok(())
    }

    /// Writes the row of a key that came last of those that can be written, or that there is none any more. A format that has a
    /// word for it says what the row replaces, as far as the row before was taken back, and which row is gone.
    fn write_last(
        &mut self,
        mut left: Left,
        chunks: &[Rows],
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<(), EpochError> {
        left.there.sort_unstable();
        let gone = left.gone.into_iter().max();
        let place = |(chunk, row): Place| (&*chunks[chunk].columns, row);
        for (chunk, row) in left.there.into_iter().rev() {
            self.value.clear();
            let written =
                match self.encoder.change(gone.map(place), Some(place((chunk, row))), &mut self.value) {
                    true => Ok(true),
                    false => self.encoder.value(&chunks[chunk].columns, row, &mut self.value),
                };
            if self.write_record(&chunks[chunk], row, written, counters, origin)? {
                return Ok(());
            }
        }
        let Some((chunk, row)) = gone.filter(|_| self.sink.mode == OutputMode::Upsert) else { return Ok(()) };
        self.value.clear();
        if self.encoder.change(Some(place((chunk, row))), None, &mut self.value) {
            self.write_record(&chunks[chunk], row, Ok(true), counters, origin)?;
        }
        // Behind what says which row is gone, too: it is this that lets a compacted topic forget the key.
        self.write_record(&chunks[chunk], row, Ok(false), counters, origin).map(drop)
    }

    /// A column for which the row has no value and must have one, and why.
    fn missing(&self, rows: &Rows, row: usize) -> Option<(&str, &'static str)> {
        let mut declared = self.sink.columns.iter().zip(&rows.columns);
        let missing = declared.find(|(declared, column)| declared.required && column.is_null(row));
        let missing =
            missing.map(|(declared, _)| (&*declared.name, "it is NULL, but the column is NOT NULL"));
        missing.or_else(|| match self.sink.key.as_slice() {
            [only] if self.sink.mode == OutputMode::Upsert && rows.columns[only.column].is_null(row) => {
                Some((&*only.name, "it is NULL, and a record that replaces another has it for its key"))
            }
            _ => None,
        })
    }

    /// Whether the row can be written: it has a value wherever it must have one.
    pub(super) fn check(
        &self,
        rows: &Rows,
        row: usize,
        counters: &mut Counters,
        origin: &impl Fn(u64) -> Option<String>,
    ) -> Result<bool, EpochError> {
        let Some((missing, reason)) = self.missing(rows, row) else { return Ok(true) };
        self.refuse(rows, row, missing.to_owned(), reason.to_owned(), counters, origin)?;
        Ok(false)
    }

    /// Applies the sink's policy to a row.
    pub(super) fn refuse(
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
                row: origin(rows.marks[row].origin).unwrap_or_else(|| row_text(&rows.columns, row)),
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
        match self.position(&bytes) {
            Some(at) => {
                let known = &mut self.rows[at];
                known.count += by;
                if by > 0 || known.count < 0 {
                    known.place = place;
                }
            }
            None => {
                if !self.places.is_empty() {
                    self.places.insert(bytes.clone(), self.rows.len());
                }
                self.rows.push(FoldedRow { bytes, count: by, place });
            }
        }
    }

    fn position(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.rows.len() < FEW {
            return self.rows.iter().position(|known| known.bytes == bytes);
        }
        if self.places.is_empty() {
            let known = self.rows.iter().enumerate();
            self.places = known.map(|(at, known)| (known.bytes.clone(), at)).collect();
        }
        self.places.get(bytes).copied()
    }
}

/// CRC-32 over batches, in order.
pub(super) fn digest<'b>(batches: impl Iterator<Item = &'b Batch>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    batches.for_each(|batch| hasher.update(batch.bytes()));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Mark, RowsBuilder};
    use crate::value::{DataType, Value};

    /// Each of many rows is given twice, then every third is taken back twice: of a key with few rows and with many.
    #[test]
    fn each_row_of_a_key_is_counted_once_however_many_it_has() {
        for count in [3, FEW as i64, FEW as i64 + 1, 2_000] {
            let mut builder = RowsBuilder::new(&[DataType::BigInt]);
            let mut push = |number: i64, back: bool| {
                let mark = Mark { order: 0, origin: 0, timestamp: 0, watermark: 0, partition: 0, back };
                builder.push(mark, [&Value::BigInt(number)]);
            };
            (0..2).for_each(|_| (0..count).for_each(|number| push(number, false)));
            (0..2).for_each(|_| (0..count).step_by(3).for_each(|number| push(number, true)));
            let rows = builder.finish();
            let mut folded = Folded::default();
            (0..rows.len()).for_each(|row| folded.add(&rows, row, 1, (0, row)));
            let counts: Vec<(i64, usize)> = folded.rows.iter().map(|row| (row.count, row.place.1)).collect();
            let expected = |number: i64| if number % 3 == 0 { 0 } else { 2 };
            let given_last = (0..count).map(|number| (expected(number), (count + number) as usize));
            assert_eq!(counts, given_last.collect::<Vec<_>>());
        }
    }
}
