//! The types of streaming SQL, and a single value of one of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;

/// A type a column or an expression can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DataType {
    /// True, false, or unknown (`NULL`).
    Boolean,
    /// A 64-bit signed integer; leaving its range is an error of the record, never a wrap.
    BigInt,
    /// A finite 64-bit float; an infinite result is an error of the record.
    Double,
    /// UTF-8 text, compared byte by byte.
    String,
    /// An instant: milliseconds since the epoch, from year 1 to year 9999. Written `TIMESTAMP(3)`.
    Timestamp,
    /// An exact number of `precision` digits (1 to 38), `scale` of them after the point. What does not fit is an
    /// error of the record.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// A day of the calendar, from year 1 to year 9999.
    Date,
    /// Bytes, compared one by one.
    Bytes,
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataType::Decimal { precision, scale } => return write!(f, "DECIMAL({precision}, {scale})"),
            DataType::Date => "DATE",
            DataType::Bytes => "BYTES",
            DataType::Boolean => "BOOLEAN",
            DataType::BigInt => "BIGINT",
            DataType::Double => "DOUBLE",
            DataType::String => "STRING",
            DataType::Timestamp => "TIMESTAMP(3)",
        })
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// No value; it belongs to every type.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A 64-bit integer.
    BigInt(i64),
    /// A finite float.
    Double(f64),
    /// Text.
    String(String),
    /// Milliseconds since the epoch.
    Timestamp(i64),
    /// An exact number.
    Decimal(Decimal),
    /// Days since the epoch.
    Date(i32),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl fmt::Display for Value {
    /// The value as SQL would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Boolean(true) => f.write_str("TRUE"),
            Value::Boolean(false) => f.write_str("FALSE"),
            Value::BigInt(value) => write!(f, "{value}"),
            Value::Double(value) => write!(f, "{value:?}"),
            Value::String(value) => write!(f, "'{}'", value.replace('\'', "''")),
            Value::Decimal(value) => write!(f, "{value}"),
            Value::Date(value) => write!(f, "DATE '{}'", crate::time::IsoDate(*value)),
            Value::Bytes(value) => {
                f.write_str("X'")?;
                value.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
                f.write_str("'")
            }
            Value::Timestamp(value) => write!(f, "TIMESTAMP '{}'", crate::time::Iso(*value)),
        }
    }
}
