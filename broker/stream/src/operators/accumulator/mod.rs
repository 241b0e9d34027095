//! One aggregate of one group, folded in record order.

mod distinct_sketch;
mod encoding;
mod exact_sum;
mod joined;
mod moments;
mod quantile_sketch;
mod values;

use arrow_array::Array;
use arrow_buffer::i256;

use self::distinct_sketch::DistinctSketch;
use self::exact_sum::ExactSum;
use self::joined::Joined;
use self::moments::{ChangingMoments, ExactMoments, Moments};
use self::quantile_sketch::QuantileSketch;
pub(crate) use self::values::Values;
use crate::column::Column;
use crate::decimal::{Decimal, MAX_PRECISION, power_of_ten};
use crate::functions::{Argument, UserFunction, UserState};
use crate::plan::{Aggregate, AggregateFunction};
use crate::state::{decode_key, encode_key_part};
use crate::value::{DataType, Value};

/// The state of one aggregate. It starts empty, takes one row at a time, and is kept in the changelog as bytes.
///
/// There are many, each in the table of its group: what only few need stands somewhere else.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Accumulator {
    /// How many rows, or values that are not `NULL`.
    Count(i64),
    /// An exact sum; only the result must fit its type.
    SumInteger { sum: i128, count: i64 },
    /// A sum in record order; no other order would give the same bits.
    SumDouble { sum: f64, count: i64 },
    /// A sum of floats that may be taken back, which is exact until it is asked for. Those that are no numbers are counted
    /// apart: none of them would ever leave the sum again.
    SumChangingDouble { sum: Box<ExactSum>, count: i64, not_finite: i64 },
    /// The least or greatest `BIGINT` or `TIMESTAMP`, of rows that are never taken back.
    ExtremeInteger { greatest: bool, best: Option<i64> },
    /// The least or greatest `DOUBLE`.
    ExtremeDouble { greatest: bool, best: Option<f64> },
    /// The least or greatest text.
    ExtremeText { greatest: bool, best: Option<Box<str>> },
    /// The least or greatest value of another type, by its key.
    ExtremeKey { greatest: bool, best: Option<Box<[u8]>> },
    /// An exact sum of decimals, in units of their last digit.
    SumDecimal { sum: i256, count: i64 },
    /// The first value, or the last, by its key.
    Edge { last: bool, value: Option<Box<[u8]>> },
    /// Texts end to end.
    Joined(Joined),
    /// How many are true, and how many are false.
    Truth { yes: i64, no: i64 },
    /// How far whole numbers are from their mean.
    ExactMoments(Box<ExactMoments>),
    /// How far floats are from their mean.
    Moments(Moments),
    /// How far floats that may be taken back are.
    ChangingMoments(Box<ChangingMoments>),
    /// About how many different values there are.
    Distinct(DistinctSketch),
    /// About which value stands where.
    Quantiles(QuantileSketch),
    /// Every value and how often it is there, by its key: for `DISTINCT`, and for the least and greatest of rows that
    /// may be taken back.
    Values(Box<Values>),
    /// What a function of the user's own keeps.
    User(UserState),
}

/// With its key a group of one aggregate takes two lines of a processor's cache.
const _: () = assert!(size_of::<Accumulator>() <= 48);

impl Accumulator {
    /// The empty state of an aggregate over rows that may be taken back, or never are.
    pub(crate) fn new(aggregate: &Aggregate, changes: bool) -> Accumulator {
        let greatest = aggregate.function == AggregateFunction::Max;
        // Of these every value is needed when one of them may go.
        let any = matches!(
            aggregate.function,
            AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::Any
        );
        if any && changes || aggregate.distinct && !any {
            return Accumulator::Values(Box::new(Values::new(Accumulator::folded(aggregate))));
        }
        match (aggregate.function, aggregate.argument_type) {
            (AggregateFunction::User, _) => Accumulator::User(UserState::empty()),
            (AggregateFunction::First | AggregateFunction::Any, _) => {
                Accumulator::Edge { last: false, value: None }
            }
            (AggregateFunction::Last, _) => Accumulator::Edge { last: true, value: None },
            (AggregateFunction::Join, _) => Accumulator::Joined(Joined::default()),
            (AggregateFunction::Every | AggregateFunction::Some, _) => Accumulator::Truth { yes: 0, no: 0 },
            (function, DataType::BigInt) if function.is_spread() => Accumulator::ExactMoments(Box::default()),
            (function, _) if function.is_spread() && changes => Accumulator::ChangingMoments(Box::default()),
            (function, _) if function.is_spread() => Accumulator::Moments(Moments::default()),
            (AggregateFunction::ApproximateCount, _) => Accumulator::Distinct(DistinctSketch::default()),
            (AggregateFunction::ApproximateQuantile, _) => Accumulator::Quantiles(QuantileSketch::default()),
            (AggregateFunction::Sum | AggregateFunction::Average, DataType::Decimal { .. }) => {
                Accumulator::SumDecimal { sum: i256::from_i128(0), count: 0 }
            }
            (AggregateFunction::Count, _) => Accumulator::Count(0),
            (AggregateFunction::Sum | AggregateFunction::Average, DataType::Double) if changes => {
                Accumulator::SumChangingDouble { sum: Box::default(), count: 0, not_finite: 0 }
            }
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
            (_, _) => Accumulator::ExtremeKey { greatest, best: None },
        }
    }

