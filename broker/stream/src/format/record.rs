//! A whole record to a row: columns of its value, of its key, of its headers, and of where it is.

use std::borrow::Cow;

use logmill_record::RecordView;
use logmill_record::header::TimestampType;

use super::cell::{Cell, Slot};
use super::debezium::DebeziumDecoder;
use super::decoder::Decoder;
use super::error::FormatError;
use super::json::JsonDecoder;
use super::raw::{self, RawDecoder};
use crate::column::{Column, ColumnBuilder};
use crate::plan::{self, ColumnOrigin, Format, RecordFormat};

/// Where a record is, beside what it says itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordPlace<'r> {
    pub(crate) topic: &'r str,
    pub(crate) partition: i32,
    /// Of its batch.
    pub(crate) timestamp_type: TimestampType,
}

/// What a record did to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landed {
    /// One row was added.
    Row,
    /// One row was added that is to be taken back.
    TakenBack,
    /// Two rows were added: one to be taken back, then the one in its place.
    Replaced,
    /// The same, where these have different primary keys: nothing else says that the row of the first one is gone.
    Moved,
    /// The record has no value. One row was added, with `NULL` in every column of the value, also where it is
    /// `NOT NULL`.
    Tombstone,
    /// No row was added: the record has no value, and changes are values. Debezium writes such a record behind each
    /// deletion, for the topic's compaction.
    Nothing,
}

impl Landed {
    /// How many rows were added.
    fn rows(self) -> usize {
        match self {
            Landed::Nothing => 0,
            Landed::Row | Landed::TakenBack | Landed::Tombstone => 1,
            Landed::Replaced | Landed::Moved => 2,
        }
    }
}

/// A chunk is full when its rows were decoded from so many bytes: a column of texts has room for 2 GiB, and a record
/// may be a thousandth of that.
const CHUNK_BYTES: usize = 32 * 1024 * 1024;

/// Decodes records into columns. A record's rows land whole or not at all.
#[derive(Debug)]
pub(crate) struct RowDecoder {
    /// One for each column; then what the value's decoder has for itself.
    slots: Vec<Slot>,
    builders: Vec<ColumnBuilder>,
    value: ValueDecoder,
    /// The slots of the value's columns.
    in_value: Vec<usize>,
    /// Of each column, whether it is nowhere but in the value.
    only_in_value: Vec<bool>,
    key: Option<Decoder>,
    /// The columns of the primary key: all that is needed of a row that goes.
    primary_key: Vec<usize>,
    /// Reads the primary key of a record without a value, where the key's columns are the value's.
    deleted: Option<Decoder>,
    headers: Vec<(String, usize)>,
    places: Vec<(ColumnOrigin, usize)>,
    /// Rows of a chunk.
    rows: usize,
    /// Rows since the last call of [`RowDecoder::finish`], and the bytes they were decoded from.
    collected: (usize, usize),
    /// See [`ColumnOrigin::ShedFraction`].
    shed_fraction: f64,
    /// Kept for its memory, always empty.
    cells: Vec<Cell<'static>>,
}

#[derive(Debug, Clone)]
enum ValueDecoder {
    Row(Decoder),
    Change(DebeziumDecoder),
}

