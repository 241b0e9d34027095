//! Aggregates over windows of fixed length: one row for each group of a window.
//!
//! ```text
//! row ─► slice ─► group ─► accumulators            TimeTable<(slice end, key), accumulators>
//! watermark ─► windows that end ─► their slices, merged by group ─► rows in the order of window and key
//! ```
//!
//! A row is folded into one slice, however many windows overlap there (stream slicing: Traub et al., EDBT 2019); a
//! window merges its slices in the order of time when it closes. A slice goes when its last window has (`over.rs`), and may be
//! out of memory before (`spilling.rs`).
//!
//! A row may be late for some of its windows and not for all. It counts for those that end behind its watermark, whether
//! the others are closed already or close at the end of the same epoch: there it is held until they are given.
//!
//! With `EMIT CHANGES` a group's row of a window is given whenever an epoch has changed it, until the window closes; with
//! a lateness it is given when the window closes, and then whenever it changes, until the time allowed is over. A group
//! without aggregates is given with its first row, and then only remembered.

mod changes;
mod due;
mod held;
mod left;
mod merged;
mod over;
mod spilling;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::BTreeSet;
use std::ops::{Bound, Range};
use std::sync::Arc;

use self::changes::Changes;
use self::held::{Held, HeldRows};
use self::left::Left;
use self::merged::Merged;
use self::spilling::Gone;
use self::windows::{Window, next_window};
use super::accumulator::Accumulator;
use super::aggregated::{
    Accumulators, Aggregates, ValueChanges, append_key_values, check_key, key_text, key_values,
};
use super::schedule::first_rows;
use super::{
    Due, EpochTime, Keyed, Operator, OperatorFault, Output, Place, SortKeys, Spilling, StateSize, timed_mark,
    window_timestamp,
};
use crate::plan::{self, Emit, WindowOf};
use crate::rows::{END_OF_TIME, Mark, NO_TIME, Rows, RowsBuilder};
use crate::state::{Bucket, ChangelogSink, TIME_BYTES, TableKey, TimeTable, key_length};
use crate::time::Iso;
use crate::value::{DataType, Value};

/// The table of slices.
pub(crate) const SLICES: u8 = 0;
/// The table of the values that slices keep one by one.
pub(crate) const VALUES: u8 = 1;
/// The table of rows that are held.
pub(super) const HELD: u8 = 2;

/// What a slice holds of a group.
#[derive(Debug)]
struct Part {
    /// How many rows; without one there is no part.
    rows: i64,
    accumulators: Accumulators,
}

impl Part {
    /// Looks at what a group's row is made of.
    fn look(&self) -> i64 {
        self.rows ^ i64::from(matches!(self.accumulators.first(), Some(Accumulator::Count(_))))
    }
}

#[derive(Debug)]
pub(crate) struct WindowAggregate {
    window: WindowOf,
    emit: Emit,
    aggregates: Aggregates,
    key_types: Vec<DataType>,
    row_types: Vec<DataType>,
    slices: TimeTable<Part>,
    values: ValueChanges,
    held: HeldRows,
    /// What is left of the window that is given in part; derived.
    left: Left,
    /// What the epoch has taken out of slices.
    gone: Gone,
    /// How far windows were given when the epoch began.
    stands_at: Place,
}

/// What rows give that come.
struct Given {
    changes: Changes,
    /// Of groups that are new.
    first: RowsBuilder,
}

/// Where a row lies.
#[derive(PartialEq, Eq)]
struct InSlice {
    slice_end: i64,
    /// The end of its last window.
    last_end: i64,
    /// Where its window begins, if rows come with that.
    start: Option<i64>,
}

/// For how long a window is kept behind its end.
fn lateness(emit: Emit) -> i64 {
    match emit {
        Emit::OnCloseAndLate { ms } => ms,
        Emit::OnClose | Emit::Changes | Emit::AtOnce => 0,
    }
}