    /// The empty state of what different values come to, each once, where values can go from it exactly: it need not be
    /// folded anew, then, when one comes or goes.
    fn folded(aggregate: &Aggregate) -> Option<Accumulator> {
        let is_sum = matches!(aggregate.function, AggregateFunction::Sum | AggregateFunction::Average);
        if !is_sum && !aggregate.function.is_spread() {
            return None;
        }
        let plain = Aggregate { distinct: false, ..aggregate.clone() };
        Some(Accumulator::new(&plain, true)).filter(Accumulator::inverts_exactly)
    }

    /// Takes one row of the argument's column; `None` is `COUNT(*)`. A row that is taken back counts the other way.
    pub(crate) fn add(&mut self, aggregate: &Aggregate, argument: Option<&Column>, row: usize, back: bool) {
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
                *sum += array.value(row);
                *count += sign;
            }
            (Accumulator::SumChangingDouble { sum, count, not_finite }, Column::Double(array)) => {
                let value = array.value(row);
                match value.is_finite() {
                    true => sum.add(value, back),
                    false => *not_finite += sign,
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
            (Accumulator::ExtremeKey { greatest, best }, column) => {
                let key = key_of(column, row);
                let better =
                    best.as_deref().is_none_or(|best| if *greatest { *key > *best } else { *key < *best });
                if better {
                    *best = Some(key.into());
                }
            }
            (Accumulator::SumDecimal { sum, count }, Column::Decimal(array)) => {
                let value = i256::from_i128(array.value(row));
                *sum = if back { sum.wrapping_sub(value) } else { sum.wrapping_add(value) };
                *count += sign;
            }
            (Accumulator::Edge { last, value }, column) => {
                if *last || value.is_none() {
                    *value = Some(key_of(column, row).into());
                }
            }
            (Accumulator::Joined(joined), Column::String(array)) => {
                joined.push(array.value(row), separator(aggregate));
            }
            (Accumulator::Truth { yes, no }, Column::Boolean(array)) => {
                *if array.value(row) { yes } else { no } += sign;
            }
            (Accumulator::ExactMoments(moments), Column::BigInt(array)) => {
                moments.add(array.value(row), sign)
            }
            (Accumulator::Moments(moments), Column::Double(array)) => {
                debug_assert!(!back, "of rows that may be taken back other moments are kept");
                moments.add(array.value(row));
            }
            (Accumulator::ChangingMoments(moments), Column::Double(array)) => {
                moments.add(array.value(row), back);
            }
            (Accumulator::Distinct(sketch), column) => sketch.add(&key_of(column, row)),
            (Accumulator::Quantiles(sketch), Column::BigInt(array)) => {
                sketch.count(array.value(row) as f64, sign);
            }
            (Accumulator::Quantiles(sketch), Column::Double(array)) => sketch.count(array.value(row), sign),
            (Accumulator::Values(values), column) => values.count(aggregate, &key_of(column, row), sign),
            (Accumulator::User(state), column) => {
                state.add(user(aggregate), Argument::of(column, row), back);
            }
            (accumulator, column) => {
                unreachable!("the binder checks arguments: {accumulator:?} of {column:?}")
            }
        }
    }

    /// Whether taking a row back leaves exactly what was there before it.
    pub(crate) fn inverts_exactly(&self) -> bool {
        match self {
            Accumulator::Count(_)
            | Accumulator::SumInteger { .. }
            | Accumulator::SumDecimal { .. }
            | Accumulator::SumChangingDouble { .. }
            | Accumulator::Truth { .. }
            | Accumulator::ExactMoments(_)
            | Accumulator::ChangingMoments(_)
            | Accumulator::Quantiles(_)
            | Accumulator::Values(_) => true,
            Accumulator::SumDouble { .. }
            | Accumulator::ExtremeInteger { .. }
            | Accumulator::ExtremeDouble { .. }
            | Accumulator::ExtremeText { .. }
            | Accumulator::ExtremeKey { .. }
            | Accumulator::Edge { .. }
            | Accumulator::Joined(_)
            | Accumulator::Moments(_)
            | Accumulator::Distinct(_)
            | Accumulator::User(_) => false,
        }
    }

