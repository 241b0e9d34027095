//! A whole table: all of its rows again after every epoch that changed them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{EpochTime, Keyed, Operator, OperatorFault, Output, StateSize};
use crate::plan;
use crate::rows::{Mark, NO_ORIGIN, RowsBuilder};
use crate::state::{ChangelogSink, Table, decode_row, decode_row_into, encode_key_part, encode_row};
use crate::value::DataType;

/// The table of rows.
const ROWS: u8 = 0;
/// A table with more rows is not written as a whole.
const MOST_ROWS: u64 = 100_000;
/// Of a row's bytes those in front say how often it is there.
const COUNT_BYTES: usize = 8;

/// Keeps the rows in the order in which they are given: of the key, then of all columns.
#[derive(Debug)]
pub(crate) struct Collect {
    order: Vec<usize>,
    types: Vec<DataType>,
    rows: Table<Row>,
    /// The keys of the rows that are there; derived.
    sorted: BTreeSet<Arc<[u8]>>,
    /// How many rows there are; derived.
    count: u64,
}

#[derive(Debug, Default)]
struct Row {
    /// How often it was given more than taken back. Below nothing until the one that is missing comes.
    count: i64,
    bytes: Box<[u8]>,
}

impl Collect {
    pub(crate) fn new(collect: &plan::Collect, row: &[DataType]) -> Self {
        let order = collect.order.iter().copied().chain(0..row.len()).collect();
        Self { order, types: row.to_vec(), rows: Table::default(), sorted: BTreeSet::new(), count: 0 }
    }

    fn add(&mut self, key: &[u8], by: i64, bytes: impl FnOnce() -> Box<[u8]>) {
        let row = self.rows.entry(key, || Row { count: 0, bytes: bytes() });
        let before = row.count;
        row.count += by;
        let after = row.count;
        self.place(key, before, after);
        if after == 0 {
            self.rows.remove(key);
        }
    }

    /// A row is there so often now.
    fn place(&mut self, key: &[u8], before: i64, after: i64) {
        let positive = |count: i64| u64::try_from(count).unwrap_or(0);
        self.count = self.count - positive(before) + positive(after);
        match after > 0 {
            true if before <= 0 => _ = self.sorted.insert(key.into()),
            false if before > 0 => _ = self.sorted.remove(key),
            _ => {}
        }
    }

    fn count_of(&self, key: &[u8]) -> i64 {
        self.rows.get(key).map_or(0, |row| row.count.max(0))
    }
}

impl Operator for Collect {
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        let mut before: HashMap<Vec<u8>, i64> = HashMap::new();
        let mut last: Option<(Mark, Box<[u8]>)> = None;
        for Keyed { rows, keys } in inputs.into_iter().flatten() {
            for row in 0..rows.len() {
                let mut key = keys.get(row).to_vec();
                self.order.iter().for_each(|column| encode_key_part(&rows.columns[*column], row, &mut key));
                let mut bytes = Vec::new();
                encode_row(&rows, row, 0..self.types.len(), &mut bytes);
                let bytes: Box<[u8]> = bytes.into();
                let by = if rows.marks[row].back { -1 } else { 1 };
                let count = self.count_of(&key);
                before.entry(key.clone()).or_insert(count);
                self.add(&key, by, || bytes.clone());
                last = Some((rows.marks[row], bytes));
            }
        }
        let Some((mark, gone)) = last else { return };
        if before.iter().all(|(key, count)| self.count_of(key) == *count) {
            return;
        }
        if self.count > MOST_ROWS {
            out.faults.push(OperatorFault {
                row: "the whole table".to_owned(),
                expression: "'output' = 'complete'".to_owned(),
                reason: format!(
                    "it has {} rows, and {MOST_ROWS} are the most that are written after each epoch",
                    self.count
                ),
            });
            return;
        }
        let mark = Mark { origin: NO_ORIGIN, timestamp: time.now, partition: 0, back: false, ..mark };
        let mut given = RowsBuilder::new(&self.types);
        for key in &self.sorted {
            let row = self.rows.get(key).expect("it is sorted in when it is there");
            for _ in 0..row.count {
                given.push_with(mark, |builders| decode_row_into(&row.bytes, &self.types, builders));
            }
        }
        if given.is_empty() {
            // A table without rows is one that goes.
            given.push_with(Mark { back: true, ..mark }, |builders| {
                decode_row_into(&gone, &self.types, builders)
            });
        }
        out.push(given.finish());
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.rows.drain_changes(ROWS, log, |row, out| {
            out.extend_from_slice(&row.count.to_be_bytes());
            out.extend_from_slice(&row.bytes);
        });
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if table != ROWS {
            return Err(format!("there is no table {table}"));
        }
        let before = self.count_of(key);
        let row = match value {
            None => None,
            Some(value) => {
                let (count, bytes) = value.split_first_chunk::<COUNT_BYTES>().ok_or("a damaged count")?;
                decode_row(bytes, &self.types).ok_or("a damaged row")?;
                Some(Row { count: i64::from_be_bytes(*count), bytes: bytes.into() })
            }
        };
        let after = row.as_ref().map_or(0, |row| row.count);
        self.rows.restore(key, row);
        self.place(key, before, after);
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.rows.len() as u64, sessions: 0 }
    }
}
