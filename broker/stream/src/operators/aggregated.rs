//! The aggregates of a group: one accumulator for each, and the row they make.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::OperatorFault;
use super::accumulator::Accumulator;
use crate::plan::Aggregate;
use crate::rows::Rows;
use crate::state::{ChangelogSink, RECORD_HEADER, decode_key, decode_key_into, entry_size};
use crate::value::{DataType, Value};

/// The state of a group. Most have one aggregate, and it stands where the group does.
pub(crate) type Accumulators = SmallVec<[Accumulator; 1]>;

/// The aggregates of an operator.
#[derive(Debug)]
pub(crate) struct Aggregates {
    list: Vec<Aggregate>,
    /// Whether rows may be taken back.
    changes: bool,
    /// Whether each of many values has an entry of its own in the changelog.
    apart: bool,
}

impl Aggregates {
    pub(crate) fn new(list: &[Aggregate], changes: bool) -> Self {
        Self { list: list.to_vec(), changes, apart: false }
    }

    /// Where an aggregate keeps every value, each has an entry of its own in the changelog.
    pub(crate) fn with_values_apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// The state of a group without rows.
    pub(crate) fn empty(&self) -> Accumulators {
        self.list.iter().map(|aggregate| self.empty_state(aggregate)).collect()
    }

    fn empty_state(&self, aggregate: &Aggregate) -> Accumulator {
        let mut state = Accumulator::new(aggregate, self.changes);
        if let Accumulator::Values(values) = &mut state
            && self.apart
        {
            values.keep_apart();
        }
        state
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
                accumulator.add(aggregate, aggregate.argument.map(|column| &rows.columns[column]), row, back);
            }
        }
    }

    /// Folds a later part of the same group in.
    pub(crate) fn merge(&self, accumulators: &mut [Accumulator], later: &[Accumulator]) {
        let states = accumulators.iter_mut().zip(later).zip(&self.list);
        states.for_each(|((accumulator, later), aggregate)| accumulator.merge(aggregate, later));
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
    pub(crate) fn decode(&self, bytes: &mut &[u8]) -> Option<Accumulators> {
        self.list.iter().map(|aggregate| self.empty_state(aggregate).decode(aggregate, bytes)).collect()
    }

    /// Puts a value back that has an entry of its own: `rest` is the entry's key behind the group's.
    pub(crate) fn restore_value(
        &self,
        accumulators: &mut [Accumulator],
        rest: &[u8],
        count: Option<&[u8]>,
    ) -> Result<(), String> {
        let (index, value) = rest.split_first().ok_or("a key without its value")?;
        let aggregate = self.list.get(usize::from(*index));
        let (Some(Accumulator::Values(values)), Some(aggregate)) =
            (accumulators.get_mut(usize::from(*index)), aggregate)
        else {
            return Err(format!("aggregate {index} keeps no values"));
        };
        decode_key(value, &[aggregate.argument_type]).ok_or("a damaged value")?;
        let count = count.map(|count| count.try_into().map(i64::from_be_bytes)).transpose();
        values.restore(aggregate, value, count.map_err(|_| "a damaged count")?);
        Ok(())
    }

    /// Whether some of its state has entries of its own.
    pub(crate) fn keeps_values(&self) -> bool {
        self.empty().iter().any(|state| matches!(state, Accumulator::Values(values) if values.is_apart()))
    }

    /// What the values of a group count for that have entries of their own; `key` is the length of the group's.
    pub(crate) fn values_size(key: usize, accumulators: &[Accumulator]) -> u32 {
        let mut size: u32 = 0;
        for accumulator in accumulators {
            if let Accumulator::Values(values) = accumulator
                && values.is_apart()
            {
                let (count, bytes) = values.extent();
                let entry = entry_size(RECORD_HEADER + key + 1, size_of::<i64>()) as usize;
                size = size.saturating_add(u32::try_from(count * entry + bytes).unwrap_or(u32::MAX));
            }
        }
        size
    }

    /// Moves values that have entries of their own from one state of a group to another.
    pub(crate) fn move_values(from: Accumulators, to: &mut [Accumulator]) {
        for (from, to) in from.into_iter().zip(to) {
            if matches!(&from, Accumulator::Values(values) if values.is_apart()) {
                *to = from;
            }
        }
    }
}

/// Entries of single values, of groups, that the changelog must be told of.
#[derive(Debug, Default)]
pub(crate) struct ValueChanges {
    /// By the entry's key: the count, or that it is gone.
    changes: BTreeMap<Vec<u8>, Option<i64>>,
}

impl ValueChanges {
    /// A group is gone, and all of its values. `key` is the group's in the changelog.
    pub(crate) fn drop_group(&mut self, key: &[u8], accumulators: &[Accumulator]) {
        for (index, accumulator) in accumulators.iter().enumerate() {
            if let Accumulator::Values(values) = accumulator {
                values.logged(|value| {
                    self.changes.insert(value_key(key, index, value), None);
                });
            }
        }
    }

    /// Takes what an epoch has changed of a group's values.
    pub(crate) fn take_group(&mut self, key: &[u8], accumulators: &mut [Accumulator]) {
        for (index, accumulator) in accumulators.iter_mut().enumerate() {
            if let Accumulator::Values(values) = accumulator {
                values.drain_changes(|value, count| {
                    self.changes.insert(value_key(key, index, value), count);
                });
            }
        }
    }

    /// Hands them to the changelog.
    pub(crate) fn drain(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        for (key, count) in std::mem::take(&mut self.changes) {
            log.put(table, &key, count.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
        }
    }
}

/// The entry of a value: behind its group's key the aggregate's place and the value.
fn value_key(key: &[u8], index: usize, value: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(key.len() + 1 + value.len());
    entry.extend_from_slice(key);
    entry.push(u8::try_from(index).expect("the binder allows no more aggregates"));
    entry.extend_from_slice(value);
    entry
}

/// A group's key as the engine encoded it, its key group first: the values.
pub(crate) fn key_values(key: &[u8], types: &[DataType]) -> Vec<Value> {
    let mut values = Vec::with_capacity(types.len());
    append_key_values(key, types, &mut values);
    values
}

/// The same, behind other values.
pub(crate) fn append_key_values(key: &[u8], types: &[DataType], values: &mut Vec<Value>) {
    let is_whole = decode_key_into(&key[1..], types, values);
    is_whole.expect("the engine encoded the key itself, or checked it when it was restored");
}

/// Whether the bytes are a group's key with its key group.
pub(crate) fn check_key(key: &[u8], types: &[DataType]) -> Result<(), String> {
    let values = key.get(1..).and_then(|key| decode_key(key, types));
    values.map(drop).ok_or_else(|| "a damaged key of a group".to_owned())
}

/// A group's key for a message.
pub(crate) fn key_text(values: &[Value]) -> String {
    match values {
        [] => "all rows".to_owned(),
        [Value::String(text)] => text.clone(),
        values => values.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
    }
}
