//! Conversions between types.

use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow_buffer::BooleanBuffer;

use super::Evaluator;
use crate::column::{Column, ColumnBuilder, decimal_at, decimals};
use crate::decimal::{Decimal, power_of_ten};
use crate::plan::{Expression, IntegerType};
use crate::time::{self, DAY_MS};
use crate::value::{DataType, Value};

/// A value as text: what `CAST(.. AS STRING)` gives.
pub(super) fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Boolean(value) => Some(value.to_string()),
        Value::BigInt(value) => Some(value.to_string()),
        Value::Double(value) => Some(format!("{value:?}")),
        Value::String(value) => Some(value.clone()),
        Value::Timestamp(value) => Some(time::Iso(*value).to_string()),
        Value::Decimal(value) => Some(value.to_string()),
        Value::Date(value) => Some(time::IsoDate(*value).to_string()),
        // Bytes are checked by their own conversion.
        Value::Bytes(value) => Some(String::from_utf8_lossy(value).into_owned()),
    }
}

/// A text as a value of a type.
pub(super) fn from_text(text: &str, data_type: DataType) -> Result<Value, String> {
    let trimmed = text.trim();
    let value = match data_type {
        DataType::Boolean => boolean(trimmed).map(Value::Boolean),
        DataType::BigInt => trimmed.parse().ok().map(Value::BigInt),
        DataType::Double => trimmed.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Double),
        DataType::Timestamp => time::parse_timestamp(trimmed).map(Value::Timestamp),
        DataType::Decimal { precision, scale } => {
            Decimal::parse_at(trimmed, scale).filter(|value| value.fits(precision)).map(Value::Decimal)
        }
        DataType::Date => match time::parse_date(trimmed) {
            Some(days) => Some(Value::Date(days)),
            // An instant has a day too.
            None => time::parse_timestamp(trimmed).map(|ms| Value::Date(day_of(ms))),
        },
        DataType::String => Some(Value::String(text.to_owned())),
        DataType::Bytes => Some(Value::Bytes(text.as_bytes().to_vec())),
    };
    value.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("'{shown}' is not a {data_type}")
    })
}

/// The spellings PostgreSQL takes.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// The day an instant lies in.
pub(super) fn day_of(ms: i64) -> i32 {
    ms.div_euclid(DAY_MS) as i32
}

/// The nearest whole number, of two the even one.
fn to_integer(value: f64) -> Result<i64, String> {
    // Both bounds are exact as floats; the upper one is the first that does not fit.
    const FIRST_TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    match (-FIRST_TOO_LARGE..FIRST_TOO_LARGE).contains(&value) {
        true => Ok(value.round_ties_even() as i64),
        false => Err(format!("{value:?} does not fit a BIGINT")),
    }
}

fn to_instant(ms: i64) -> Result<i64, String> {
    match time::in_range(ms) {
        true => Ok(ms),
        false => Err(format!("{ms} ms is outside the years 1 to 9999")),
    }
}

fn whole_number(decimal: Decimal) -> Result<i64, String> {
    let rounded = decimal.rescale(0).and_then(|whole| i64::try_from(whole.unscaled).ok());
    rounded.ok_or_else(|| format!("{decimal} does not fit a BIGINT"))
}

fn fitted(
    decimal: Option<Decimal>,
    from: impl std::fmt::Display,
    precision: u8,
    scale: u8,
) -> Result<i128, String> {
    match decimal.filter(|decimal| decimal.fits(precision)) {
        Some(decimal) => Ok(decimal.unscaled),
        None => Err(format!("{from} does not fit a DECIMAL({precision}, {scale})")),
    }
}

