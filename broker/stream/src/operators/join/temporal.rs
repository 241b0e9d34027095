//! Rows with the version a table had at their time.
//!
//! A row waits until the watermark has passed its time: no version of that time can come any more, so that what it
//! finds does not depend on how the two inputs interleave. Rows are given in the order of time, key and bytes. Of each
//! key the versions are kept that a row may still ask for: the newest that the watermark has passed, and all behind it.
//! A version that comes late is taken, for the rows that still wait, unless a newer one has been passed. A deletion is a
//! version too: while it is the newest that was passed it is kept for a day of event time, so that what comes late does not
//! bring back a row that was gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Due, EpochTime, Keyed, Operator, Output, Place, SortKeys, StateSize, timed_mark};
use super::joined::{JoinedRow, LEFT, RIGHT, caused};
use super::waiting::Waiting;
use crate::column::ColumnBuilder;
use crate::plan;
use crate::rows::{Mark, PIECE_BYTES, Rows};
use crate::state::{ChangelogSink, Keys, RowId, RowTable, decode_row_into, time_bytes, time_of};
use crate::value::DataType;

/// The table of rows that wait: ordered by time.
pub(crate) const WAITING: u8 = 0;
const VERSIONS: u8 = 1;

/// For how long a deletion is kept behind its time: as long as a compacted topic keeps records without a value.
const DELETION_LASTS_MS: i64 = 24 * 60 * 60 * 1000;

/// Behind the columns of a row that waits: the partition it came from.
const PARTITION_BYTES: usize = 4;

#[derive(Debug)]
pub(crate) struct TemporalJoin {
    row: JoinedRow,
    keeps_left: bool,
    /// The inputs' columns of time.
    times: [usize; 2],
    waiting: Waiting,
    /// By key, the time of each version: its columns, or that the row is gone.
    versions: RowTable<Option<Box<[u8]>>>,
    /// The keys of versions the watermark has not passed; derived from them.
    by_time: BTreeMap<i64, BTreeSet<Arc<[u8]>>>,
    /// The keys and times of deletions the watermark has passed, by when they go; derived from them.
    deletions: BTreeMap<i64, BTreeSet<Arc<[u8]>>>,
}

impl TemporalJoin {
    pub(crate) fn new(join: &plan::TemporalJoin, times: [usize; 2], inputs: [&[DataType]; 2]) -> Self {
        Self {
            row: JoinedRow::new(&join.left, &join.right, join.condition.as_ref(), inputs),
            keeps_left: join.keeps_left,
            times,
            waiting: Waiting::default(),
            versions: RowTable::default(),
            by_time: BTreeMap::new(),
            deletions: BTreeMap::new(),
        }
    }

    fn time(&self, side: usize, rows: &Rows, row: usize) -> Option<i64> {
        let times = rows.columns[self.times[side]].timestamp();
        arrow_array::Array::is_valid(times, row).then(|| times.value(row))
    }

    fn add_versions(&mut self, rows: &Rows, keys: &Keys, time: EpochTime, out: &mut Output) {
        let mut bytes = Vec::new();
        for row in 0..rows.len() {
            let Mark { back, timestamp, origin, .. } = rows.marks[row];
            // What is deleted has no columns to say when.
            let at = if back { Some(timestamp) } else { self.time(RIGHT, rows, row) };
            let Some(at) = at.filter(|_| self.row.has_key(RIGHT, rows, row)) else { continue };
            let key = keys.get(row);
            let passed = time.before.checked_add(1).map(time_bytes);
            let newest_passed =
                self.versions.range(key, &[], passed.as_ref().map(|passed| &passed[..])).next_back();
            if newest_passed.is_some_and(|(newest, _)| at < time_of(newest)) {
                out.late.push(origin);
                continue;
            }
            let version = (!back).then(|| {
                bytes.clear();
                self.row.encode(RIGHT, rows, row, &mut bytes);
                Box::from(&*bytes)
            });
            let key = match self.versions.get_mut(key, &time_bytes(at)) {
                Some(known) => {
                    *known = version;
                    key.into()
                }
                None => self.versions.insert(key, &time_bytes(at), version).key,
            };
            self.by_time.entry(at).or_default().insert(key);
        }
    }

    fn add_waiting(&mut self, rows: &Rows, keys: &Keys, time: EpochTime, out: &mut Output) {
        let mut given = self.row.given(out);
        let mut record_key = Vec::new();
        for row in 0..rows.len() {
            let mark = rows.marks[row];
            let at = self.time(LEFT, rows, row);
            // What is late is late whatever its key is.
            if at.is_some_and(|at| at < mark.watermark) {
                out.late.push(mark.origin);
                continue;
            }
            let Some(at) = at.filter(|_| self.row.has_key(LEFT, rows, row)) else {
                // It has no version, now or later.
                if self.keeps_left {
                    given.alone(row, caused(LEFT, mark, time.before), 1);
                }
                continue;
            };
            let key = keys.get(row);
            record_key.clear();
            record_key.extend_from_slice(key);
            self.row.encode(LEFT, rows, row, &mut record_key);
            record_key.extend_from_slice(&mark.partition.to_be_bytes());
            record_key.extend_from_slice(&(key.len() as u32).to_be_bytes());
            self.waiting.add(at.saturating_add(1), &record_key);
        }
        let chunk = self.row.columns(LEFT, rows);
        let stored: Vec<_> = self
            .row
            .types(RIGHT)
            .iter()
            .map(|data_type| ColumnBuilder::new(*data_type, 0).finish())
            .collect();
        self.row.give(LEFT, &chunk, &stored, given, out);
    }

