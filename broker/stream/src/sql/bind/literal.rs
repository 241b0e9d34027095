//! Constants: numbers, texts, instants and intervals.

use sqlparser::ast::{DateTimeField, Expr, Interval, Value as SqlValue, ValueWithSpan};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use crate::decimal::Decimal;
use crate::plan::Expression;
use crate::time;
use crate::value::{DataType, Value};

/// A constant of the script.
pub(super) fn bind(value: &ValueWithSpan, negative: bool) -> Result<Expression, SqlError> {
    let at = value.span.start;
    match &value.value {
        SqlValue::Number(digits, false) => number(digits, negative, at),
        SqlValue::SingleQuotedString(text) => Ok(literal(Value::String(text.clone()), DataType::String)),
        SqlValue::Boolean(value) => Ok(literal(Value::Boolean(*value), DataType::Boolean)),
        SqlValue::HexStringLiteral(digits) => bytes(digits, at),
        SqlValue::Null => Ok(literal(Value::Null, DataType::String)),
        other => Err(SqlError::at(
            at,
            format!("`{other}` is not a constant of the language"),
            "write a number, a text in single quotes, TRUE, FALSE, NULL or TIMESTAMP '...'",
        )),
    }
}

/// `X'00FF'`.
fn bytes(digits: &str, at: Location) -> Result<Expression, SqlError> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some((digit(*high)? * 16 + digit(*low)?) as u8)
        }
        _ => None,
    });
    match pairs.collect::<Option<Vec<u8>>>() {
        Some(bytes) => Ok(literal(Value::Bytes(bytes), DataType::Bytes)),
        None => Err(SqlError::at(
            at,
            format!("X'{digits}' is not bytes"),
            "write two hexadecimal digits for each byte: X'00FF'",
        )),
    }
}

pub(super) fn literal(value: Value, data_type: DataType) -> Expression {
    Expression::Literal { value, data_type }
}

fn number(digits: &str, negative: bool, at: Location) -> Result<Expression, SqlError> {
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    if let Ok(value) = signed.parse::<i64>() {
        return Ok(literal(Value::BigInt(value), DataType::BigInt));
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        // What has a point, or is too large for a BIGINT, is exact.
        return match Decimal::parse(&signed) {
            Some(value) => {
                let (precision, scale) = (value.precision().max(1), value.scale);
                Ok(literal(Value::Decimal(value), DataType::Decimal { precision, scale }))
            }
            None => Err(SqlError::at(
                at,
                format!("{signed} has more than 38 digits"),
                format!("write fewer digits, or a DOUBLE: {signed}e0"),
            )),
        };
    }
    match signed.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(literal(Value::Double(value), DataType::Double)),
        _ => Err(SqlError::at(at, format!("{signed} is not a DOUBLE"), "write a number such as 12.5 or 1e9")),
    }
}

/// `DATE '2013-01-31'`.
pub(super) fn date(text: &str, at: Location) -> Result<Expression, SqlError> {
    match time::parse_date(text) {
        Some(days) => Ok(literal(Value::Date(days), DataType::Date)),
        None => {
            Err(SqlError::at(at, format!("'{text}' is not a day of the calendar"), "write DATE '2013-01-31'"))
        }
    }
}

/// `TIMESTAMP '2013-01-01 10:00:00'`.
pub(super) fn timestamp(text: &str, at: Location) -> Result<Expression, SqlError> {
    match time::parse_timestamp(text) {
        Some(ms) => Ok(literal(Value::Timestamp(ms), DataType::Timestamp)),
        None => Err(SqlError::at(
            at,
            format!("'{text}' is not an instant"),
            "write TIMESTAMP '2013-01-31 10:00:00', in UTC",
        )),
    }
}

/// The text of a constant, if it is one.
pub(super) fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: SqlValue::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}

/// The length of an `INTERVAL` in milliseconds.
pub(super) fn interval_ms(interval: &Interval, at: Location) -> Result<i64, SqlError> {
    let help = "write INTERVAL '<whole number>' and SECOND, MINUTE, HOUR or DAY";
    let at = match &*interval.value {
        Expr::Value(value) => value.span.start,
        _ => at,
    };
    let unit_ms = match &interval.leading_field {
        Some(DateTimeField::Millisecond | DateTimeField::Milliseconds) => 1,
        Some(DateTimeField::Second | DateTimeField::Seconds) => 1_000,
        Some(DateTimeField::Minute | DateTimeField::Minutes) => 60_000,
        Some(DateTimeField::Hour | DateTimeField::Hours) => 3_600_000,
        Some(DateTimeField::Day | DateTimeField::Days) => 86_400_000,
        Some(DateTimeField::Month | DateTimeField::Months | DateTimeField::Year | DateTimeField::Years) => {
            return Err(SqlError::at(
                at,
                "months and years have no fixed length",
                "write the number of days: INTERVAL '30' DAY",
            ));
        }
        Some(other) => {
            return Err(SqlError::at(at, format!("the unit {other} is not supported"), help));
        }
        None => return Err(SqlError::at(at, "the interval has no unit", help)),
    };
    if interval.last_field.is_some() {
        return Err(SqlError::at(at, "an interval has one unit here", help));
    }
    text(&interval.value)
        .and_then(|text| text.trim().parse::<i64>().ok())
        .and_then(|count| count.checked_mul(unit_ms))
        .ok_or_else(|| SqlError::at(at, format!("{} is not a length of time", interval.value), help))
}