impl WindowAggregate {
    pub(crate) fn new(
        window: &plan::WindowAggregate,
        input: &[DataType],
        row: &[DataType],
        input_changes: bool,
    ) -> Self {
        let kind = match window.window {
            WindowOf::Assigned { kind, .. } => Some(kind),
            WindowOf::Given { .. } => None,
        };
        Self {
            window: window.window,
            emit: window.emit,
            aggregates: Aggregates::new(&window.aggregates, input_changes).with_values_apart(),
            key_types: window.keys.iter().map(|key| input[*key]).collect(),
            row_types: row.to_vec(),
            slices: TimeTable::default(),
            values: ValueChanges::default(),
            held: HeldRows::new(input, kind, lateness(window.emit)),
            left: Left::default(),
            gone: Gone::default(),
            stands_at: Place::behind(NO_TIME),
        }
    }

    fn lateness(&self) -> i64 {
        lateness(self.emit)
    }

    fn add(
        &mut self,
        time: EpochTime,
        (rows, run): (&Rows, Range<usize>),
        key: &[u8],
        given: &mut Given,
        out: &mut Output,
    ) {
        let mark = rows.marks[run.start];
        let Some(InSlice { slice_end, last_end, start }) = self.slice_of(rows, run.start) else { return };
        if last_end.saturating_add(self.lateness()) <= mark.watermark {
            return out.late.extend(rows.marks[run].iter().map(|mark| mark.origin));
        }
        let with_start = start.map(|start| [key, &start.to_be_bytes()].concat());
        let key = with_start.as_deref().unwrap_or(key);
        match self.emit {
            Emit::AtOnce => return self.give_first(slice_end, key, mark, &mut given.first),
            Emit::OnClose => {}
            Emit::OnCloseAndLate { .. } | Emit::Changes => {
                self.note(time, slice_end, key, mark, &mut given.changes);
            }
        }
        if self.is_late_for_some(slice_end, time.before, mark.watermark) {
            return run.for_each(|row| self.held.push(key, slice_end, rows, row));
        }
        self.fold(slice_end, key, rows, run);
    }

    /// Where the rows end that are like one of them for all that is looked at before they are folded in: of its key, its slice
    /// and its watermark.
    fn run_end(&self, Keyed { rows, keys }: &Keyed, first: usize) -> usize {
        let mut end = first + 1;
        if self.emit != Emit::OnClose || rows.marks[first].back {
            return end;
        }
        let same = |row: usize| {
            let (mark, of_first) = (&rows.marks[row], &rows.marks[first]);
            keys.get(row) == keys.get(first) && mark.watermark == of_first.watermark && !mark.back
        };
        let mut of_first = None;
        while end < rows.len()
            && same(end)
            && self.slice_of(rows, end) == *of_first.get_or_insert_with(|| self.slice_of(rows, first))
        {
            end += 1;
        }
        end
    }

    fn slice_of(&self, rows: &Rows, row: usize) -> Option<InSlice> {
        let instant = |column: usize| {
            let times = rows.columns[column].timestamp();
            arrow_array::Array::is_valid(times, row).then(|| times.value(row))
        };
        match self.window {
            WindowOf::Assigned { kind, time } => {
                let slice_end = kind.slice_end(instant(time)?);
                Some(InSlice { slice_end, last_end: kind.last_end(slice_end), start: None })
            }
            WindowOf::Given { start, end } => {
                let (start, end) = (instant(start)?, instant(end)?);
                Some(InSlice { slice_end: end, last_end: end, start: Some(start) })
            }
        }
    }

    /// Gives the row of a group that is new; the slice is the window.
    fn give_first(&mut self, end: i64, key: &[u8], mark: Mark, first: &mut RowsBuilder) {
        if self.slices.has(end, key) {
            return;
        }
        self.slices.entry(end, key, || Part { rows: 1, accumulators: Accumulators::new() });
        let start = match self.window {
            WindowOf::Assigned { kind, .. } => kind.start_of(end),
            WindowOf::Given { .. } => 0,
        };
        let mark = Mark { timestamp: window_timestamp(end), ..mark };
        let mut values = Vec::with_capacity(self.row_types.len());
        self.leading(Window { end, start }, key, &mut values);
        first.push(mark, &values);
    }

