//! Truth values: three of them.

use arrow_array::{Array, BooleanArray};
use arrow_buffer::BooleanBuffer;

use crate::column::Column;

fn get(array: &BooleanArray, row: usize) -> Option<bool> {
    array.is_valid(row).then(|| array.value(row))
}

pub(super) fn not(operand: &BooleanArray) -> BooleanArray {
    BooleanArray::new(!operand.values(), operand.nulls().cloned())
}

/// False wins over unknown.
pub(super) fn and(left: &BooleanArray, right: &BooleanArray) -> BooleanArray {
    (0..left.len())
        .map(|row| match (get(left, row), get(right, row)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        })
        .collect()
}

/// True wins over unknown.
pub(super) fn or(left: &BooleanArray, right: &BooleanArray) -> BooleanArray {
    (0..left.len())
        .map(|row| match (get(left, row), get(right, row)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        })
        .collect()
}

pub(super) fn is_null(column: &Column) -> BooleanArray {
    BooleanArray::from((0..column.len()).map(|row| column.is_null(row)).collect::<Vec<bool>>())
}

/// Where the value is true, and neither false nor unknown.
pub(super) fn is_true(operand: &BooleanArray) -> BooleanBuffer {
    match operand.nulls() {
        None => operand.values().clone(),
        Some(nulls) => operand.values() & nulls.inner(),
    }
}
