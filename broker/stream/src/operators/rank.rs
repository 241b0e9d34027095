//! The first rows of each partition in an order: `ROW_NUMBER() ... <= n`.
//!
//! ```text
//! window     rows ─► partition ─► its window closes ─► the first n, once
//! first      rows ─► the earliest of the partition ─► the watermark passes it ─► given once; later rows are duplicates
//! arrival    rows ─► the first of the partition that comes ─► given at once; later rows are duplicates
//! changes    rows ─► partition ─► what the epoch changed among its first n ─► taken back, and given
//! ```
//!
//! Rows beyond the limit are kept only where rows may be taken back, so that one of them may move up.

mod beyond;
mod spilling;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use self::beyond::{beyond, is_beyond};
use super::ordered::{OrderedRows, Partition, difference, order_of};
use super::schedule::Schedule;
use super::spilling::Spilling;
use super::time_to_live::TimeToLive;
use super::{
    Due, EpochTime, Keyed, Operator, Output, Place, SortKeys, StateSize, timed_mark, window_timestamp,
};
use crate::plan::{self, RankFunction, RankMode};
use crate::rows::{Mark, Rows, RowsBuilder};
use crate::state::{ChangelogSink, Table, decode_row, decode_row_into};
use crate::value::{DataType, Value};

/// The table of rows.
const ROWS: u8 = 0;
/// The table of partitions whose first row is given.
const GIVEN: u8 = 1;
/// The table of when partitions were touched.
const TOUCHED: u8 = 2;

/// A row with its number.
type Ranked = (u64, Arc<[u8]>);

#[derive(Debug)]
pub(crate) struct Rank {
    rank: plan::Rank,
    input_types: Vec<DataType>,
    /// Whether rows may be taken back.
    input_changes: bool,
    rows: OrderedRows,
    given: Table<()>,
    touched: TimeToLive,
    /// The partitions that have rows due at an end, with how many; derived.
    due: Schedule,
    /// How many partitions with rows are not here, where time makes rows due.
    away: usize,
    /// The partition of the row that was shown last.
    shown: Option<Arc<[u8]>>,
}

/// A partition that the epoch has changed.
struct Changed {
    key: Arc<[u8]>,
    /// The row that caused the last change.
    mark: Mark,
    before: Vec<Ranked>,
}

impl Rank {
    pub(crate) fn new(rank: &plan::Rank, input: &[DataType], input_changes: bool) -> Self {
        let bound = match rank.mode {
            RankMode::Window { .. } => None,
            RankMode::First { bound, .. } | RankMode::Arrival { bound } | RankMode::Changes { bound } => {
                Some(bound)
            }
        };
        let rows = OrderedRows::new(&rank.partition, &rank.order, input);
        let rows = match rank.function {
            RankFunction::DenseRank if !input_changes => rows.counting_places(),
            _ => rows,
        };
        Self {
            rank: rank.clone(),
            input_types: input.to_vec(),
            input_changes,
            rows,
            given: Table::default(),
            touched: TimeToLive::new(bound),
            due: Schedule::giving(match rank.function {
                RankFunction::RowNumber => u32::try_from(rank.limit).unwrap_or(u32::MAX),
                // Equal rows may be more.
                RankFunction::Rank | RankFunction::DenseRank => u32::MAX,
            }),
            away: 0,
            shown: None,
        }
    }

    /// The partition's first rows with their numbers.
    fn ranked(&self, key: &[u8]) -> Vec<Ranked> {
        let Some(partition) = self.rows.get(key) else { return Vec::new() };
        numbered(self.rank.function, partition)
            .take_while(|(number, _)| *number <= self.rank.limit)
            .map(|(number, sort)| (number, Arc::clone(&partition[sort].row)))
            .collect()
    }

    /// Whether a row would be numbered beyond the limit, and never be missed.
    fn is_beyond(&self, key: &[u8], sort: &[u8]) -> bool {
        let is_beyond =
            |rows| is_beyond(self.rank.function, self.rank.limit, rows, self.rows.places(key), sort);
        !self.input_changes && self.rows.get(key).is_some_and(is_beyond)
    }