    /// Takes everything another accumulator of the same aggregate took, later than this one.
    pub(crate) fn merge(&mut self, aggregate: &Aggregate, other: &Accumulator) {
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
                Accumulator::SumChangingDouble { sum, count, not_finite },
                Accumulator::SumChangingDouble {
                    sum: other_sum,
                    count: other_count,
                    not_finite: other_not_finite,
                },
            ) => {
                sum.merge(other_sum);
                *count += other_count;
                *not_finite += other_not_finite;
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
            (Accumulator::ExtremeKey { greatest, best }, Accumulator::ExtremeKey { best: other, .. }) => {
                other.iter().for_each(|other| keep_better(best, other.clone(), *greatest));
            }
            (
                Accumulator::SumDecimal { sum, count },
                Accumulator::SumDecimal { sum: other_sum, count: other_count },
            ) => {
                *sum = sum.wrapping_add(*other_sum);
                *count += other_count;
            }
            (Accumulator::Edge { last, value }, Accumulator::Edge { value: other, .. }) => {
                if other.is_some() && (*last || value.is_none()) {
                    value.clone_from(other);
                }
            }
            (Accumulator::Joined(joined), Accumulator::Joined(other)) => {
                joined.merge(other, separator(aggregate));
            }
            (Accumulator::Truth { yes, no }, Accumulator::Truth { yes: other_yes, no: other_no }) => {
                *yes += other_yes;
                *no += other_no;
            }
            (Accumulator::ExactMoments(moments), Accumulator::ExactMoments(other)) => moments.merge(other),
            (Accumulator::Moments(moments), Accumulator::Moments(other)) => moments.merge(other),
            (Accumulator::ChangingMoments(moments), Accumulator::ChangingMoments(other)) => {
                moments.merge(other);
            }
            (Accumulator::Distinct(sketch), Accumulator::Distinct(other)) => sketch.merge(other),
            (Accumulator::Quantiles(sketch), Accumulator::Quantiles(other)) => sketch.merge(other),
            (Accumulator::Values(values), Accumulator::Values(other)) => values.merge(aggregate, other),
            (Accumulator::User(state), Accumulator::User(other)) => state.merge(user(aggregate), other),
            (left, right) => unreachable!("two states of one aggregate: {left:?} and {right:?}"),
        }
    }

    /// The result; an error when it does not fit its type.
    pub(crate) fn finish(&self, aggregate: &Aggregate) -> Result<Value, String> {
        let data_type = aggregate.data_type();
        Ok(match self {
            Accumulator::Count(count) => Value::BigInt(*count),
            Accumulator::SumInteger { count: 0, .. }
            | Accumulator::SumDouble { count: 0, .. }
            | Accumulator::SumChangingDouble { count: 0, .. } => Value::Null,
            Accumulator::SumInteger { sum, count } if data_type == DataType::Double => {
                finite(*sum as f64 / *count as f64)?
            }
            Accumulator::SumInteger { sum, .. } => Value::BigInt(
                i64::try_from(*sum).map_err(|_| format!("the sum {sum} does not fit a BIGINT"))?,
            ),
            Accumulator::SumChangingDouble { not_finite: 1.., .. } => finite(f64::NAN)?,
            Accumulator::SumDouble { sum, count } => finite(sum_or_mean(*sum, *count, aggregate))?,
            Accumulator::SumChangingDouble { sum, count, .. } => {
                finite(sum_or_mean(sum.value(), *count, aggregate))?
            }
            Accumulator::ExtremeInteger { best: Some(best), .. } if data_type == DataType::Timestamp => {
                Value::Timestamp(*best)
            }
            Accumulator::ExtremeInteger { best, .. } => best.map_or(Value::Null, Value::BigInt),
            Accumulator::ExtremeDouble { best, .. } => best.map_or(Value::Null, Value::Double),
            Accumulator::ExtremeText { best, .. } => {
                best.as_deref().map_or(Value::Null, |best| Value::String(best.to_owned()))
            }
            Accumulator::ExtremeKey { best: value, .. } | Accumulator::Edge { value, .. } => {
                value.as_deref().map_or(Value::Null, |key| value_of(key, aggregate.argument_type))
            }
            Accumulator::SumDecimal { count: 0, .. } => Value::Null,
            Accumulator::SumDecimal { sum, count } => finish_decimal(*sum, *count, aggregate)?,
            Accumulator::Joined(joined) => {
                joined.text()?.map_or(Value::Null, |text| Value::String(text.to_owned()))
            }
            Accumulator::Truth { yes: 0, no: 0 } => Value::Null,
            Accumulator::Truth { yes, no } => Value::Boolean(match aggregate.function {
                AggregateFunction::Every => *no == 0,
                _ => *yes > 0,
            }),
            Accumulator::ExactMoments(moments) if moments.count == 0 => Value::Null,
            Accumulator::ExactMoments(moments) => {
                spread(aggregate.function, moments.spread(), moments.count)?
            }
            Accumulator::Moments(moments) => spread(aggregate.function, moments.spread, moments.count)?,
            Accumulator::ChangingMoments(moments) => {
                spread(aggregate.function, moments.spread(), moments.count)?
            }
            Accumulator::Distinct(sketch) => Value::BigInt(sketch.estimate()),
            Accumulator::Quantiles(sketch) => {
                let Value::Double(quantile) = aggregate.parameter else { return Ok(Value::Null) };
                let whole = aggregate.argument_type == DataType::BigInt;
                sketch.quantile(quantile, whole).map_or(Value::Null, Value::Double)
            }
            Accumulator::Values(values) => finish_values(values, aggregate)?,
            Accumulator::User(state) => state.finish(user(aggregate))?,
        })
    }
}

