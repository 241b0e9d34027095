//! How records become rows and rows become records, as plain data.
//!
//! A column comes from one place of the record ([`ColumnOrigin`]); columns of the value and of the key are read by a
//! [`Format`] each. Everything a decoder needs is in here: it never asks a file or a registry.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The formats of a topic's records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFormat {
    /// The key's, if columns are in the key.
    pub key: Option<Format>,
    /// The value's.
    pub value: Format,
    /// Whether columns of the key are in the value too: written into both, read from the value where there is one.
    pub key_in_value: bool,
    /// What the names of the key's columns begin with and its fields' names do not; most often nothing.
    #[serde(default)]
    pub key_prefix: String,
}

impl RecordFormat {
    /// Keys are not looked at, values are in `value`.
    pub fn of_value(value: Format) -> Self {
        Self { key: None, value, key_in_value: false, key_prefix: String::new() }
    }

    /// What a column of the key is called there.
    pub(crate) fn key_field<'n>(&self, column: &'n str) -> &'n str {
        column.strip_prefix(&self.key_prefix).unwrap_or(column)
    }
}

impl fmt::Display for RecordFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value)?;
        if let Some(key) = &self.key {
            write!(f, " key={key}")?;
            if self.key_in_value {
                f.write_str(" key-in-value")?;
            }
            if !self.key_prefix.is_empty() {
                write!(f, " key-prefix={}", self.key_prefix)?;
            }
        }
        Ok(())
    }
}

/// Where in a record a column is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnOrigin {
    /// A field of the value.
    #[default]
    Value,
    /// A field of the key.
    Key,
    /// The header of this name; of several the last.
    Header(String),
    /// The record's offset: a `BIGINT`.
    Offset,
    /// Its partition: a `BIGINT`.
    Partition,
    /// Its timestamp: a `TIMESTAMP(3)`.
    Timestamp,
    /// `CreateTime` or `LogAppendTime`: a `STRING`.
    TimestampType,
    /// Its topic: a `STRING`.
    Topic,
    /// The share of its table's records that its epoch sheds, 0 to 1: a `DOUBLE`. 0 where the policy takes no share.
    ShedFraction,
}

impl ColumnOrigin {
    /// Whether a column from here can be written, or only read.
    pub fn is_writable(&self) -> bool {
        matches!(
            self,
            ColumnOrigin::Value | ColumnOrigin::Key | ColumnOrigin::Header(_) | ColumnOrigin::Timestamp
        )
    }
}

impl fmt::Display for ColumnOrigin {
    /// As `METADATA FROM` calls it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnOrigin::Value => f.write_str("value"),
            ColumnOrigin::Key => f.write_str("key"),
            ColumnOrigin::Header(name) => write!(f, "header:{name}"),
            ColumnOrigin::Offset => f.write_str("offset"),
            ColumnOrigin::Partition => f.write_str("partition"),
            ColumnOrigin::Timestamp => f.write_str("timestamp"),
            ColumnOrigin::TimestampType => f.write_str("timestamp-type"),
            ColumnOrigin::Topic => f.write_str("topic"),
            ColumnOrigin::ShedFraction => f.write_str("shed-fraction"),
        }
    }
}

/// How the bytes of a value or of a key are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// One JSON object, fields by column name.
    Json(JsonFormat),
    /// One record of RFC 4180, fields by place.
    Csv(CsvFormat),
    /// One datum of Avro.
    Avro(AvroFormat),
    /// One message of Protobuf.
    Protobuf(ProtobufFormat),
    /// One column is the whole of it.
    Raw,
    /// A change of a row, as Debezium writes it in JSON: `before`, `after` and `op`.
    Debezium(DebeziumFormat),
}

impl Format {
    /// JSON with nothing chosen.
    pub fn json() -> Self {
        Format::Json(JsonFormat::default())
    }
}

impl fmt::Display for Format {
    /// The format's name, and in brackets what was chosen beside the default. Two formats with the same text mean the
    /// same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chosen = Vec::new();
        let name = match self {
            Format::Json(json) => {
                json.describe(&mut chosen);
                "json"
            }
            Format::Csv(csv) => {
                csv.describe(&mut chosen);
                "csv"
            }
            Format::Avro(avro) => {
                avro.describe(&mut chosen);
                "avro"
            }
            Format::Protobuf(protobuf) => {
                protobuf.describe(&mut chosen);
                "protobuf"
            }
            Format::Raw => "raw",
            Format::Debezium(debezium) => {
                debezium.json.describe(&mut chosen);
                if debezium.schema_include {
                    chosen.push("schema-include".to_owned());
                }
                "debezium-json"
            }
        };
        f.write_str(name)?;
        if !chosen.is_empty() {
            write!(f, "({})", chosen.join(" "))?;
        }
        Ok(())
    }
}

/// What can be chosen of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFormat {
    /// Whether a column `a.b` is the field `b` of the object `a`, or the field whose name is `a.b`.
    pub nested: bool,
    /// How instants are written. Every way is read.
    pub timestamps: TimestampText,
}

impl Default for JsonFormat {
    fn default() -> Self {
        Self { nested: true, timestamps: TimestampText::Iso8601 }
    }
}

