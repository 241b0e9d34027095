//! The aggregates of a group: one accumulator for each, and the row they make.

use super::OperatorFault;
use super::accumulator::Accumulator;
use crate::plan::Aggregate;
use crate::rows::Rows;
use crate::state::decode_key;
use crate::value::{DataType, Value};

/// The aggregates of an operator.
#[derive(Debug)]
pub(crate) struct Aggregates {
    list: Vec<Aggregate>,
    /// Whether rows may be taken back.
    changes: bool,
}

impl Aggregates {
    pub(crate) fn new(list: &[Aggregate], changes: bool) -> Self {
        Self { list: list.to_vec(), changes }
    }

    /// The state of a group without rows.
    pub(crate) fn empty(&self) -> Vec<Accumulator> {
        self.list.iter().map(|aggregate| Accumulator::new(aggregate, self.changes)).collect()
    }

    /// Folds one row in.
    pub(crate) fn add(&self, accumulators: &mut [Accumulator], rows: &Rows, row: usize) {
        let back = rows.marks[row].back;
        for (accumulator, aggregate) in accumulators.iter_mut().zip(&self.list) {
            let counts = aggregate.filter.is_none_or(|filter| {
                let filter = rows.columns[filter].boolean();
                arrow_array::Array::is_valid(filter, row) && filter.value(row)
            });
            if counts {
                accumulator.add(aggregate.argument.map(|column| &rows.columns[column]), row, back);
            }
        }
    }

    /// Folds a later part of the same group in.
    pub(crate) fn merge(&self, accumulators: &mut [Accumulator], later: &[Accumulator]) {
        accumulators.iter_mut().zip(later).for_each(|(accumulator, later)| accumulator.merge(later));
    }

    /// The results, appended to the values of a row; `row` names the group.
    pub(crate) fn finish(
        &self,
        accumulators: &[Accumulator],
        values: &mut Vec<Value>,
        row: impl Fn() -> String,
    ) -> Result<(), OperatorFault> {
        for (accumulator, aggregate) in accumulators.iter().zip(&self.list) {
            values.push(accumulator.finish(aggregate).map_err(|reason| OperatorFault {
                row: row(),
                expression: aggregate.text.clone(),
                reason,
            })?);
        }
        Ok(())
    }

    pub(crate) fn encode(accumulators: &[Accumulator], out: &mut Vec<u8>) {
        accumulators.iter().for_each(|accumulator| accumulator.encode(out));
    }

    /// Reads the accumulators back from the front of `bytes`.
    pub(crate) fn decode(&self, bytes: &mut &[u8]) -> Option<Vec<Accumulator>> {
        self.list.iter().map(|aggregate| Accumulator::new(aggregate, self.changes).decode(bytes)).collect()
    }
}

/// A group's key as the engine encoded it, its key group first: the values.
pub(crate) fn key_values(key: &[u8], types: &[DataType]) -> Vec<Value> {
    decode_key(&key[1..], types)
        .expect("the engine encoded the key itself, or checked it when it was restored")
}

/// A group's key for a message.
pub(crate) fn key_text(values: &[Value]) -> String {
    match values {
        [] => "all rows".to_owned(),
        [Value::String(text)] => text.clone(),
        values => values.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
    }
}
