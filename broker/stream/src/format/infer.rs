//! A table's declaration from a sample of its topic: what `logmill pipeline infer` shows.
//!
//! It is a draft for a person to look at. What the sample does not agree on is left out and noted, never guessed.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use super::avro::Schema as AvroSchema;
use super::cell::{Cell, Slot, is_number};
use super::csv;
use super::decoder::Decoder;
use super::error::FormatError;
use super::protobuf::Schema as ProtobufSchema;
use crate::plan::{Column, ColumnOrigin, CsvFormat, DebeziumFormat, Format};
use crate::time;
use crate::value::DataType;

/// Objects deeper than this inside one another are columns of JSON text.
const MAX_DEPTH: usize = 4;
/// Columns beyond this are left out, and noted.
const MAX_COLUMNS: usize = 200;
/// So many records must all have a field before it is declared `NOT NULL`.
const ENOUGH_RECORDS: usize = 20;
/// A whole number from here on may be an instant: milliseconds of the year 2000.
const EPOCH_MS_FROM: i64 = 946_684_800_000;
/// And up to here: of the year 2100.
const EPOCH_MS_TO: i64 = 4_102_444_800_000;

/// One record of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordSample {
    /// Its partition.
    pub partition: i32,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp: i64,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Why there is no draft.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InferError {
    /// Nothing to look at.
    #[error("none of the {records} records has a value; produce some, or read from an earlier offset")]
    NoValues {
        /// How many records the sample has.
        records: usize,
    },
    /// A record is not of the format asked for.
    #[error("record {index} of the sample is not {format}: {reason}")]
    OtherFormat {
        /// Its place in the sample, from 0.
        index: usize,
        /// The format's name.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The values are of a format that says nothing about itself.
    #[error("the values begin as Confluent's Avro and Protobuf do; say which, and give the schema")]
    NeedsSchema,
    /// The schema given cannot be used.
    #[error(transparent)]
    Schema(#[from] FormatError),
}

/// A drafted table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDraft {
    /// The value's format.
    pub format: Format,
    /// The columns, and where they are.
    pub columns: Vec<Column>,
    /// The column that most likely says when a record happened, and how late records of the sample were, in
    /// milliseconds.
    pub event_time: Option<(String, i64)>,
    /// What was left out, and why; one line each.
    pub notes: Vec<String>,
}

/// Splits a line of field names, as the records of a CSV format are split.
///
/// # Errors
/// What is wrong with it, in words.
pub fn csv_header(layout: &CsvFormat, line: &str) -> Result<Vec<String>, String> {
    let fields = csv::split(layout, line.as_bytes())?;
    Ok(fields.into_iter().map(|field| field.unwrap_or_default()).collect())
}

/// Drafts a table from a sample. Without a format one is chosen: Debezium's JSON, JSON, CSV, else raw.
///
/// A CSV format's fields need no names: they are named by place. Avro and Protobuf are drafted from their schema alone.
///
/// # Errors
/// A sample without values or of another format, or a schema that cannot be used.
pub fn infer(format: Option<&Format>, sample: &[RecordSample]) -> Result<TableDraft, InferError> {
    let values: Vec<(usize, &[u8])> = sample
        .iter()
        .enumerate()
        .filter_map(|(index, record)| Some((index, record.value.as_deref()?)))
        .collect();
    let format = match format {
        Some(format) => format.clone(),
        None if values.is_empty() => return Err(InferError::NoValues { records: sample.len() }),
        None => guess(&values)?,
    };
    let mut draft = TableDraft { format, columns: Vec::new(), event_time: None, notes: Vec::new() };
    match draft.format.clone() {
        Format::Json(_) => draft.add_objects(&parse_objects(&values, "json")?, &[]),
        Format::Debezium(debezium) => {
            let changes = parse_objects(&values, "debezium-json")?;
            let around: &[&str] = if debezium.schema_include { &["payload"] } else { &[] };
            draft.add_objects(&rows_of_changes(&changes, around), &[]);
        }
        Format::Csv(csv) => draft.add_csv(csv, &values)?,
        Format::Avro(avro) => draft.add_schema(AvroSchema::parse(&avro.schema)?.columns()),
        Format::Protobuf(protobuf) => draft.add_schema(ProtobufSchema::new(&protobuf)?.columns()),
        Format::Raw => {
            let is_text = values.iter().all(|(_, value)| std::str::from_utf8(value).is_ok());
            let data_type = if is_text { DataType::String } else { DataType::Bytes };
            draft.columns.push(Column::of_value("value", data_type));
        }
    }
    draft.add_key(sample);
    draft.add_event_time(sample, &values);
    Ok(draft)
}

/// The format that all values have.
fn guess(values: &[(usize, &[u8])]) -> Result<Format, InferError> {
    let all = |is: &dyn Fn(&[u8]) -> bool| values.iter().all(|(_, value)| is(value));
    let object = |value: &[u8]| matches!(serde_json::from_slice(value), Ok(Value::Object(_)));
    let change = |value: &[u8], wrapped: bool| {
        let parsed = serde_json::from_slice::<Value>(value).unwrap_or_default();
        let parsed = if wrapped { parsed.get("payload").cloned().unwrap_or_default() } else { parsed };
        let has = |name: &str| parsed.get(name).is_some();
        has("op") && has("before") && has("after")
    };
    if all(&object) {
        for schema_include in [false, true] {
            if all(&|value| change(value, schema_include)) {
                let debezium = DebeziumFormat { schema_include, ..DebeziumFormat::default() };
                return Ok(Format::Debezium(debezium));
            }
        }
        return Ok(Format::json());
    }
    if all(&|value| value.len() > 5 && value[0] == 0) {
        return Err(InferError::NeedsSchema);
    }
    for delimiter in [b',', b';', b'\t', b'|'] {
        let layout = CsvFormat { delimiter, ..CsvFormat::new(Vec::new()) };
        let width = |value: &[u8]| csv::split(&layout, value).map_or(0, |fields| fields.len());
        let first = values.first().map_or(0, |(_, value)| width(value));
        if first > 1 && all(&|value| width(value) == first) {
            return Ok(Format::Csv(layout));
        }
    }
    Ok(Format::Raw)
}

fn parse_objects(values: &[(usize, &[u8])], format: &'static str) -> Result<Vec<Value>, InferError> {
    let parse = |(index, value): &(usize, &[u8])| match serde_json::from_slice(value) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => Err((*index, "it is no object".to_owned())),
        Err(error) => Err((*index, error.to_string())),
    };
    let parsed: Result<Vec<Value>, (usize, String)> = values.iter().map(parse).collect();
    parsed.map_err(|(index, reason)| InferError::OtherFormat { index, format, reason })
}

