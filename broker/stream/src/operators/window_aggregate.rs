//! Aggregates over windows of fixed length: one row for each group of a window, when it closes.
//!
//! ```text
//! row ─► slice ─► group ─► accumulators            TimeTable<(slice end, key), accumulators>
//! watermark ─► windows that end ─► their slices, merged by group ─► rows in the order of window and key
//! ```
//!
//! A row is folded into one slice, however many windows overlap there (stream slicing: Traub et al., EDBT 2019); a
//! window merges its slices in the order of time when it closes. A slice goes when its last window has.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::accumulator::Accumulator;
use super::aggregated::{Aggregates, ValueChanges, key_text, key_values};
use super::{Due, EpochTime, Keyed, Operator, Output, Place, StateSize, Timed, timed_mark, window_timestamp};
use crate::plan::{self, WindowOf};
use crate::rows::{Rows, RowsBuilder};
use crate::state::{Bucket, ChangelogSink, TIME_BYTES, TimeTable, key_length};
use crate::time::Iso;
use crate::value::{DataType, Value};

/// The table of slices.
pub(crate) const SLICES: u8 = 0;
/// The table of the values that slices keep one by one.
pub(crate) const VALUES: u8 = 1;

/// A group's accumulators by its key.
type Groups<'s> = Vec<(&'s Arc<[u8]>, Vec<&'s [Accumulator]>)>;

#[derive(Debug)]
pub(crate) struct WindowAggregate {
    window: WindowOf,
    aggregates: Aggregates,
    key_types: Vec<DataType>,
    row_types: Vec<DataType>,
    slices: TimeTable<Vec<Accumulator>>,
    values: ValueChanges,
}

/// One window that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    end: i64,
    start: i64,
}

impl WindowAggregate {
    pub(crate) fn new(window: &plan::WindowAggregate, input: &[DataType], row: &[DataType]) -> Self {
        Self {
            window: window.window,
            aggregates: Aggregates::new(&window.aggregates, false).with_values_apart(),
            key_types: window.keys.iter().map(|key| input[*key]).collect(),
            row_types: row.to_vec(),
            slices: TimeTable::default(),
            values: ValueChanges::default(),
        }
    }

    fn add(&mut self, rows: &Rows, row: usize, key: &[u8], out: &mut Output) {
        let mark = rows.marks[row];
        let instant = |column: usize| {
            let times = rows.columns[column].timestamp();
            arrow_array::Array::is_valid(times, row).then(|| times.value(row))
        };
        let aggregates = &self.aggregates;
        let accumulators = match self.window {
            WindowOf::Assigned { kind, time } => {
                let Some(instant) = instant(time) else { return };
                let slice_end = kind.slice_end(instant);
                if kind.last_end(slice_end) <= mark.watermark {
                    return out.late.push(mark.order);
                }
                self.slices.entry(slice_end, key, || aggregates.empty())
            }
            WindowOf::Given { start, end } => {
                let (Some(start), Some(end)) = (instant(start), instant(end)) else { return };
                if end <= mark.watermark {
                    return out.late.push(mark.order);
                }
                let mut with_start = key.to_vec();
                with_start.extend_from_slice(&start.to_be_bytes());
                self.slices.entry(end, &with_start, || aggregates.empty())
            }
        };
        aggregates.add(accumulators, rows, row);
    }

    /// The windows with rows of which something lies between two places.
    fn windows(&self, from: &Place, to: &Place) -> BTreeSet<Window> {
        let mut due = BTreeSet::new();
        let last = to.last_end();
        let is_due = |end: i64| from.watermark < end && end <= last;
        match self.window {
            WindowOf::Given { .. } => {
                let ends = self.slices.range(..=last).map(|(end, _)| end);
                due.extend(ends.filter(|end| is_due(*end)).map(|end| Window { end, start: 0 }));
            }
            WindowOf::Assigned { kind, .. } => {
                // No slice of a window that is due ends behind the window.
                for (slice_end, _) in self.slices.range(..=last) {
                    let windows = kind.windows_of(slice_end).filter(|(_, end)| is_due(*end));
                    due.extend(windows.map(|(start, end)| Window { end, start }));
                }
            }
        }
        due
    }

    /// The slices of a window, in the order of time.
    fn slices_of(&self, window: Window) -> impl Iterator<Item = &Bucket<Vec<Accumulator>>> {
        let slices = match self.window {
            WindowOf::Given { .. } => self.slices.range(window.end..=window.end),
            WindowOf::Assigned { .. } => self.slices.range(window.start.saturating_add(1)..=window.end),
        };
        slices.map(|(_, bucket)| bucket)
    }

