//! Rows of one source that are evaluated together: its computed columns, and every stateless node behind it.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow_array::{Array, TimestampMillisecondArray};
use arrow_buffer::BooleanBuffer;

use super::errors::RecordError;
use super::stretch::{Landing, Workshop};
use crate::column::Column;
use crate::eval::{Evaluator, too_much_text};
use crate::plan::Operator;
use crate::time;

impl Workshop {
    /// Evaluates a chunk of a source: its computed columns, and every stateless node behind it. Rows that are not
    /// there have nothing to compute and no time; those that are shed have their time only. Gives nothing when the texts
    /// made of it would be too much.
    pub(super) fn evaluate(
        &self,
        index: usize,
        decoded: Vec<Column>,
        there: &BooleanBuffer,
        shed: &BooleanBuffer,
    ) -> Option<Evaluated> {
        let source = &self.plan.sources[index];
        let rows = there.len();
        let mut made = 0;
        let mut refused: BTreeMap<usize, RecordError> = BTreeMap::new();
        let mut columns = decoded;
        let timed = there | shed;
        let mut active = timed.clone();
        let keep_faults = |refused: &mut BTreeMap<usize, RecordError>, evaluator: Evaluator<'_>| {
            for (row, fault) in evaluator.into_faults() {
                refused
                    .entry(row)
                    .or_insert(RecordError::Evaluate { expression: fault.expression, reason: fault.reason });
            }
        };
        for computed in &source.computed {
            let mut evaluator = Evaluator::new(&columns, rows).with_now(self.now).with_made(made);
            let column = evaluator.evaluate(&computed.expression, &active);
            made = evaluator.made_within_bounds()?;
            keep_faults(&mut refused, evaluator);
            columns.push(column);
        }
        let mut times = None;
        if let Some(event_time) = source.event_time {
            let array = columns[event_time.column].timestamp().clone();
            if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
                active = nulls.inner() & &timed;
                let column = &source.row()[event_time.column].name;
                for row in (0..array.len()).filter(|row| array.is_null(*row) && timed.value(*row)) {
                    refused.entry(row).or_insert(RecordError::NoEventTime { column: column.clone() });
                }
            }
            for (row, error) in outside_of_time(&array, self.early.longest_window_ms) {
                refused.entry(row).or_insert(error);
            }
            times = Some(array);
        }
        let mut nodes: BTreeMap<usize, (Vec<Column>, BooleanBuffer)> = BTreeMap::new();
        for node in &self.early.nodes[index] {
            let evaluated = match &self.plan.nodes[*node].operator {
                Operator::Map { filter, outputs } => {
                    let (columns, active) = &nodes[&self.plan.nodes[*node].inputs[0]];
                    let mut evaluator = Evaluator::new(columns, rows).with_now(self.now).with_made(made);
                    let kept = match filter {
                        Some(filter) => evaluator.evaluate_mask(filter, active),
                        None => active.clone(),
                    };
                    let outputs = outputs.iter().map(|output| evaluator.evaluate(output, &kept)).collect();
                    made = evaluator.made_within_bounds()?;
                    keep_faults(&mut refused, evaluator);
                    (outputs, kept)
                }
                _ => (columns.clone(), &(&active | &!&timed) & &!shed),
            };
            nodes.insert(*node, evaluated);
        }
        let wanted = nodes.into_iter().filter(|(node, _)| self.early.wanted[*node]);
        let outputs = wanted.map(|(node, (columns, kept))| (node, columns, kept)).collect();
        Some(Evaluated { times, refused, outputs, made })
    }
}

/// Rows of one source that are evaluated together.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) columns: Vec<Column>,
    pub(super) offsets: Vec<i64>,
    pub(super) timestamps: Vec<i64>,
    pub(super) landings: Vec<Landing>,
}

impl Chunk {
    /// The chunk in two parts; `None` where it is one record, whose rows stay together.
    pub(super) fn halves(&self) -> Option<[Chunk; 2]> {
        let middle = self.offsets.len() / 2;
        let of_record = |row: usize| self.offsets[row] == self.offsets[middle];
        let start = (0..middle).rev().take_while(|row| of_record(*row)).last().unwrap_or(middle);
        let end = (middle..self.offsets.len()).find(|row| !of_record(*row)).unwrap_or(self.offsets.len());
        let cut = if start > 0 { start } else { end };
        let part = |rows: Range<usize>| {
            let places: Vec<u32> = rows.clone().map(|row| row as u32).collect();
            Chunk {
                columns: self.columns.iter().map(|column| column.take(&places)).collect(),
                offsets: self.offsets[rows.clone()].to_vec(),
                timestamps: self.timestamps[rows.clone()].to_vec(),
                landings: self.landings[rows].to_vec(),
            }
        };
        (cut < self.offsets.len()).then(|| [part(0..cut), part(cut..self.offsets.len())])
    }
}

/// A chunk of a source, evaluated.
pub(super) struct Evaluated {
    /// The event time of each row, where the source has one.
    pub(super) times: Option<TimestampMillisecondArray>,
    pub(super) refused: BTreeMap<usize, RecordError>,
    /// The nodes whose rows are wanted, with their columns and the rows that pass.
    pub(super) outputs: Vec<(usize, Vec<Column>, BooleanBuffer)>,
    /// Bytes of the texts that were made of it.
    pub(super) made: usize,
}

impl Evaluated {
    /// Of the rows of one record that alone is too much.
    pub(super) fn of_too_much(rows: usize) -> Self {
        let error =
            || RecordError::Evaluate { expression: "the record's row".to_owned(), reason: too_much_text() };
        let refused = (0..rows).map(|row| (row, error())).collect();
        Evaluated { times: None, refused, outputs: Vec::new(), made: 0 }
    }
}

/// The rows whose windows may not lie within the years a `TIMESTAMP` can hold.
fn outside_of_time(times: &TimestampMillisecondArray, longest_window_ms: i64) -> Vec<(usize, RecordError)> {
    if longest_window_ms == 0 {
        return Vec::new();
    }
    let outside = |time: i64| {
        !time::in_range(time.saturating_sub(longest_window_ms))
            || !time::in_range(time.saturating_add(longest_window_ms))
    };
    let rows = times.iter().enumerate().filter_map(|(row, time)| Some((row, time?)));
    rows.filter(|(_, time)| outside(*time))
        .map(|(row, time)| {
            let reason = format!("the window of {} is not within the years 1 to 9999", time::Iso(time));
            (row, RecordError::Evaluate { expression: "window".to_owned(), reason })
        })
        .collect()
}
