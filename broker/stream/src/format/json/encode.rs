//! Rows into JSON objects, fields in the table's order.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::column::{Column, decimal_at};
use crate::decimal::Decimal;
use crate::format::error::FormatError;
use crate::plan::{self, JsonFormat, TimestampText};
use crate::time::{Iso, IsoDate, SqlTime};
use crate::value::Value;

/// Writes rows of a table. The names are encoded once.
#[derive(Debug)]
pub(crate) struct JsonEncoder {
    timestamps: TimestampText,
    fields: Vec<Field>,
    /// The brackets behind the last field.
    end: Vec<u8>,
}

/// What comes before a value, from the value before it on: `{"name":`, `,"name":`, `},"other":{"name":`.
#[derive(Debug)]
struct Field {
    prefix: Vec<u8>,
    column: usize,
}

impl JsonEncoder {
    /// For the columns at these indexes, of those that rows have.
    pub(crate) fn new(
        format: JsonFormat,
        columns: &[plan::Column],
        which: &[usize],
    ) -> Result<Self, FormatError> {
        let mut encoder = Self { timestamps: format.timestamps, fields: Vec::new(), end: Vec::new() };
        let mut members = Vec::new();
        for index in which {
            let name = columns[*index].name.as_str();
            let path: Vec<&str> = if format.nested { name.split('.').collect() } else { vec![name] };
            insert(&mut members, &path, *index).map_err(|()| {
                FormatError::new(
                    format!("column `{name}` is inside of another column"),
                    "give it another name, or write 'json.nested' = 'false' to have the dot in the field's name",
                )
            })?;
        }
        let mut prefix = Vec::new();
        encoder.add(&members, &mut prefix);
        encoder.end = prefix;
        Ok(encoder)
    }

    fn add(&mut self, members: &[Member<'_>], prefix: &mut Vec<u8>) {
        prefix.push(b'{');
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                prefix.push(b',');
            }
            write_text(prefix, member.name);
            prefix.push(b':');
            match &member.inner {
                Inner::Column(column) => {
                    self.fields.push(Field { prefix: std::mem::take(prefix), column: *column });
                }
                Inner::Object(members) => self.add(members, prefix),
            }
        }
        prefix.push(b'}');
    }

    /// Appends one row of the columns.
    pub(crate) fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) {
        for field in &self.fields {
            out.extend_from_slice(&field.prefix);
            write_cell(out, &columns[field.column], row, self.timestamps);
        }
        out.extend_from_slice(&self.end);
    }
}

/// A field of an object to be written.
struct Member<'a> {
    name: &'a str,
    inner: Inner<'a>,
}

enum Inner<'a> {
    Column(usize),
    Object(Vec<Member<'a>>),
}

fn insert<'a>(members: &mut Vec<Member<'a>>, path: &[&'a str], column: usize) -> Result<(), ()> {
    let Some((name, rest)) = path.split_first() else { return Err(()) };
    let found = members.iter().position(|member| member.name == *name);
    let index = match (found, rest) {
        (Some(_), []) => return Err(()),
        (Some(index), _) => index,
        (None, []) => {
            members.push(Member { name, inner: Inner::Column(column) });
            return Ok(());
        }
        (None, _) => {
            members.push(Member { name, inner: Inner::Object(Vec::new()) });
            members.len() - 1
        }
    };
    match &mut members[index].inner {
        Inner::Object(inner) => insert(inner, rest, column),
        Inner::Column(_) => Err(()),
    }
}

