//! Functions over the rows around each row of a partition: `SUM(x) OVER (PARTITION BY ... ORDER BY ...)`.
//!
//! ```text
//! on time    rows ─► kept in order ─► the watermark passes them ─► given in the order of time; kept while a frame needs them
//! window     rows ─► kept in order ─► their window closes ─► all given
//! changes    rows ─► kept in order ─► what the epoch changed in a partition ─► taken back, and given
//! ```

mod frame;
mod spilling;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use self::frame::{Ordered, evaluate};
use super::accumulator::Accumulator;
use super::aggregated::{key_text, key_values};
use super::ordered::{OrderedRows, Partition, difference, order_of};
use super::rank::instant;
use super::schedule::Schedule;
use super::spilling::Spilling;
use super::time_to_live::TimeToLive;
use super::{
    Due, EpochTime, Keyed, Operator, Output, Place, SortKeys, StateSize, timed_mark, window_timestamp,
};
use crate::plan::{self, FrameUnit, OverKind, OverMode};
use crate::rows::{MOST_BYTES, Mark, NO_ORIGIN, NO_TIME, Rows, RowsBuilder};
use crate::state::{ChangelogSink, Table, decode_row, decode_row_into, encode_values};
use crate::value::{DataType, Value};

/// The table of rows.
const ROWS: u8 = 0;
/// The table of aggregates over everything before a partition's rows.
const RUNNING: u8 = 1;
/// The table of when partitions were touched.
const TOUCHED: u8 = 2;

/// How far back frames reach, where the rows before are given already.
#[derive(Debug, Clone, Copy, Default)]
struct Reach {
    rows: usize,
    ms: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Over {
    over: plan::Over,
    input_types: Vec<DataType>,
    row_types: Vec<DataType>,
    key_types: Vec<DataType>,
    reach: Reach,
    rows: OrderedRows,
    /// On time: the state of each function whose frame begins at the partition's first row.
    running: Table<Vec<Accumulator>>,
    touched: TimeToLive,
    /// The partitions that have rows due at an end, with how many; derived.
    due: Schedule,
    /// On time: the partitions whose given rows no frame needs from this watermark on; derived.
    forget: Schedule,
    /// How many partitions with rows are not here, where time makes rows due.
    away: usize,
    /// The partition of the row that was shown last.
    shown: Option<Arc<[u8]>>,
    /// How far rows were given when the epoch began.
    stands_at: Place,
    /// Partitions that the epoch has touched and that are not here.
    touched_away: Vec<Arc<[u8]>>,
}

/// A partition that the epoch has changed.
struct Changed {
    key: Arc<[u8]>,
    mark: Mark,
    before: Vec<Arc<[u8]>>,
}

/// A row that is given, with what the functions are for it.
struct DueRow {
    /// Its end and its partition's key without the key group: its place among all rows that are due.
    place: (i64, Arc<[u8]>),
    row: Arc<[u8]>,
    values: Vec<Value>,
}

impl Over {
    pub(crate) fn new(over: &plan::Over, input: &[DataType], row: &[DataType]) -> Self {
        let bound = match over.mode {
            OverMode::OnTime { bound, .. } => bound,
            OverMode::Window { .. } => None,
            OverMode::Changes { bound } => Some(bound),
        };
        let mut reach = Reach::default();
        for function in &over.functions {
            match &function.kind {
                OverKind::Aggregate { frame, .. } => match (frame.unit, frame.preceding) {
                    (FrameUnit::Rows, Some(count)) => {
                        reach.rows = reach.rows.max(usize::try_from(count).unwrap_or(usize::MAX));
                    }
                    (FrameUnit::Range, Some(ms)) => {
                        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                        reach.ms = Some(reach.ms.map_or(ms, |known| known.max(ms)));
                    }
                    (_, None) => {}
                },
                OverKind::Lag { offset, .. } => {
                    reach.rows = reach.rows.max(usize::try_from(*offset).unwrap_or(usize::MAX));
                }
                OverKind::Lead { .. } | OverKind::Number(_) => {}
            }
        }
        Self {
            input_types: input.to_vec(),
            row_types: row.to_vec(),
            key_types: over.partition.iter().map(|column| input[*column]).collect(),
            reach,
            rows: OrderedRows::new(&over.partition, &over.order, input),
            running: Table::default(),
            touched: TimeToLive::new(bound),
            due: Schedule::default(),
            forget: Schedule::default(),
            away: 0,
            shown: None,
            stands_at: Place::behind(NO_TIME),
            touched_away: Vec::new(),
            over: over.clone(),
        }
    }