/// The rows that changes speak of.
fn rows_of_changes(changes: &[Value], around: &[&str]) -> Vec<Value> {
    let inside =
        |change: &Value| around.iter().try_fold(change.clone(), |value, name| value.get(name).cloned());
    let rows = changes
        .iter()
        .filter_map(inside)
        .flat_map(|change| ["before", "after"].map(|name| change.get(name).cloned().unwrap_or_default()));
    rows.filter(Value::is_object).collect()
}

/// What the values of one field have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Nothing but null.
    Nothing,
    Boolean,
    Integer,
    /// An integer beyond a `BIGINT`.
    Long,
    Float,
    Moment,
    Day,
    Text,
    /// An object or an array.
    Composed,
    /// Types that no column takes together.
    Mixed,
}

impl Seen {
    fn of_json(value: &Value) -> Self {
        match value {
            Value::Null => Seen::Nothing,
            Value::Bool(_) => Seen::Boolean,
            Value::Number(number) if number.is_i64() => Seen::Integer,
            Value::Number(number) if number.is_u64() => Seen::Long,
            Value::Number(_) => Seen::Float,
            Value::String(text) => Seen::of_text(text),
            Value::Array(_) | Value::Object(_) => Seen::Composed,
        }
    }

    fn of_text(text: &str) -> Self {
        match (time::parse_date(text), time::parse_timestamp(text)) {
            (Some(_), _) => Seen::Day,
            (None, Some(_)) => Seen::Moment,
            (None, None) => Seen::Text,
        }
    }