impl Evaluator<'_> {
    pub(super) fn cast(
        &mut self,
        expression: &Expression,
        operand: &Column,
        data_type: DataType,
        active: &BooleanBuffer,
    ) -> Column {
        match (operand, data_type) {
            (Column::BigInt(array), DataType::Double) => Column::Double(array.unary(|value| value as f64)),
            (Column::BigInt(array), DataType::Boolean) => {
                let bits = BooleanBuffer::collect_bool(array.len(), |row| array.value(row) != 0);
                Column::Boolean(BooleanArray::new(bits, array.nulls().cloned()))
            }
            (Column::Boolean(array), DataType::BigInt) => {
                Column::BigInt(array.iter().map(|value| value.map(i64::from)).collect())
            }
            (Column::Double(array), DataType::BigInt) => {
                Column::BigInt(self.convert(expression, array, active, to_integer))
            }
            (Column::BigInt(array), DataType::Timestamp) => {
                Column::Timestamp(self.convert(expression, array, active, to_instant))
            }
            (Column::Timestamp(array), DataType::BigInt) => Column::BigInt(array.unary(|ms| ms)),
            (Column::Timestamp(array), DataType::Date) => Column::Date(array.unary(day_of)),
            (Column::Date(array), DataType::Timestamp) => {
                Column::Timestamp(array.unary(|day| i64::from(day) * DAY_MS))
            }
            (Column::Decimal(array), DataType::Double) => {
                let scale = array.scale() as u8;
                Column::Double(array.unary(|unscaled| Decimal { unscaled, scale }.to_f64()))
            }
            (Column::Decimal(array), DataType::BigInt) => {
                let scale = array.scale() as u8;
                Column::BigInt(
                    self.convert(expression, array, active, |unscaled| {
                        whole_number(Decimal { unscaled, scale })
                    }),
                )
            }
            (column, DataType::Decimal { precision, scale }) => {
                self.cast_to_decimal(expression, column, precision, scale, active)
            }
            (Column::Bytes(array), DataType::String) => {
                let text = |row: usize| {
                    let text = std::str::from_utf8(array.value(row)).map(str::to_owned);
                    let text = text.map_err(|error| format!("the bytes are no text: {error}"));
                    array.is_valid(row).then_some(())?;
                    self.keep(text, expression, row, active)
                };
                Column::String((0..array.len()).map(text).collect())
            }
            (Column::String(array), data_type) => {
                let mut builder = ColumnBuilder::new(data_type, array.len());
                for row in 0..array.len() {
                    let value = match array.is_null(row) {
                        true => None,
                        false => self.keep(from_text(array.value(row), data_type), expression, row, active),
                    };
                    builder.append(&value.unwrap_or(Value::Null));
                }
                builder.finish()
            }
            (column, DataType::String) => {
                Column::String((0..column.len()).map(|row| to_text(&column.value(row))).collect())
            }
            _ => unreachable!("the binder checks conversions: {expression}"),
        }
    }

    fn cast_to_decimal(
        &mut self,
        expression: &Expression,
        operand: &Column,
        precision: u8,
        scale: u8,
        active: &BooleanBuffer,
    ) -> Column {
        if let Column::BigInt(array) = operand
            && precision >= scale + 19
        {
            // Every BIGINT fits.
            let unit = power_of_ten(scale) as i128;
            let values = array.values().iter().map(|value| i128::from(*value) * unit).collect();
            return Column::Decimal(decimals(values, array.nulls().cloned(), precision, scale));
        }
        let converted: PrimitiveArray<Decimal128Type> = (0..operand.len())
            .map(|row| {
                if operand.is_null(row) {
                    return None;
                }
                let unscaled = match operand {
                    Column::BigInt(array) => {
                        let value = array.value(row);
                        let whole = Decimal { unscaled: i128::from(value), scale: 0 };
                        fitted(whole.rescale(scale), value, precision, scale)
                    }
                    Column::Double(array) => {
                        let value = array.value(row);
                        fitted(Decimal::from_f64(value, scale), value, precision, scale)
                    }
                    Column::Decimal(array) => {
                        let value = decimal_at(array, row);
                        fitted(value.rescale(scale), value, precision, scale)
                    }
                    Column::String(array) => {
                        let text = array.value(row);
                        from_text(text, DataType::Decimal { precision, scale }).map(|value| match value {
                            Value::Decimal(decimal) => decimal.unscaled,
                            other => unreachable!("{other} was read as a decimal"),
                        })
                    }
                    _ => unreachable!("the binder checks conversions: {expression}"),
                };
                self.keep(unscaled, expression, row, active)
            })
            .collect();
        let (_, values, nulls) = converted.into_parts();
        Column::Decimal(decimals(values, nulls, precision, scale))
    }

    /// The integers that fit a shorter type.
    pub(super) fn check_range(
        &mut self,
        expression: &Expression,
        operand: &Column,
        integer: IntegerType,
        active: &BooleanBuffer,
    ) -> Column {
        let within = |value: i64| match integer.range().contains(&value) {
            true => Ok(value),
            false => Err(format!("{value} does not fit {}", integer.name())),
        };
        Column::BigInt(self.convert(expression, operand.bigint(), active, within))
    }

    fn convert<F: ArrowPrimitiveType, T: ArrowPrimitiveType>(
        &mut self,
        expression: &Expression,
        array: &PrimitiveArray<F>,
        active: &BooleanBuffer,
        convert: impl Fn(F::Native) -> Result<T::Native, String>,
    ) -> PrimitiveArray<T> {
        (0..array.len())
            .map(|row| match array.is_null(row) {
                true => None,
                false => self.keep(convert(array.value(row)), expression, row, active),
            })
            .collect()
    }
}