    /// Whether a row came too late for a window that may still be given, or changed, in this epoch.
    fn is_late_for_some(&self, slice_end: i64, before: i64, watermark: i64) -> bool {
        let WindowOf::Assigned { kind, .. } = self.window else { return false };
        let lateness = self.lateness();
        let after = before.saturating_sub(lateness);
        kind.windows_between(slice_end, after, watermark.saturating_sub(lateness)).next().is_some()
    }

    /// Folds in rows of a key; of rows that are taken back one alone.
    fn fold(&mut self, slice_end: i64, key: &[u8], rows: &Rows, run: Range<usize>) {
        self.left.changed(slice_end);
        let aggregates = &self.aggregates;
        let empty = || Part { rows: 0, accumulators: aggregates.empty() };
        let part = self.slices.entry(slice_end, key, empty);
        part.rows += if rows.marks[run.start].back { -1 } else { run.len() as i64 };
        run.for_each(|row| aggregates.add(&mut part.accumulators, rows, row));
        if part.rows == 0
            && let Some(part) = self.slices.remove(slice_end, key)
        {
            self.values.drop_group(&TimeTable::<Part>::record_key(slice_end, key), &part.accumulators);
            self.gone.insert(slice_end, key);
        }
    }

    /// Folds in what is held and counts for a window that is over at a time, its lateness included.
    fn fold_held(&mut self, over: i64) {
        for (key, Held { slice_end, row, .. }) in self.held.take_before(over) {
            self.fold(slice_end, &key, &row, 0..1);
        }
    }

    /// A group's row of a window; `None` when it has no rows.
    fn row(&self, window: Window, key: &[u8]) -> Result<Option<Vec<Value>>, OperatorFault> {
        let parts = self.slices_of(window).filter_map(|bucket| bucket.get(key)).map(|slot| &slot.value);
        let mut values = Vec::with_capacity(self.row_types.len());
        let found = self.finish(window, key, &parts.collect::<Vec<_>>(), &mut values)?;
        Ok(found.then_some(values))
    }

    /// Makes a group's row of its parts; there is none when it has no rows.
    fn finish(
        &self,
        window: Window,
        key: &[u8],
        parts: &[&Part],
        values: &mut Vec<Value>,
    ) -> Result<bool, OperatorFault> {
        if parts.iter().map(|part| part.rows).sum::<i64>() <= 0 {
            return Ok(false);
        }
        let key = self.leading(window, key, values);
        let name = || {
            let keys = key_text(&key_values(key, &self.key_types));
            format!("the window that ends {}, key {keys}", Iso(window.end))
        };
        match parts {
            [only] => self.aggregates.finish(&only.accumulators, values, name)?,
            parts => {
                let mut merged = self.aggregates.empty();
                parts.iter().for_each(|part| self.aggregates.merge(&mut merged, &part.accumulators));
                self.aggregates.finish(&merged, values, name)?;
            }
        }
        Ok(true)
    }