impl RowDecoder {
    /// For columns in use and about so many rows at a time.
    pub(crate) fn new(
        format: &RecordFormat,
        columns: &[plan::Column],
        rows: usize,
    ) -> Result<Self, FormatError> {
        let mut slots: Vec<Slot> = columns.iter().map(Slot::new).collect();
        let is_in_value = |column: &plan::Column| match column.origin {
            ColumnOrigin::Value => true,
            ColumnOrigin::Key => format.key_in_value,
            _ => false,
        };
        let in_value: Vec<usize> = (0..columns.len()).filter(|index| is_in_value(&columns[*index])).collect();
        let value_fields = in_value.iter().map(|index| (*index, columns[*index].name.as_str()));
        let value = match &format.value {
            Format::Debezium(debezium) => {
                ValueDecoder::Change(DebeziumDecoder::new(*debezium, &mut slots, &in_value))
            }
            other => ValueDecoder::Row(Decoder::new(other, value_fields, &slots)?),
        };
        let in_key = columns.iter().enumerate().filter(|(_, column)| column.origin == ColumnOrigin::Key);
        let mut in_key = in_key.map(|(index, column)| (index, format.key_field(&column.name))).peekable();
        let key = match (&format.key, in_key.peek()) {
            (_, None) => None,
            (Some(key), Some(_)) => Some(Decoder::new(key, in_key, &slots)?),
            (None, Some((_, name))) => {
                return Err(FormatError::new(
                    format!("column `{name}` is in the key, and the key has no format"),
                    "add 'key.format' = 'raw', 'json', 'csv', 'avro' or 'protobuf'",
                ));
            }
        };
        let mut decoder = Self {
            slots,
            builders: columns.iter().map(|column| ColumnBuilder::new(column.data_type, rows)).collect(),
            value,
            in_value,
            only_in_value: columns.iter().map(|column| column.origin == ColumnOrigin::Value).collect(),
            key,
            primary_key: Vec::new(),
            deleted: None,
            headers: Vec::new(),
            places: Vec::new(),
            rows,
            collected: (0, 0),
            shed_fraction: 0.0,
            cells: Vec::new(),
        };
        for (index, column) in columns.iter().enumerate() {
            match &column.origin {
                ColumnOrigin::Value | ColumnOrigin::Key => {}
                ColumnOrigin::Header(name) => decoder.headers.push((name.clone(), index)),
                place => decoder.places.push((place.clone(), index)),
            }
        }
        Ok(decoder)
    }

    /// A decoder for the same columns, without rows. It costs less than a new one: a schema is read once.
    pub(crate) fn fresh(&self) -> Self {
        let columns = self.builders.len();
        let builder = |slot: &Slot| ColumnBuilder::new(slot.data_type, self.rows);
        Self {
            slots: self.slots.clone(),
            builders: self.slots[..columns].iter().map(builder).collect(),
            value: self.value.clone(),
            in_value: self.in_value.clone(),
            only_in_value: self.only_in_value.clone(),
            key: self.key.clone(),
            primary_key: self.primary_key.clone(),
            deleted: self.deleted.clone(),
            headers: self.headers.clone(),
            places: self.places.clone(),
            rows: self.rows,
            collected: (0, 0),
            shed_fraction: 0.0,
            cells: Vec::new(),
        }
    }

    /// The records it decodes are what is left when this share of all is shed.
    pub(crate) fn with_shed_fraction(self, shed_fraction: f64) -> Self {
        Self { shed_fraction, ..self }
    }

    /// A record without a value deletes the row of its key: these columns are then read from the key, as a table with
    /// this primary key writes it. It is the plain text of one column, or a JSON object of several. Of a row that is
    /// taken back they are all that there must be: Debezium knows no more of it under PostgreSQL's usual replica identity.
    /// Without one of them no record says which row it is of.
    pub(crate) fn with_primary_key(mut self, columns: &[usize]) -> Self {
        self.primary_key = columns.to_vec();
        columns.iter().for_each(|column| self.slots[*column].put_in_primary_key());
        let mut fields = columns.iter().map(|column| (*column, self.slots[*column].name.as_str()));
        self.deleted = match columns {
            [] => None,
            // The script says what is in the key, and how.
            _ if self.key.is_some() => None,
            [_] => fields.next().and_then(|field| RawDecoder::new([field]).ok()).map(Decoder::Raw),
            _ => Some(Decoder::Json(JsonDecoder::new(fields, false))),
        };
        self
    }

