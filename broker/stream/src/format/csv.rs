//! One record of CSV (RFC 4180) to a row and back: fields by place, no header.
//!
//! Without a null literal `NULL` is nothing at all and an empty text is quoted, as PostgreSQL's COPY has it. A quoted
//! field is never `NULL`.

use std::borrow::Cow;
use std::io::Write;

use super::cell::{Brief, Cell, Slot};
use super::error::FormatError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::column::{Column, decimal_at};
use crate::plan::{self, CsvFormat};
use crate::time::{Iso, IsoDate};

/// Decodes records.
#[derive(Debug, Clone)]
pub(crate) struct CsvDecoder {
    format: CsvFormat,
    /// For each field the slot it fills.
    slots: Vec<Option<usize>>,
}

impl CsvDecoder {
    pub(crate) fn new<'a>(
        format: &CsvFormat,
        fields: impl IntoIterator<Item = (usize, &'a str)>,
    ) -> Result<Self, FormatError> {
        let mut slots = vec![None; format.fields.len()];
        for (slot, name) in fields {
            slots[place_of(format, name)?] = Some(slot);
        }
        Ok(Self { format: format.clone(), slots })
    }

    pub(crate) fn decode<'r>(
        &mut self,
        input: &'r [u8],
        slots: &[Slot],
        cells: &mut [Cell<'r>],
    ) -> Result<(), String> {
        let mut fields = Fields::of(&self.format, input)?;
        let mut count = 0;
        while let Some((field, quoted)) = fields.next()? {
            let slot = self.slots.get(count).copied().flatten();
            count += 1;
            let Some(slot) = slot else { continue };
            let null = is_null(&self.format, &field, quoted);
            cells[slot] = if null { Cell::Null } else { slots[slot].plain(field)? };
        }
        match count == self.slots.len() {
            true => Ok(()),
            false => Err(format!("the record has {count} fields, the table has {}", self.slots.len())),
        }
    }
}

/// The fields of a record as texts, `NULL` as `None`.
pub(crate) fn split(format: &CsvFormat, input: &[u8]) -> Result<Vec<Option<String>>, String> {
    let mut fields = Fields::of(format, input)?;
    let mut found = Vec::new();
    while let Some((field, quoted)) = fields.next()? {
        found.push((!is_null(format, &field, quoted)).then(|| field.into_owned()));
    }
    Ok(found)
}

fn is_null(format: &CsvFormat, field: &str, quoted: bool) -> bool {
    match (&format.null_literal, quoted) {
        (_, true) => false,
        (Some(literal), false) => field == literal,
        (None, false) => field.is_empty(),
    }
}

fn place_of(format: &CsvFormat, name: &str) -> Result<usize, FormatError> {
    format.fields.iter().position(|field| field == name).ok_or_else(|| {
        FormatError::new(
            format!("`{name}` is not among the fields of the CSV record"),
            format!("known are: {}", format.fields.join(", ")),
        )
    })
}

/// The fields of a record, one after the other.
struct Fields<'f, 'r> {
    format: &'f CsvFormat,
    text: &'r str,
    at: usize,
    done: bool,
}

impl<'f, 'r> Fields<'f, 'r> {
    fn of(format: &'f CsvFormat, input: &'r [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(input).map_err(|error| format!("not UTF-8: {error}"))?;
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        Ok(Self { format, text, at: 0, done: false })
    }

    /// The next field, and whether it was quoted.
    fn next(&mut self) -> Result<Option<(Cow<'r, str>, bool)>, String> {
        if self.done {
            return Ok(None);
        }
        let rest = &self.text[self.at..];
        if let Some(quote) = self.format.quote.filter(|quote| rest.as_bytes().first() == Some(quote)) {
            return self.quoted(quote).map(|field| Some((field, true)));
        }
        let end = rest.bytes().position(|byte| byte == self.format.delimiter).unwrap_or(rest.len());
        let field = &rest[..end];
        if let Some(quote) = self.format.quote.filter(|quote| field.bytes().any(|byte| byte == *quote)) {
            let field = Brief(field);
            return Err(format!(
                "a {:?} inside of the unquoted field {field:?} at byte {}; quote the field",
                char::from(quote),
                self.at
            ));
        }
        if field.bytes().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return Err(format!(
                "a line's end in an unquoted field at byte {}: one record a message",
                self.at
            ));
        }
        self.pass(end);
        Ok(Some((Cow::Borrowed(field), false)))
    }