    /// The functions whose frame begins at the partition's first row.
    fn running_functions(&self) -> impl Iterator<Item = (usize, &plan::Aggregate)> {
        let on_time = matches!(self.over.mode, OverMode::OnTime { .. });
        let functions = self.over.functions.iter().enumerate().filter(move |_| on_time);
        functions.filter_map(|(index, function)| match &function.kind {
            OverKind::Aggregate { aggregate, frame } if frame.preceding.is_none() => Some((index, aggregate)),
            _ => None,
        })
    }

    /// The first rows of a partition as columns.
    fn decode(&self, partition: &Partition, count: usize) -> Rows {
        let mut rows = RowsBuilder::new(&self.input_types);
        let mark =
            Mark { order: 0, origin: NO_ORIGIN, timestamp: 0, watermark: 0, partition: 0, back: false };
        for held in partition.values().take(count) {
            rows.push_with(mark, |builders| decode_row_into(&held.row, &self.input_types, builders));
        }
        rows.finish()
    }

    /// The values of all functions for some rows of a partition; a row for which one cannot be computed is left out.
    fn evaluate(
        &self,
        key: &[u8],
        partition: &Partition,
        wanted: Range<usize>,
        running: &mut [Accumulator],
        made: &mut usize,
        out: &mut Output,
    ) -> Vec<Option<Vec<Value>>> {
        // Functions that are given in time do not look ahead.
        let count =
            if matches!(self.over.mode, OverMode::OnTime { .. }) { wanted.end } else { partition.len() };
        let rows = self.decode(partition, count);
        if rows.len() < count {
            // There is no room for so many texts: the epoch is given up.
            out.note(rows.bytes());
            return wanted.map(|_| None).collect();
        }
        let times = self
            .over
            .order
            .first()
            .filter(|key| !key.descending && self.input_types[key.column] == DataType::Timestamp);
        let orders = partition.keys().take(count).map(|sort| order_of(sort));
        let ordered = Ordered::new(&rows, orders, times.map(|key| key.column));
        let name = || format!("key {}", key_text(&key_values(key, &self.key_types)));
        let mut values: Vec<Option<Vec<Value>>> = wanted.clone().map(|_| Some(Vec::new())).collect();
        let mut states = running.iter_mut();
        for (index, function) in self.over.functions.iter().enumerate() {
            let is_running = self.running_functions().any(|(running, _)| running == index);
            let state = if is_running { states.next() } else { None };
            let column = evaluate(function, &ordered, wanted.clone(), state, made, &name);
            for (row, value) in values.iter_mut().zip(column) {
                match (value, row.as_mut()) {
                    (Ok(value), Some(values)) => values.push(value),
                    (Err(fault), Some(_)) => {
                        out.faults.push(fault);
                        *row = None;
                    }
                    (_, None) => {}
                }
            }
        }
        values
    }

    fn push(&self, rows: &mut RowsBuilder, mark: Mark, row: &[u8], values: &[Value]) {
        let width = self.input_types.len();
        rows.push_with(mark, |builders| {
            let (columns, functions) = builders.split_at_mut(width);
            decode_row_into(row, &self.input_types, columns);
            functions.iter_mut().zip(values).for_each(|(builder, value)| builder.append(value));
        });
    }

