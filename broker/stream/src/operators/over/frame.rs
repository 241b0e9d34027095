//! The rows around a row, and what is computed of them. Pure: rows in, values out.

use std::ops::Range;

use crate::operators::OperatorFault;
use crate::operators::accumulator::Accumulator;
use crate::plan::{Aggregate, Frame, FrameUnit, OverFunction, OverKind, RankFunction};
use crate::rows::{MOST_BYTES, Rows};
use crate::value::Value;

/// The rows of a partition, in order.
#[derive(Debug)]
pub(super) struct Ordered<'r> {
    pub(super) rows: &'r Rows,
    /// For each row the place of the first that is equal to it in the order.
    pub(super) first_equal: Vec<usize>,
    /// For each row the place behind the last that is equal to it.
    behind_equal: Vec<usize>,
    /// For each row how many different rows there are up to it.
    distinct: Vec<usize>,
    /// The value of the order's first column, if it is a `TIMESTAMP` in ascending order.
    pub(super) times: Option<usize>,
}

impl<'r> Ordered<'r> {
    /// Rows whose orders are equal where these parts of their sort keys are.
    pub(super) fn new<'s>(
        rows: &'r Rows,
        orders: impl Iterator<Item = &'s [u8]>,
        times: Option<usize>,
    ) -> Self {
        let mut first_equal: Vec<usize> = Vec::with_capacity(rows.len());
        let mut distinct: Vec<usize> = Vec::with_capacity(rows.len());
        let mut before = None;
        for (row, order) in orders.enumerate() {
            let equal = before == Some(order);
            first_equal.push(if equal { first_equal[row - 1] } else { row });
            distinct.push(distinct.last().map_or(0, |count| *count) + usize::from(!equal));
            before = Some(order);
        }
        let mut behind_equal = vec![first_equal.len(); first_equal.len()];
        for row in (1..first_equal.len()).rev() {
            behind_equal[row - 1] = if first_equal[row] == row { row } else { behind_equal[row] };
        }
        Self { rows, first_equal, behind_equal, distinct, times }
    }

    fn len(&self) -> usize {
        self.first_equal.len()
    }

    fn time(&self, row: usize) -> Option<i64> {
        let times = self.rows.columns[self.times?].timestamp();
        arrow_array::Array::is_valid(times, row).then(|| times.value(row))
    }

    /// The rows of a row's frame.
    fn frame(&self, frame: Frame, row: usize) -> Range<usize> {
        match frame.unit {
            FrameUnit::Rows => {
                let reach = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
                let first = frame.preceding.map_or(0, |count| row.saturating_sub(reach(count)));
                let behind = match frame.following {
                    None => self.len(),
                    Some(count) => row.saturating_add(reach(count)).saturating_add(1).min(self.len()),
                };
                first..behind
            }
            FrameUnit::Range => {
                let first = match frame.preceding {
                    None => 0,
                    Some(0) => self.first_equal[row],
                    Some(ms) => self.first_since(row, ms),
                };
                let behind = match frame.following {
                    None => self.len(),
                    Some(0) => self.behind_equal[row],
                    Some(ms) => self.behind_until(row, ms),
                };
                first..behind
            }
        }
    }

    /// The first row that is no more than this before a row; without a time rows without a time are.
    fn first_since(&self, row: usize, ms: u64) -> usize {
        let Some(time) = self.time(row) else { return self.first_equal[row] };
        let least = time.saturating_sub_unsigned(ms);
        // Rows without a time are all before those with one, or all behind them.
        first_without(0..self.first_equal[row], |before| self.time(before).is_none_or(|time| time < least))
    }

    fn behind_until(&self, row: usize, ms: u64) -> usize {
        let Some(time) = self.time(row) else { return self.behind_equal[row] };
        let greatest = time.saturating_add_unsigned(ms);
        let behind = self.behind_equal[row]..self.len();
        first_without(behind, |later| self.time(later).is_some_and(|time| time <= greatest))
    }
}

/// The first place of a range that does not hold, if all before it do and none behind it does; else its end.
fn first_without(range: Range<usize>, holds: impl Fn(usize) -> bool) -> usize {
    let (mut first, mut end) = (range.start, range.end);
    while first < end {
        let middle = first + (end - first) / 2;
        match holds(middle) {
            true => first = middle + 1,
            false => end = middle,
        }
    }
    first
}

