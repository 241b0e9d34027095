//! Cells in one form, whoever wrote them: the kinds the oracle names, and rows split into what must be equal and what
//! may differ in its last digits.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

/// What a column holds, in the oracle's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number with a fixed number of digits behind the point.
    Decimal,
    /// A float: equal within [`TOLERANCE`](crate::compare::TOLERANCE).
    Double,
    /// Text.
    Text,
    /// Milliseconds since the epoch, or ISO 8601 in UTC.
    Instant,
}

impl Kind {
    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Some(match name {
            "boolean" => Kind::Boolean,
            "integer" => Kind::Integer,
            "decimal" => Kind::Decimal,
            "double" => Kind::Double,
            "text" => Kind::Text,
            "instant" => Kind::Instant,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Integer => "integer",
            Kind::Decimal => "decimal",
            Kind::Double => "double",
            Kind::Text => "text",
            Kind::Instant => "instant",
        }
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// A row in canonical form.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The cells that must be equal, in the columns' order, with a line end behind each; a float's place has `#`, or
    /// `null`.
    pub exact: String,
    /// The floats, in the columns' order.
    pub floats: Vec<f64>,
}

impl Row {
    /// The row of a JSON object. Every column must be there, and nothing else.
    pub fn new(columns: &[Column], fields: &Map<String, Value>) -> Result<Row, String> {
        let mut row = Row { exact: String::new(), floats: Vec::new() };
        for column in columns {
            let cell = fields.get(&column.name).ok_or_else(|| format!("no field `{}`", column.name))?;
            if let (Kind::Double, Some(float)) = (column.kind, cell.as_f64()) {
                row.floats.push(float);
                row.exact.push_str("#\n");
                continue;
            }
            let text = canonical(column.kind, cell);
            let text = text
                .ok_or_else(|| format!("field `{}` is {cell}, not a {}", column.name, column.kind.name()))?;
            row.exact.push_str(&text);
            row.exact.push('\n');
        }
        match fields.keys().find(|name| columns.iter().all(|column| column.name != **name)) {
            Some(other) if fields.len() > columns.len() => Err(format!("field `{other}` is not expected")),
            _ => Ok(row),
        }
    }

    /// The cells as text, floats with ten digits.
    pub fn cells(&self) -> Vec<String> {
        let mut floats = self.floats.iter();
        let cell = |text: &str| match text {
            "#" => floats.next().map_or_else(String::new, |float| format!("{float:.9e}")),
            text => text.to_owned(),
        };
        self.exact.lines().map(cell).collect()
    }
}

fn canonical(kind: Kind, cell: &Value) -> Option<String> {
    match (kind, cell) {
        (_, Value::Null) => Some("null".to_owned()),
        (Kind::Boolean, Value::Bool(value)) => Some(value.to_string()),
        (Kind::Integer, Value::Number(number)) => integer(number),
        (Kind::Decimal, Value::Number(number)) => decimal(&number.to_string()),
        (Kind::Decimal, Value::String(text)) => decimal(text),
        // As JSON: a line end inside is escaped, and `null` and `#` have quotes.
        (Kind::Text, Value::String(text)) => serde_json::to_string(text).ok(),
        (Kind::Instant, Value::Number(number)) => number.as_i64().map(|ms| ms.to_string()),
        (Kind::Instant, Value::String(text)) => instant(text).map(|ms| ms.to_string()),
        _ => None,
    }
}

fn integer(number: &Number) -> Option<String> {
    number.as_i64().map(|value| value.to_string())
}

/// Milliseconds since the epoch, of an instant that has whole ones.
fn instant(text: &str) -> Option<i64> {
    let instant: Timestamp = text.parse().ok()?;
    let whole = instant.subsec_nanosecond() % 1_000_000 == 0;
    whole.then(|| instant.as_millisecond())
}

/// Digits without the zeros that say nothing.
fn decimal(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let mut out = String::new();
    let sign = if whole.is_empty() && fraction.is_empty() { "" } else { sign };
    let whole = if whole.is_empty() { "0" } else { whole };
    write!(out, "{sign}{whole}").ok()?;
    if !fraction.is_empty() {
        write!(out, ".{fraction}").ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(kind: Kind, cell: &Value) -> Result<Row, String> {
        let fields = json!({"a": cell});
        Row::new(&[Column { name: "a".to_owned(), kind }], fields.as_object().unwrap())
    }

    #[test]
    fn one_value_has_one_form() {
        let same = |kind, left: Value, right: Value| assert_eq!(row(kind, &left), row(kind, &right));
        same(Kind::Decimal, json!("90.800"), json!(90.8));
        same(Kind::Decimal, json!("-0.500"), json!(-0.5));
        same(Kind::Decimal, json!("-0.000"), json!(0));
        same(Kind::Instant, json!(1_357_034_400_250_i64), json!("2013-01-01T10:00:00.250Z"));
        same(Kind::Double, json!(3), json!(3.0));
        let differ = |kind, left: Value, right: Value| assert_ne!(row(kind, &left), row(kind, &right));
        differ(Kind::Text, json!("null"), json!(null));
        differ(Kind::Text, json!("#"), json!(null));
        differ(Kind::Double, json!(0.0), json!(null));
        differ(Kind::Decimal, json!("1.10"), json!("1.01"));
        differ(Kind::Integer, json!(-1), json!(1));
    }

    #[test]
    fn a_value_of_another_kind_is_named() {
        for (kind, cell) in [
            (Kind::Integer, json!(3.0)),
            (Kind::Integer, json!("3")),
            (Kind::Boolean, json!(1)),
            (Kind::Text, json!(1)),
            (Kind::Instant, json!("yesterday")),
            (Kind::Double, json!("3")),
            (Kind::Decimal, json!("1e3")),
        ] {
            let error = row(kind, &cell).unwrap_err();
            assert_eq!(error, format!("field `a` is {cell}, not a {}", kind.name()));
        }
        let columns = [Column { name: "a".to_owned(), kind: Kind::Integer }];
        let fields = json!({"b": 1});
        assert_eq!(Row::new(&columns, fields.as_object().unwrap()).unwrap_err(), "no field `a`");
        let fields = json!({"a": 1, "b": 1});
        assert_eq!(Row::new(&columns, fields.as_object().unwrap()).unwrap_err(), "field `b` is not expected");
    }
}
