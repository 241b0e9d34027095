//! Numbers: checked, one row at a time, so that a fault is one row's.

use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::BooleanBuffer;

use super::Evaluator;
use crate::column::Column;
use crate::plan::{BinaryOperator, Expression};
use crate::time;

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
        false => Err(format!("{left} {} {right} does not fit a DOUBLE", operator.symbol())),
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

pub(super) fn round(column: &Column, round: impl Fn(f64) -> f64) -> Column {
    match column {
        Column::Double(array) => Column::Double(array.unary(round)),
        other => other.clone(),
    }
}

impl Evaluator<'_> {
    pub(super) fn arithmetic(
        &mut self,
        expression: &Expression,
        operator: BinaryOperator,
        left: &Column,
        right: &Column,
        active: &BooleanBuffer,
    ) -> Column {
        match (left, right) {
            (Column::BigInt(left), Column::BigInt(right)) => {
                Column::BigInt(
                    self.zip(expression, left, right, active, |left, right| integer(operator, left, right)),
                )
            }
            (Column::Double(left), Column::Double(right)) => {
                Column::Double(
                    self.zip(expression, left, right, active, |left, right| float(operator, left, right)),
                )
            }
            (Column::Timestamp(left), Column::BigInt(right)) => {
                Column::Timestamp(
                    self.zip(expression, left, right, active, |instant, ms| shift(operator, instant, ms)),
                )
            }
            _ => unreachable!("the binder checks operands: {expression}"),
        }
    }

    fn zip<L: ArrowPrimitiveType, R: ArrowPrimitiveType>(
        &mut self,
        expression: &Expression,
        left: &PrimitiveArray<L>,
        right: &PrimitiveArray<R>,
        active: &BooleanBuffer,
        combine: impl Fn(L::Native, R::Native) -> Result<L::Native, String>,
    ) -> PrimitiveArray<L> {
        (0..left.len())
            .map(|row| {
                if left.is_null(row) || right.is_null(row) {
                    return None;
                }
                self.keep(combine(left.value(row), right.value(row)), expression, row, active)
            })
            .collect()
    }

    pub(super) fn negate(
        &mut self,
        expression: &Expression,
        operand: &Column,
        active: &BooleanBuffer,
    ) -> Column {
        self.map_number(expression, operand, active, i64::checked_neg, |value| -value)
    }

    pub(super) fn absolute(
        &mut self,
        expression: &Expression,
        operand: &Column,
        active: &BooleanBuffer,
    ) -> Column {
        self.map_number(expression, operand, active, i64::checked_abs, f64::abs)
    }

    fn map_number(
        &mut self,
        expression: &Expression,
        operand: &Column,
        active: &BooleanBuffer,
        of_integer: impl Fn(i64) -> Option<i64>,
        of_float: impl Fn(f64) -> f64,
    ) -> Column {
        match operand {
            Column::Double(array) => Column::Double(array.unary(of_float)),
            _ => {
                let array = operand.bigint();
                let mapped = (0..array.len()).map(|row| {
                    if array.is_null(row) {
                        return None;
                    }
                    let value = array.value(row);
                    let result = of_integer(value).ok_or_else(|| format!("{value} has no positive BIGINT"));
                    self.keep(result, expression, row, active)
                });
                Column::BigInt(mapped.collect())
            }
        }
    }
}