impl JsonFormat {
    fn describe(&self, chosen: &mut Vec<String>) {
        if !self.nested {
            chosen.push("flat".to_owned());
        }
        match self.timestamps {
            TimestampText::Iso8601 => {}
            TimestampText::Sql => chosen.push("timestamps=SQL".to_owned()),
            TimestampText::EpochMillis => chosen.push("timestamps=EPOCH-MILLIS".to_owned()),
        }
    }
}

/// How an instant is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimestampText {
    /// `2013-01-01T10:00:00Z`.
    Iso8601,
    /// `2013-01-01 10:00:00`.
    Sql,
    /// Milliseconds since the epoch, a number.
    EpochMillis,
}

/// A CSV record's layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvFormat {
    /// The names of all fields in their order, also of those that no column is read from.
    pub fields: Vec<String>,
    /// Between fields: one ASCII character.
    pub delimiter: u8,
    /// Around a field that holds a delimiter, a quote or a line's end; doubled inside. `None`: no field is quoted.
    pub quote: Option<u8>,
    /// What an unquoted `NULL` looks like. `None`: nothing at all, and an empty text is quoted.
    pub null_literal: Option<String>,
}

impl CsvFormat {
    /// RFC 4180's own delimiter and quote.
    pub fn new(fields: Vec<String>) -> Self {
        Self { fields, delimiter: b',', quote: Some(b'"'), null_literal: None }
    }

    fn describe(&self, chosen: &mut Vec<String>) {
        chosen.push(format!("fields={:?}", self.fields));
        if self.delimiter != b',' {
            chosen.push(format!("delimiter={:?}", char::from(self.delimiter)));
        }
        match self.quote {
            Some(b'"') => {}
            Some(quote) => chosen.push(format!("quote={:?}", char::from(quote))),
            None => chosen.push("unquoted".to_owned()),
        }
        if let Some(null) = &self.null_literal {
            chosen.push(format!("null={null:?}"));
        }
    }
}

/// An Avro schema and how data of it are wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvroFormat {
    /// The writer's schema, as JSON.
    pub schema: String,
    /// Whether Confluent's header comes first: a zero byte and the schema's number in four bytes.
    pub confluent: bool,
    /// The number that header must have and is written with; when read, `None` takes any.
    pub schema_id: Option<u32>,
}

impl AvroFormat {
    fn describe(&self, chosen: &mut Vec<String>) {
        chosen.push(format!("schema={:08x}", crc32fast::hash(self.schema.as_bytes())));
        if self.confluent {
            chosen.push("confluent".to_owned());
        }
        if let Some(id) = self.schema_id {
            chosen.push(format!("id={id}"));
        }
    }
}

/// A Protobuf message type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtobufFormat {
    /// Where the type is described.
    pub schema: ProtobufSchema,
    /// The message's full name: `package.Message`.
    pub message: String,
}

/// A description of Protobuf messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtobufSchema {
    /// The text of a `.proto` file.
    Proto(String),
    /// A `FileDescriptorSet` in base64, as `protoc --descriptor_set_out --include_imports` makes it.
    Descriptor(String),
}

impl ProtobufFormat {
    fn describe(&self, chosen: &mut Vec<String>) {
        let (ProtobufSchema::Proto(text) | ProtobufSchema::Descriptor(text)) = &self.schema;
        chosen.push(format!("message={} schema={:08x}", self.message, crc32fast::hash(text.as_bytes())));
    }
}

/// What can be chosen of Debezium's JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebeziumFormat {
    /// How `before` and `after` are written.
    pub json: JsonFormat,
    /// Whether the change is under `payload`, beside a `schema`. Only read; never written.
    pub schema_include: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_by_what_was_chosen() {
        let mut csv = CsvFormat::new(vec!["a".to_owned(), "b".to_owned()]);
        csv.delimiter = b'|';
        csv.null_literal = Some("\\N".to_owned());
        let flat = JsonFormat { nested: false, timestamps: TimestampText::Sql };
        let avro = AvroFormat { schema: "\"long\"".to_owned(), confluent: true, schema_id: Some(7) };
        for (format, text) in [
            (Format::json(), "json"),
            (Format::Json(flat), "json(flat timestamps=SQL)"),
            (Format::Csv(csv), r#"csv(fields=["a", "b"] delimiter='|' null="\\N")"#),
            (Format::Avro(avro), "avro(schema=79b42229 confluent id=7)"),
            (Format::Raw, "raw"),
            (Format::Debezium(DebeziumFormat::default()), "debezium-json"),
        ] {
            assert_eq!(format.to_string(), text);
        }
        let both = RecordFormat { key: Some(Format::Raw), ..RecordFormat::of_value(Format::json()) };
        assert_eq!(both.to_string(), "json key=raw");
    }

    #[test]
    fn origins_read_as_metadata_calls_them() {
        assert_eq!(ColumnOrigin::Header("trace".to_owned()).to_string(), "header:trace");
        assert_eq!(ColumnOrigin::TimestampType.to_string(), "timestamp-type");
        assert!(ColumnOrigin::Timestamp.is_writable() && !ColumnOrigin::Offset.is_writable());
    }
}
