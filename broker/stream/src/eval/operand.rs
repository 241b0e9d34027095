//! Sides of an operation: a value in every row, or one for all rows.

use arrow_array::{ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};

use crate::column::Column;

/// What an operation works on. A constant is not spread over the rows.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    /// As long as the rows, or of one row for a constant.
    pub(super) column: Column,
    pub(super) constant: bool,
    pub(super) rows: usize,
}

impl Operand {
    /// Where the row's value is.
    pub(super) fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.column.is_null(self.at(row))
    }

    /// The values of all rows.
    pub(super) fn spread(&self) -> Column {
        match self.constant {
            true => self.column.take(&vec![0; self.rows]),
            false => self.column.clone(),
        }
    }

    /// The row's text; the binder promised one, and the row is not `NULL`.
    pub(super) fn text(&self, row: usize) -> &str {
        self.column.string().value(self.at(row))
    }

    /// The row's integer.
    pub(super) fn integer(&self, row: usize) -> i64 {
        self.column.bigint().value(self.at(row))
    }

    /// The row's float.
    pub(super) fn double(&self, row: usize) -> f64 {
        self.column.double().value(self.at(row))
    }

    /// The row's instant.
    pub(super) fn instant(&self, row: usize) -> i64 {
        self.column.timestamp().value(self.at(row))
    }

    /// The row's bytes; of a text its own.
    pub(super) fn octets(&self, row: usize) -> &[u8] {
        match &self.column {
            Column::String(array) => array.value(self.at(row)).as_bytes(),
            other => other.bytes().value(self.at(row)),
        }
    }

    /// Which rows have a value; `None` is all.
    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        match (self.constant, self.column.nulls()) {
            (_, None) => None,
            (false, Some(nulls)) => Some(nulls.clone()),
            (true, Some(nulls)) if nulls.is_valid(0) => None,
            (true, Some(_)) => Some(NullBuffer::new_null(self.rows)),
        }
    }
}

/// Which rows have a value on both sides.
pub(super) fn both_valid(left: &Operand, right: &Operand) -> Option<NullBuffer> {
    NullBuffer::union(left.nulls().as_ref(), right.nulls().as_ref())
}

/// Combines every row, `NULL`s too, of two slices of plain values; the second result says that one of them failed.
pub(super) fn zip_values<L: Copy, R: Copy, O: Clone>(
    (left, left_constant): (&[L], bool),
    (right, right_constant): (&[R], bool),
    rows: usize,
    combine: impl Fn(L, R) -> (O, bool),
) -> (Vec<O>, bool) {
    let mut failed = false;
    let mut one = |left: L, right: R| {
        let (value, fails) = combine(left, right);
        failed |= fails;
        value
    };
    let values = match (left_constant, right_constant) {
        (false, false) => left.iter().zip(right).map(|(left, right)| one(*left, *right)).collect(),
        (false, true) => {
            let right = right[0];
            left.iter().map(|left| one(*left, right)).collect()
        }
        (true, false) => {
            let left = left[0];
            right.iter().map(|right| one(left, *right)).collect()
        }
        (true, true) => vec![one(left[0], right[0]); rows],
    };
    (values, failed)
}

/// A truth value for every row, `NULL`s too, of two slices of plain values.
pub(super) fn zip_bits<T: Copy>(
    (left, left_constant): (&[T], bool),
    (right, right_constant): (&[T], bool),
    rows: usize,
    accept: impl Fn(T, T) -> bool,
) -> BooleanBuffer {
    match (left_constant, right_constant) {
        (false, false) => {
            let (left, right) = (&left[..rows], &right[..rows]);
            BooleanBuffer::collect_bool(rows, |row| accept(left[row], right[row]))
        }
        (false, true) => {
            let (left, right) = (&left[..rows], right[0]);
            BooleanBuffer::collect_bool(rows, |row| accept(left[row], right))
        }
        (true, false) => {
            let (left, right) = (left[0], &right[..rows]);
            BooleanBuffer::collect_bool(rows, |row| accept(left, right[row]))
        }
        (true, true) => match accept(left[0], right[0]) {
            true => BooleanBuffer::new_set(rows),
            false => BooleanBuffer::new_unset(rows),
        },
    }
}

/// An array of plain values.
pub(super) fn primitive<T: ArrowPrimitiveType>(
    values: impl Into<ScalarBuffer<T::Native>>,
    nulls: Option<NullBuffer>,
) -> PrimitiveArray<T> {
    PrimitiveArray::new(values.into(), nulls)
}

/// The plain values of an operand's array, with whether it is a constant.
pub(super) fn slice<'a, T: ArrowPrimitiveType>(
    operand: &Operand,
    array: &'a PrimitiveArray<T>,
) -> (&'a [T::Native], bool) {
    (array.values(), operand.constant)
}