fn sum_or_mean(sum: f64, count: i64, aggregate: &Aggregate) -> f64 {
    match aggregate.function {
        AggregateFunction::Average => sum / count as f64,
        _ => sum,
    }
}

/// The result over distinct values, or over values with their counts.
fn finish_values(values: &Values, aggregate: &Aggregate) -> Result<Value, String> {
    let of = |key: Option<&[u8]>| key.map_or(Value::Null, |key| value_of(key, aggregate.argument_type));
    Ok(match aggregate.function {
        AggregateFunction::Count => Value::BigInt(values.len() as i64),
        AggregateFunction::Min | AggregateFunction::Any => of(values.iter().next()),
        AggregateFunction::Max => of(values.iter().next_back()),
        _ => {
            if let Some(folded) = values.folded() {
                return folded.finish(aggregate);
            }
            // Each value once, in their order.
            let plain = Aggregate { distinct: false, ..aggregate.clone() };
            let mut folded = Accumulator::new(&plain, false);
            for key in values.iter() {
                let value = value_of(key, aggregate.argument_type);
                folded.add(&plain, Some(&Column::repeat(&value, aggregate.argument_type, 1)), 0, false);
            }
            folded.finish(&plain)?
        }
    })
}

fn key_of(column: &Column, row: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    encode_key_part(column, row, &mut key);
    key
}

fn value_of(key: &[u8], data_type: DataType) -> Value {
    decode_key(key, &[data_type])
        .and_then(|mut values| values.pop())
        .expect("the engine encoded the value itself, or checked it when it was restored")
}

fn user(aggregate: &Aggregate) -> &UserFunction {
    aggregate.user.as_ref().expect("the binder says whose the aggregate is")
}

fn separator(aggregate: &Aggregate) -> &str {
    match &aggregate.parameter {
        Value::String(separator) => separator,
        _ => "",
    }
}

/// A sum or a mean of decimals.
fn finish_decimal(sum: i256, count: i64, aggregate: &Aggregate) -> Result<Value, String> {
    let (DataType::Decimal { scale: from, .. }, DataType::Decimal { scale: to, .. }) =
        (aggregate.argument_type, aggregate.data_type())
    else {
        unreachable!("a sum of decimals is a decimal");
    };
    let unscaled = match aggregate.function {
        AggregateFunction::Average => {
            let count = i256::from_i128(i128::from(count));
            // Both factors are far from the bounds: 2^127 times 2^63 rows, and at most 10^6.
            let shift = i256::from_i128(power_of_ten(to - from) as i128);
            let (quotient, rest) = sum.wrapping_mul(shift).wrapping_div_rem(count);
            // Halves go away from zero.
            let half = rest.wrapping_abs().wrapping_add(rest.wrapping_abs()) >= count;
            let step = if half { rest.signum() } else { i256::from_i128(0) };
            quotient.wrapping_add(step)
        }
        _ => sum,
    };
    let decimal = unscaled.to_i128().map(|unscaled| Decimal { unscaled, scale: to });
    match decimal.filter(|decimal| decimal.fits(MAX_PRECISION)) {
        Some(decimal) => Ok(Value::Decimal(decimal)),
        None => Err(format!("the sum has more than {MAX_PRECISION} digits")),
    }
}

/// Variance or standard deviation, given the sum of the squares of the distances from the mean.
fn spread(function: AggregateFunction, squares: f64, count: i64) -> Result<Value, String> {
    let sample = matches!(function, AggregateFunction::VarianceSample | AggregateFunction::DeviationSample);
    let of = if sample { count - 1 } else { count };
    if of <= 0 {
        return Ok(Value::Null);
    }
    let variance = squares / of as f64;
    match function {
        AggregateFunction::DeviationSample | AggregateFunction::DeviationPopulation => {
            finite(variance.sqrt())
        }
        _ => finite(variance),
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
