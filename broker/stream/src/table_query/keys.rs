//! Which records of a table a query can be answered from, where its `WHERE` says the whole key.
//!
//! ```text
//! WHERE a = 1 AND b IN ('x', 'y') ─► a: {1}, b: {'x', 'y'} ─► the keys of records: {"a":1,"b":"x"}, {"a":1,"b":"y"}
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::QueryTable;
use crate::column::Column;
use crate::format::{RecordEncoder, encode_key};
use crate::murmur2::partition_for_key;
use crate::plan::{BinaryOperator, ColumnOrigin, Expression, Operator, OutputMode, Plan, Sink};
use crate::sql::EMPTY_ROW_TOPIC;
use crate::value::{DataType, Value};

/// Of more keys than these all rows are looked at.
const MAX_KEYS: usize = 1_000;

/// The keys of the records that a query is about, and of no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLookUp {
    keys: BTreeSet<Vec<u8>>,
}

/// Of some columns of a row, by their index: the values they may have.
type Values = BTreeMap<usize, Vec<Value>>;

impl KeyLookUp {
    /// What a query over a table looks up; `None` where it is about other rows, too.
    pub(super) fn of(plan: &Plan, table: &QueryTable) -> Option<KeyLookUp> {
        if table.sink.mode != OutputMode::Upsert || !table.has_one_key {
            return None;
        }
        let is_table = |operator: &Operator| match operator {
            Operator::Source { source } => plan.sources[*source].topic != EMPTY_ROW_TOPIC,
            _ => false,
        };
        let rows = plan.nodes.iter().position(|node| is_table(&node.operator))?;
        let readers = plan.nodes.iter().filter(|node| node.inputs.contains(&rows));
        let is_written = plan.sinks.iter().any(|sink| sink.input == rows);
        let mut keys = BTreeSet::new();
        let mut is_filtered = false;
        for reader in readers {
            let Operator::Map { filter: Some(filter), .. } = &reader.operator else { return None };
            let read = &plan.nodes[rows].columns;
            let place =
                |index: usize| table.sink.columns.iter().position(|column| column.name == read[index].name);
            let values = values_of(filter).into_iter();
            let values = values.filter_map(|(index, values)| Some((place(index)?, values)));
            keys.extend(record_keys(&table.sink, &values.collect())?);
            is_filtered = true;
        }
        (is_filtered && !is_written && keys.len() <= MAX_KEYS).then_some(KeyLookUp { keys })
    }

    /// The keys of the records, in order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(Vec::as_slice)
    }

    /// Whether this is one of them.
    pub fn has(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    /// The partition in which a pipeline writes the records of a key, of so many (at least 1).
    pub fn partition(key: &[u8], partitions: i32) -> i32 {
        partition_for_key(key, partitions)
    }
}

/// What a condition says of columns that it compares with constants. Columns of which it says nothing that is so simple
/// are left out.
fn values_of(condition: &Expression) -> Values {
    if let Some((column, values)) = values_of_one(condition) {
        return BTreeMap::from([(column, values)]);
    }
    let Expression::Binary { operator: BinaryOperator::And, left, right } = condition else {
        return BTreeMap::new();
    };
    let mut values = values_of(left);
    for (column, these) in values_of(right) {
        match values.get_mut(&column) {
            Some(known) => known.retain(|value| these.contains(value)),
            None => drop(values.insert(column, these)),
        }
    }
    values
}

/// The same of a condition about one column: `x = 1`, `x IN (1, 2)`, `x = 1 OR x = 2`.
fn values_of_one(condition: &Expression) -> Option<(usize, Vec<Value>)> {
    let Expression::Binary { operator, left, right } = condition else { return None };
    match operator {
        BinaryOperator::Equal => match (&**left, &**right) {
            (Expression::Column { index, data_type, .. }, Expression::Literal { value, data_type: of })
            | (Expression::Literal { value, data_type: of }, Expression::Column { index, data_type, .. })
                if data_type == of =>
            {
                Some((*index, values(value)?))
            }
            _ => None,
        },
        BinaryOperator::Or => {
            let (column, mut values) = values_of_one(left)?;
            let (other, more) = values_of_one(right)?;
            values.extend(more);
            (column == other && values.len() <= MAX_KEYS).then_some((column, values))
        }
        _ => None,
    }
}

/// The values that are equal to a constant, if they are all written alike.
fn values(constant: &Value) -> Option<Vec<Value>> {
    match constant {
        // Nothing is equal to it.
        Value::Null => Some(Vec::new()),
        // The two zeros are equal.
        Value::Double(float) if *float == 0.0 || float.is_nan() => None,
        value => Some(vec![value.clone()]),
    }
}

/// The keys of all records whose rows have these values; `None` unless they say the whole key.
fn record_keys(sink: &Sink, values: &Values) -> Option<Vec<Vec<u8>>> {
    let in_key = sink.columns.iter().enumerate().filter(|(_, column)| column.origin == ColumnOrigin::Key);
    let of_key = in_key.map(|(index, _)| index).chain(sink.key.iter().map(|key| key.column));
    let of_key: BTreeSet<usize> = of_key.collect();
    if of_key.is_empty() {
        return None;
    }
    let mut rows: Vec<BTreeMap<usize, Value>> = vec![BTreeMap::new()];
    for column in of_key {
        // Columns behind the table's own serve the key only, and no query can name them.
        let values = values.get(&column)?;
        if rows.len().saturating_mul(values.len()) > MAX_KEYS {
            return None;
        }
        let with = |row: &BTreeMap<usize, Value>, value: &Value| {
            let mut row = row.clone();
            row.insert(column, value.clone());
            row
        };
        rows = rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect();
    }
    let encoder = RecordEncoder::new(&sink.format, &sink.columns).ok()?;
    rows.iter().map(|row| record_key(sink, &encoder, row)).collect()
}

/// The key of the record that a pipeline writes for a row.
fn record_key(sink: &Sink, encoder: &RecordEncoder, row: &BTreeMap<usize, Value>) -> Option<Vec<u8>> {
    let value = |column: usize| row.get(&column).cloned().unwrap_or(Value::Null);
    let column = |(index, column): (usize, &crate::plan::Column)| {
        let data_type: DataType = column.data_type;
        Column::repeat(&value(index), data_type, 1)
    };
    let columns: Vec<Column> = sink.columns.iter().enumerate().map(column).collect();
    let mut key = Vec::new();
    match encoder.key(&columns, 0, &mut key) {
        Ok(true) => Some(key),
        Ok(false) => {
            let names: Vec<String> = sink.key.iter().map(|key| key.name.clone()).collect();
            let values: Vec<Value> = sink.key.iter().map(|key| value(key.column)).collect();
            encode_key(&names, &values)
        }
        Err(_) => None,
    }
}
