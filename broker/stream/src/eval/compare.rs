//! Comparisons.

use std::cmp::Ordering;

use arrow_array::BooleanArray;
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::logic;
use super::operand::{Operand, both_valid, slice, zip_bits};
use crate::column::Column;
use crate::plan::BinaryOperator;
use crate::value::DataType;

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
        (Column::Decimal(left), Column::Decimal(right)) => left.value(left_row).cmp(&right.value(right_row)),
        (Column::Date(left), Column::Date(right)) => left.value(left_row).cmp(&right.value(right_row)),
        (Column::Bytes(left), Column::Bytes(right)) => left.value(left_row).cmp(right.value(right_row)),
        _ => unreachable!("the binder gives both sides one type"),
    }
}

/// The order of two rows; `None` when one is `NULL`.
fn order(left: &Column, right: &Column, row: usize) -> Option<Ordering> {
    (!left.is_null(row) && !right.is_null(row)).then(|| order_at(left, row, right, row))
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
        (Column::Decimal(a), Column::Decimal(b)) => plain!(operator, slice(left, a), slice(right, b), rows),
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

pub(super) fn null_if(left: &Operand, right: &Operand, data_type: DataType) -> Column {
    let equal = logic::is_true(&compare(BinaryOperator::Equal, left, right));
    let choice: Vec<usize> = (0..left.rows).map(|row| usize::from(equal.value(row))).collect();
    let spread = match left.constant {
        true => Column::repeat(&left.column.value(0), data_type, left.rows),
        false => left.column.clone(),
    };
    let nulls = Column::repeat(&crate::value::Value::Null, data_type, left.rows);
    Column::choose(&[spread, nulls], data_type, &choice)
}

/// The greatest or least of the columns in each row, `NULL`s apart.
pub(super) fn extreme(columns: &[Column], data_type: DataType, better: BinaryOperator) -> Column {
    let wanted = if better == BinaryOperator::Greater { Ordering::Greater } else { Ordering::Less };
    let best = |row: usize| {
        (1..columns.len()).fold(0, |best, candidate| {
            let takes_over = match order(&columns[candidate], &columns[best], row) {
                Some(order) => order == wanted,
                None => columns[best].is_null(row),
            };
            if takes_over { candidate } else { best }
        })
    };
    let choice: Vec<usize> = (0..columns[0].len()).map(best).collect();
    Column::choose(columns, data_type, &choice)
}