    fn of_plain(text: &str) -> Self {
        match text {
            "true" | "false" | "TRUE" | "FALSE" => Seen::Boolean,
            // A code, whose zeros mean something: 07102.
            _ if text.len() > 1 && text.starts_with('0') && text.parse::<u64>().is_ok() => Seen::Text,
            _ if text.parse::<i64>().is_ok() => Seen::Integer,
            _ if is_number(text) && text.parse::<f64>().is_ok_and(f64::is_finite) => Seen::Float,
            _ => Seen::of_text(text),
        }
    }

    fn and(self, other: Self) -> Self {
        use Seen::{Composed, Day, Float, Integer, Long, Mixed, Moment, Nothing, Text};
        match (self, other) {
            (same, other) if same == other => same,
            (Nothing, other) | (other, Nothing) => other,
            (Integer | Long | Float, Float) | (Float, Integer | Long) => Float,
            (Integer, Long) | (Long, Integer) => Long,
            (Day, Moment) | (Moment, Day) => Moment,
            (Text, Day | Moment | Composed) | (Day | Moment | Composed, Text) => Text,
            (Composed, Day | Moment) | (Day | Moment, Composed) => Text,
            _ => Mixed,
        }
    }

    fn data_type(self) -> Option<DataType> {
        match self {
            Seen::Nothing | Seen::Mixed => None,
            Seen::Boolean => Some(DataType::Boolean),
            Seen::Integer => Some(DataType::BigInt),
            Seen::Long => Some(DataType::Decimal { precision: 20, scale: 0 }),
            Seen::Float => Some(DataType::Double),
            Seen::Moment => Some(DataType::Timestamp),
            Seen::Day => Some(DataType::Date),
            Seen::Text | Seen::Composed => Some(DataType::String),
        }
    }
}

/// What the values of one field of a CSV record have in common, and how many there are.
#[derive(Debug, Clone, Copy)]
struct FieldSeen {
    seen: Seen,
    present: usize,
}

impl FieldSeen {
    /// Whether it is more than a text.
    fn is_typed(&self) -> bool {
        self.seen.data_type().is_some_and(|data_type| data_type != DataType::String)
    }
}

/// What stands for `NULL` in a CSV file, beside nothing.
const NULL_LITERALS: [&str; 6] = ["NA", "NULL", "null", "\\N", "N/A", "-"];

fn fields_seen(layout: &CsvFormat, values: &[(usize, &[u8])]) -> Result<Vec<FieldSeen>, InferError> {
    let mut seen: Vec<FieldSeen> = Vec::new();
    for (index, value) in values {
        let wrong = |reason: String| InferError::OtherFormat { index: *index, format: "csv", reason };
        let fields = csv::split(layout, value).map_err(wrong)?;
        if seen.is_empty() {
            seen = vec![FieldSeen { seen: Seen::Nothing, present: 0 }; fields.len()];
        }
        if fields.len() != seen.len() {
            return Err(wrong(format!("it has {} fields, the first has {}", fields.len(), seen.len())));
        }
        for (field, text) in seen.iter_mut().zip(fields) {
            if let Some(text) = text {
                field.seen = field.seen.and(Seen::of_plain(&text));
                field.present += 1;
            }
        }
    }
    Ok(seen)
}

