//! One aggregate of one group, folded in record order.

use std::collections::BTreeMap;

use arrow_array::Array;

use crate::column::Column;
use crate::plan::{Aggregate, AggregateFunction};
use crate::state::{decode_key, encode_key_part};
use crate::value::{DataType, Value};

/// The state of one aggregate. It starts empty, takes one row at a time, and is kept in the changelog as bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Accumulator {
    /// How many rows, or values that are not `NULL`.
    Count(i64),
    /// An exact sum; only the result must fit its type.
    SumInteger { sum: i128, count: i64 },
    /// A sum in record order; no other order would give the same bits.
    SumDouble { sum: f64, count: i64 },
    /// The least or greatest `BIGINT` or `TIMESTAMP`, of rows that are never taken back.
    ExtremeInteger { greatest: bool, best: Option<i64> },
    /// The least or greatest `DOUBLE`.
    ExtremeDouble { greatest: bool, best: Option<f64> },
    /// The least or greatest text.
    ExtremeText { greatest: bool, best: Option<Box<str>> },
    /// Every value and how often it is there, by its key: for `DISTINCT`, and for the least and greatest of rows that
    /// may be taken back.
    Values(BTreeMap<Box<[u8]>, i64>),
}

impl Accumulator {
    /// The empty state of an aggregate over rows that may be taken back, or never are.
    pub(crate) fn new(aggregate: &Aggregate, changes: bool) -> Accumulator {
        let greatest = aggregate.function == AggregateFunction::Max;
        let extreme = matches!(aggregate.function, AggregateFunction::Min | AggregateFunction::Max);
        if extreme && changes || aggregate.distinct && !extreme {
            return Accumulator::Values(BTreeMap::new());
        }
        match (aggregate.function, aggregate.argument_type) {
            (AggregateFunction::Count, _) => Accumulator::Count(0),
            (AggregateFunction::Sum | AggregateFunction::Average, DataType::Double) => {
                Accumulator::SumDouble { sum: 0.0, count: 0 }
            }
            (AggregateFunction::Sum | AggregateFunction::Average, _) => {
                Accumulator::SumInteger { sum: 0, count: 0 }
            }
            (_, DataType::Double) => Accumulator::ExtremeDouble { greatest, best: None },
            (_, DataType::String) => Accumulator::ExtremeText { greatest, best: None },
            (_, DataType::BigInt | DataType::Timestamp) => {
                Accumulator::ExtremeInteger { greatest, best: None }
            }
            (_, _) => Accumulator::Values(BTreeMap::new()),
        }
    }

    /// Takes one row of the argument's column; `None` is `COUNT(*)`. A row that is taken back counts the other way.
    pub(crate) fn add(&mut self, argument: Option<&Column>, row: usize, back: bool) {
        let sign = if back { -1 } else { 1 };
        let Some(column) = argument else {
            if let Accumulator::Count(count) = self {
                *count += sign;
            }
            return;
        };
        if column.is_null(row) {
            return;
        }
        match (self, column) {
            (Accumulator::Count(count), _) => *count += sign,
            (Accumulator::SumInteger { sum, count }, Column::BigInt(array)) => {
                *sum += i128::from(sign) * i128::from(array.value(row));
                *count += sign;
            }
            (Accumulator::SumDouble { sum, count }, Column::Double(array)) => {
                match back {
                    true => *sum -= array.value(row),
                    false => *sum += array.value(row),
                }
                *count += sign;
            }
            (Accumulator::ExtremeInteger { greatest, best }, Column::BigInt(array)) => {
                keep_better(best, array.value(row), *greatest);
            }
            (Accumulator::ExtremeInteger { greatest, best }, Column::Timestamp(array)) => {
                keep_better(best, array.value(row), *greatest);
            }
            (Accumulator::ExtremeDouble { greatest, best }, Column::Double(array)) => {
                keep_better(best, array.value(row), *greatest);
            }
            (Accumulator::ExtremeText { greatest, best }, Column::String(array)) => {
                debug_assert!(array.is_valid(row));
                keep_better_text(best, array.value(row), *greatest);
            }
            (Accumulator::Values(values), column) => {
                let mut key = Vec::with_capacity(16);
                encode_key_part(column, row, &mut key);
                count_value(values, key.into(), sign);
            }
            (accumulator, column) => {
                unreachable!("the binder checks arguments: {accumulator:?} of {column:?}")
            }
        }
    }