    /// Adds the row or rows a record holds. On an error none is added; it says which field, and what was found.
    pub(crate) fn decode<'r>(
        &mut self,
        place: RecordPlace<'r>,
        record: &RecordView<'r>,
    ) -> Result<Landed, String> {
        if let (None, ValueDecoder::Change(_)) = (record.value, &self.value) {
            return Ok(Landed::Nothing);
        }
        let mut cells = recycle(std::mem::take(&mut self.cells));
        cells.resize(self.slots.len(), Cell::Null);
        let landed = self.fill(place, record, &mut cells).and_then(|landed| self.land(landed, &mut cells));
        self.cells = recycle(cells);
        let landed = landed?;
        self.collected.0 += landed.rows();
        self.collected.1 += record.data_len();
        Ok(landed)
    }

    /// Whether there are as many rows, or bytes of them, as a chunk should have.
    pub(crate) fn is_full(&self) -> bool {
        self.collected.0 >= self.rows || self.collected.1 >= CHUNK_BYTES
    }

    /// The columns of all rows since the last call.
    pub(crate) fn finish(&mut self) -> Vec<Column> {
        self.collected = (0, 0);
        self.builders.iter_mut().map(ColumnBuilder::finish).collect()
    }

    fn fill<'r>(
        &mut self,
        place: RecordPlace<'r>,
        record: &RecordView<'r>,
        cells: &mut [Cell<'r>],
    ) -> Result<Landed, String> {
        // What is in the value too is what the value says, where there is one.
        if let (Some(decoder), Some(key)) = (&mut self.key, record.key) {
            decoder.decode(key, &self.slots, cells).map_err(|error| format!("in the key: {error}"))?;
        }
        let landed = match (record.value, &mut self.value) {
            (None, _) => Landed::Tombstone,
            (Some(value), ValueDecoder::Row(decoder)) => {
                decoder.decode(value, &self.slots, cells)?;
                Landed::Row
            }
            (Some(value), ValueDecoder::Change(decoder)) => {
                decoder.decode(value, !self.primary_key.is_empty(), &self.slots, cells)?
            }
        };
        if let (Landed::Tombstone, Some(decoder)) = (landed, &mut self.deleted) {
            let key = record.key.ok_or("it has neither a value nor a key that says which row it deletes")?;
            decoder.decode(key, &self.slots, cells).map_err(|error| format!("in the key: {error}"))?;
        }
        if !self.headers.is_empty() {
            self.fill_headers(record, cells)?;
        }
        for (origin, index) in &self.places {
            let slot = &self.slots[*index];
            cells[*index] = match origin {
                ColumnOrigin::Offset => slot.integer(record.offset)?,
                ColumnOrigin::Partition => slot.integer(i64::from(place.partition))?,
                ColumnOrigin::Timestamp => slot.instant(record.timestamp)?,
                ColumnOrigin::TimestampType => slot.text(match place.timestamp_type {
                    TimestampType::CreateTime => "CreateTime",
                    TimestampType::LogAppendTime => "LogAppendTime",
                })?,
                ColumnOrigin::Topic => slot.text(Cow::Borrowed(place.topic))?,
                ColumnOrigin::ShedFraction => slot.float(self.shed_fraction)?,
                ColumnOrigin::Value | ColumnOrigin::Key | ColumnOrigin::Header(_) => {
                    unreachable!("filled by their decoders")
                }
            };
        }
        Ok(landed)
    }

    fn fill_headers<'r>(&self, record: &RecordView<'r>, cells: &mut [Cell<'r>]) -> Result<(), String> {
        for header in record.headers() {
            let (name, value) = header.map_err(|error| format!("the headers cannot be read: {error}"))?;
            for (wanted, index) in &self.headers {
                if wanted.as_bytes() == name {
                    cells[*index] = match value {
                        Some(value) => raw::whole(&self.slots[*index], value)?,
                        None => Cell::Null,
                    };
                }
            }
        }
        Ok(())
    }

    /// Appends what was filled, if it may be appended.
    fn land(&mut self, landed: Landed, cells: &mut [Cell<'_>]) -> Result<Landed, String> {
        let width = self.builders.len();
        if let Landed::TakenBack | Landed::Replaced = landed {
            // What is not in the value is the same for both rows.
            for index in (0..width).filter(|index| !self.in_value.contains(index)) {
                cells[width + index] = cells[index].clone();
            }
        }
        if landed == Landed::Replaced {
            // Of a key that is not in the row before, that row has the one behind it.
            let keys = || self.primary_key.iter().filter(|index| self.in_value.contains(index));
            if keys().all(|index| cells[width + index] == Cell::Null) {
                for index in keys() {
                    cells[width + index] = cells[*index].clone();
                }
            }
        }
        let rows: &[usize] = match landed {
            Landed::Row | Landed::Tombstone => &[0],
            Landed::TakenBack => &[width],
            Landed::Replaced | Landed::Moved => &[width, 0],
            Landed::Nothing => &[],
        };
        for first in rows {
            for (index, slot) in self.slots[..width].iter().enumerate() {
                let elsewhere = landed == Landed::Tombstone && self.only_in_value[index];
                let goes = *first == width && !self.primary_key.is_empty();
                if (elsewhere || goes) && !self.primary_key.contains(&index) {
                    continue;
                }
                slot.check(&cells[first + index])?;
            }
        }
        for first in rows {
            for (builder, cell) in self.builders.iter_mut().zip(&cells[*first..]) {
                cell.append_to(builder);
            }
        }
        let is_other = |column: &usize| cells[*column] != cells[width + column];
        Ok(match landed {
            Landed::Replaced if self.primary_key.iter().any(is_other) => Landed::Moved,
            landed => landed,
        })
    }
}

