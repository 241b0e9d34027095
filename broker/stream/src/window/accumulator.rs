//! One aggregate of one group, folded in record order.

use arrow_array::Array;

use crate::column::Column;
use crate::plan::{Aggregate, AggregateFunction};
use crate::value::{DataType, Value};

/// The state of one aggregate. It starts empty, takes one row at a time, and is kept in the changelog as bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Accumulator {
    /// How many rows, or values that are not `NULL`.
    Count(i64),
    /// An exact sum; only the result must fit a `BIGINT`.
    SumBigInt(Option<i128>),
    /// A sum in record order; no other order would give the same bits.
    SumDouble(Option<f64>),
    AverageBigInt {
        sum: i128,
        count: i64,
    },
    AverageDouble {
        sum: f64,
        count: i64,
    },
    /// The least or greatest `BIGINT` or `TIMESTAMP`.
    ExtremeInteger {
        greatest: bool,
        best: Option<i64>,
    },
    ExtremeDouble {
        greatest: bool,
        best: Option<f64>,
    },
    ExtremeText {
        greatest: bool,
        best: Option<Box<str>>,
    },
}

impl Accumulator {
    /// The empty state of an aggregate.
    pub(crate) fn new(aggregate: &Aggregate) -> Accumulator {
        let argument = aggregate.argument.as_ref().map_or(DataType::BigInt, |argument| argument.data_type());
        let greatest = aggregate.function == AggregateFunction::Max;
        match (aggregate.function, argument) {
            (AggregateFunction::Count, _) => Accumulator::Count(0),
            (AggregateFunction::Sum, DataType::Double) => Accumulator::SumDouble(None),
            (AggregateFunction::Sum, _) => Accumulator::SumBigInt(None),
            (AggregateFunction::Average, DataType::Double) => {
                Accumulator::AverageDouble { sum: 0.0, count: 0 }
            }
            (AggregateFunction::Average, _) => Accumulator::AverageBigInt { sum: 0, count: 0 },
            (AggregateFunction::Min | AggregateFunction::Max, DataType::Double) => {
                Accumulator::ExtremeDouble { greatest, best: None }
            }
            (AggregateFunction::Min | AggregateFunction::Max, DataType::String) => {
                Accumulator::ExtremeText { greatest, best: None }
            }
            (AggregateFunction::Min | AggregateFunction::Max, _) => {
                Accumulator::ExtremeInteger { greatest, best: None }
            }
        }
    }

    /// Takes one row of the argument's column; `None` is `COUNT(*)`.
    pub(crate) fn add(&mut self, argument: Option<&Column>, row: usize) {
        let Some(column) = argument else {
            if let Accumulator::Count(count) = self {
                *count += 1;
            }
            return;
        };
        if column.is_null(row) {
            return;
        }
        match (self, column) {
            (Accumulator::Count(count), _) => *count += 1,
            (Accumulator::SumBigInt(sum), Column::BigInt(array)) => {
                *sum = Some(sum.unwrap_or(0) + i128::from(array.value(row)));
            }
            (Accumulator::SumDouble(sum), Column::Double(array)) => {
                *sum = Some(sum.unwrap_or(0.0) + array.value(row));
            }
            (Accumulator::AverageBigInt { sum, count }, Column::BigInt(array)) => {
                *sum += i128::from(array.value(row));
                *count += 1;
            }
            (Accumulator::AverageDouble { sum, count }, Column::Double(array)) => {
                *sum += array.value(row);
                *count += 1;
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
                let text = array.value(row);
                let better = match best.as_deref() {
                    None => true,
                    Some(best) => {
                        if *greatest {
                            text > best
                        } else {
                            text < best
                        }
                    }
                };
                if better {
                    *best = Some(text.into());
                }
            }
            (accumulator, column) => {
                unreachable!("the binder checks arguments: {accumulator:?} of {column:?}")
            }
        }
    }