    fn quoted(&mut self, quote: u8) -> Result<Cow<'r, str>, String> {
        let start = self.at + 1;
        let mut owned: Option<String> = None;
        let mut from = start;
        loop {
            let rest = &self.text.as_bytes()[from..];
            let Some(length) = rest.iter().position(|byte| *byte == quote) else {
                return Err(format!("the quote at byte {} is not closed", start - 1));
            };
            let part = &self.text[from..from + length];
            let after = from + length + 1;
            if self.text.as_bytes().get(after) == Some(&quote) {
                let text = owned.get_or_insert_default();
                text.push_str(part);
                text.push(char::from(quote));
                from = after + 1;
                continue;
            }
            self.at = after;
            if self.text.as_bytes().get(after).is_some_and(|byte| *byte != self.format.delimiter) {
                return Err(format!("something behind the closing quote at byte {after}"));
            }
            self.pass(0);
            return Ok(match owned {
                Some(text) => Cow::Owned(text + part),
                None => Cow::Borrowed(part),
            });
        }
    }

    /// Goes behind the field and its delimiter; without one the record ends.
    fn pass(&mut self, length: usize) {
        self.at += length;
        self.done = self.at == self.text.len();
        self.at += usize::from(!self.done);
    }
}

/// Encodes rows.
#[derive(Debug)]
pub(crate) struct CsvEncoder {
    format: CsvFormat,
    /// For each field its column.
    columns: Vec<usize>,
}

impl CsvEncoder {
    pub(crate) fn new(
        format: &CsvFormat,
        columns: &[plan::Column],
        which: &[usize],
    ) -> Result<Self, FormatError> {
        let by_place = format.fields.iter().map(|field| {
            which.iter().copied().find(|index| columns[*index].name == *field).ok_or_else(|| {
                FormatError::new(
                    format!("no column is written into field `{field}`"),
                    "give each field of the CSV record a column",
                )
            })
        });
        Ok(Self { columns: by_place.collect::<Result<_, _>>()?, format: format.clone() })
    }

    pub(crate) fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                out.push(self.format.delimiter);
            }
            self.write_field(&columns[*column], row, out)
                .map_err(|reason| format!("field `{}` {reason}", self.format.fields[index]))?;
        }
        Ok(())
    }

    fn write_field(&self, column: &Column, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if column.is_null(row) {
            out.extend_from_slice(self.format.null_literal.as_deref().unwrap_or_default().as_bytes());
            return Ok(());
        }
        match column {
            Column::String(array) => self.write_text(array.value(row), out),
            other => {
                let start = out.len();
                write_plain(other, row, out);
                // A delimiter such as `-` or `1` is in numbers and instants too.
                if !self.is_plain(&out[start..]) {
                    let text = String::from_utf8_lossy(&out.split_off(start)).into_owned();
                    return self.write_text(&text, out);
                }
                Ok(())
            }
        }
    }

    fn write_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        if self.is_plain(text.as_bytes()) {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let Some(quote) = self.format.quote else {
            return Err(format!("would have to be quoted: {:?}", Brief(text)));
        };
        out.push(quote);
        for byte in text.bytes() {
            if byte == quote {
                out.push(quote);
            }
            out.push(byte);
        }
        out.push(quote);
        Ok(())
    }

    /// Whether a field can be written without quotes, and is then read as it was.
    fn is_plain(&self, field: &[u8]) -> bool {
        let null = self.format.null_literal.as_deref().unwrap_or_default();
        let special = |byte: &u8| {
            *byte == self.format.delimiter
                || Some(*byte) == self.format.quote
                || matches!(byte, b'\n' | b'\r')
        };
        field != null.as_bytes() && !field.iter().any(special)
    }
}