/// An empty vector in the memory of another whose elements borrowed from elsewhere.
fn recycle<'a>(mut cells: Vec<Cell<'_>>) -> Vec<Cell<'a>> {
    cells.clear();
    // Collecting what came out of a vector into one of the same layout keeps its memory.
    cells.into_iter().map(|_| Cell::Null).collect()
}

#[cfg(test)]
mod tests {
    use logmill_record::{BatchBuilder, BatchOptions};

    use super::*;
    use crate::plan::{CsvFormat, DebeziumFormat};
    use crate::value::{DataType, Value};

    type Headers<'a> = &'a [(&'a [u8], Option<&'a [u8]>)];

    /// Decodes one record at offset 0 of partition 3.
    fn decode(
        decoder: &mut RowDecoder,
        key: Option<&str>,
        value: Option<&str>,
        headers: Headers<'_>,
    ) -> Result<Landed, String> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(1_000, key.map(str::as_bytes), value.map(str::as_bytes), headers);
        let batch = builder.build().stamped(42, 0);
        let open = batch.open(64 << 20).unwrap();
        let view = open.records().next().unwrap().unwrap();
        let place = RecordPlace { topic: "t", partition: 3, timestamp_type: TimestampType::CreateTime };
        decoder.decode(place, &view)
    }

    fn rows(decoder: &mut RowDecoder) -> Vec<Vec<Value>> {
        let columns = decoder.finish();
        let count = columns.first().map_or(0, Column::len);
        (0..count).map(|row| columns.iter().map(|column| column.value(row)).collect()).collect()
    }

    fn column(name: &str, data_type: DataType, origin: ColumnOrigin) -> plan::Column {
        plan::Column { origin, ..plan::Column::of_value(name, data_type) }
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn columns_come_from_everywhere_in_a_record() {
        let columns = [
            column("v", DataType::BigInt, ColumnOrigin::Value),
            column("k", DataType::String, ColumnOrigin::Key),
            column("trace", DataType::BigInt, ColumnOrigin::Header("trace".to_owned())),
            column("o", DataType::BigInt, ColumnOrigin::Offset),
            column("p", DataType::BigInt, ColumnOrigin::Partition),
            column("ts", DataType::Timestamp, ColumnOrigin::Timestamp),
            column("tt", DataType::String, ColumnOrigin::TimestampType),
            column("topic", DataType::String, ColumnOrigin::Topic),
        ];
        let format = RecordFormat { key: Some(Format::Raw), ..RecordFormat::of_value(Format::json()) };
        let mut decoder = RowDecoder::new(&format, &columns, 4).unwrap();
        let headers: Headers<'_> = &[(b"trace", Some(b"1")), (b"other", None), (b"trace", Some(b"2"))];
        assert_eq!(decode(&mut decoder, Some("key"), Some(r#"{"v":1}"#), headers), Ok(Landed::Row));
        assert_eq!(decode(&mut decoder, None, Some("{}"), &[]), Ok(Landed::Row));
        let place =
            [Value::BigInt(42), Value::BigInt(3), Value::Timestamp(1_000), text("CreateTime"), text("t")];
        let first = [Value::BigInt(1), text("key"), Value::BigInt(2)];
        assert_eq!(
            rows(&mut decoder),
            [[&first[..], &place].concat(), [&[Value::Null, Value::Null, Value::Null][..], &place].concat()]
        );
        let error = decode(&mut decoder, None, Some("{}"), &[(b"trace", Some(b"x"))]).unwrap_err();
        assert_eq!(error, "field `trace` is the text \"x\", the column is a BIGINT");
    }

    #[test]
    fn a_record_that_fails_leaves_no_trace() {
        let columns = [
            column("i", DataType::BigInt, ColumnOrigin::Value),
            plan::Column { required: true, ..column("s", DataType::String, ColumnOrigin::Value) },
        ];
        let mut decoder = RowDecoder::new(&RecordFormat::of_value(Format::json()), &columns, 1).unwrap();
        let mut read = |value| decode(&mut decoder, None, Some(value), &[]);
        read(r#"{"i": 1, "s": "one"}"#).unwrap();
        read(r#"{"i": 2, "s": "two", "i": "x"}"#).unwrap_err();
        let error = read(r#"{"i": 2}"#).unwrap_err();
        assert_eq!(error, "field `s` is null or missing, but the column is NOT NULL");
        read(r#"{"i": 3, "s": "three"}"#).unwrap();
        assert_eq!(rows(&mut decoder), [[Value::BigInt(1), text("one")], [Value::BigInt(3), text("three")]]);
    }

    #[test]
    fn a_chunk_is_full_by_rows_or_by_bytes() {
        let columns = [column("v", DataType::String, ColumnOrigin::Value)];
        let mut decoder = RowDecoder::new(&RecordFormat::of_value(Format::Raw), &columns, 3).unwrap();
        let large = "x".repeat(CHUNK_BYTES / 2);
        for (values, full) in [(["a", "b", "c"], 3), (["a", &large, &large], 3), ([&large, &large, ""], 2)] {
            for (index, value) in values[..full].iter().enumerate() {
                assert!(!decoder.is_full());
                decode(&mut decoder, None, Some(value), &[]).unwrap();
                assert_eq!(decoder.is_full(), index + 1 == full);
            }
            assert_eq!(decoder.finish()[0].len(), full);
        }
    }

    #[test]
    fn keys_have_formats_of_their_own() {
        let columns = [
            column("a", DataType::BigInt, ColumnOrigin::Key),
            column("b", DataType::String, ColumnOrigin::Key),
            plan::Column { required: true, ..column("v", DataType::String, ColumnOrigin::Value) },
        ];
        let csv = Format::Csv(CsvFormat::new(vec!["a".to_owned(), "b".to_owned()]));
        for (key, bytes) in [(csv, "7,x"), (Format::json(), r#"{"a":7,"b":"x"}"#)] {
            let format = RecordFormat { key: Some(key), ..RecordFormat::of_value(Format::Raw) };
            let mut decoder = RowDecoder::new(&format, &columns, 1).unwrap();
            assert_eq!(decode(&mut decoder, Some(bytes), Some("value"), &[]), Ok(Landed::Row));
            assert_eq!(decode(&mut decoder, Some(bytes), None, &[]), Ok(Landed::Tombstone));
            assert!(decode(&mut decoder, Some("?"), None, &[]).unwrap_err().starts_with("in the key: "));
            assert_eq!(
                rows(&mut decoder),
                [[Value::BigInt(7), text("x"), text("value")], [Value::BigInt(7), text("x"), Value::Null]]
            );
        }
        let none = RowDecoder::new(&RecordFormat::of_value(Format::Raw), &columns, 1).unwrap_err();
        assert!(none.to_string().contains("column `a` is in the key, and the key has no format"));
        let two = RecordFormat { key: Some(Format::Raw), ..RecordFormat::of_value(Format::Raw) };
        let two = RowDecoder::new(&two, &columns, 1).unwrap_err();
        assert!(two.to_string().contains("a raw value is one column, `b` is another"));
    }

    #[test]
    fn a_record_says_the_whole_primary_key_of_its_row() {
        let columns = [
            column("a", DataType::BigInt, ColumnOrigin::Value),
            column("b", DataType::String, ColumnOrigin::Value),
            plan::Column { required: true, ..column("v", DataType::BigInt, ColumnOrigin::Value) },
        ];
        let format = RecordFormat::of_value(Format::json());
        let mut decoder = RowDecoder::new(&format, &columns, 1).unwrap().with_primary_key(&[0, 1]);
        let mut read = |key, value| decode(&mut decoder, Some(key), value, &[]);
        let whole = r#"{"a":1,"b":"x"}"#;
        assert_eq!(read(whole, Some(r#"{"a":1,"b":"x","v":2}"#)), Ok(Landed::Row));
        assert_eq!(read(whole, None), Ok(Landed::Tombstone));
        for key in [r#"{"a":1}"#, r#"{"a":1,"b":null}"#, r#"{"A":1,"B":"x"}"#] {
            let error = read(key, None).unwrap_err();
            assert!(error.contains("is null or missing, but the column is in the PRIMARY KEY"), "{error}");
        }
        let error = read(whole, Some(r#"{"a":1,"v":2}"#)).unwrap_err();
        assert_eq!(error, "field `b` is null or missing, but the column is in the PRIMARY KEY");
        let key = [Value::BigInt(1), text("x")];
        let row = |v| [&key[..], &[v]].concat();
        assert_eq!(rows(&mut decoder), [row(Value::BigInt(2)), row(Value::Null)]);
    }

    /// PostgreSQL's usual replica identity: of a row that goes its primary key is known, and nothing else.
    #[test]
    fn of_a_row_that_goes_the_primary_key_is_enough() {
        let required = |name: &str, data_type| plan::Column {
            required: true,
            ..column(name, data_type, ColumnOrigin::Value)
        };
        let columns = [required("name", DataType::String), required("id", DataType::BigInt)];
        let format = RecordFormat::of_value(Format::Debezium(DebeziumFormat::default()));
        let keyed = || RowDecoder::new(&format, &columns, 1).unwrap().with_primary_key(&[1]);
        let deleted = r#"{"before":{"id":1,"name":null},"after":null,"op":"d"}"#;
        let moved = r#"{"before":{"id":1},"after":{"id":2,"name":"x"},"op":"u"}"#;
        let mut decoder = keyed();
        assert_eq!(decode(&mut decoder, None, Some(deleted), &[]), Ok(Landed::TakenBack));
        assert_eq!(decode(&mut decoder, None, Some(moved), &[]), Ok(Landed::Moved));
        let stays = moved.replace(r#""id":2"#, r#""id":1"#);
        assert_eq!(decode(&mut decoder, None, Some(&stays), &[]), Ok(Landed::Replaced));
        let gone = vec![Value::Null, Value::BigInt(1)];
        let there = |id| vec![text("x"), Value::BigInt(id)];
        assert_eq!(rows(&mut decoder), [gone.clone(), gone.clone(), there(2), gone, there(1)]);
        for (change, part) in [
            (deleted.replace("1", "null"), "field `id` is null or missing"),
            (moved.replace(r#""x""#, "null"), "field `name` is null or missing"),
        ] {
            let error = decode(&mut keyed(), None, Some(&change), &[]).unwrap_err();
            assert!(error.contains(part), "{change}: {error}");
        }
        // Of a row that stays where it is nothing need be said.
        let mut decoder = keyed();
        for (change, landed) in [
            (r#"{"before":{"name":"x"},"after":{"id":8,"name":"y"},"op":"u"}"#, Landed::Replaced),
            (r#"{"before":{},"after":{"id":8,"name":"y"},"op":"u"}"#, Landed::Replaced),
            (r#"{"before":null,"after":{"id":8,"name":"y"},"op":"u"}"#, Landed::Replaced),
        ] {
            assert_eq!(decode(&mut decoder, None, Some(change), &[]), Ok(landed), "{change}");
        }
        let before = |name| vec![name, Value::BigInt(8)];
        assert_eq!(
            rows(&mut decoder),
            [text("x"), text("y"), Value::Null, text("y"), Value::Null, text("y")].map(before)
        );
        let mut both = RowDecoder::new(&format, &columns, 1).unwrap().with_primary_key(&[0, 1]);
        let half = r#"{"before":{"name":"x"},"after":{"id":8,"name":"y"},"op":"u"}"#;
        assert!(decode(&mut both, None, Some(half), &[]).is_err());
        // Without a key every column says which row it is.
        let mut decoder = RowDecoder::new(&format, &columns, 1).unwrap();
        assert!(decode(&mut decoder, None, Some(deleted), &[]).is_err());
    }

    #[test]
    fn changes_are_rows_and_rows_taken_back() {
        let columns = [
            plan::Column { required: true, ..column("id", DataType::BigInt, ColumnOrigin::Value) },
            column("a.b", DataType::String, ColumnOrigin::Value),
            column("o", DataType::BigInt, ColumnOrigin::Offset),
        ];
        for schema_include in [false, true] {
            let format = DebeziumFormat { schema_include, ..DebeziumFormat::default() };
            let format = RecordFormat::of_value(Format::Debezium(format));
            let mut decoder = RowDecoder::new(&format, &columns, 1).unwrap();
            let mut read = |change: &str| {
                let wrapped = format!(r#"{{"schema":{{"op":"x"}},"payload":{change}}}"#);
                decode(&mut decoder, None, Some(if schema_include { &wrapped } else { change }), &[])
            };
            let row = |id: i64, b: &str| format!(r#"{{"id":{id},"a":{{"b":"{b}"}}}}"#);
            let change = |before: &str, after: &str, op: &str| {
                format!(r#"{{"before":{before},"after":{after},"source":{{}},"op":"{op}","ts_ms":1}}"#)
            };
            assert_eq!(read(&change("null", &row(1, "x"), "c")), Ok(Landed::Row));
            assert_eq!(read(&change(&row(1, "x"), &row(1, "y"), "u")), Ok(Landed::Replaced));
            assert_eq!(read(&change(&row(1, "y"), "null", "d")), Ok(Landed::TakenBack));
            for (change, part) in [
                (change("null", &row(1, "x"), "u"), "field `before` is null or missing, but `op` is \"u\""),
                (change(&row(1, "x"), "null", "r"), "field `after` is null or missing"),
                (change("{}", &row(1, "x"), "u"), "field `id` is null or missing"),
                (change("{}", "{}", "t"), "field `op` is \"t\""),
                ("{}".to_owned(), "field `op` is null or missing"),
            ] {
                let error = read(&change).unwrap_err();
                assert!(error.contains(part), "{change}: {error}");
            }
            let row = |id, b: &str| vec![Value::BigInt(id), text(b), Value::BigInt(42)];
            assert_eq!(rows(&mut decoder), [row(1, "x"), row(1, "x"), row(1, "y"), row(1, "y")]);
        }
    }
}