    /// The groups of a window between two places, in the order of their keys, each with its slices in the order of
    /// time.
    fn groups(&self, window: Window, from: &Place, to: &Place) -> Groups<'_> {
        let mut merged: HashMap<&Arc<[u8]>, Vec<&[Accumulator]>> = HashMap::new();
        for bucket in self.slices_of(window) {
            for (key, slot) in bucket {
                if !from.is_given(window.end, key) && to.is_given(window.end, key) {
                    merged.entry(key).or_default().push(&slot.value);
                }
            }
        }
        let mut sorted: Groups<'_> = merged.into_iter().collect();
        sorted.sort_unstable_by(|(left, _), (right, _)| left[1..].cmp(&right[1..]));
        sorted
    }

    fn give(&self, window: Window, from: &Place, to: &Place, time: EpochTime, out: &mut Output) {
        let mut rows = RowsBuilder::new(&self.row_types);
        let mut sort = Vec::new();
        for (key, parts) in self.groups(window, from, to) {
            let (key_bytes, start) = match self.window {
                WindowOf::Assigned { .. } => (&key[..], window.start),
                WindowOf::Given { .. } => {
                    let (key, start) = key.split_last_chunk().expect("the start is behind the key");
                    (key, i64::from_be_bytes(*start))
                }
            };
            let keys = key_values(key_bytes, &self.key_types);
            let name = || format!("the window that ends {}, key {}", Iso(window.end), key_text(&keys));
            let mut values = vec![Value::Timestamp(start), Value::Timestamp(window.end)];
            values.extend(keys.iter().cloned());
            let finished = match parts.as_slice() {
                [only] => self.aggregates.finish(only, &mut values, name),
                parts => {
                    let mut merged = self.aggregates.empty();
                    parts.iter().for_each(|part| self.aggregates.merge(&mut merged, part));
                    self.aggregates.finish(&merged, &mut values, name)
                }
            };
            match finished {
                Ok(()) => {
                    rows.push(timed_mark(window_timestamp(window.end), time), &values);
                    sort.push((window.end, key[1..].into()));
                }
                Err(fault) => out.faults.push(fault),
            }
        }
        if !rows.is_empty() {
            out.timed.push(Timed { rows: rows.finish(), sort });
        }
    }

    /// Lets go of what no window needs any more.
    fn drop_through(&mut self, watermark: i64) {
        let is_over = |slice_end: i64| match self.window {
            WindowOf::Given { .. } => slice_end <= watermark,
            WindowOf::Assigned { kind, .. } => kind.last_end(slice_end) <= watermark,
        };
        while self.slices.first_time().is_some_and(is_over)
            && let Some((slice_end, groups)) = self.slices.take_first(watermark)
        {
            for (key, accumulators) in groups {
                if accumulators.iter().any(|state| matches!(state, Accumulator::Values(_))) {
                    let key = TimeTable::<Vec<Accumulator>>::record_key(slice_end, &key);
                    self.values.drop_group(&key, &accumulators);
                }
            }
        }
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
        let empty = || self.aggregates.empty();
        let accumulators = self.slices.restored(slice, empty).ok_or("a key without its time")?;
        Aggregates::restore_value(accumulators, rest, count)
    }
}

impl Operator for WindowAggregate {
    fn process(&mut self, _time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for Keyed { rows, keys } in inputs.into_iter().flatten() {
            for row in 0..rows.len() {
                self.add(&rows, row, keys.get(row), out);
            }
        }
    }

    fn due(&self, from: &Place, watermark: i64) -> Due {
        let mut due = Due::new();
        for window in self.windows(from, &Place::behind(watermark)) {
            *due.entry(window.end).or_default() += self.slices_of(window).map(HashMap::len).sum::<usize>();
        }
        due
    }

    fn due_keys(&self, from: &Place, end: i64) -> Vec<Arc<[u8]>> {
        let mut keys = BTreeSet::new();
        for window in self.windows(from, &Place::behind(end)).into_iter().filter(|window| window.end == end) {
            let due = self.slices_of(window).flat_map(HashMap::keys);
            keys.extend(due.filter(|key| !from.is_given(end, key)).map(|key| Arc::from(&key[1..])));
        }
        keys.into_iter().collect()
    }

    fn advance(&mut self, time: EpochTime, from: &Place, to: &Place, out: &mut Output) {
        for window in self.windows(from, to) {
            self.give(window, from, to, time, out);
            if window.end <= to.watermark {
                out.windows_closed += 1;
            }
        }
        self.drop_through(to.watermark);
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        let values = &mut self.values;
        self.slices.drain_changes_mut(SLICES, log, |key, accumulators, out| {
            Aggregates::encode(accumulators, out);
            values.take_group(key, accumulators);
        });
        values.drain(VALUES, log);
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        match table {
            SLICES => {}
            VALUES => return self.restore_value(key, value),
            other => return Err(format!("there is no table {other}")),
        }
        let accumulators = match value {
            None => None,
            Some(mut bytes) => {
                let accumulators = self.aggregates.decode(&mut bytes).filter(|_| bytes.is_empty());
                let mut accumulators = accumulators.ok_or("a damaged group")?;
                let empty = || self.aggregates.empty();
                let before = self.slices.restored(key, empty).ok_or("a key without its time")?;
                Aggregates::move_values(std::mem::take(before), &mut accumulators);
                Some(accumulators)
            }
        };
        self.slices.restore(key, accumulators)
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.slices.len() as u64, windows: self.slices.times() as u64 }
    }
}