    /// Whether taking a row back leaves exactly what was there before it.
    pub(crate) fn inverts_exactly(&self) -> bool {
        matches!(self, Accumulator::Count(_) | Accumulator::SumInteger { .. } | Accumulator::Values(_))
    }

    /// Takes everything another accumulator of the same aggregate took, later than this one.
    pub(crate) fn merge(&mut self, other: &Accumulator) {
        match (self, other) {
            (Accumulator::Count(count), Accumulator::Count(other)) => *count += other,
            (
                Accumulator::SumInteger { sum, count },
                Accumulator::SumInteger { sum: other_sum, count: other_count },
            ) => {
                *sum += other_sum;
                *count += other_count;
            }
            (
                Accumulator::SumDouble { sum, count },
                Accumulator::SumDouble { sum: other_sum, count: other_count },
            ) => {
                *sum += other_sum;
                *count += other_count;
            }
            (
                Accumulator::ExtremeInteger { greatest, best },
                Accumulator::ExtremeInteger { best: other, .. },
            ) => other.iter().for_each(|other| keep_better(best, *other, *greatest)),
            (
                Accumulator::ExtremeDouble { greatest, best },
                Accumulator::ExtremeDouble { best: other, .. },
            ) => other.iter().for_each(|other| keep_better(best, *other, *greatest)),
            (Accumulator::ExtremeText { greatest, best }, Accumulator::ExtremeText { best: other, .. }) => {
                other.iter().for_each(|other| keep_better_text(best, other, *greatest));
            }
            (Accumulator::Values(values), Accumulator::Values(other)) => {
                other.iter().for_each(|(key, count)| count_value(values, key.clone(), *count));
            }
            (left, right) => unreachable!("two states of one aggregate: {left:?} and {right:?}"),
        }
    }

    /// The result; an error when it does not fit its type.
    pub(crate) fn finish(&self, aggregate: &Aggregate) -> Result<Value, String> {
        let data_type = aggregate.data_type();
        Ok(match self {
            Accumulator::Count(count) => Value::BigInt(*count),
            Accumulator::SumInteger { count: 0, .. } | Accumulator::SumDouble { count: 0, .. } => Value::Null,
            Accumulator::SumInteger { sum, count } if data_type == DataType::Double => {
                finite(*sum as f64 / *count as f64)?
            }
            Accumulator::SumInteger { sum, .. } => Value::BigInt(
                i64::try_from(*sum).map_err(|_| format!("the sum {sum} does not fit a BIGINT"))?,
            ),
            Accumulator::SumDouble { sum, count } if aggregate.function == AggregateFunction::Average => {
                finite(*sum / *count as f64)?
            }
            Accumulator::SumDouble { sum, .. } => finite(*sum)?,
            Accumulator::ExtremeInteger { best: Some(best), .. } if data_type == DataType::Timestamp => {
                Value::Timestamp(*best)
            }
            Accumulator::ExtremeInteger { best, .. } => best.map_or(Value::Null, Value::BigInt),
            Accumulator::ExtremeDouble { best, .. } => best.map_or(Value::Null, Value::Double),
            Accumulator::ExtremeText { best, .. } => {
                best.as_deref().map_or(Value::Null, |best| Value::String(best.to_owned()))
            }
            Accumulator::Values(values) => finish_values(values, aggregate)?,
        })
    }

    /// Appends the state as bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Accumulator::Count(count) => out.extend_from_slice(&count.to_be_bytes()),
            Accumulator::SumInteger { sum, count } => {
                out.extend_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
            Accumulator::SumDouble { sum, count } => {
                out.extend_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
            Accumulator::ExtremeInteger { best, .. } => encode_option(out, best.map(i64::to_be_bytes)),
            Accumulator::ExtremeDouble { best, .. } => encode_option(out, best.map(f64::to_be_bytes)),
            Accumulator::ExtremeText { best, .. } => match best {
                None => out.push(0),
                Some(best) => {
                    out.push(1);
                    encode_bytes(out, best.as_bytes());
                }
            },
            Accumulator::Values(values) => {
                out.extend_from_slice(&(values.len() as u32).to_be_bytes());
                for (key, count) in values {
                    encode_bytes(out, key);
                    out.extend_from_slice(&count.to_be_bytes());
                }
            }
        }
    }