    /// The rows a partition has given, encoded.
    fn given(&self, key: &[u8], out: &mut Output) -> Vec<Arc<[u8]>> {
        let Some(partition) = self.rows.get(key) else { return Vec::new() };
        let mut made = 0;
        let values = self.evaluate(key, partition, 0..partition.len(), &mut [], &mut made, out);
        note(made, out);
        let types = &self.row_types[self.input_types.len()..];
        let rows = partition.values().zip(values).filter_map(|(held, values)| {
            let mut bytes = held.row.to_vec();
            encode_values(&values?, types, &mut bytes);
            Some(bytes.into())
        });
        rows.collect()
    }

    fn process_changes(&mut self, time: EpochTime, inputs: Vec<Keyed>, out: &mut Output) {
        self.expire(time);
        let mut changed: Vec<Changed> = Vec::new();
        let mut places: HashMap<Arc<[u8]>, usize> = HashMap::new();
        for Keyed { rows, keys } in inputs {
            for row in 0..rows.len() {
                let mark = rows.marks[row];
                let place = match places.get(keys.get(row)) {
                    Some(place) => *place,
                    None => {
                        let key: Arc<[u8]> = keys.get(row).into();
                        places.insert(Arc::clone(&key), changed.len());
                        // What could not be computed then was told then.
                        let before = self.given(&key, &mut Output::new());
                        changed.push(Changed { key, mark, before });
                        changed.len() - 1
                    }
                };
                changed[place].mark = mark;
                let key = Arc::clone(&changed[place].key);
                self.touched.touch(&key, time.now);
                let sort = self.rows.sort_key(&rows, row);
                let bytes = OrderedRows::encode(&rows, row);
                match mark.back {
                    true => _ = self.rows.take_back(&key, &sort, &bytes),
                    false => self.rows.push(&key, sort, &bytes),
                }
            }
        }
        changed.sort_by_key(|changed| changed.mark.order);
        let mut given = RowsBuilder::new(&self.row_types);
        for Changed { key, mark, before } in changed {
            let after = self.given(&key, out);
            if self.rows.get(&key).is_none() {
                self.touched.remove(&key);
            }
            let (gone, added) = difference(&before, &after);
            for (rows, back) in [(gone, true), (added, false)] {
                for row in rows {
                    given.push_with(Mark { back, ..mark }, |builders| {
                        decode_row_into(row, &self.row_types, builders);
                    });
                }
            }
        }
        out.push(given.finish());
    }

    /// Keeps rows until time makes them due; `end_of` is when.
    fn process_timed(
        &mut self,
        end_of: impl Fn(&Rows, usize) -> Option<i64>,
        time: EpochTime,
        inputs: Vec<Keyed>,
        out: &mut Output,
    ) {
        for Keyed { rows, keys } in inputs {
            for row in 0..rows.len() {
                let Some(end) = end_of(&rows, row) else { continue };
                let mark = rows.marks[row];
                if end <= mark.watermark {
                    out.late.push(mark.origin);
                    continue;
                }
                let key: Arc<[u8]> = keys.get(row).into();
                self.touched.touch(&key, time.now);
                let sort = self.rows.sort_key(&rows, row);
                let bytes = OrderedRows::encode(&rows, row);
                if !mark.back {
                    self.rows.push(&key, sort, &bytes);
                    self.due.add(end, &key);
                } else if self.rows.take_back(&key, &sort, &bytes) {
                    self.due.subtract(end, &key);
                }
            }
        }
    }

    /// When a row that is kept is due.
    fn end_of(&self, row: &[u8]) -> Option<i64> {
        let (column, behind) = match self.over.mode {
            OverMode::OnTime { time, .. } => (time, 1),
            OverMode::Window { end } => (end, 0),
            OverMode::Changes { .. } => return None,
        };
        match decode_row(row, &self.input_types)?.get(column)? {
            Value::Timestamp(instant) => Some(instant.saturating_add(behind)),
            _ => None,
        }
    }

