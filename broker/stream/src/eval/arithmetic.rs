//! Numbers and instants: checked, so that a fault is one row's.
//!
//! Rows are first computed all at once, without looking at `NULL`s; only when one of them fails are they computed
//! one by one.

use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::BooleanBuffer;

use super::Evaluator;
use super::operand::{Operand, both_valid, primitive, slice, zip_values};
use crate::column::{Column, DecimalArray, decimals};
use crate::decimal::{self, Decimal};
use crate::plan::{BinaryOperator, Expression};
use crate::time::{self, IsoDate};
use crate::value::DataType;

fn integer(operator: BinaryOperator, left: i64, right: i64) -> Result<i64, String> {
    let result = match operator {
        BinaryOperator::Add => left.checked_add(right),
        BinaryOperator::Subtract => left.checked_sub(right),
        BinaryOperator::Multiply => left.checked_mul(right),
        BinaryOperator::Divide | BinaryOperator::Modulo if right == 0 => {
            return Err("division by zero".to_owned());
        }
        BinaryOperator::Divide => left.checked_div(right),
        // The one overflow, MIN % -1, has a well-defined result.
        _ => Some(left.checked_rem(right).unwrap_or(0)),
    };
    result.ok_or_else(|| format!("{left} {} {right} does not fit a BIGINT", operator.symbol()))
}

fn float(operator: BinaryOperator, left: f64, right: f64) -> Result<f64, String> {
    let result = match operator {
        BinaryOperator::Add => left + right,
        BinaryOperator::Subtract => left - right,
        BinaryOperator::Multiply => left * right,
        BinaryOperator::Divide | BinaryOperator::Modulo if right == 0.0 => {
            return Err("division by zero".to_owned());
        }
        BinaryOperator::Divide => left / right,
        _ => left % right,
    };
    match result.is_finite() {
        true => Ok(result),
        false => Err(format!("{left:?} {} {right:?} does not fit a DOUBLE", operator.symbol())),
    }
}

fn shift(operator: BinaryOperator, instant: i64, ms: i64) -> Result<i64, String> {
    let shifted = match operator {
        BinaryOperator::Add => instant.checked_add(ms),
        _ => instant.checked_sub(ms),
    };
    shifted
        .filter(|shifted| time::in_range(*shifted))
        .ok_or_else(|| format!("{} moved by {ms} ms leaves the years 1 to 9999", time::Iso(instant)))
}

fn shift_day(operator: BinaryOperator, day: i32, days: i64) -> Result<i32, String> {
    let shifted = match operator {
        BinaryOperator::Add => i64::from(day).checked_add(days),
        _ => i64::from(day).checked_sub(days),
    };
    shifted
        .and_then(|shifted| i32::try_from(shifted).ok())
        .filter(|shifted| (time::MIN_DATE..=time::MAX_DATE).contains(shifted))
        .ok_or_else(|| format!("{} moved by {days} days leaves the years 1 to 9999", IsoDate(day)))
}

/// An integer operation over all rows, and whether one of them fails.
fn integers(
    operator: BinaryOperator,
    left: (&[i64], bool),
    right: (&[i64], bool),
    rows: usize,
) -> (Vec<i64>, bool) {
    match operator {
        BinaryOperator::Add => zip_values(left, right, rows, i64::overflowing_add),
        BinaryOperator::Subtract => zip_values(left, right, rows, i64::overflowing_sub),
        BinaryOperator::Multiply => zip_values(left, right, rows, i64::overflowing_mul),
        BinaryOperator::Divide => zip_values(left, right, rows, |left, right| match right {
            0 => (0, true),
            right => left.overflowing_div(right),
        }),
        _ => zip_values(left, right, rows, |left, right| match right {
            0 => (0, true),
            right => (left.wrapping_rem(right), false),
        }),
    }
}

