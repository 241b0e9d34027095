//! Comparisons.

use std::cmp::Ordering;

use arrow_array::BooleanArray;
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::logic;
use super::operand::{Operand, both_valid, slice, zip_bits};
use crate::column::{Column, decimal_at};
use crate::plan::BinaryOperator;

/// The order of two values that are not `NULL`.
fn order_at(left: &Column, left_row: usize, right: &Column, right_row: usize) -> Ordering {
    match (left, right) {
        (Column::Boolean(left), Column::Boolean(right)) => left.value(left_row).cmp(&right.value(right_row)),
        (Column::BigInt(left), Column::BigInt(right)) => left.value(left_row).cmp(&right.value(right_row)),
        // A DOUBLE is always finite, so that there is an order.
        (Column::Double(left), Column::Double(right)) => {
            left.value(left_row).partial_cmp(&right.value(right_row)).unwrap_or(Ordering::Equal)
        }
        (Column::String(left), Column::String(right)) => left.value(left_row).cmp(right.value(right_row)),
        (Column::Timestamp(left), Column::Timestamp(right)) => {
            left.value(left_row).cmp(&right.value(right_row))
        }
        // The binder leaves them their scales where no decimal has room for the digits of both.
        (Column::Decimal(left), Column::Decimal(right)) => {
            decimal_at(left, left_row).compare(decimal_at(right, right_row))
        }
        (Column::Date(left), Column::Date(right)) => left.value(left_row).cmp(&right.value(right_row)),
        (Column::Bytes(left), Column::Bytes(right)) => left.value(left_row).cmp(right.value(right_row)),
        _ => unreachable!("the binder gives both sides one type"),
    }
}

/// The order of two values of a row; `None` when one is `NULL`.
fn order(left: &Operand, right: &Operand, row: usize) -> Option<Ordering> {
    let both = !left.is_null(row) && !right.is_null(row);
    both.then(|| order_at(&left.column, left.at(row), &right.column, right.at(row)))
}

/// One loop for each operator, over plain values.
macro_rules! plain {
    ($operator:expr, $left:expr, $right:expr, $rows:expr) => {
        match $operator {
            BinaryOperator::Equal | BinaryOperator::Same => zip_bits($left, $right, $rows, |a, b| a == b),
            BinaryOperator::NotEqual => zip_bits($left, $right, $rows, |a, b| a != b),
            BinaryOperator::Less => zip_bits($left, $right, $rows, |a, b| a < b),
            BinaryOperator::LessOrEqual => zip_bits($left, $right, $rows, |a, b| a <= b),
            BinaryOperator::Greater => zip_bits($left, $right, $rows, |a, b| a > b),
            BinaryOperator::GreaterOrEqual => zip_bits($left, $right, $rows, |a, b| a >= b),
            other => unreachable!("{} compares nothing", other.symbol()),
        }
    };
}

fn accepts(operator: BinaryOperator) -> fn(Ordering) -> bool {
    match operator {
        BinaryOperator::Equal | BinaryOperator::Same => Ordering::is_eq,
        BinaryOperator::NotEqual => Ordering::is_ne,
        BinaryOperator::Less => Ordering::is_lt,
        BinaryOperator::LessOrEqual => Ordering::is_le,
        BinaryOperator::Greater => Ordering::is_gt,
        BinaryOperator::GreaterOrEqual => Ordering::is_ge,
        other => unreachable!("{} compares nothing", other.symbol()),
    }
}

pub(super) fn compare(operator: BinaryOperator, left: &Operand, right: &Operand) -> BooleanArray {
    let rows = left.rows;
    let bits = match (&left.column, &right.column) {
        (Column::BigInt(a), Column::BigInt(b)) => plain!(operator, slice(left, a), slice(right, b), rows),
        (Column::Timestamp(a), Column::Timestamp(b)) => {
            plain!(operator, slice(left, a), slice(right, b), rows)
        }
        (Column::Double(a), Column::Double(b)) => plain!(operator, slice(left, a), slice(right, b), rows),
        (Column::Date(a), Column::Date(b)) => plain!(operator, slice(left, a), slice(right, b), rows),
        (Column::Decimal(a), Column::Decimal(b)) if a.scale() == b.scale() => {
            plain!(operator, slice(left, a), slice(right, b), rows)
        }
        (Column::String(a), Column::String(b)) => {
            let equal = matches!(operator, BinaryOperator::Equal | BinaryOperator::Same);
            match equal {
                true => {
                    BooleanBuffer::collect_bool(rows, |row| a.value(left.at(row)) == b.value(right.at(row)))
                }
                false => {
                    let accept = accepts(operator);
                    BooleanBuffer::collect_bool(rows, |row| {
                        accept(a.value(left.at(row)).cmp(b.value(right.at(row))))
                    })
                }
            }
        }
        (a, b) => {
            let accept = accepts(operator);
            BooleanBuffer::collect_bool(rows, |row| accept(order_at(a, left.at(row), b, right.at(row))))
        }
    };
    match operator {
        BinaryOperator::Same => BooleanArray::new(same(&bits, left, right), None),
        _ => BooleanArray::new(bits, both_valid(left, right)),
    }
}

/// Equal where both have a value, or both have none.
fn same(equal: &BooleanBuffer, left: &Operand, right: &Operand) -> BooleanBuffer {
    match (left.nulls(), right.nulls()) {
        (None, None) => equal.clone(),
        (left_nulls, right_nulls) => {
            let valid = |nulls: Option<NullBuffer>| match nulls {
                Some(nulls) => nulls.into_inner(),
                None => BooleanBuffer::new_set(left.rows),
            };
            let (left, right) = (valid(left_nulls), valid(right_nulls));
            &(&(equal & &left) & &right) | &!&(&left | &right)
        }
    }
}

/// For each row whether the operands are equal: 0 for the first, 1 for `NULL`.
pub(super) fn null_if(left: &Operand, right: &Operand) -> Vec<u32> {
    let equal = logic::is_true(&compare(BinaryOperator::Equal, left, right));
    (0..left.rows).map(|row| u32::from(equal.value(row))).collect()
}

/// For each row which operand is the greatest or least, `NULL`s apart.
pub(super) fn extreme(operands: &[Operand], better: BinaryOperator) -> Vec<u32> {
    let wanted = if better == BinaryOperator::Greater { Ordering::Greater } else { Ordering::Less };
    let best = |row: usize| {
        let takes_over = |candidate: &Operand, best: &Operand| match order(candidate, best, row) {
            Some(order) => order == wanted,
            None => best.is_null(row),
        };
        (1..operands.len()).fold(0, |best, candidate| {
            if takes_over(&operands[candidate], &operands[best]) { candidate } else { best }
        }) as u32
    };
    (0..operands[0].rows).map(best).collect()
}