    /// Puts down what a group's row begins with, the window's bounds and the keys; gives the key alone.
    fn leading<'k>(&self, window: Window, key: &'k [u8], values: &mut Vec<Value>) -> &'k [u8] {
        let (key, start) = match self.window {
            WindowOf::Assigned { .. } => (key, window.start),
            WindowOf::Given { .. } => {
                let (key, start) = key.split_last_chunk().expect("the start is behind the key");
                (key, i64::from_be_bytes(*start))
            }
        };
        values.clear();
        values.extend([Value::Timestamp(start), Value::Timestamp(window.end)]);
        append_key_values(key, &self.key_types, values);
        key
    }

    /// The windows with rows of which something lies between two places, in the order of their ends.
    fn windows(&self, from: &Place, to: &Place) -> Vec<Window> {
        let last = to.last_end();
        let behind = (Bound::Excluded(from.watermark), Bound::Included(last.max(from.watermark)));
        match self.window {
            WindowOf::Given { .. } => {
                self.slices.range(behind).map(|(end, _)| Window { end, start: 0 }).collect()
            }
            WindowOf::Assigned { kind, .. } => {
                let first_in = |from: Bound<i64>, to: i64| {
                    if matches!(from, Bound::Excluded(from) if from >= to) {
                        return None;
                    }
                    let slices = (from, Bound::Included(to));
                    let kept = self.slices.range(slices).next().map(|(slice, _)| slice);
                    kept.into_iter().chain(self.held.first_slice(slices)).min()
                };
                let mut windows = Vec::new();
                let mut after = from.watermark;
                while let Some(window) = next_window(kind, after, last, first_in) {
                    windows.push(window);
                    after = window.end;
                }
                windows
            }
        }
    }

    /// The slices of a window, in the order of time.
    fn slices_of(&self, window: Window) -> impl Iterator<Item = &Bucket<Part>> {
        self.slices.range(self.first_slice(window)..=window.end).map(|(_, bucket)| bucket)
    }

    /// No slice of a window ends before.
    fn first_slice(&self, window: Window) -> i64 {
        match self.window {
            WindowOf::Given { .. } => window.end,
            WindowOf::Assigned { .. } => window.start.saturating_add(1),
        }
    }

    /// How far the first slice of a window may be from its end.
    fn longest_ms(&self) -> i64 {
        match self.window {
            WindowOf::Given { .. } => 0,
            WindowOf::Assigned { kind, .. } => kind.size_ms(),
        }
    }

    /// The keys that are due at a window's end between two places, of which the second lies in it; in their order.
    fn take_part(&mut self, window: Window, from: &Place, to: &Place) -> Vec<TableKey> {
        let mut left = std::mem::take(&mut self.left);
        let of = (window, self.last_due(window));
        let mut taken = left.take(of, to, self.keys_due(window), self.slices.is_whole());
        self.left = left;
        taken.retain(|key| !from.is_given(window.end, key));
        taken
    }

    fn give(&mut self, window: Window, from: &Place, to: &Place, time: EpochTime, out: &mut Output) {
        let part = (window.end > to.watermark).then(|| self.take_part(window, from, to));
        if part.is_none() {
            self.left.is_over(window);
        }
        let merged = match &part {
            Some(keys) => Merged::of_keys(|| self.slices_of(window), keys),
            None => Merged::of(|| self.slices_of(window), |key| !from.is_given(window.end, key)),
        };
        let mut rows = RowsBuilder::with_capacity(&self.row_types, merged.len());
        let mut sort = SortKeys::with_capacity(merged.len());
        let (mut parts, mut values) = (Vec::new(), Vec::with_capacity(self.row_types.len()));
        for group in merged.groups(Part::look) {
            let key = group[0].key;
            parts.clear();
            parts.extend(group.iter().map(|entry| entry.part));
            match self.finish(window, key, &parts, &mut values) {
                Ok(true) => {
                    rows.push(timed_mark(window_timestamp(window.end), time), &values);
                    sort.push(window.end, &key[1..]);
                }
                Ok(false) => {}
                Err(fault) => out.faults.push(fault),
            }
        }
        if !rows.is_empty() {
            out.push_timed(rows.finish(), sort);
        }
        part.iter().for_each(|keys| self.drop_part(window.end, keys));
    }
}

impl WindowAggregate {
    /// Puts a value back that a slice keeps. The slice's own entry may come later.
    fn restore_value(&mut self, key: &[u8], count: Option<&[u8]>) -> Result<(), String> {
        let start = match self.window {
            WindowOf::Given { .. } => TIME_BYTES,
            WindowOf::Assigned { .. } => 0,
        };
        let group = key.get(TIME_BYTES + 1..).and_then(|key| key_length(key, &self.key_types));
        let split = group.and_then(|length| key.split_at_checked(TIME_BYTES + 1 + length + start));
        let (slice, rest) = split.ok_or("a damaged key")?;
        if count.is_none() && !self.slices.contains(slice) {
            return Ok(());
        }
        let empty = || Part { rows: 0, accumulators: self.aggregates.empty() };
        let part = self.slices.restored(slice, empty).ok_or("a key without its time")?;
        self.aggregates.restore_value(&mut part.accumulators, rest, count)
    }
}