impl TableDraft {
    /// Adds the fields of objects, in the order in which they come first.
    fn add_objects(&mut self, objects: &[Value], path: &[&str]) {
        let mut names: Vec<&str> = Vec::new();
        for object in objects.iter().filter_map(Value::as_object) {
            for name in object.keys().filter(|name| !names.contains(&name.as_str())).collect::<Vec<_>>() {
                names.push(name);
            }
        }
        for name in names {
            let path = [path, &[name]].concat();
            let full = path.join(".");
            if name.contains('.') || name.is_empty() {
                self.notes.push(format!(
                    "`{}` is left out: a dot in a column's name leads into an object, and 'json.nested' = 'false' reads none",
                    brief(&full)
                ));
                continue;
            }
            let found: Vec<&Value> = objects.iter().filter_map(|object| object.get(name)).collect();
            let present = found.iter().filter(|value| !value.is_null()).count();
            let nested = present > 0
                && path.len() < MAX_DEPTH
                && !name.contains('.')
                && found.iter().all(|value| {
                    value.is_null() || value.as_object().is_some_and(|object| !object.is_empty())
                });
            if nested {
                let inner: Vec<Value> = objects
                    .iter()
                    .map(|object| {
                        object.get(name).filter(|value| value.is_object()).cloned().unwrap_or_default()
                    })
                    .collect();
                self.add_objects(&inner, &path);
                continue;
            }
            let seen =
                found.iter().map(|value| Seen::of_json(value)).fold(Seen::Nothing, |all, next| all.and(next));
            let data_type = match seen {
                Seen::Integer if is_time_name(name) && found.iter().all(|value| is_epoch_ms(value)) => {
                    Some(DataType::Timestamp)
                }
                _ => seen.data_type(),
            };
            let required = present == objects.len() && objects.len() >= ENOUGH_RECORDS;
            self.add(&full, data_type, seen, required);
        }
    }

    fn add(&mut self, name: &str, data_type: Option<DataType>, seen: Seen, required: bool) {
        match data_type {
            Some(data_type) => self.push(Column { required, ..Column::of_value(name, data_type) }),
            None if seen == Seen::Nothing => {
                self.leave_out(name, "it is null in every record of the sample");
            }
            None => self.leave_out(name, "its values are of several types"),
        }
    }

    /// Adds a column, if it may be one.
    fn push(&mut self, column: Column) {
        match Column::check_name(&column.name) {
            Err(reason) => self.leave_out(&column.name, &format!("its name {reason}")),
            Ok(()) if self.columns.len() == MAX_COLUMNS => {
                self.leave_out(&column.name, &format!("there are more than {MAX_COLUMNS} columns"));
            }
            Ok(()) => self.columns.push(column),
        }
    }

    fn leave_out(&mut self, name: &str, reason: &str) {
        self.notes.push(format!("`{}` is left out: {reason}", brief(name)));
    }

    fn add_csv(&mut self, mut layout: CsvFormat, values: &[(usize, &[u8])]) -> Result<(), InferError> {
        let mut seen = fields_seen(&layout, values)?;
        if layout.null_literal.is_none() {
            let typed = |seen: &[FieldSeen]| seen.iter().filter(|field| field.is_typed()).count();
            for literal in NULL_LITERALS {
                let with = CsvFormat { null_literal: Some(literal.to_owned()), ..layout.clone() };
                let better = fields_seen(&with, values)?;
                if typed(&better) > typed(&seen) {
                    (layout, seen) = (with, better);
                }
            }
        }
        // Names that a table cannot have, or not twice, are those of the places.
        let given = std::mem::take(&mut layout.fields);
        for place in 0..seen.len() {
            let name = given.get(place).filter(|_| given.len() == seen.len()).map(|name| name.trim());
            let is_free = |name: &&str| {
                !name.is_empty()
                    && Column::check_name(name).is_ok()
                    && !layout.fields.iter().any(|taken| taken == *name)
            };
            let name = name.filter(is_free).map_or_else(|| format!("field_{}", place + 1), str::to_owned);
            layout.fields.push(name);
        }
        for (name, FieldSeen { seen, present }) in layout.fields.iter().zip(&seen) {
            // A field that is left out would move the others: what has no type of its own is text.
            let data_type = seen.data_type().unwrap_or(DataType::String);
            let required = *present == values.len() && values.len() >= ENOUGH_RECORDS;
            self.columns.push(Column { required, ..Column::of_value(name, data_type) });
        }
        self.format = Format::Csv(layout);
        Ok(())
    }

    fn add_schema(&mut self, fields: Vec<(String, Option<DataType>)>) {
        for (name, data_type) in fields {
            match data_type {
                Some(data_type) => self.push(Column::of_value(&name, data_type)),
                None => self.leave_out(&name, "there is no type for what it is"),
            }
        }
    }