    /// Lets go of versions that no row can ask for any more.
    fn drop_versions(&mut self, through: i64) {
        while let Some(passed) = self.by_time.first_entry().filter(|passed| *passed.key() <= through) {
            let (time, keys) = passed.remove_entry();
            for key in keys {
                let older: Vec<Arc<[u8]>> = self
                    .versions
                    .range(&key, &[], Some(&time_bytes(time)))
                    .map(|(row, _)| Arc::clone(row))
                    .collect();
                for version in older {
                    self.versions.remove(&key, &version);
                }
                if let Some(None) = self.versions.get(&key, &time_bytes(time)) {
                    self.deletions.entry(time.saturating_add(DELETION_LASTS_MS)).or_default().insert(key);
                }
            }
        }
        while let Some(over) = self.deletions.first_entry().filter(|over| *over.key() <= through) {
            let (end, keys) = over.remove_entry();
            let time = time_bytes(end.saturating_sub(DELETION_LASTS_MS));
            // It may be gone behind a newer version, or a row may have come in its place.
            for key in keys {
                if let Some(None) = self.versions.get(&key, &time) {
                    self.versions.remove(&key, &time);
                }
            }
        }
    }
}

impl Operator for TemporalJoin {
    fn process(&mut self, time: EpochTime, mut inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for Keyed { rows, keys } in inputs.remove(RIGHT) {
            self.add_versions(&rows, &keys, time, out);
        }
        for Keyed { rows, keys } in inputs.remove(LEFT) {
            self.add_waiting(&rows, &keys, time, out);
        }
    }

    fn due(&self, _from: &Place, watermark: i64) -> Due {
        self.waiting.due(watermark)
    }

    fn due_rows(&self, _from: &Place, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        self.waiting.due_rows(end, most)
    }

    fn advance(&mut self, time: EpochTime, _from: &Place, to: &Place, out: &mut Output) {
        let mut due = self.waiting.take_due(to).into_iter().peekable();
        while due.peek().is_some() && out.has_room() {
            let types = self.row.types(LEFT);
            let mut builders: Vec<ColumnBuilder> =
                types.iter().map(|data_type| ColumnBuilder::new(*data_type, 0)).collect();
            let mut candidates = self.row.candidates(RIGHT);
            let mut asking = Vec::new();
            let mut bytes = 0;
            while bytes < PIECE_BYTES
                && !candidates.is_full()
                && let Some((end, record_key, count)) = due.next()
            {
                let id = RowId::decode(&record_key).expect("the engine encoded it itself, or checked it");
                bytes += id.row.len();
                decode_row_into(&id.row[..id.row.len() - PARTITION_BYTES], types, &mut builders);
                let newest = self.versions.range(&id.key, &[], Some(&time_bytes(end))).next_back();
                if let Some((_, Some(version))) = newest {
                    candidates.push(asking.len(), version, count);
                }
                candidates.end_row();
                let partition = id.row.last_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
                asking.push((end, record_key, count, partition));
            }
            let chunk: Vec<_> = builders.iter_mut().map(ColumnBuilder::finish).collect();
            let found = self.row.find(LEFT, &chunk, candidates, time.now, out);
            let mut given = self.row.given(out);
            let mut sort = SortKeys::default();
            for (row, (end, record_key, count, partition)) in asking.into_iter().enumerate() {
                let mark = Mark { partition, ..timed_mark(end.saturating_sub(1), time) };
                match found.of_row(row).next() {
                    Some(pair) => given.pairs(row, pair, mark, count),
                    None if self.keeps_left => given.alone(row, mark, count),
                    None => continue,
                }
                let place = (end, &record_key[1..]);
                sort.extend(std::iter::repeat_n(place, given.len() - sort.len()));
            }
            self.row.give_timed(&chunk, &found.stored, given, &sort, out);
        }
        self.drop_versions(to.watermark);
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.waiting.drain_changes(WAITING, log);
        self.versions.drain_changes(VERSIONS, log, |version, out| match version {
            Some(row) => {
                out.push(1);
                out.extend_from_slice(row);
            }
            None => out.push(0),
        });
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        match table {
            WAITING => {
                let count = match value {
                    Some(bytes) => {
                        Some(u32::from_be_bytes(bytes.try_into().map_err(|_| "a damaged count".to_owned())?))
                    }
                    None => None,
                };
                let record_key = key.get(crate::state::TIME_BYTES..).ok_or("a row without its time")?;
                let id = RowId::decode(record_key)?;
                let columns =
                    id.row.split_last_chunk::<PARTITION_BYTES>().ok_or("a row without its partition")?;
                self.row.check(LEFT, columns.0)?;
                self.waiting.restore(key, count)
            }
            VERSIONS => {
                let version = match value {
                    None => None,
                    Some([0]) => Some(None),
                    Some([1, row @ ..]) => {
                        self.row.check(RIGHT, row)?;
                        Some(Some(row.into()))
                    }
                    Some(_) => return Err("a damaged version".to_owned()),
                };
                let there = version.is_some();
                let id = RowId::decode(key)?;
                if id.row.len() != crate::state::TIME_BYTES {
                    return Err("a version without its time".to_owned());
                }
                let id = self.versions.restore(key, version)?;
                let time = time_of(&id.row);
                if there {
                    self.by_time.entry(time).or_default().insert(id.key);
                } else if let Some(keys) = self.by_time.get_mut(&time) {
                    keys.remove(&id.key);
                    if keys.is_empty() {
                        self.by_time.remove(&time);
                    }
                }
                Ok(())
            }
            _ => Err(format!("there is no table {table}")),
        }
    }

    fn size(&self) -> StateSize {
        StateSize { entries: (self.waiting.len() + self.versions.len()) as u64, sessions: 0 }
    }
}
