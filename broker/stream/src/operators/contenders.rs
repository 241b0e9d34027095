//! Only the rows that may equal the extreme of a window near their time: see [`plan::Contenders`].
//!
//! The greatest value of each slice of time so far is kept. An epoch's rows are all counted before they are looked at: the
//! more a window has seen, the fewer rows can be its greatest. A window that has been given, or of which nothing is known,
//! decides nothing that would be wrong: what is counted here is never more than what the window's own aggregate counts.

use arrow_array::Array;
use arrow_buffer::BooleanBuffer;

use super::{EpochTime, Keyed, Operator, Output, Place, StateSize};
use crate::column::Column;
use crate::plan;
use crate::rows::Rows;
use crate::state::{ChangelogSink, TimeTable};

/// The table of what slices have seen.
const SLICES: u8 = 0;
/// A slice's key: there are no groups.
const KEY: [u8; 1] = [0];

#[derive(Debug)]
pub(crate) struct Contenders {
    plan: plan::Contenders,
    /// By the end of each slice the best value of it, as [`Contenders::rank`] has it.
    slices: TimeTable<i64>,
}

/// What rows must not be below, for times whose windows are the same.
#[derive(Debug, Clone, Copy)]
struct Bar {
    last_time: i64,
    least: Option<i64>,
}

impl Contenders {
    pub(crate) fn new(plan: plan::Contenders) -> Self {
        Self { plan, slices: TimeTable::default() }
    }

    /// The value as one of which the greatest is looked for; `NULL` has none.
    fn rank(&self, rows: &Rows, row: usize) -> Option<i64> {
        let value = match &rows.columns[self.plan.value] {
            Column::BigInt(array) => array.is_valid(row).then(|| array.value(row)),
            Column::Timestamp(array) => array.is_valid(row).then(|| array.value(row)),
            column => unreachable!("the planner looks at types: {column:?}"),
        };
        // The complement turns the order around, and fits.
        value.map(|value| if self.plan.greatest { value } else { !value })
    }

    fn time(&self, rows: &Rows, row: usize) -> Option<i64> {
        let times = rows.columns[self.plan.time].timestamp();
        times.is_valid(row).then(|| times.value(row))
    }

    /// Counts a chunk's rows, but for those that are late for a window of their slice.
    fn count(&mut self, rows: &Rows) {
        let kind = self.plan.windows;
        // Rows of one slice mostly come one after the other.
        let mut slice: Option<(i64, i64, Option<i64>)> = None;
        let mut best: Option<i64> = None;
        for row in 0..rows.len() {
            let (Some(time), Some(rank)) = (self.time(rows, row), self.rank(rows, row)) else { continue };
            let (end, first_window) = match slice {
                Some((start, end, first)) if start <= time && time < end => (end, first),
                _ => {
                    if let (Some((_, end, _)), Some(best)) = (slice, best.take()) {
                        self.raise(end, best);
                    }
                    let end = kind.slice_end(time);
                    let first = kind.windows_of(end).next().map(|(_, end)| end);
                    slice = Some((end - kind.slice_ms(), end, first));
                    (end, first)
                }
            };
            debug_assert!(time < end);
            if first_window.is_some_and(|first| first > rows.marks[row].watermark) {
                best = best.max(Some(rank));
            }
        }
        if let (Some((_, end, _)), Some(best)) = (slice, best) {
            self.raise(end, best);
        }
    }

    fn raise(&mut self, slice_end: i64, rank: i64) {
        if self.best_of(slice_end, slice_end).is_none_or(|best| best < rank) {
            *self.slices.entry(slice_end, &KEY, || rank) = rank;
        }
    }

    /// The best of the slices from one to another.
    fn best_of(&self, first: i64, last: i64) -> Option<i64> {
        let slices = self.slices.range(first..=last);
        slices.filter_map(|(_, bucket)| bucket.get(&KEY[..]).map(|slot| slot.value)).max()
    }

    /// What a row of this time has to reach to be joined to any window; `None`: anything will do.
    fn bar(&self, time: i64) -> Bar {
        let plan::Contenders { windows, least_ms, most_ms, .. } = self.plan;
        let farthest = time.saturating_sub(least_ms);
        let mut end = windows.next_end(time.saturating_sub(most_ms).saturating_sub(1));
        let first_end = end;
        let mut least = Some(i64::MAX);
        while end <= farthest && least.is_some() {
            let best = self.best_of(windows.start_of(end).saturating_add(1), end);
            least = best.and_then(|best| least.map(|least| least.min(best)));
            end = windows.next_end(end);
        }
        // Later rows have the same windows until one more is near, or the first one is not any more.
        let last_time = match least {
            Some(_) => end.saturating_add(least_ms).saturating_sub(1),
            None => time,
        };
        Bar { last_time: last_time.min(first_end.saturating_add(most_ms)), least }
    }

    /// Which rows may be the extreme of a window.
    fn may_be(&self, rows: &Rows) -> BooleanBuffer {
        let mut known: Option<(i64, Bar)> = None;
        BooleanBuffer::collect_bool(rows.len(), |row| {
            let (Some(time), Some(rank)) = (self.time(rows, row), self.rank(rows, row)) else { return true };
            if time < rows.marks[row].watermark {
                // The join tells that it is late.
                return true;
            }
            let bar = match known {
                Some((from, bar)) if from <= time && time <= bar.last_time => bar,
                _ => {
                    let bar = self.bar(time);
                    known = Some((time, bar));
                    bar
                }
            };
            bar.least.is_none_or(|least| rank >= least)
        })
    }
}

impl Operator for Contenders {
    fn process(&mut self, _time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for Keyed { rows, .. } in inputs.iter().flatten() {
            self.count(rows);
        }
        for Keyed { rows, .. } in inputs.into_iter().flatten() {
            out.push(rows.filter(&self.may_be(&rows)));
        }
    }

    fn advance(&mut self, _time: EpochTime, _from: &Place, to: &Place, _out: &mut Output) {
        // Rows come that are as old as the watermark, and may be so far behind a window's end.
        let needed = to.watermark.saturating_sub(self.plan.most_ms.max(0));
        while let Some(slice) = self.slices.first_time()
            && self.plan.windows.last_end(slice) < needed
        {
            self.slices.remove(slice, &KEY);
        }
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.slices.drain_changes(SLICES, log, |best, out| out.extend_from_slice(&best.to_be_bytes()));
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if table != SLICES {
            return Err(format!("there is no table {table}"));
        }
        let best = value.map(|value| value.try_into().map(i64::from_be_bytes)).transpose();
        self.slices.restore(key, best.map_err(|_| "a damaged value of a slice")?)
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.slices.len() as u64, sessions: 0 }
    }
}