    /// Adds a row or takes it back, and lets go of rows that no number within the limit can reach. Where time makes them due,
    /// they are at an end.
    fn apply(&mut self, key: &Arc<[u8]>, sort: Vec<u8>, row: &[u8], back: bool, end: Option<i64>) {
        if back {
            if self.rows.take_back(key, &sort, row) {
                end.into_iter().for_each(|end| self.due.subtract(end, key));
            }
            return;
        }
        self.rows.push(key, sort, row);
        end.into_iter().for_each(|end| self.due.add(end, key));
        if self.input_changes {
            return;
        }
        while let Some(partition) = self.rows.get(key)
            && let gone = beyond(self.rank.function, self.rank.limit, partition, self.rows.places(key))
            && !gone.is_empty()
        {
            for gone in gone {
                self.rows.remove(key, &gone);
                end.into_iter().for_each(|end| self.due.subtract(end, key));
            }
        }
    }

    fn process_changes(&mut self, time: EpochTime, inputs: Vec<Keyed>, out: &mut Output) {
        self.forget(time);
        self.forget_met(time, &inputs);
        let mut changed: Vec<Changed> = Vec::new();
        let mut places: HashMap<Arc<[u8]>, usize> = HashMap::new();
        for Keyed { rows, keys } in inputs {
            for row in 0..rows.len() {
                let mark = rows.marks[row];
                let sort = self.rows.sort_key(&rows, row);
                self.touched.touch(keys.get(row), time.now);
                if !mark.back && self.is_beyond(keys.get(row), &sort) {
                    continue;
                }
                let key = match places.get(keys.get(row)) {
                    Some(place) => {
                        changed[*place].mark = mark;
                        Arc::clone(&changed[*place].key)
                    }
                    None => {
                        let key: Arc<[u8]> = keys.get(row).into();
                        places.insert(Arc::clone(&key), changed.len());
                        let before = self.ranked(&key);
                        changed.push(Changed { key: Arc::clone(&key), mark, before });
                        key
                    }
                };
                self.apply(&key, sort, &OrderedRows::encode(&rows, row), mark.back, None);
            }
        }
        // However many shards there are, partitions come in the order of what changed them last.
        changed.sort_by_key(|changed| changed.mark.order);
        let mut given = RowsBuilder::new(&self.row_types());
        for Changed { key, mark, before } in changed {
            let after = self.ranked(&key);
            if self.rows.get(&key).is_none() {
                self.touched.remove(&key);
            }
            match self.rank.numbered {
                true => {
                    let (gone, added) = difference(&before, &after);
                    gone.iter().for_each(|row| self.push(&mut given, Mark { back: true, ..mark }, row));
                    added.iter().for_each(|row| self.push(&mut given, Mark { back: false, ..mark }, row));
                }
                false => {
                    let rows =
                        |ranked: Vec<Ranked>| ranked.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
                    let (before, after) = (rows(before), rows(after));
                    let (gone, added) = difference(&before, &after);
                    let mut push = |row: &Arc<[u8]>, back| {
                        self.push(&mut given, Mark { back, ..mark }, &(0, Arc::clone(row)));
                    };
                    gone.into_iter().for_each(|row| push(row, true));
                    added.into_iter().for_each(|row| push(row, false));
                }
            }
        }
        out.push(given.finish());
    }

    fn process_window(&mut self, end: usize, inputs: Vec<Keyed>, out: &mut Output) {
        for Keyed { rows, keys } in inputs {
            for row in 0..rows.len() {
                let Some(end) = instant(&rows, end, row) else { continue };
                let mark = rows.marks[row];
                if end <= mark.watermark {
                    out.late.push(mark.origin);
                    continue;
                }
                let sort = self.rows.sort_key(&rows, row);
                if !mark.back && self.is_beyond(keys.get(row), &sort) {
                    continue;
                }
                let key: Arc<[u8]> = keys.get(row).into();
                self.apply(&key, sort, &OrderedRows::encode(&rows, row), mark.back, Some(end));
            }
        }
    }