/// The values of a function for some rows. `running` is the state of an aggregate over everything before the first
/// of them, where the rows before them are not there any more; it is left behind the last. `made` counts the bytes of
/// their texts: behind [`MOST_BYTES`] of them values are `NULL`, and of no use.
pub(super) fn evaluate(
    function: &OverFunction,
    ordered: &Ordered<'_>,
    wanted: Range<usize>,
    running: Option<&mut Accumulator>,
    made: &mut usize,
    name: &impl Fn() -> String,
) -> Vec<Result<Value, OperatorFault>> {
    match &function.kind {
        OverKind::Aggregate { aggregate, frame } => {
            let fault = |reason| OperatorFault { row: name(), expression: function.text.clone(), reason };
            let values = match running {
                Some(running) => run(aggregate, *frame, ordered, wanted, running, made),
                None => slide(aggregate, *frame, ordered, wanted, made),
            };
            values.into_iter().map(|value| value.map_err(fault)).collect()
        }
        OverKind::Lag { argument, offset, default, .. } => {
            let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
            let value = |row: usize| match row.checked_sub(offset) {
                Some(before) => ordered.rows.columns[*argument].value(before),
                None => default.clone(),
            };
            wanted.map(|row| Ok(value(row))).collect()
        }
        OverKind::Lead { argument, offset, default, .. } => {
            let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
            let value = |row: usize| match row.checked_add(offset).filter(|behind| *behind < ordered.len()) {
                Some(behind) => ordered.rows.columns[*argument].value(behind),
                None => default.clone(),
            };
            wanted.map(|row| Ok(value(row))).collect()
        }
        OverKind::Number(function) => {
            let number = |row: usize| match function {
                RankFunction::RowNumber => row + 1,
                RankFunction::Rank => ordered.first_equal[row] + 1,
                RankFunction::DenseRank => ordered.distinct[row],
            };
            wanted.map(|row| Ok(Value::BigInt(number(row) as i64))).collect()
        }
    }
}

/// Frames that begin at the partition's first row: what is before the rows wanted is in the state.
fn run(
    aggregate: &Aggregate,
    frame: Frame,
    ordered: &Ordered<'_>,
    wanted: Range<usize>,
    running: &mut Accumulator,
    made: &mut usize,
) -> Vec<Result<Value, String>> {
    let mut taken = wanted.start;
    let values = wanted.map(|row| {
        let behind = ordered.frame(frame, row).end;
        take(aggregate, running, ordered.rows, taken..behind, false);
        taken = taken.max(behind);
        finish(running, aggregate, made)
    });
    values.collect()
}

/// Frames that move with the row. What cannot be taken back exactly is folded anew for each, in order.
fn slide(
    aggregate: &Aggregate,
    frame: Frame,
    ordered: &Ordered<'_>,
    wanted: Range<usize>,
    made: &mut usize,
) -> Vec<Result<Value, String>> {
    // A state that may be taken back, where that is exact.
    let mut state = Accumulator::new(aggregate, true);
    let exact = state.inverts_exactly();
    if !exact {
        state = Accumulator::new(aggregate, false);
    }
    let mut held = wanted.start..wanted.start;
    let values = wanted.map(|row| {
        let frame = ordered.frame(frame, row);
        let fresh = frame.start >= held.end || frame.start < held.start || frame.end < held.end;
        if fresh || frame.start != held.start && !exact {
            state = Accumulator::new(aggregate, exact);
            held = frame.start..frame.start;
        }
        take(aggregate, &mut state, ordered.rows, held.start..frame.start, true);
        take(aggregate, &mut state, ordered.rows, held.end..frame.end, false);
        held = frame;
        finish(&state, aggregate, made)
    });
    values.collect()
}

/// The value of a state, while there is room for it.
fn finish(state: &Accumulator, aggregate: &Aggregate, made: &mut usize) -> Result<Value, String> {
    if *made > MOST_BYTES {
        return Ok(Value::Null);
    }
    let value = state.finish(aggregate)?;
    if let Value::String(text) = &value {
        *made += text.len();
    }
    Ok(value)
}

fn take(aggregate: &Aggregate, state: &mut Accumulator, rows: &Rows, range: Range<usize>, back: bool) {
    for row in range {
        let counts = aggregate.filter.is_none_or(|filter| {
            let filter = rows.columns[filter].boolean();
            arrow_array::Array::is_valid(filter, row) && filter.value(row)
        });
        if counts {
            state.add(aggregate, aggregate.argument.map(|column| &rows.columns[column]), row, back);
        }
    }
}
