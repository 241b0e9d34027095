//! Constants: numbers, texts, instants and intervals.

use sqlparser::ast::{Expr, Interval, Value as SqlValue, ValueWithSpan};
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

/// The length of an `INTERVAL`: months, which have no fixed length, and milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Length {
    pub(super) months: i64,
    pub(super) ms: i64,
}

const INTERVAL_HELP: &str = "write INTERVAL '<whole number>' and SECOND, MINUTE, HOUR or DAY";

/// The length of an `INTERVAL` in milliseconds, for where it must be fixed.
pub(in crate::sql) fn interval_ms(sql: &Interval, at: Location) -> Result<i64, SqlError> {
    let length = interval(sql, at)?;
    match length.months {
        0 => Ok(length.ms),
        _ => Err(SqlError::at(
            value_at(sql, at),
            "months and years have no fixed length",
            "write the number of days: INTERVAL '30' DAY",
        )),
    }
}

fn value_at(sql: &Interval, at: Location) -> Location {
    match &*sql.value {
        Expr::Value(value) => value.span.start,
        _ => at,
    }
}

/// `INTERVAL '5' MINUTE`, or as PostgreSQL writes it `INTERVAL '1 day 2 hours'`.
pub(super) fn interval(sql: &Interval, at: Location) -> Result<Length, SqlError> {
    let at = value_at(sql, at);
    let wrong = || SqlError::at(at, format!("{} is not a length of time", sql.value), INTERVAL_HELP);
    if sql.last_field.is_some() {
        return Err(SqlError::at(at, "an interval has one unit here", INTERVAL_HELP));
    }
    let Some(text) = text(&sql.value) else { return Err(wrong()) };
    match &sql.leading_field {
        Some(field) => {
            let unit = length_of(&field.to_string()).ok_or_else(|| {
                SqlError::at(at, format!("the unit {field} is not supported"), INTERVAL_HELP)
            })?;
            times(text.trim(), unit).ok_or_else(wrong)
        }
        None if text.trim().parse::<f64>().is_ok() => {
            Err(SqlError::at(at, "the interval has no unit", INTERVAL_HELP))
        }
        None => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let mut sum = Length::default();
            for pair in words.chunks(2) {
                let [count, unit] = pair else { return Err(wrong()) };
                let part = length_of(unit).and_then(|unit| times(count, unit)).ok_or_else(wrong)?;
                sum.months = sum.months.checked_add(part.months).ok_or_else(wrong)?;
                sum.ms = sum.ms.checked_add(part.ms).ok_or_else(wrong)?;
            }
            if words.is_empty() { Err(wrong()) } else { Ok(sum) }
        }
    }
}

fn length_of(unit: &str) -> Option<Length> {
    let ms = |ms| Some(Length { months: 0, ms });
    let months = |months| Some(Length { months, ms: 0 });
    match unit.to_ascii_uppercase().as_str() {
        "MILLISECOND" | "MILLISECONDS" => ms(1),
        "SECOND" | "SECONDS" => ms(1_000),
        "MINUTE" | "MINUTES" => ms(60_000),
        "HOUR" | "HOURS" => ms(3_600_000),
        "DAY" | "DAYS" => ms(86_400_000),
        "WEEK" | "WEEKS" => ms(7 * 86_400_000),
        "MONTH" | "MONTHS" => months(1),
        "QUARTER" | "QUARTERS" => months(3),
        "YEAR" | "YEARS" => months(12),
        _ => None,
    }
}

/// A whole number of units; of seconds also a part, down to the millisecond.
fn times(count: &str, unit: Length) -> Option<Length> {
    if let Ok(count) = count.parse::<i64>() {
        return Some(Length { months: unit.months.checked_mul(count)?, ms: unit.ms.checked_mul(count)? });
    }
    let thousandths = Decimal::parse(count)?.rescale(3)?;
    let ms = thousandths.unscaled.checked_mul(i128::from(unit.ms))?;
    let exact = unit.months == 0 && ms % 1_000 == 0 && Decimal::parse(count)?.scale <= 3;
    exact.then_some(Length { months: 0, ms: i64::try_from(ms / 1_000).ok()? })
}
