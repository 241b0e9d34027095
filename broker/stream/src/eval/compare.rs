//! Comparisons.

use std::cmp::Ordering;

use arrow_array::{Array, BooleanArray};

use crate::column::Column;
use crate::plan::BinaryOperator;
use crate::value::DataType;

/// The order of two rows; `None` when one is `NULL`.
fn order(left: &Column, right: &Column, row: usize) -> Option<Ordering> {
    if left.is_null(row) || right.is_null(row) {
        return None;
    }
    Some(match (left, right) {
        (Column::Boolean(left), Column::Boolean(right)) => left.value(row).cmp(&right.value(row)),
        (Column::BigInt(left), Column::BigInt(right)) => left.value(row).cmp(&right.value(row)),
        // A DOUBLE is always finite, so that there is an order.
        (Column::Double(left), Column::Double(right)) => {
            left.value(row).partial_cmp(&right.value(row)).unwrap_or(Ordering::Equal)
        }
        (Column::String(left), Column::String(right)) => left.value(row).cmp(right.value(row)),
        (Column::Timestamp(left), Column::Timestamp(right)) => left.value(row).cmp(&right.value(row)),
        _ => unreachable!("the binder gives both sides one type"),
    })
}

pub(super) fn compare(operator: BinaryOperator, left: &Column, right: &Column) -> BooleanArray {
    let rows = 0..left.len();
    if operator == BinaryOperator::Same {
        let same = rows.map(|row| match order(left, right, row) {
            Some(order) => order.is_eq(),
            None => left.is_null(row) && right.is_null(row),
        });
        return BooleanArray::from(same.collect::<Vec<bool>>());
    }
    let accept: fn(Ordering) -> bool = match operator {
        BinaryOperator::Equal => Ordering::is_eq,
        BinaryOperator::NotEqual => Ordering::is_ne,
        BinaryOperator::Less => Ordering::is_lt,
        BinaryOperator::LessOrEqual => Ordering::is_le,
        BinaryOperator::Greater => Ordering::is_gt,
        BinaryOperator::GreaterOrEqual => Ordering::is_ge,
        other => unreachable!("{} compares nothing", other.symbol()),
    };
    rows.map(|row| order(left, right, row).map(accept)).collect()
}

pub(super) fn null_if(left: &Column, right: &Column, data_type: DataType) -> Column {
    let equal = compare(BinaryOperator::Equal, left, right);
    let choice: Vec<usize> =
        (0..left.len()).map(|row| usize::from(equal.is_valid(row) && equal.value(row))).collect();
    let nulls = Column::repeat(&crate::value::Value::Null, data_type, left.len());
    Column::choose(&[left.clone(), nulls], data_type, &choice)
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