    /// How many rows of a partition are given before a place in time; they are the first ones.
    fn given_rows(&self, partition: &Partition, key: &[u8], place: &Place) -> usize {
        let is_given = |row: &[u8]| self.end_of(row).is_some_and(|end| place.is_given(end, key));
        partition.len() - partition.values().rev().take_while(|held| !is_given(&held.row)).count()
    }

    /// Lets go of a partition's given rows that no frame of a later row reaches.
    fn trim(&mut self, key: &Arc<[u8]>, given: usize, watermark: i64) {
        let Some(partition) = self.rows.get(key) else { return };
        let by_rows = given.saturating_sub(self.reach.rows);
        let mut unneeded = Vec::new();
        let mut forget_at = None;
        for (sort, held) in partition.iter().take(by_rows) {
            let end = self.end_of(&held.row).unwrap_or(i64::MAX);
            match self.reach.ms.map(|ms| end.saturating_add(ms)) {
                // A row at the watermark itself may still come, and reach this one.
                Some(needed) if needed > watermark => {
                    forget_at = Some(needed);
                    break;
                }
                _ => unneeded.push(Arc::clone(sort)),
            }
        }
        unneeded.iter().for_each(|sort| _ = self.rows.remove(key, sort));
        if let Some(at) = forget_at {
            self.forget.insert(at, key);
        }
    }

    /// Lets go of the rows of partitions that have had no new ones since.
    fn forget(&mut self, to: &Place) {
        let through = to.watermark;
        for (_, keys) in self.forget.take(&Place::behind(NO_TIME), &Place::behind(through)) {
            keys.iter().for_each(|key| self.trim_given(key, to));
        }
    }

    /// Lets go of a partition's rows that are given before a place and not needed there.
    fn trim_given(&mut self, key: &Arc<[u8]>, to: &Place) {
        let Some(partition) = self.rows.get(key) else { return };
        let given = self.given_rows(partition, key, to);
        self.trim(key, given, to.watermark);
    }

    /// Forgets partitions that were not touched for the time the plan gives them, unless they have rows to give.
    fn expire(&mut self, time: EpochTime) {
        for key in self.touched.all_expired(time.now) {
            let last = self.rows.get(&key).and_then(|partition| partition.values().next_back());
            // Of changes all rows are given.
            if last.and_then(|held| self.end_of(&held.row)).is_some_and(|end| end > time.before) {
                self.touched.touch(&key, time.now);
                continue;
            }
            self.running.remove(&key);
            self.rows.remove_partition(&key);
        }
    }
}

/// Tells of texts that are too much to be given.
fn note(made: usize, out: &mut Output) {
    if made > MOST_BYTES {
        out.note(made);
    }
}

impl Operator for Over {
    fn stands_at(&mut self, place: &Place) {
        self.stands_at = place.clone();
    }

    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        let inputs: Vec<Keyed> = inputs.into_iter().flatten().collect();
        match self.over.mode {
            OverMode::Changes { .. } => self.process_changes(time, inputs, out),
            OverMode::Window { end } => {
                self.process_timed(|rows, row| instant(rows, end, row), time, inputs, out);
            }
            OverMode::OnTime { time: column, .. } => {
                self.expire(time);
                let end = |rows: &Rows, row| Some(instant(rows, column, row)?.saturating_add(1));
                self.process_timed(end, time, inputs, out);
            }
        }
    }

    fn due(&self, from: &Place, watermark: i64) -> Due {
        self.due.due(from, watermark)
    }

    fn due_rows(&self, from: &Place, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        self.due.due_rows(from, end, most)
    }

