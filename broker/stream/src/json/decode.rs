//! JSON objects into columns, one pass, no tree.
//!
//! Only the fields in use are looked at; everything else is skipped by the parser without being built. A row lands
//! in the columns whole or not at all.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::column::{Column, ColumnBuilder};
use crate::decimal::Decimal;
use crate::plan;
use crate::time;
use crate::value::DataType;

/// One field of the object being read. Texts wait in a buffer shared by the row.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Null,
    Boolean(bool),
    BigInt(i64),
    Double(f64),
    Timestamp(i64),
    Decimal(i128),
    Date(i32),
    Bytes { start: usize, end: usize },
    Text { start: usize, end: usize },
}

/// Decodes records into columns.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    fields: Vec<plan::Column>,
    builders: Vec<ColumnBuilder>,
    cells: Vec<Cell>,
    texts: String,
    bytes: Vec<u8>,
}

impl JsonDecoder {
    pub(crate) fn new(fields: &[plan::Column], rows: usize) -> Self {
        Self {
            builders: fields.iter().map(|field| ColumnBuilder::new(field.data_type, rows)).collect(),
            cells: vec![Cell::Null; fields.len()],
            fields: fields.to_vec(),
            texts: String::new(),
            bytes: Vec::new(),
        }
    }

    /// Adds the row a value holds. On an error no row is added.
    pub(crate) fn decode(&mut self, value: &[u8]) -> Result<(), String> {
        self.cells.fill(Cell::Null);
        self.texts.clear();
        self.bytes.clear();
        // Checked once as a whole: the parser then need not check each text by itself.
        let text = std::str::from_utf8(value).map_err(|error| format!("not UTF-8: {error}"))?;
        let row = RowVisitor {
            fields: &self.fields,
            cells: &mut self.cells,
            texts: &mut self.texts,
            bytes: &mut self.bytes,
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer
            .deserialize_map(row)
            .and_then(|()| deserializer.end())
            .map_err(|error| error.to_string())?;
        for (field, cell) in self.fields.iter().zip(&self.cells) {
            if field.required && matches!(cell, Cell::Null) {
                return Err(format!("field `{}` is null or missing, but the column is NOT NULL", field.name));
            }
        }
        for (builder, cell) in self.builders.iter_mut().zip(&self.cells) {
            match (builder, *cell) {
                (ColumnBuilder::Boolean(builder), Cell::Boolean(value)) => builder.append_value(value),
                (ColumnBuilder::BigInt(builder), Cell::BigInt(value)) => builder.append_value(value),
                (ColumnBuilder::Double(builder), Cell::Double(value)) => builder.append_value(value),
                (ColumnBuilder::Timestamp(builder), Cell::Timestamp(value)) => builder.append_value(value),
                (ColumnBuilder::Decimal(builder, _), Cell::Decimal(value)) => builder.append_value(value),
                (ColumnBuilder::Date(builder), Cell::Date(value)) => builder.append_value(value),
                (ColumnBuilder::Bytes(builder), Cell::Bytes { start, end }) => {
                    builder.append_value(&self.bytes[start..end]);
                }
                (ColumnBuilder::String(builder), Cell::Text { start, end }) => {
                    builder.append_value(&self.texts[start..end]);
                }
                (builder, _) => builder.append_null(),
            }
        }
        Ok(())
    }

    /// The columns of all rows since the last call.
    pub(crate) fn finish(&mut self) -> Vec<Column> {
        self.builders.iter_mut().map(ColumnBuilder::finish).collect()
    }
}

struct RowVisitor<'r> {
    fields: &'r [plan::Column],
    cells: &'r mut [Cell],
    texts: &'r mut String,
    bytes: &'r mut Vec<u8>,
}

impl<'de> Visitor<'de> for RowVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(KeySeed { fields: self.fields })? {
            match found {
                Some(index) => {
                    // Of a field written twice the last one counts.
                    let seed = CellSeed { field: &self.fields[index], texts: self.texts, bytes: self.bytes };
                    self.cells[index] = map.next_value_seed(seed)?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Which of the fields a key names, without keeping the key.
struct KeySeed<'r> {
    fields: &'r [plan::Column],
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.fields.iter().position(|field| field.name == key))
    }
}

struct CellSeed<'r> {
    field: &'r plan::Column,
    texts: &'r mut String,
    bytes: &'r mut Vec<u8>,
}

