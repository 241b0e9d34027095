//! Rows to records.

use super::avro::AvroEncoder;
use super::csv::CsvEncoder;
use super::debezium::{DebeziumEncoder, Row};
use super::error::FormatError;
use super::json::JsonEncoder;
use super::protobuf::ProtobufEncoder;
use super::raw::{RawEncoder, write_whole};
use crate::column::Column;
use crate::plan::{self, ColumnOrigin, Format, RecordFormat};
use crate::value::{DataType, Value};

/// Encodes values, or keys.
#[derive(Debug)]
pub(crate) enum Encoder {
    Json(JsonEncoder),
    Csv(CsvEncoder),
    Avro(AvroEncoder),
    Protobuf(ProtobufEncoder),
    Raw(RawEncoder),
    Debezium(DebeziumEncoder),
}

impl Encoder {
    /// For the columns at the indexes `which`, of those that rows have.
    pub(crate) fn new(
        format: &Format,
        columns: &[plan::Column],
        which: &[usize],
    ) -> Result<Self, FormatError> {
        Ok(match format {
            Format::Json(json) => Encoder::Json(JsonEncoder::new(*json, columns, which)?),
            Format::Csv(csv) => Encoder::Csv(CsvEncoder::new(csv, columns, which)?),
            Format::Raw => Encoder::Raw(RawEncoder::new(columns, which)?),
            Format::Debezium(debezium) => Encoder::Debezium(DebeziumEncoder::new(*debezium, columns, which)?),
            Format::Avro(avro) => Encoder::Avro(AvroEncoder::new(avro, columns, which)?),
            Format::Protobuf(protobuf) => Encoder::Protobuf(ProtobufEncoder::new(protobuf, columns, which)?),
        })
    }

    /// Appends one row. Returns `false` where there is nothing to be written at all: a raw `NULL`. On an error,
    /// which says which field and why, what was appended is of no use.
    pub(crate) fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) -> Result<bool, String> {
        match self {
            Encoder::Json(encoder) => encoder.encode(columns, row, out),
            Encoder::Csv(encoder) => encoder.encode(columns, row, out)?,
            Encoder::Avro(encoder) => encoder.encode(columns, row, out)?,
            Encoder::Protobuf(encoder) => encoder.encode(columns, row, out)?,
            Encoder::Raw(encoder) => return Ok(encoder.encode(columns, row, out)),
            Encoder::Debezium(encoder) => encoder.encode(None, Some((columns, row)), out),
        }
        Ok(true)
    }
}

/// Encodes whole records: value, key, headers and timestamp of a row.
#[derive(Debug)]
pub(crate) struct RecordEncoder {
    value: Encoder,
    key: Option<Encoder>,
    /// The columns of the key.
    in_key: Vec<usize>,
    headers: Vec<(String, usize)>,
    timestamp: Option<usize>,
}

impl RecordEncoder {
    /// For rows of these columns.
    pub(crate) fn new(format: &RecordFormat, columns: &[plan::Column]) -> Result<Self, FormatError> {
        let which = |wanted: &dyn Fn(&ColumnOrigin) -> bool| -> Vec<usize> {
            let columns = columns.iter().enumerate();
            columns.filter(|(_, column)| wanted(&column.origin)).map(|(index, _)| index).collect()
        };
        if let Some(column) = columns.iter().find(|column| !column.origin.is_writable()) {
            return Err(FormatError::new(
                format!(
                    "column `{}` is the record's {}, which cannot be written",
                    column.name, column.origin
                ),
                "declare it VIRTUAL, or leave it out",
            ));
        }
        let in_key = which(&|origin| *origin == ColumnOrigin::Key);
        let in_value = which(&|origin| match origin {
            ColumnOrigin::Value => true,
            ColumnOrigin::Key => format.key_in_value,
            _ => false,
        });
        let headers = columns.iter().enumerate().filter_map(|(index, column)| match &column.origin {
            ColumnOrigin::Header(name) => Some((name.clone(), index)),
            _ => None,
        });
        Ok(Self {
            value: Encoder::new(&format.value, columns, &in_value)?,
            key: match &format.key {
                Some(key) if !in_key.is_empty() => {
                    let mut columns = columns.to_vec();
                    for index in &in_key {
                        columns[*index].name = format.key_field(&columns[*index].name).to_owned();
                    }
                    Some(Encoder::new(key, &columns, &in_key)?)
                }
                _ => None,
            },
            in_key,
            headers: headers.collect(),
            timestamp: which(&|origin| *origin == ColumnOrigin::Timestamp).first().copied(),
        })
    }