/// A float operation over all rows, and whether one of them fails.
fn floats(
    operator: BinaryOperator,
    left: (&[f64], bool),
    right: (&[f64], bool),
    rows: usize,
) -> (Vec<f64>, bool) {
    // A division by zero is never finite, and a modulo by zero is no number.
    let checked = |value: f64| (value, !value.is_finite());
    match operator {
        BinaryOperator::Add => zip_values(left, right, rows, |left, right| checked(left + right)),
        BinaryOperator::Subtract => zip_values(left, right, rows, |left, right| checked(left - right)),
        BinaryOperator::Multiply => zip_values(left, right, rows, |left, right| checked(left * right)),
        BinaryOperator::Divide => zip_values(left, right, rows, |left, right| checked(left / right)),
        _ => zip_values(left, right, rows, |left, right| checked(left % right)),
    }
}

/// An operation of decimals that loses no digit, over all rows, and whether one of them fails; what must be rounded
/// fails as a whole. The scales are those of both sides and of the result.
fn exact(
    operator: BinaryOperator,
    left: (&[i128], bool),
    right: (&[i128], bool),
    rows: usize,
    [left_scale, right_scale, scale]: [u8; 3],
    precision: u8,
) -> (Vec<i128>, bool) {
    let bound = decimal::power_of_ten(precision);
    let checked = |value: i128, failed: bool| (value, failed | (value.unsigned_abs() >= bound));
    if operator == BinaryOperator::Multiply && left_scale + right_scale == scale {
        return zip_values(left, right, rows, |left: i128, right| {
            let (product, failed) = left.overflowing_mul(right);
            checked(product, failed)
        });
    }
    let sums = matches!(operator, BinaryOperator::Add | BinaryOperator::Subtract);
    if !sums || left_scale.max(right_scale) > scale {
        return (Vec::new(), true);
    }
    let unit = |side: u8| decimal::power_of_ten(scale - side) as i128;
    let (left_unit, right_unit) = (unit(left_scale), unit(right_scale));
    let combine = match operator {
        BinaryOperator::Add => i128::overflowing_add,
        _ => i128::overflowing_sub,
    };
    zip_values(left, right, rows, |left: i128, right: i128| {
        let (left, left_failed) = left.overflowing_mul(left_unit);
        let (right, right_failed) = right.overflowing_mul(right_unit);
        let (value, failed) = combine(left, right);
        checked(value, failed | left_failed | right_failed)
    })
}