    /// Reads the state back, over the empty state of the same aggregate; `None` if the bytes are damaged.
    pub(crate) fn decode(mut self, bytes: &mut &[u8]) -> Option<Accumulator> {
        match &mut self {
            Accumulator::Count(count) => *count = i64::from_be_bytes(take(bytes)?),
            Accumulator::SumInteger { sum, count } => {
                *sum = i128::from_be_bytes(take(bytes)?);
                *count = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::SumDouble { sum, count } => {
                *sum = f64::from_be_bytes(take(bytes)?);
                *count = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::ExtremeInteger { best, .. } => *best = take_option(bytes)?.map(i64::from_be_bytes),
            Accumulator::ExtremeDouble { best, .. } => *best = take_option(bytes)?.map(f64::from_be_bytes),
            Accumulator::ExtremeText { best, .. } => {
                *best = match take(bytes)? {
                    [0] => None,
                    [1] => Some(std::str::from_utf8(take_bytes(bytes)?).ok()?.into()),
                    _ => return None,
                };
            }
            Accumulator::Values(values) => {
                for _ in 0..u32::from_be_bytes(take(bytes)?) {
                    let key = take_bytes(bytes)?.into();
                    values.insert(key, i64::from_be_bytes(take(bytes)?));
                }
            }
        }
        Some(self)
    }
}

/// The result over distinct values, or over values with their counts.
fn finish_values(values: &BTreeMap<Box<[u8]>, i64>, aggregate: &Aggregate) -> Result<Value, String> {
    let decode = |key: &[u8]| {
        decode_key(key, &[aggregate.argument_type])
            .and_then(|mut values| values.pop())
            .expect("the engine encoded the value itself, or checked it when it was restored")
    };
    // A value that was taken back before it was given is in debt, and not there.
    let mut there = values.iter().filter(|(_, count)| **count > 0).map(|(key, _)| key);
    Ok(match aggregate.function {
        AggregateFunction::Count => Value::BigInt(there.count() as i64),
        AggregateFunction::Min => there.next().map_or(Value::Null, |key| decode(key)),
        AggregateFunction::Max => there.next_back().map_or(Value::Null, |key| decode(key)),
        AggregateFunction::Sum | AggregateFunction::Average => {
            let plain = Aggregate { distinct: false, ..aggregate.clone() };
            let mut sum = Accumulator::new(&plain, true);
            for key in there {
                sum.add(Some(&Column::repeat(&decode(key), aggregate.argument_type, 1)), 0, false);
            }
            sum.finish(&plain)?
        }
    })
}

fn count_value(values: &mut BTreeMap<Box<[u8]>, i64>, key: Box<[u8]>, by: i64) {
    use std::collections::btree_map::Entry;
    match values.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(by);
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += by;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

fn keep_better<T: PartialOrd>(best: &mut Option<T>, value: T, greatest: bool) {
    let better = best.as_ref().is_none_or(|best| if greatest { value > *best } else { value < *best });
    if better {
        *best = Some(value);
    }
}

fn keep_better_text(best: &mut Option<Box<str>>, text: &str, greatest: bool) {
    let better = best.as_deref().is_none_or(|best| if greatest { text > best } else { text < best });
    if better {
        *best = Some(text.into());
    }
}

fn finite(value: f64) -> Result<Value, String> {
    match value.is_finite() {
        true => Ok(Value::Double(value)),
        false => Err("the sum does not fit a DOUBLE".to_owned()),
    }
}

fn encode_option<const N: usize>(out: &mut Vec<u8>, value: Option<[u8; N]>) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            out.extend_from_slice(&value);
        }
    }
}

fn encode_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*value)
}

fn take_option<const N: usize>(bytes: &mut &[u8]) -> Option<Option<[u8; N]>> {
    match take(bytes)? {
        [0] => Some(None),
        [1] => take(bytes).map(Some),
        _ => None,
    }
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = u32::from_be_bytes(take(bytes)?) as usize;
    let (found, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(found)
}
