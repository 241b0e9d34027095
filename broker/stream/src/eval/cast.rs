//! Conversions between types.

use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::BooleanBuffer;

use super::Evaluator;
use crate::column::{Column, ColumnBuilder};
use crate::plan::Expression;
use crate::time;
use crate::value::{DataType, Value};

/// A value as text: what `CAST(.. AS STRING)` gives.
fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Boolean(value) => Some(value.to_string()),
        Value::BigInt(value) => Some(value.to_string()),
        Value::Double(value) => Some(format!("{value:?}")),
        Value::String(value) => Some(value.clone()),
        Value::Timestamp(value) => Some(time::Iso(*value).to_string()),
    }
}

fn from_text(text: &str, data_type: DataType) -> Result<Value, String> {
    let trimmed = text.trim();
    let value = match data_type {
        DataType::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
        DataType::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
        DataType::Boolean => None,
        DataType::BigInt => trimmed.parse().ok().map(Value::BigInt),
        DataType::Double => trimmed.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Double),
        DataType::Timestamp => time::parse_timestamp(trimmed).map(Value::Timestamp),
        DataType::String => Some(Value::String(text.to_owned())),
    };
    value.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("'{shown}' is not a {data_type}")
    })
}

fn to_integer(value: f64) -> Result<i64, String> {
    // Both bounds are exact as floats; the upper one is the first that does not fit.
    const FIRST_TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    match (-FIRST_TOO_LARGE..FIRST_TOO_LARGE).contains(&value) {
        true => Ok(value as i64),
        false => Err(format!("{value} does not fit a BIGINT")),
    }
}

fn to_instant(ms: i64) -> Result<i64, String> {
    match time::in_range(ms) {
        true => Ok(ms),
        false => Err(format!("{ms} ms is outside the years 1 to 9999")),
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
            (Column::Double(array), DataType::BigInt) => {
                Column::BigInt(self.convert(expression, array, active, to_integer))
            }
            (Column::BigInt(array), DataType::Timestamp) => {
                Column::Timestamp(self.convert(expression, array, active, to_instant))
            }
            (Column::Timestamp(array), DataType::BigInt) => Column::BigInt(array.unary(|ms| ms)),
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