impl Evaluator<'_> {
    pub(super) fn arithmetic(
        &mut self,
        expression: &Expression,
        operator: BinaryOperator,
        left: &Operand,
        right: &Operand,
        active: &BooleanBuffer,
    ) -> Column {
        match (&left.column, &right.column) {
            (Column::BigInt(a), Column::BigInt(b)) => {
                let (values, failed) = integers(operator, slice(left, a), slice(right, b), self.rows);
                Column::BigInt(match failed {
                    false => primitive(values, both_valid(left, right)),
                    true => {
                        self.zip(expression, (left, a), (right, b), active, |a, b| integer(operator, a, b))
                    }
                })
            }
            (Column::Double(a), Column::Double(b)) => {
                let (values, failed) = floats(operator, slice(left, a), slice(right, b), self.rows);
                Column::Double(match failed {
                    false => primitive(values, both_valid(left, right)),
                    true => self.zip(expression, (left, a), (right, b), active, |a, b| float(operator, a, b)),
                })
            }
            (Column::Timestamp(a), Column::BigInt(b)) => {
                let (a_values, b_values) = (slice(left, a), slice(right, b));
                let checked = |(ms, failed): (i64, bool)| (ms, failed | !time::in_range(ms));
                let (values, failed) = match operator {
                    BinaryOperator::Add => {
                        zip_values(a_values, b_values, self.rows, |a, b| checked(a.overflowing_add(b)))
                    }
                    _ => zip_values(a_values, b_values, self.rows, |a, b| checked(a.overflowing_sub(b))),
                };
                Column::Timestamp(match failed {
                    false => primitive(values, both_valid(left, right)),
                    true => self.zip(expression, (left, a), (right, b), active, |a, b| shift(operator, a, b)),
                })
            }
            (Column::Date(a), Column::BigInt(b)) => {
                Column::Date(
                    self.zip(expression, (left, a), (right, b), active, |a, b| shift_day(operator, a, b)),
                )
            }
            (Column::Date(a), Column::Date(b)) => {
                Column::BigInt(
                    self.zip(expression, (left, a), (right, b), active, |a, b| {
                        Ok(i64::from(a) - i64::from(b))
                    }),
                )
            }
            (Column::Decimal(a), Column::Decimal(b)) => {
                let DataType::Decimal { precision, scale } = expression.data_type() else {
                    unreachable!("decimals make a decimal: {expression}")
                };
                let (a_scale, b_scale) = (a.scale() as u8, b.scale() as u8);
                let shapes = [a_scale, b_scale, scale];
                let (values, failed) =
                    exact(operator, slice(left, a), slice(right, b), self.rows, shapes, precision);
                if !failed {
                    let nulls = both_valid(left, right);
                    return Column::Decimal(decimals(values.into(), nulls, precision, scale));
                }
                let combined: DecimalArray = self.zip(expression, (left, a), (right, b), active, |a, b| {
                    let a = Decimal { unscaled: a, scale: a_scale };
                    let b = Decimal { unscaled: b, scale: b_scale };
                    decimal::combine(operator, a, b, (precision, scale))
                });
                let (_, values, nulls) = combined.into_parts();
                Column::Decimal(decimals(values, nulls, precision, scale))
            }
            _ => unreachable!("the binder checks operands: {expression}"),
        }
    }

    /// Row by row, with the faults of those that are active.
    fn zip<L: ArrowPrimitiveType, R: ArrowPrimitiveType, O: ArrowPrimitiveType>(
        &mut self,
        expression: &Expression,
        (left, left_array): (&Operand, &PrimitiveArray<L>),
        (right, right_array): (&Operand, &PrimitiveArray<R>),
        active: &BooleanBuffer,
        combine: impl Fn(L::Native, R::Native) -> Result<O::Native, String>,
    ) -> PrimitiveArray<O> {
        (0..self.rows)
            .map(|row| {
                if left.is_null(row) || right.is_null(row) {
                    return None;
                }
                let combined = combine(left_array.value(left.at(row)), right_array.value(right.at(row)));
                self.keep(combined, expression, row, active)
            })
            .collect()
    }

    pub(super) fn negate(
        &mut self,
        expression: &Expression,
        operand: &Column,
        active: &BooleanBuffer,
    ) -> Column {
        match operand {
            Column::Double(array) => Column::Double(array.unary(|value| -value)),
            Column::Decimal(array) => Column::Decimal(keep_shape(array, array.unary(|value: i128| -value))),
            _ => Column::BigInt(self.map_integers(expression, operand, active, i64::checked_neg)),
        }
    }

    pub(super) fn absolute(
        &mut self,
        expression: &Expression,
        operand: &Column,
        active: &BooleanBuffer,
    ) -> Column {
        match operand {
            Column::Double(array) => Column::Double(array.unary(f64::abs)),
            Column::Decimal(array) => Column::Decimal(keep_shape(array, array.unary(i128::abs))),
            _ => Column::BigInt(self.map_integers(expression, operand, active, i64::checked_abs)),
        }
    }

    fn map_integers(
        &mut self,
        expression: &Expression,
        operand: &Column,
        active: &BooleanBuffer,
        map: impl Fn(i64) -> Option<i64>,
    ) -> PrimitiveArray<arrow_array::types::Int64Type> {
        let array = operand.bigint();
        (0..array.len())
            .map(|row| {
                if array.is_null(row) {
                    return None;
                }
                let value = array.value(row);
                let result = map(value).ok_or_else(|| format!("{value} has no positive BIGINT"));
                self.keep(result, expression, row, active)
            })
            .collect()
    }
}

/// The mapped decimals with the precision and scale they had.
fn keep_shape(from: &DecimalArray, mapped: DecimalArray) -> DecimalArray {
    mapped.with_data_type(from.data_type().clone())
}