impl Operator for WindowAggregate {
    fn stands_at(&mut self, place: &Place) {
        self.stands_at = place.clone();
    }

    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        let mut given = Given { changes: Changes::default(), first: RowsBuilder::new(&self.row_types) };
        for chunk in inputs.into_iter().flatten() {
            let mut row = 0;
            while row < chunk.rows.len() {
                let run = row..self.run_end(&chunk, row);
                row = run.end;
                let key = chunk.keys.get(run.start);
                self.add(time, (&chunk.rows, run), key, &mut given, out);
            }
        }
        if self.emit == Emit::AtOnce {
            return out.push(given.first.finish());
        }
        self.give_changes(given.changes, out);
        if self.emit == Emit::Changes {
            // Nothing is given when a window closes.
            self.fold_held(END_OF_TIME);
        }
    }

    fn due(&self, from: &Place, watermark: i64) -> Due {
        let mut due = self.over_between(from, watermark);
        for (end, rows) in self.rows_due(from, watermark) {
            *due.entry(end).or_default() += rows;
        }
        due
    }

    fn next_due(&self, from: &Place) -> Option<i64> {
        self.rows_due(from, END_OF_TIME).into_keys().next()
    }

    fn due_rows(&self, from: &Place, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        let window = self.window_at(end);
        let mut keys: Vec<&TableKey> = self.held_due(window).collect();
        match self.left.first(window, most.saturating_add(2)) {
            Some(left) => keys.extend(left),
            None => keys.extend(self.keys_due(window)),
        }
        keys.retain(|key| !from.is_given(end, key));
        keys.sort_unstable_by(|left, right| left[1..].cmp(&right[1..]));
        keys.dedup();
        first_rows(keys.into_iter().map(|key| (key, 1)), most)
    }

    fn advance(&mut self, time: EpochTime, from: &Place, to: &Place, out: &mut Output) {
        let mut given = None;
        for window in self.windows(from, to) {
            self.fold_held(window.end.saturating_add(self.lateness()));
            if !matches!(self.emit, Emit::Changes | Emit::AtOnce) {
                self.give(window, from, to, time, out);
                given = Some(window.end);
            }
            if window.end <= to.watermark {
                out.closed.insert(window.end);
            }
        }
        self.drop_between(from, to, given);
        // Every window that they are late for is given.
        self.fold_held(to.watermark.saturating_add(1));
        self.drop_through(to.watermark);
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        let values = &mut self.values;
        self.slices.drain_with_parts(SLICES, log, |key, part, out| {
            out.extend_from_slice(&part.rows.to_be_bytes());
            Aggregates::encode(&part.accumulators, out);
            values.take_group(key, &mut part.accumulators);
            Aggregates::values_size(key.len(), &part.accumulators)
        });
        self.gone.clear();
        values.drain(VALUES, log);
        self.held.drain_changes(HELD, log);
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        match table {
            SLICES => {}
            VALUES => return self.restore_value(key, value),
            HELD => return self.held.restore(key, value),
            other => return Err(format!("there is no table {other}")),
        }
        let group = key.get(TIME_BYTES..).ok_or("a key without its time")?;
        let group = match self.window {
            WindowOf::Given { .. } => {
                group.split_last_chunk::<TIME_BYTES>().ok_or("a key without its start")?.0
            }
            WindowOf::Assigned { .. } => group,
        };
        check_key(group, &self.key_types)?;
        let part = match value {
            None => None,
            Some(bytes) => {
                let (rows, mut rest) = bytes.split_first_chunk().ok_or("a damaged group")?;
                let accumulators = self.aggregates.decode(&mut rest).filter(|_| rest.is_empty());
                let mut accumulators = accumulators.ok_or("a damaged group")?;
                let empty = || Part { rows: 0, accumulators: self.aggregates.empty() };
                let before = self.slices.restored(key, empty).ok_or("a key without its time")?;
                Aggregates::move_values(std::mem::take(&mut before.accumulators), &mut accumulators);
                Some(Part { rows: i64::from_be_bytes(*rows), accumulators })
            }
        };
        self.slices.restore(key, part)
    }

    fn size(&self) -> StateSize {
        let entries = self.slices.len() + self.held.len();
        StateSize { entries: entries as u64, sessions: 0 }
    }

    fn window_ends(&self) -> BTreeSet<i64> {
        self.slices.times().collect()
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}