pub(crate) fn write_cell(out: &mut Vec<u8>, column: &Column, row: usize, timestamps: TimestampText) {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match column {
        Column::Boolean(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
        Column::BigInt(array) => write_json(out, &array.value(row)),
        Column::Double(array) => write_json(out, &array.value(row)),
        Column::String(array) => write_text(out, array.value(row)),
        Column::Timestamp(array) => write_timestamp(out, array.value(row), timestamps),
        Column::Decimal(array) => write_decimal(out, decimal_at(array, row)),
        Column::Date(array) => {
            write!(out, "\"{}\"", IsoDate(array.value(row))).expect("writing to memory cannot fail");
        }
        Column::Bytes(array) => write_text(out, &BASE64.encode(array.value(row))),
    }
}

fn write_timestamp(out: &mut Vec<u8>, ms: i64, timestamps: TimestampText) {
    match timestamps {
        TimestampText::Iso8601 => write!(out, "\"{}\"", Iso(ms)),
        TimestampText::Sql => write!(out, "\"{}\"", SqlTime(ms)),
        TimestampText::EpochMillis => write!(out, "{ms}"),
    }
    .expect("writing to memory cannot fail");
}

/// As a number with every digit, which a reader that uses floats may round.
fn write_decimal(out: &mut Vec<u8>, value: Decimal) {
    write!(out, "{value}").expect("writing to memory cannot fail");
}

fn write_json<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a plain value is always JSON, and memory takes every byte");
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

/// A value of a key.
fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(value) => write_json(out, value),
        Value::BigInt(value) => write_json(out, value),
        // The two zeros are one key.
        Value::Double(value) => write_json(out, &(value + 0.0)),
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

    fn encode(format: JsonFormat, columns: &[(plan::Column, Value)]) -> Result<String, FormatError> {
        let described: Vec<plan::Column> = columns.iter().map(|(column, _)| column.clone()).collect();
        let which: Vec<usize> = (0..columns.len()).collect();
        let encoder = JsonEncoder::new(format, &described, &which)?;
        let values: Vec<Column> =
            columns.iter().map(|(column, value)| Column::repeat(value, column.data_type, 1)).collect();
        let mut out = Vec::new();
        encoder.encode(&values, 0, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_row_is_one_object_in_the_tables_order() {
        let column = plan::Column::of_value;
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
        assert_eq!(
            encode(JsonFormat::default(), &columns).unwrap(),
            r#"{"a\"b":-3,"t":"2013-01-01T10:00:00Z","ms":"1970-01-01T00:00:00.001Z","s":"x\"\n","d":1.0,"b":true,"n":null,"m":-0.050,"day":"1969-12-31","raw":"AP8="}"#
        );
        let sql = JsonFormat { timestamps: TimestampText::Sql, ..JsonFormat::default() };
        assert_eq!(
            encode(sql, &columns[1..3]).unwrap(),
            r#"{"t":"2013-01-01 10:00:00","ms":"1970-01-01 00:00:00.001"}"#
        );
        let epoch = JsonFormat { timestamps: TimestampText::EpochMillis, ..JsonFormat::default() };
        assert_eq!(encode(epoch, &columns[1..3]).unwrap(), r#"{"t":1357034400000,"ms":1}"#);
    }

    #[test]
    fn dots_are_objects() {
        let column = |name: &str| (plan::Column::of_value(name, DataType::BigInt), Value::BigInt(1));
        let nested = JsonFormat::default();
        let text = |names: &[&str], format| {
            encode(format, &names.iter().map(|name| column(name)).collect::<Vec<_>>())
        };
        assert_eq!(text(&["a.b", "c", "a.d.e"], nested).unwrap(), r#"{"a":{"b":1,"d":{"e":1}},"c":1}"#);
        assert_eq!(text(&[], nested).unwrap(), "{}");
        let flat = JsonFormat { nested: false, ..nested };
        assert_eq!(text(&["a.b", "a"], flat).unwrap(), r#"{"a.b":1,"a":1}"#);
        for names in [["a.b", "a"], ["a", "a.b"]] {
            assert!(text(&names, nested).unwrap_err().message.contains("inside of another column"));
        }
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
        // Values that are equal are one key.
        assert_eq!(text(&[Value::Double(-0.0)]).as_deref(), Some("0.0"));
        assert_eq!(
            text(&[Value::Double(-0.0), Value::Double(-0.5)]).as_deref(),
            Some(r#"{"carrier":0.0,"hour":-0.5}"#)
        );
    }
}