impl CellSeed<'_> {
    fn mismatch<E: de::Error>(&self, found: impl fmt::Display) -> E {
        E::custom(format_args!(
            "field `{}` is {found}, the column is a {}",
            self.field.name, self.field.data_type
        ))
    }

    fn decimal<E: de::Error>(&self, raw: &str, precision: u8, scale: u8) -> Result<Cell, E> {
        if raw == "null" {
            return Ok(Cell::Null);
        }
        let text = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
        match Decimal::parse_at(text, scale).filter(|decimal| decimal.fits(precision)) {
            Some(decimal) => Ok(Cell::Decimal(decimal.unscaled)),
            None => Err(self.mismatch(format_args!("{:?}", Shown(raw)))),
        }
    }

    fn instant<E: de::Error>(&self, ms: i64) -> Result<Cell, E> {
        match time::in_range(ms) {
            true => Ok(Cell::Timestamp(ms)),
            false => Err(self.mismatch(format_args!("{ms} ms, outside the years 1 to 9999"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = Cell;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cell, D::Error> {
        match self.field.data_type {
            DataType::Decimal { precision, scale } => {
                // The digits as they are written: a float on the way would change them.
                let raw = <&RawValue>::deserialize(deserializer)?;
                self.decimal(raw.get(), precision, scale)
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for CellSeed<'_> {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} for field `{}`", self.field.data_type, self.field.name)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Cell, E> {
        match self.field.data_type {
            DataType::Boolean => Ok(Cell::Boolean(value)),
            _ => Err(self.mismatch(value)),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Cell, E> {
        match self.field.data_type {
            DataType::BigInt => Ok(Cell::BigInt(value)),
            DataType::Double => Ok(Cell::Double(value as f64)),
            DataType::Timestamp => self.instant(value),
            _ => Err(self.mismatch(value)),
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Cell, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) if self.field.data_type == DataType::Double => Ok(Cell::Double(value as f64)),
            Err(_) => Err(self.mismatch(value)),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Cell, E> {
        // 517.0 is a whole number, whoever wrote it; beyond 2^53 a float no longer says which.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.field.data_type {
            DataType::Double if value.is_finite() => Ok(Cell::Double(value)),
            DataType::BigInt if value.fract() == 0.0 && value.abs() <= EXACT => {
                Ok(Cell::BigInt(value as i64))
            }
            _ => Err(self.mismatch(value)),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Cell, E> {
        match self.field.data_type {
            DataType::String => {
                let start = self.texts.len();
                self.texts.push_str(value);
                Ok(Cell::Text { start, end: self.texts.len() })
            }
            DataType::Date => match time::parse_date(value) {
                Some(days) => Ok(Cell::Date(days)),
                None => Err(self.mismatch(format_args!("{:?}, no day of the calendar", Shown(value)))),
            },
            DataType::Bytes => {
                let start = self.bytes.len();
                match BASE64.decode_vec(value, self.bytes) {
                    Ok(()) => Ok(Cell::Bytes { start, end: self.bytes.len() }),
                    Err(_) => Err(self.mismatch(format_args!("{:?}, no base64", Shown(value)))),
                }
            }
            DataType::Timestamp => match time::parse_timestamp(value) {
                Some(ms) => Ok(Cell::Timestamp(ms)),
                None => Err(self.mismatch(format_args!("{:?}, no ISO-8601 instant", Shown(value)))),
            },
            _ => Err(self.mismatch(format_args!("the text {:?}", Shown(value)))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Cell, A::Error> {
        Err(self.mismatch("an object"))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<Cell, A::Error> {
        Err(self.mismatch("an array"))
    }
}

/// The beginning of a text, for a message.
struct Shown<'a>(&'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(40).collect();
        write!(f, "{shown:?}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;

    fn fields() -> Vec<plan::Column> {
        let field =
            |name: &str, data_type| plan::Column { name: name.to_owned(), data_type, required: false };
        vec![
            field("b", DataType::Boolean),
            field("i", DataType::BigInt),
            field("d", DataType::Double),
            field("s", DataType::String),
            field("t", DataType::Timestamp),
            field("n", DataType::Decimal { precision: 20, scale: 2 }),
            field("day", DataType::Date),
            field("raw", DataType::Bytes),
        ]
    }

    fn decode(text: &str) -> Result<Vec<Value>, String> {
        let mut decoder = JsonDecoder::new(&fields(), 1);
        decoder.decode(text.as_bytes())?;
        Ok(decoder.finish().iter().map(|column| column.value(0)).collect())
    }

    #[test]
    fn reads_every_type_and_passes_over_the_rest() {
        let row = r#" {"x": [1, {"i": 7}], "b": true, "i": -5, "d": 2, "s": "é\n\u0041", "t": "1970-01-01T00:00:01Z",
            "n": 123456789012345678.905, "day": "1970-01-03", "raw": "AP8="} "#;
        assert_eq!(
            decode(row).unwrap(),
            [
                Value::Boolean(true),
                Value::BigInt(-5),
                Value::Double(2.0),
                Value::String("é\nA".to_owned()),
                Value::Timestamp(1000),
                Value::Decimal(Decimal { unscaled: 12_345_678_901_234_567_891, scale: 2 }),
                Value::Date(2),
                Value::Bytes(vec![0, 255]),
            ]
        );
    }

    #[test]
    fn missing_and_null_are_the_same_and_the_last_of_two_counts() {
        let row =
            decode(r#"{"i": null, "s": "a", "s": "b", "t": 5, "d": 1.5, "i": 3.0, "n": "-1e1"}"#).unwrap();
        assert_eq!(
            row,
            [
                Value::Null,
                Value::BigInt(3),
                Value::Double(1.5),
                Value::String("b".to_owned()),
                Value::Timestamp(5),
                Value::Decimal(Decimal { unscaled: -1_000, scale: 2 }),
                Value::Null,
                Value::Null,
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (row, part) in [
            (r#"{"i": "12"}"#, "field `i` is the text \"12\", the column is a BIGINT"),
            (r#"{"i": 1.5}"#, "field `i` is 1.5"),
            (r#"{"i": 9223372036854775808}"#, "field `i` is 9223372036854775808"),
            (r#"{"b": 1}"#, "field `b` is 1, the column is a BOOLEAN"),
            (r#"{"s": 1}"#, "field `s` is 1, the column is a STRING"),
            (r#"{"s": {}}"#, "field `s` is an object"),
            (r#"{"s": []}"#, "field `s` is an array"),
            (r#"{"t": "yesterday"}"#, "no ISO-8601 instant"),
            (r#"{"t": 999999999999999999}"#, "outside the years 1 to 9999"),
            (r#"{"d": 1e999}"#, "number out of range"),
            (r#"{"n": 1e18}"#, "field `n` is \"1e18\", the column is a DECIMAL(20, 2)"),
            (r#"{"n": true}"#, "field `n` is \"true\""),
            (r#"{"n": {"a": 1}}"#, "field `n` is"),
            (r#"{"day": "1970-02-30"}"#, "no day of the calendar"),
            (r#"{"day": 5}"#, "field `day` is 5, the column is a DATE"),
            (r#"{"raw": "a"}"#, "no base64"),
            ("[1]", "a JSON object"),
            ("{} {}", "trailing characters"),
            ("{", "EOF"),
            ("", "EOF"),
        ] {
            let error = decode(row).unwrap_err();
            assert!(error.contains(part), "{row}: {error}");
        }
        let mut decoder = JsonDecoder::new(&fields(), 1);
        assert!(decoder.decode(b"{\"x\": \"\xff\"}").unwrap_err().contains("not UTF-8"));
        let mut decoder = JsonDecoder::new(
            &[plan::Column { name: "i".to_owned(), data_type: DataType::BigInt, required: true }],
            1,
        );
        assert!(decoder.decode(b"{}").unwrap_err().contains("NOT NULL"));
    }

    #[test]
    fn a_row_that_fails_leaves_no_trace() {
        let mut decoder = JsonDecoder::new(&fields(), 1);
        decoder.decode(br#"{"i": 1, "s": "one"}"#).unwrap();
        decoder.decode(br#"{"i": 2, "s": "two", "t": "x"}"#).unwrap_err();
        decoder.decode(br#"{"i": 3, "s": "three"}"#).unwrap();
        let columns = decoder.finish();
        assert_eq!(columns[1].len(), 2);
        assert_eq!(columns[1].value(1), Value::BigInt(3));
        assert_eq!(columns[3].value(1), Value::String("three".to_owned()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut decoder = JsonDecoder::new(&fields(), 1);
            let _ = decoder.decode(&bytes);
        }

        #[test]
        fn numbers_and_texts_survive(i in any::<i64>(), d in any::<f64>().prop_filter("finite", |d| d.is_finite()), s in "\\PC{0,20}") {
            let row = serde_json::json!({ "i": i, "d": d, "s": s }).to_string();
            let row = decode(&row).unwrap();
            prop_assert_eq!(&row[1], &Value::BigInt(i));
            prop_assert_eq!(&row[3], &Value::String(s));
            let Value::Double(read) = row[2] else { panic!("a DOUBLE") };
            prop_assert!((read - d).abs() <= d.abs() * 1e-15);
        }
    }
}