    fn advance(&mut self, time: EpochTime, from: &Place, to: &Place, out: &mut Output) {
        let on_time = matches!(self.over.mode, OverMode::OnTime { .. });
        let mut partitions: BTreeSet<Arc<[u8]>> = BTreeSet::new();
        for (end, keys) in self.due.take(from, to) {
            partitions.extend(keys);
            if !on_time && end <= to.watermark {
                out.closed.insert(end);
            }
        }
        let mut due: Vec<DueRow> = Vec::new();
        let mut made = 0;
        for key in partitions {
            if made > MOST_BYTES {
                break;
            }
            let Some(partition) = self.rows.get(&key) else { continue };
            let wanted = match on_time {
                true => self.given_rows(partition, &key, from)..self.given_rows(partition, &key, to),
                false => 0..partition.len(),
            };
            let mut running: Vec<Accumulator> = match self.running.get(&key) {
                Some(running) => running.clone(),
                None => self
                    .running_functions()
                    .map(|(_, aggregate)| Accumulator::new(aggregate, false))
                    .collect(),
            };
            let values = self.evaluate(&key, partition, wanted.clone(), &mut running, &mut made, out);
            for (held, values) in partition.values().skip(wanted.start).zip(values) {
                let end = self.end_of(&held.row).unwrap_or(i64::MAX);
                if let Some(values) = values {
                    let place = (end, Arc::from(&key[1..]));
                    due.push(DueRow { place, row: Arc::clone(&held.row), values });
                }
            }
            if !on_time {
                self.rows.remove_partition(&key);
                continue;
            }
            if !running.is_empty() {
                *self.running.entry(&key, Vec::new) = running;
            }
            if self.reach.rows > 0 || self.running.get(&key).is_some() {
                self.touched.touch(&key, time.now);
            }
            self.trim(&key, wanted.end, to.watermark);
        }
        note(made, out);
        due.sort_by(|left, right| left.place.cmp(&right.place));
        let mut rows = RowsBuilder::new(&self.row_types);
        let mut sort = SortKeys::with_capacity(due.len());
        for DueRow { place, row, values } in due {
            self.push(&mut rows, timed_mark(window_timestamp(place.0), time), &row, &values);
            sort.push(place.0, &place.1);
        }
        if !rows.is_empty() {
            out.push_timed(rows.finish(), sort);
        }
        self.forget(to);
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.rows.drain_changes(ROWS, log);
        self.running.drain_changes(RUNNING, log, |running, out| {
            running.iter().for_each(|state| state.encode(out));
        });
        self.touched.drain_changes(TOUCHED, log);
        self.let_go_touched();
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        match table {
            ROWS => self.restore_row(key, value),
            RUNNING => {
                let running = match value {
                    None => None,
                    Some(mut bytes) => {
                        let states = self.running_functions().map(|(_, aggregate)| {
                            Accumulator::new(aggregate, false).decode(aggregate, &mut bytes)
                        });
                        let states: Option<Vec<Accumulator>> = states.collect();
                        Some(states.filter(|_| bytes.is_empty()).ok_or("a damaged aggregate")?)
                    }
                };
                self.running.restore(key, running);
                Ok(())
            }
            TOUCHED => self.touched.restore(key, value),
            other => Err(format!("there is no table {other}")),
        }
    }

    fn size(&self) -> StateSize {
        StateSize { entries: (self.rows.len() + self.running.len()) as u64, sessions: 0 }
    }

    fn window_ends(&self) -> BTreeSet<i64> {
        match self.over.mode {
            OverMode::Window { .. } => self.due.ends().collect(),
            _ => BTreeSet::new(),
        }
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}

impl Over {
    fn restore_row(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if let Some(end) = self.rows.row_at(key)?.and_then(|row| self.end_of(&row)) {
            let (partition, _) = self.rows.restore(key, None)?;
            self.due.subtract(end, &partition);
        }
        let (partition, _) = self.rows.restore(key, value)?;
        if let Some(end) = value.and_then(|row| self.end_of(row)) {
            self.due.add(end, &partition);
            if let (OverMode::OnTime { .. }, Some(ms)) = (self.over.mode, self.reach.ms) {
                self.forget.insert(end.saturating_add(ms), &partition);
            }
        }
        Ok(())
    }
}
