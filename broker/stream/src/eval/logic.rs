//! Truth values: three of them. Whole words of bits at once.

use arrow_array::{Array, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use crate::column::Column;

pub(super) fn not(operand: &BooleanArray) -> BooleanArray {
    BooleanArray::new(!operand.values(), operand.nulls().cloned())
}

/// False wins over unknown.
pub(super) fn and(left: &BooleanArray, right: &BooleanArray) -> BooleanArray {
    if left.nulls().is_none() && right.nulls().is_none() {
        return BooleanArray::new(left.values() & right.values(), None);
    }
    decided(&is_true(left) & &is_true(right), &is_false(left) | &is_false(right))
}

/// True wins over unknown.
pub(super) fn or(left: &BooleanArray, right: &BooleanArray) -> BooleanArray {
    if left.nulls().is_none() && right.nulls().is_none() {
        return BooleanArray::new(left.values() | right.values(), None);
    }
    decided(&is_true(left) | &is_true(right), &is_false(left) & &is_false(right))
}

/// Row by row.
pub(super) fn each(rows: usize, of_row: impl FnMut(usize) -> Option<bool>) -> BooleanArray {
    (0..rows).map(of_row).collect()
}

/// True and false where they are said to be, unknown elsewhere.
fn decided(is_true: BooleanBuffer, is_false: BooleanBuffer) -> BooleanArray {
    let known = &is_true | &is_false;
    BooleanArray::new(is_true, Some(NullBuffer::new(known)))
}

pub(super) fn is_null(column: &Column) -> BooleanBuffer {
    match column.nulls() {
        None => BooleanBuffer::new_unset(column.len()),
        Some(nulls) => !nulls.inner(),
    }
}

/// Where the value is true, and neither false nor unknown.
pub(super) fn is_true(operand: &BooleanArray) -> BooleanBuffer {
    match operand.nulls() {
        None => operand.values().clone(),
        Some(nulls) => operand.values() & nulls.inner(),
    }
}

/// Where the value is false, and neither true nor unknown.
pub(super) fn is_false(operand: &BooleanArray) -> BooleanBuffer {
    match operand.nulls() {
        None => !operand.values(),
        Some(nulls) => &!operand.values() & nulls.inner(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Option<bool>; 3] = [Some(true), Some(false), None];

    #[test]
    fn the_tables_of_three_values() {
        let pairs: Vec<_> =
            ALL.iter().flat_map(|left| ALL.iter().map(move |right| (*left, *right))).collect();
        let left: BooleanArray = pairs.iter().map(|(left, _)| *left).collect();
        let right: BooleanArray = pairs.iter().map(|(_, right)| *right).collect();
        for (row, (a, b)) in pairs.iter().enumerate() {
            let both = match (a, b) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            let either = match (a, b) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
            let get = |array: BooleanArray| array.is_valid(row).then(|| array.value(row));
            assert_eq!((get(and(&left, &right)), get(or(&left, &right))), (both, either), "{a:?}, {b:?}");
        }
    }
}
