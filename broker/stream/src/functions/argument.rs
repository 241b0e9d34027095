//! What a function of the user's own is given.

use crate::column::{Column, decimal_at};
use crate::decimal::Decimal;

/// An argument of a call, borrowed from its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument<'a> {
    /// No value. Only functions that are called on `NULL` see it.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A 64-bit integer.
    BigInt(i64),
    /// A finite float.
    Double(f64),
    /// Text.
    String(&'a str),
    /// Milliseconds since the epoch.
    Timestamp(i64),
    /// An exact number, with the scale of the argument's type.
    Decimal(Decimal),
    /// Days since the epoch.
    Date(i32),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> Argument<'a> {
    /// The value of a row.
    pub(crate) fn of(column: &'a Column, row: usize) -> Argument<'a> {
        if column.is_null(row) {
            return Argument::Null;
        }
        match column {
            Column::Boolean(array) => Argument::Boolean(array.value(row)),
            Column::BigInt(array) => Argument::BigInt(array.value(row)),
            Column::Double(array) => Argument::Double(array.value(row)),
            Column::String(array) => Argument::String(array.value(row)),
            Column::Timestamp(array) => Argument::Timestamp(array.value(row)),
            Column::Decimal(array) => Argument::Decimal(decimal_at(array, row)),
            Column::Date(array) => Argument::Date(array.value(row)),
            Column::Bytes(array) => Argument::Bytes(array.value(row)),
        }
    }
}