    /// Appends the value; `false` is a record without one.
    pub(crate) fn value(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) -> Result<bool, String> {
        self.value.encode(columns, row, out)
    }

    /// Appends the key; `false` is a record without one.
    pub(crate) fn key(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) -> Result<bool, String> {
        let Some(key) = &self.key else { return Ok(false) };
        let written = match self.in_key.iter().any(|column| is_negative_zero(&columns[*column], row)) {
            false => key.encode(columns, row, out),
            // The two zeros are one key.
            true => {
                let positive = |column: &Column| match column {
                    column if is_negative_zero(column, row) => {
                        Column::repeat(&Value::Double(0.0), DataType::Double, 1)
                    }
                    column => column.take(&[row as u32]),
                };
                key.encode(&columns.iter().map(positive).collect::<Vec<_>>(), 0, out)
            }
        };
        written.map_err(|error| format!("in the key: {error}"))
    }

    /// The headers, in the columns' order; a header of `NULL` is left out.
    pub(crate) fn headers(&self, columns: &[Column], row: usize) -> Vec<(&[u8], Vec<u8>)> {
        let present = self.headers.iter().filter(|(_, column)| !columns[*column].is_null(row));
        present
            .map(|(name, column)| {
                let mut value = Vec::new();
                write_whole(&columns[*column], row, &mut value);
                (name.as_bytes(), value)
            })
            .collect()
    }

    /// The record's timestamp, if a column says it.
    pub(crate) fn timestamp(&self, columns: &[Column], row: usize) -> Option<i64> {
        let column = &columns[self.timestamp?];
        (!column.is_null(row)).then(|| column.timestamp().value(row))
    }

    /// Appends the change from one row to another as a value, created without a `before` and deleted without an
    /// `after`. Returns `false`, and appends nothing, where the format has no word for it: `debezium-json` has.
    pub(crate) fn change(&self, before: Option<Row<'_>>, after: Option<Row<'_>>, out: &mut Vec<u8>) -> bool {
        match &self.value {
            Encoder::Debezium(encoder) => {
                encoder.encode(before, after, out);
                true
            }
            _ => false,
        }
    }
}