    /// The result; an error when it does not fit its type.
    pub(crate) fn finish(&self, data_type: DataType) -> Result<Value, String> {
        Ok(match self {
            Accumulator::Count(count) => Value::BigInt(*count),
            Accumulator::SumBigInt(None) | Accumulator::SumDouble(None) => Value::Null,
            Accumulator::SumBigInt(Some(sum)) => Value::BigInt(
                i64::try_from(*sum).map_err(|_| format!("the sum {sum} does not fit a BIGINT"))?,
            ),
            Accumulator::SumDouble(Some(sum)) => finite(*sum)?,
            Accumulator::AverageBigInt { count: 0, .. } | Accumulator::AverageDouble { count: 0, .. } => {
                Value::Null
            }
            Accumulator::AverageBigInt { sum, count } => finite(*sum as f64 / *count as f64)?,
            Accumulator::AverageDouble { sum, count } => finite(*sum / *count as f64)?,
            Accumulator::ExtremeInteger { best: Some(best), .. } if data_type == DataType::Timestamp => {
                Value::Timestamp(*best)
            }
            Accumulator::ExtremeInteger { best, .. } => best.map_or(Value::Null, Value::BigInt),
            Accumulator::ExtremeDouble { best, .. } => best.map_or(Value::Null, Value::Double),
            Accumulator::ExtremeText { best, .. } => {
                best.as_deref().map_or(Value::Null, |best| Value::String(best.to_owned()))
            }
        })
    }

    /// Appends the state as bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Accumulator::Count(count) => out.extend_from_slice(&count.to_be_bytes()),
            Accumulator::SumBigInt(sum) => encode_option(out, sum.map(i128::to_be_bytes)),
            Accumulator::SumDouble(sum) => encode_option(out, sum.map(f64::to_be_bytes)),
            Accumulator::AverageBigInt { sum, count } => {
                out.extend_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
            Accumulator::AverageDouble { sum, count } => {
                out.extend_from_slice(&sum.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
            Accumulator::ExtremeInteger { best, .. } => encode_option(out, best.map(i64::to_be_bytes)),
            Accumulator::ExtremeDouble { best, .. } => encode_option(out, best.map(f64::to_be_bytes)),
            Accumulator::ExtremeText { best, .. } => match best {
                None => out.push(0),
                Some(best) => {
                    out.push(1);
                    out.extend_from_slice(&(best.len() as u32).to_be_bytes());
                    out.extend_from_slice(best.as_bytes());
                }
            },
        }
    }

    /// Reads the state back, over the empty state of the same aggregate; `None` if the bytes are damaged.
    pub(crate) fn decode(mut self, bytes: &mut &[u8]) -> Option<Accumulator> {
        match &mut self {
            Accumulator::Count(count) => *count = i64::from_be_bytes(take(bytes)?),
            Accumulator::SumBigInt(sum) => *sum = take_option(bytes)?.map(i128::from_be_bytes),
            Accumulator::SumDouble(sum) => *sum = take_option(bytes)?.map(f64::from_be_bytes),
            Accumulator::AverageBigInt { sum, count } => {
                *sum = i128::from_be_bytes(take(bytes)?);
                *count = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::AverageDouble { sum, count } => {
                *sum = f64::from_be_bytes(take(bytes)?);
                *count = i64::from_be_bytes(take(bytes)?);
            }
            Accumulator::ExtremeInteger { best, .. } => *best = take_option(bytes)?.map(i64::from_be_bytes),
            Accumulator::ExtremeDouble { best, .. } => *best = take_option(bytes)?.map(f64::from_be_bytes),
            Accumulator::ExtremeText { best, .. } => *best = take_text(bytes)?,
        }
        Some(self)
    }
}

fn keep_better<T: PartialOrd>(best: &mut Option<T>, value: T, greatest: bool) {
    let better = match best {
        None => true,
        Some(best) => {
            if greatest {
                value > *best
            } else {
                value < *best
            }
        }
    };
    if better {
        *best = Some(value);
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

fn take_text(bytes: &mut &[u8]) -> Option<Option<Box<str>>> {
    match take(bytes)? {
        [0] => return Some(None),
        [1] => {}
        _ => return None,
    }
    let length = u32::from_be_bytes(take(bytes)?) as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(Some(std::str::from_utf8(text).ok()?.into()))
}