    /// A column for the key, where records have one.
    fn add_key(&mut self, sample: &[RecordSample]) {
        let keys: Vec<&[u8]> = sample.iter().filter_map(|record| record.key.as_deref()).collect();
        if keys.is_empty() {
            return;
        }
        let is_text = keys.iter().all(|key| std::str::from_utf8(key).is_ok());
        let data_type = if is_text { DataType::String } else { DataType::Bytes };
        let required = keys.len() == sample.len() && sample.len() >= ENOUGH_RECORDS;
        let name = self.free_name("record_key");
        let origin = ColumnOrigin::Key;
        self.columns.push(Column { required, origin, ..Column::of_value(&name, data_type) });
    }

    /// The column that says when: the one named most like it of those that every record has, else the record's own
    /// timestamp.
    fn add_event_time(&mut self, sample: &[RecordSample], values: &[(usize, &[u8])]) {
        let mut candidates: Vec<&Column> =
            self.columns.iter().filter(|column| column.data_type == DataType::Timestamp).collect();
        // Stable: of those named alike the first.
        candidates.sort_by_key(|column| std::cmp::Reverse(time_score(&column.name)));
        let found = candidates.into_iter().find_map(|column| {
            let times = self.read_times(column, sample, values)?;
            Some((column.name.clone(), disorder(&times)))
        });
        if found.is_some() {
            self.event_time = found;
            return;
        }
        let times: Vec<(i32, i64)> =
            sample.iter().map(|record| (record.partition, record.timestamp)).collect();
        let name = self.free_name("record_time");
        let origin = ColumnOrigin::Timestamp;
        self.columns.push(Column { origin, ..Column::of_value(&name, DataType::Timestamp) });
        self.event_time = Some((name, disorder(&times)));
    }

    /// A column's instants with their partitions; `None` where a record has none, or cannot be read.
    fn read_times(
        &self,
        column: &Column,
        sample: &[RecordSample],
        values: &[(usize, &[u8])],
    ) -> Option<Vec<(i32, i64)>> {
        if values.is_empty() || matches!(self.format, Format::Debezium(_)) {
            return None;
        }
        let slots = [Slot::new(column)];
        let mut decoder = Decoder::new(&self.format, [(0, column.name.as_str())], &slots).ok()?;
        let mut read = |value| {
            let mut cells = [Cell::Null];
            decoder.decode(value, &slots, &mut cells).ok()?;
            match cells {
                [Cell::Timestamp(ms)] => Some(ms),
                _ => None,
            }
        };
        values.iter().map(|(index, value)| Some((sample[*index].partition, read(value)?))).collect()
    }

    fn free_name(&self, name: &str) -> String {
        let taken = |name: &str| self.columns.iter().any(|column| column.name == name);
        let mut free = name.to_owned();
        while taken(&free) {
            free.push('_');
        }
        free
    }
}

/// The beginning of a name, for a note.
fn brief(name: &str) -> String {
    const LONGEST: usize = 60;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn is_epoch_ms(value: &Value) -> bool {
    value.is_null() || value.as_i64().is_some_and(|ms| (EPOCH_MS_FROM..EPOCH_MS_TO).contains(&ms))
}

fn is_time_name(name: &str) -> bool {
    time_score(name) > 0
}

/// How much a name says that it is the time of an event.
fn time_score(name: &str) -> usize {
    let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    match last.as_str() {
        "event_time" | "eventtime" | "event_timestamp" | "occurred_at" => 4,
        "timestamp" | "ts" | "time" | "datetime" | "date_time" | "rowtime" => 3,
        "created_at" | "createdat" | "created" => 2,
        _ if last.ends_with("_at") || last.ends_with("_ts") || last.contains("time") => 1,
        _ => 0,
    }
}

/// How far behind the newest of its partition a record was at most, in milliseconds.
fn disorder(times: &[(i32, i64)]) -> i64 {
    let mut newest = BTreeMap::new();
    let mut late = 0;
    for (partition, time) in times {
        let newest = newest.entry(*partition).or_insert(*time);
        late = late.max(newest.saturating_sub(*time));
        *newest = (*newest).max(*time);
    }
    late
}