    fn process_first(&mut self, time_column: usize, time: EpochTime, inputs: Vec<Keyed>, out: &mut Output) {
        self.forget(time);
        self.forget_met(time, &inputs);
        for Keyed { rows, keys } in inputs {
            let mut at_once = Vec::new();
            for row in 0..rows.len() {
                let key = keys.get(row);
                let Some(instant) = instant(&rows, time_column, row) else { continue };
                if self.given.get(key).is_some() {
                    continue;
                }
                let mark = rows.marks[row];
                let key: Arc<[u8]> = key.into();
                let sort = self.rows.sort_key(&rows, row);
                let known = self.rows.get(&key).and_then(|rows| rows.last_key_value()).map(|(sort, _)| sort);
                match known {
                    // The watermark has passed it: it is the first, even if it is not given yet.
                    Some(known) if self.instant_of(&key, known) < mark.watermark => continue,
                    Some(known) if order_of(known) <= sort.as_slice() => continue,
                    Some(known) => {
                        let known = Arc::clone(known);
                        let before = self.instant_of(&key, &known);
                        self.rows.remove(&key, &known);
                        self.due.subtract(before.saturating_add(1), &key);
                    }
                    None => {}
                }
                if instant < mark.watermark {
                    self.given.entry(&key, || ());
                    self.touched.touch(&key, time.now);
                    at_once.push(row as u32);
                    continue;
                }
                self.rows.push(&key, sort, &OrderedRows::encode(&rows, row));
                self.due.add(instant.saturating_add(1), &key);
            }
            self.give_first(&rows, &at_once, out);
        }
    }

    fn process_arrival(&mut self, time: EpochTime, inputs: Vec<Keyed>, out: &mut Output) {
        self.forget(time);
        self.forget_met(time, &inputs);
        for Keyed { rows, keys } in inputs {
            let mut first = Vec::new();
            for row in 0..rows.len() {
                let key = keys.get(row);
                if self.given.get(key).is_some() {
                    continue;
                }
                self.given.entry(key, || ());
                self.touched.touch(key, time.now);
                first.push(row as u32);
            }
            self.give_first(&rows, &first, out);
        }
    }

    /// Gives some rows, each the first of its partition.
    fn give_first(&self, rows: &Rows, places: &[u32], out: &mut Output) {
        if places.is_empty() {
            return;
        }
        let first = rows.take(places);
        let mut given = RowsBuilder::new(&self.row_types());
        for row in 0..first.len() {
            let bytes = OrderedRows::encode(&first, row).into();
            self.push(&mut given, first.marks[row], &(1, bytes));
        }
        out.push(given.finish());
    }

    /// The event time of a row that is kept.
    fn instant_of(&self, key: &Arc<[u8]>, sort: &Arc<[u8]>) -> i64 {
        let RankMode::First { time, .. } = self.rank.mode else { return i64::MAX };
        let row = self.rows.get(key).and_then(|rows| rows.get(sort));
        let values = row.and_then(|held| decode_row(&held.row, &self.input_types));
        match values.as_deref().map(|values| &values[time]) {
            Some(Value::Timestamp(instant)) => *instant,
            _ => i64::MAX,
        }
    }

    fn push(&self, rows: &mut RowsBuilder, mark: Mark, (number, row): &Ranked) {
        let width = self.input_types.len();
        rows.push_with(mark, |builders| {
            let (columns, rank) = builders.split_at_mut(width);
            decode_row_into(row, &self.input_types, columns);
            rank.iter_mut().for_each(|rank| rank.append(&Value::BigInt(*number as i64)));
        });
    }

    fn row_types(&self) -> Vec<DataType> {
        let number = self.rank.numbered.then_some(DataType::BigInt);
        self.input_types.iter().copied().chain(number).collect()
    }

    /// Whether time makes rows due.
    fn is_timed(&self) -> bool {
        matches!(self.rank.mode, RankMode::Window { .. } | RankMode::First { .. })
    }

    /// When a row that is kept is due.
    fn due_of(&self, row: &[u8]) -> Option<i64> {
        let (column, behind) = match self.rank.mode {
            RankMode::Window { end } => (end, 0),
            RankMode::First { time, .. } => (time, 1),
            RankMode::Arrival { .. } | RankMode::Changes { .. } => return None,
        };
        match decode_row(row, &self.input_types)?.get(column)? {
            Value::Timestamp(instant) => Some(instant.saturating_add(behind)),
            _ => None,
        }
    }
}

/// The value of a `TIMESTAMP` column.
pub(super) fn instant(rows: &Rows, column: usize, row: usize) -> Option<i64> {
    let times = rows.columns[column].timestamp();
    arrow_array::Array::is_valid(times, row).then(|| times.value(row))
}