/// A value as plain text, not `NULL`; bytes in base64.
pub(crate) fn write_plain(column: &Column, row: usize, out: &mut Vec<u8>) {
    match column {
        Column::Boolean(array) => write!(out, "{}", array.value(row)),
        Column::BigInt(array) => write!(out, "{}", array.value(row)),
        Column::Double(array) => write!(out, "{:?}", array.value(row)),
        Column::String(array) => out.write_all(array.value(row).as_bytes()),
        Column::Timestamp(array) => write!(out, "{}", Iso(array.value(row))),
        Column::Decimal(array) => write!(out, "{}", decimal_at(array, row)),
        Column::Date(array) => write!(out, "{}", IsoDate(array.value(row))),
        Column::Bytes(array) => out.write_all(BASE64.encode(array.value(row)).as_bytes()),
    }
    .expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::{DataType, Value};

    fn columns() -> Vec<plan::Column> {
        let column = plan::Column::of_value;
        vec![
            column("s", DataType::String),
            column("i", DataType::BigInt),
            column("t", DataType::Timestamp),
            column("z", DataType::String),
        ]
    }

    fn format() -> CsvFormat {
        CsvFormat::new(columns().iter().map(|column| column.name.clone()).collect())
    }

    fn decode<'r>(format: &CsvFormat, text: &'r str) -> Result<Vec<Cell<'r>>, String> {
        let columns = columns();
        let slots: Vec<Slot> = columns.iter().map(Slot::new).collect();
        let fields = columns.iter().map(|column| column.name.as_str()).enumerate();
        let mut decoder = CsvDecoder::new(format, fields).unwrap();
        let mut cells = vec![Cell::Null; slots.len()];
        decoder.decode(text.as_bytes(), &slots, &mut cells)?;
        Ok(cells)
    }

    fn encode(format: &CsvFormat, row: &[Value]) -> Result<String, String> {
        let columns = columns();
        let encoder = CsvEncoder::new(format, &columns, &[0, 1, 2, 3]).unwrap();
        let values: Vec<Column> = columns
            .iter()
            .zip(row)
            .map(|(column, value)| Column::repeat(value, column.data_type, 1))
            .collect();
        let mut out = Vec::new();
        encoder.encode(&values, 0, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn reads_quotes_and_nulls() {
        let text = |text: &str| Cell::String(Cow::Owned(text.to_owned()));
        let ten = Cell::Timestamp(1_357_034_400_000);
        assert_eq!(
            decode(&format(), "\"a,\"\"b\"\"\r\n\",-7,2013-01-01 10:00:00,x\r\n").unwrap(),
            [text("a,\"b\"\r\n"), Cell::BigInt(-7), ten.clone(), text("x")]
        );
        assert_eq!(decode(&format(), ",,,\"\"").unwrap(), [Cell::Null, Cell::Null, Cell::Null, text("")]);
        let mut other = format();
        (other.delimiter, other.quote, other.null_literal) = (b'|', None, Some("\\N".to_owned()));
        assert_eq!(
            decode(&other, "\"a\"|\\N|1357034400000|").unwrap(),
            [text("\"a\""), Cell::Null, ten, text("")]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (record, part) in [
            ("a,1", "the record has 2 fields, the table has 4"),
            ("a,1,,x,", "the record has 5 fields"),
            ("", "the record has 1 fields"),
            ("a,one,,x", "field `i` is the text \"one\", the column is a BIGINT"),
            ("\"a,1,,x", "the quote at byte 0 is not closed"),
            ("\"a\"b,1,,x", "behind the closing quote at byte 3"),
            ("a\"b,1,,x", "inside of the unquoted field"),
            ("a\nb,1,,x", "one record a message"),
        ] {
            let error = decode(&format(), record).unwrap_err();
            assert!(error.contains(part), "{record}: {error}");
        }
        let mut unquoted = format();
        unquoted.quote = None;
        let row = [Value::String("a,b".to_owned()), Value::Null, Value::Null, Value::Null];
        assert!(encode(&unquoted, &row).unwrap_err().contains("field `s` would have to be quoted"));
        let unknown = CsvDecoder::new(&format(), [(0, "nope")]).unwrap_err();
        assert!(unknown.to_string().contains("known are: s, i, t, z"));
    }

    fn formats() -> impl Strategy<Value = CsvFormat> {
        let null = prop::option::of(prop_oneof![Just("\\N".to_owned()), Just("null".to_owned())]);
        (prop::sample::select(vec![b',', b';', b'\t', b'|', b'-', b'1']), null)
            .prop_map(|(delimiter, null_literal)| CsvFormat { delimiter, null_literal, ..format() })
    }

    proptest! {
        #[test]
        fn rows_survive(
            format in formats(),
            s in prop::option::of("\\PC{0,8}|[,;\"\n\r a|1-]{0,8}|\\\\N|null"),
            i in prop::option::of(any::<i64>()),
            t in prop::option::of(crate::time::MIN_TIMESTAMP..=crate::time::MAX_TIMESTAMP),
            z in prop::option::of("[a\",\r\n]{0,4}"),
        ) {
            let row = [
                s.clone().map_or(Value::Null, Value::String),
                i.map_or(Value::Null, Value::BigInt),
                t.map_or(Value::Null, Value::Timestamp),
                z.clone().map_or(Value::Null, Value::String),
            ];
            let text = encode(&format, &row).unwrap();
            let expected = [
                s.map_or(Cell::Null, |text| Cell::String(text.into())),
                i.map_or(Cell::Null, Cell::BigInt),
                t.map_or(Cell::Null, Cell::Timestamp),
                z.map_or(Cell::Null, |text| Cell::String(text.into())),
            ];
            prop_assert_eq!(decode(&format, &text).unwrap(), expected, "{}", text);
        }

        #[test]
        fn another_reader_reads_what_is_written(s in "[a,\"\n\r ;]{0,8}", z in "\\PC{1,8}") {
            let row = [Value::String(s.clone()), Value::BigInt(1), Value::Null, Value::String(z.clone())];
            let text = encode(&format(), &row).unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(record.iter().collect::<Vec<_>>(), [&*s, "1", "", &*z]);
            prop_assert_eq!(reader.records().count(), 0);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let columns = columns();
            let slots: Vec<Slot> = columns.iter().map(Slot::new).collect();
            let mut decoder = CsvDecoder::new(&format(), [(0, "s"), (1, "i")]).unwrap();
            let _ = decoder.decode(&bytes, &slots, &mut vec![Cell::Null; 4]);
        }
    }
}
