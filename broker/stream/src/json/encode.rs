//! Rows into JSON objects, fields in the table's order.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::column::{Column, decimal_at};
use crate::decimal::Decimal;
use crate::plan;
use crate::time::{Iso, IsoDate};
use crate::value::Value;

/// Writes rows of a table. The names are encoded once.
#[derive(Debug)]
pub(crate) struct RowEncoder {
    /// `{"name":` for the first column, `,"name":` for the others.
    prefixes: Vec<Vec<u8>>,
}

impl RowEncoder {
    pub(crate) fn new(columns: &[plan::Column]) -> Self {
        let prefix = |(index, column): (usize, &plan::Column)| {
            let mut prefix = vec![if index == 0 { b'{' } else { b',' }];
            write_text(&mut prefix, &column.name);
            prefix.push(b':');
            prefix
        };
        Self { prefixes: columns.iter().enumerate().map(prefix).collect() }
    }

    /// Appends one row of the columns.
    pub(crate) fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) {
        for (prefix, column) in self.prefixes.iter().zip(columns) {
            out.extend_from_slice(prefix);
            write_cell(out, column, row);
        }
        out.push(b'}');
    }
}

fn write_cell(out: &mut Vec<u8>, column: &Column, row: usize) {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match column {
        Column::Boolean(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
        Column::BigInt(array) => write_json(out, &array.value(row)),
        Column::Double(array) => write_json(out, &array.value(row)),
        Column::String(array) => write_text(out, array.value(row)),
        Column::Decimal(array) => write_decimal(out, decimal_at(array, row)),
        Column::Date(array) => {
            write!(out, "\"{}\"", IsoDate(array.value(row))).expect("writing to memory cannot fail");
        }
        Column::Bytes(array) => write_text(out, &BASE64.encode(array.value(row))),
        Column::Timestamp(array) => {
            write!(out, "\"{}\"", Iso(array.value(row))).expect("writing to memory cannot fail");
        }
    }
}

fn write_json<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a plain value is always JSON, and memory takes every byte");
}

/// As a number with every digit, which a reader that uses floats may round.
fn write_decimal(out: &mut Vec<u8>, value: Decimal) {
    write!(out, "{value}").expect("writing to memory cannot fail");
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_json(out, &text);
}

/// The record key of a group: the plain text of a single column, a JSON object of several; nothing for a group by
/// window alone, or where the single column is `NULL`.
pub(crate) fn encode_key(names: &[String], values: &[Value]) -> Option<Vec<u8>> {
    match values {
        [] => None,
        [single] => plain_text(single),
        _ => {
            let mut out = Vec::new();
            for (index, (name, value)) in names.iter().zip(values).enumerate() {
                out.push(if index == 0 { b'{' } else { b',' });
                write_text(&mut out, name);
                out.push(b':');
                write_value(&mut out, value);
            }
            out.push(b'}');
            Some(out)
        }
    }
}

fn plain_text(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Timestamp(ms) => Some(Iso(*ms).to_string().into_bytes()),
        Value::Date(days) => Some(IsoDate(*days).to_string().into_bytes()),
        Value::Bytes(bytes) => Some(bytes.clone()),
        other => {
            let mut out = Vec::new();
            write_value(&mut out, other);
            Some(out)
        }
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(value) => write_json(out, value),
        Value::BigInt(value) => write_json(out, value),
        Value::Double(value) => write_json(out, value),
        Value::String(text) => write_text(out, text),
        Value::Timestamp(ms) => write_text(out, &Iso(*ms).to_string()),
        Value::Decimal(value) => write_decimal(out, *value),
        Value::Date(days) => write_text(out, &IsoDate(*days).to_string()),
        Value::Bytes(bytes) => write_text(out, &BASE64.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::DataType;

    #[test]
    fn a_row_is_one_object_in_the_tables_order() {
        let column =
            |name: &str, data_type| plan::Column { name: name.to_owned(), data_type, required: false };
        let columns = [
            (column("a\"b", DataType::BigInt), Value::BigInt(-3)),
            (column("t", DataType::Timestamp), Value::Timestamp(1_357_034_400_000)),
            (column("ms", DataType::Timestamp), Value::Timestamp(1)),
            (column("s", DataType::String), Value::String("x\"\n".to_owned())),
            (column("d", DataType::Double), Value::Double(1.0)),
            (column("b", DataType::Boolean), Value::Boolean(true)),
            (column("n", DataType::Boolean), Value::Null),
            (
                column("m", DataType::Decimal { precision: 38, scale: 3 }),
                Value::Decimal(Decimal { unscaled: -50, scale: 3 }),
            ),
            (column("day", DataType::Date), Value::Date(-1)),
            (column("raw", DataType::Bytes), Value::Bytes(vec![0, 255])),
        ];
        let encoder = RowEncoder::new(&columns.each_ref().map(|(column, _)| column.clone()));
        let values = columns.each_ref().map(|(column, value)| Column::repeat(value, column.data_type, 1));
        let mut out = Vec::new();
        encoder.encode(&values, 0, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a\"b":-3,"t":"2013-01-01T10:00:00Z","ms":"1970-01-01T00:00:00.001Z","s":"x\"\n","d":1.0,"b":true,"n":null,"m":-0.050,"day":"1969-12-31","raw":"AP8="}"#
        );
    }

    #[test]
    fn a_key_is_plain_where_it_can_be() {
        let names = ["carrier".to_owned(), "hour".to_owned()];
        let text = |values: &[Value]| {
            encode_key(&names[..values.len()], values).map(|key| String::from_utf8(key).unwrap())
        };
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[Value::Null]), None);
        assert_eq!(text(&[Value::String("UA".to_owned())]).as_deref(), Some("UA"));
        assert_eq!(text(&[Value::BigInt(7)]).as_deref(), Some("7"));
        assert_eq!(text(&[Value::Timestamp(0)]).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(
            text(&[Value::String("UA".to_owned()), Value::Null]).as_deref(),
            Some(r#"{"carrier":"UA","hour":null}"#)
        );
    }
}