/// The number of each row of a partition, in order.
pub(super) fn numbered(
    function: RankFunction,
    partition: &Partition,
) -> impl Iterator<Item = (u64, &Arc<[u8]>)> {
    let mut number = 0;
    let mut before: Option<&[u8]> = None;
    partition.keys().zip(1..).map(move |(sort, row_number)| {
        let equal = before == Some(order_of(sort));
        before = Some(order_of(sort));
        number = match function {
            RankFunction::RowNumber => row_number,
            RankFunction::Rank if equal => number,
            RankFunction::Rank => row_number,
            RankFunction::DenseRank if equal => number,
            RankFunction::DenseRank => number + 1,
        };
        (number, sort)
    })
}

impl Rank {
    /// Forgets partitions that were not touched for the time the plan gives them, of those that have their turn.
    fn forget(&mut self, time: EpochTime) {
        self.touched.expired(time).iter().for_each(|key| self.remove(key));
    }

    /// Forgets what rows come for, whosever turn it is.
    fn forget_met(&mut self, time: EpochTime, inputs: &[Keyed]) {
        if !self.touched.forgets() {
            return;
        }
        for Keyed { rows, keys } in inputs {
            for key in (0..rows.len()).map(|row| keys.get(row)) {
                if self.touched.take_over(key, time.now) {
                    self.remove(key);
                }
            }
        }
    }

    fn remove(&mut self, key: &[u8]) {
        match self.rank.mode {
            RankMode::Changes { .. } => self.rows.remove_partition(key),
            _ => _ = self.given.remove(key),
        }
    }

    /// Puts a row back, or takes it away, and with it that it is due.
    fn restore_row(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if let Some(end) = self.rows.row_at(key)?.and_then(|row| self.due_of(&row)) {
            let (partition, _) = self.rows.restore(key, None)?;
            self.due.subtract(end, &partition);
        }
        let (partition, _) = self.rows.restore(key, value)?;
        if let Some(end) = value.and_then(|row| self.due_of(row)) {
            self.due.add(end, &partition);
        }
        Ok(())
    }
}

impl Operator for Rank {
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        let inputs: Vec<Keyed> = inputs.into_iter().flatten().collect();
        match self.rank.mode {
            RankMode::Window { end } => self.process_window(end, inputs, out),
            RankMode::First { time: column, .. } => self.process_first(column, time, inputs, out),
            RankMode::Arrival { .. } => self.process_arrival(time, inputs, out),
            RankMode::Changes { .. } => self.process_changes(time, inputs, out),
        }
    }

    fn due(&self, from: &Place, watermark: i64) -> Due {
        self.due.due(from, watermark)
    }

    fn next_due(&self, from: &Place) -> Option<i64> {
        self.due.ends().find(|end| *end > from.watermark)
    }

    fn due_rows(&self, from: &Place, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        self.due.due_rows(from, end, most)
    }

    fn advance(&mut self, time: EpochTime, from: &Place, to: &Place, out: &mut Output) {
        let mut rows = RowsBuilder::new(&self.row_types());
        let mut sort = SortKeys::default();
        let windows = matches!(self.rank.mode, RankMode::Window { .. });
        for (end, keys) in self.due.take(from, to) {
            for key in keys {
                for row in self.ranked(&key) {
                    self.push(&mut rows, timed_mark(window_timestamp(end), time), &row);
                    sort.push(end, &key[1..]);
                }
                self.rows.remove_partition(&key);
                if !windows {
                    self.given.entry(&key, || ());
                    self.touched.touch(&key, time.now);
                }
            }
            if windows && end <= to.watermark {
                out.closed.insert(end);
            }
        }
        if !rows.is_empty() {
            out.push_timed(rows.finish(), sort);
        }
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.rows.drain_changes(ROWS, log);
        self.given.drain_changes(GIVEN, log, |(), _| {});
        self.touched.drain_changes(TOUCHED, log);
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        match table {
            ROWS => self.restore_row(key, value),
            GIVEN => {
                self.given.restore(key, value.map(|_| ()));
                Ok(())
            }
            TOUCHED => self.touched.restore(key, value),
            other => Err(format!("there is no table {other}")),
        }
    }

    fn size(&self) -> StateSize {
        StateSize { entries: (self.rows.len() + self.given.len()) as u64, sessions: 0 }
    }

    fn window_ends(&self) -> BTreeSet<i64> {
        match self.rank.mode {
            RankMode::Window { .. } => self.due.ends().collect(),
            _ => BTreeSet::new(),
        }
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}