fn is_negative_zero(column: &Column, row: usize) -> bool {
    matches!(column, Column::Double(array) if !column.is_null(row) && array.value(row).to_bits() == (-0.0_f64).to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: DataType, origin: ColumnOrigin) -> plan::Column {
        plan::Column { origin, ..plan::Column::of_value(name, data_type) }
    }

    fn values(columns: &[plan::Column], row: &[Value]) -> Vec<Column> {
        columns.iter().zip(row).map(|(column, value)| Column::repeat(value, column.data_type, 1)).collect()
    }

    fn text(written: Result<bool, String>, bytes: Vec<u8>) -> Option<String> {
        written.unwrap().then(|| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn columns_go_everywhere_in_a_record() {
        let columns = [
            column("k", DataType::String, ColumnOrigin::Key),
            column("v", DataType::BigInt, ColumnOrigin::Value),
            column("h", DataType::BigInt, ColumnOrigin::Header("trace".to_owned())),
            column("t", DataType::Timestamp, ColumnOrigin::Timestamp),
        ];
        let row = values(
            &columns,
            &[Value::String("a".to_owned()), Value::BigInt(1), Value::BigInt(-2), Value::Timestamp(7)],
        );
        for (key_in_value, value) in [(true, r#"{"k":"a","v":1}"#), (false, r#"{"v":1}"#)] {
            let of_value = RecordFormat::of_value(Format::json());
            let format = RecordFormat { key: Some(Format::Raw), key_in_value, ..of_value };
            let encoder = RecordEncoder::new(&format, &columns).unwrap();
            let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
            let written = encoder.value(&row, 0, &mut value_bytes);
            assert_eq!(text(written, value_bytes).as_deref(), Some(value));
            let written = encoder.key(&row, 0, &mut key_bytes);
            assert_eq!(text(written, key_bytes).as_deref(), Some("a"));
            assert_eq!(encoder.headers(&row, 0), [(&b"trace"[..], b"-2".to_vec())]);
            assert_eq!(encoder.timestamp(&row, 0), Some(7));
            assert!(!encoder.change(None, Some((&row, 0)), &mut Vec::new()));
            let nulls = values(&columns, &[Value::Null, Value::Null, Value::Null, Value::Null]);
            assert_eq!(encoder.key(&nulls, 0, &mut Vec::new()), Ok(false));
            assert_eq!((encoder.headers(&nulls, 0), encoder.timestamp(&nulls, 0)), (Vec::new(), None));
        }
    }

    #[test]
    fn values_that_are_equal_are_one_key_in_every_format() {
        let columns = [
            column("k", DataType::Double, ColumnOrigin::Key),
            column("v", DataType::Double, ColumnOrigin::Value),
        ];
        let csv = Format::Csv(plan::CsvFormat::new(vec!["k".to_owned()]));
        for format in [Format::Raw, csv, Format::json()] {
            let of_value = RecordFormat::of_value(Format::json());
            let format = RecordFormat { key: Some(format), key_in_value: false, ..of_value };
            let encoder = RecordEncoder::new(&format, &columns).unwrap();
            let written = |k: f64| {
                let row = values(&columns, &[Value::Double(k), Value::Double(-0.0)]);
                let (mut key, mut value) = (Vec::new(), Vec::new());
                assert_eq!(encoder.key(&row, 0, &mut key), Ok(true));
                let has_value = encoder.value(&row, 0, &mut value);
                let value = text(has_value, value);
                (String::from_utf8(key).unwrap(), value)
            };
            assert_eq!(written(-0.0), written(0.0));
            assert_ne!(written(-0.5), written(0.5));
            assert_eq!(written(0.0).1.as_deref(), Some(r#"{"v":-0.0}"#), "a value stays what it is");
        }
    }

    #[test]
    fn where_a_record_is_cannot_be_written() {
        let columns = [column("o", DataType::BigInt, ColumnOrigin::Offset)];
        let error = RecordEncoder::new(&RecordFormat::of_value(Format::json()), &columns).unwrap_err();
        assert_eq!(error.message, "column `o` is the record's offset, which cannot be written");
    }

    #[test]
    fn changes_are_written_as_debezium_writes_them() {
        let columns = [column("id", DataType::BigInt, ColumnOrigin::Value)];
        let (one, two) = (values(&columns, &[Value::BigInt(1)]), values(&columns, &[Value::BigInt(2)]));
        let format = RecordFormat::of_value(Format::Debezium(plan::DebeziumFormat::default()));
        let encoder = RecordEncoder::new(&format, &columns).unwrap();
        let change = |before, after| {
            let mut out = Vec::new();
            assert!(encoder.change(before, after, &mut out));
            String::from_utf8(out).unwrap()
        };
        let wrapped = plan::DebeziumFormat { schema_include: true, ..plan::DebeziumFormat::default() };
        let wrapped = RecordFormat::of_value(Format::Debezium(wrapped));
        assert!(RecordEncoder::new(&wrapped, &columns).unwrap_err().message.contains("without a schema"));
        let (one, two) = (Some((&one[..], 0)), Some((&two[..], 0)));
        assert_eq!(change(None, one), r#"{"before":null,"after":{"id":1},"op":"c"}"#);
        assert_eq!(change(one, two), r#"{"before":{"id":1},"after":{"id":2},"op":"u"}"#);
        assert_eq!(change(two, None), r#"{"before":{"id":2},"after":null,"op":"d"}"#);
    }
}
