//! The options of a table's formats, and where in a record its columns are.
//!
//! Names are Flink's where Flink has them. What belongs to the key's format begins with `key.`, and what belongs to the
//! value's may begin with `value.`.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Location;

use super::super::error::{SqlError, suggest};
use super::super::statement::TableOption;
use crate::format::{AvroSchema, FormatError, RecordEncoder, RowDecoder};
use crate::plan::{
    AvroFormat, Column, ColumnOrigin, CsvFormat, DebeziumFormat, Format, JsonFormat, ProtobufFormat,
    ProtobufSchema, RecordFormat, TimestampText,
};
use crate::value::DataType;

/// Options of the formats together.
const GENERAL: [&str; 6] =
    ["format", "value.format", "key.format", "key.fields", "key.fields-prefix", "value.fields-include"];

/// Options of one format, behind its name.
const OF_FORMATS: [(&str, &[&str]); 5] = [
    ("json", &["nested", "timestamp-format.standard"]),
    ("csv", &["field-delimiter", "quote-character", "disable-quote-character", "null-literal"]),
    ("avro", &["schema", "confluent", "schema-id"]),
    ("protobuf", &["proto", "descriptor", "message"]),
    ("debezium-json", &["nested", "timestamp-format.standard", "schema-include"]),
];

/// Whether a format, of a value or of a key, may have an option of this name.
pub(super) fn is_option(key: &str) -> bool {
    GENERAL.contains(&key) || split(key).is_some()
}

/// The names that an option meant for a format may have, for a suggestion.
pub(super) fn option_names() -> Vec<String> {
    let names = OF_FORMATS
        .iter()
        .flat_map(|(format, options)| options.iter().map(move |option| format!("{format}.{option}")));
    GENERAL.iter().map(|name| (*name).to_owned()).chain(names).collect()
}

/// The format an option belongs to, behind `key.` or `value.`, and its name there.
fn split(key: &str) -> Option<(&str, &str)> {
    let inner = key.strip_prefix("key.").or_else(|| key.strip_prefix("value.")).unwrap_or(key);
    let (format, option) = inner.split_once('.')?;
    let known = OF_FORMATS.iter().any(|(name, options)| *name == format && options.contains(&option));
    known.then_some((format, option))
}

/// What Flink's options mean here, where they mean something else.
pub(super) fn foreign_option(key: &str) -> Option<&'static str> {
    let inner = key.strip_prefix("key.").or_else(|| key.strip_prefix("value.")).unwrap_or(key);
    match inner.split_once('.')?.1 {
        "ignore-parse-errors" => Some("say what becomes of such a record: 'on-error' = 'skip' or 'dlq'"),
        "fail-on-missing-field" => Some("declare the column NOT NULL"),
        "url" | "subject" => Some("there is no registry: give the schema, 'avro.schema' = '{...}'"),
        _ => None,
    }
}

/// Where `METADATA FROM 'name'` is, for a column of a type.
pub(super) fn metadata(name: &str, data_type: DataType, at: Location) -> Result<ColumnOrigin, SqlError> {
    let header = ["header:", "header.", "headers."].iter().find_map(|prefix| name.strip_prefix(prefix));
    let (origin, wanted) = match (name, header) {
        (_, Some(header)) => return Ok(ColumnOrigin::Header(header.to_owned())),
        ("key", _) => return Ok(ColumnOrigin::Key),
        ("offset", _) => (ColumnOrigin::Offset, DataType::BigInt),
        ("partition", _) => (ColumnOrigin::Partition, DataType::BigInt),
        ("timestamp", _) => (ColumnOrigin::Timestamp, DataType::Timestamp),
        ("timestamp-type", _) => (ColumnOrigin::TimestampType, DataType::String),
        ("topic", _) => (ColumnOrigin::Topic, DataType::String),
        ("shed-fraction", _) => (ColumnOrigin::ShedFraction, DataType::Double),
        ("headers", _) => {
            return Err(SqlError::at(
                at,
                "there is no type for all headers together",
                "name one of them: METADATA FROM 'header:<name>'",
            ));
        }
        _ => {
            let known = [
                "key",
                "offset",
                "partition",
                "timestamp",
                "timestamp-type",
                "topic",
                "shed-fraction",
                "header:<name>",
            ];
            return Err(SqlError::at(at, format!("a record has no '{name}'"), suggest(name, known)));
        }
    };
    match data_type == wanted {
        true => Ok(origin),
        false => Err(SqlError::at(
            at,
            format!("the record's {origin} is a {wanted}, the column is a {data_type}"),
            format!("declare it as {wanted}"),
        )),
    }
}

/// A table's formats. Columns named by 'key.fields' are moved to the key.
pub(super) fn record_format(
    options: &[TableOption],
    columns: &mut [Column],
    table: &Ident,
) -> Result<RecordFormat, SqlError> {
    let table_at = table.span.start;
    let get = |key: &str| options.iter().find(|option| option.key == key);
    let named = match (get("format"), get("value.format")) {
        (Some(option), None) | (None, Some(option)) => option,
        (Some(_), Some(second)) => {
            return Err(SqlError::at(
                second.key_at,
                "'format' and 'value.format' are the same",
                "leave one of them out",
            ));
        }
        (None, None) => {
            return Err(SqlError::at(
                table_at,
                format!("table `{}` has no option 'format'", table.value),
                "add WITH ('format' = 'json'), or 'csv', 'avro', 'protobuf', 'raw', 'debezium-json'",
            ));
        }
    };
    let key_fields = get("key.fields");
    if let Some(option) = key_fields {
        move_to_key(option, columns)?;
    }
    let mut in_key: Vec<Column> =
        columns.iter().filter(|column| column.origin == ColumnOrigin::Key).cloned().collect();
    let key_in_value = match get("value.fields-include") {
        None => key_fields.is_some() && named.value != "raw",
        Some(option) => match option.value.as_str() {
            "ALL" => true,
            "EXCEPT_KEY" => false,
            _ => return Err(choice(option, "'value.fields-include' = 'ALL' or 'EXCEPT_KEY'")),
        },
    };
    let prefix = get("key.fields-prefix").filter(|option| !option.value.is_empty());
    if let Some(option) = prefix {
        strip_prefix(option, key_fields, key_in_value, &mut in_key)?;
    }
    let in_value = columns.iter().filter(|column| match column.origin {
        ColumnOrigin::Value => true,
        ColumnOrigin::Key => key_in_value,
        _ => false,
    });
    let in_value: Vec<Column> = in_value.cloned().collect();
    let value = FormatOptions { options, prefixes: &["", "value."], named, columns: &in_value }.format()?;
    let key = match (get("key.format"), in_key.as_slice()) {
        (None, []) => None,
        // One column is most often the key as it is.
        (None, [_]) => Some(Format::Raw),
        (None, [_, _, ..]) => {
            return Err(SqlError::at(
                key_fields.map_or(table_at, |option| option.value_at),
                "the key has several columns, and no format",
                "add 'key.format' = 'json', 'csv', 'avro' or 'protobuf'",
            ));
        }
        (Some(named), []) => {
            return Err(SqlError::at(
                named.key_at,
                "the key has a format, and no column is in it",
                "add 'key.fields' = '<column>;<column>', or declare <name> <TYPE> METADATA FROM 'key'",
            ));
        }
        (Some(named), _) => {
            Some(FormatOptions { options, prefixes: &["key."], named, columns: &in_key }.format()?)
        }
    };
    let key_prefix = prefix.map_or_else(String::new, |option| option.value.clone());
    let format = RecordFormat { key, value, key_in_value, key_prefix };
    check_unused(options, &format)?;
    Ok(format)
}

/// That a table's records can be read.
pub(super) fn check_source(
    format: &RecordFormat,
    columns: &[Column],
    options: &[TableOption],
    table_at: Location,
) -> Result<(), SqlError> {
    RowDecoder::new(format, columns, 0).map(|_| ()).map_err(|error| at_format(error, options, table_at))
}

/// That a table's records can be written.
pub(super) fn check_sink(
    format: &RecordFormat,
    columns: &[Column],
    options: &[TableOption],
    table_at: Location,
) -> Result<(), SqlError> {
    RecordEncoder::new(format, columns).map(|_| ()).map_err(|error| at_format(error, options, table_at))
}

fn at_format(error: FormatError, options: &[TableOption], table_at: Location) -> SqlError {
    let option = options.iter().find(|option| matches!(option.key.as_str(), "format" | "value.format"));
    SqlError::at(option.map_or(table_at, |option| option.value_at), error.message, error.help)
}

fn move_to_key(option: &TableOption, columns: &mut [Column]) -> Result<(), SqlError> {
    if let Some(column) = columns.iter().find(|column| column.origin == ColumnOrigin::Key) {
        return Err(SqlError::at(
            option.key_at,
            format!("'key.fields' and METADATA FROM 'key', as `{}` has it, are the same", column.name),
            "use one of them",
        ));
    }
    for name in option.value.split(';').map(str::trim) {
        let Some(column) = columns.iter().position(|column| column.name == name) else {
            return Err(SqlError::at(
                option.value_at,
                format!("there is no column `{name}`"),
                suggest(name, columns.iter().map(|column| column.name.as_str())),
            ));
        };
        if columns[column].origin != ColumnOrigin::Value {
            return Err(SqlError::at(
                option.value_at,
                format!("column `{name}` is the record's {}", columns[column].origin),
                "leave it out of 'key.fields'",
            ));
        }
        columns[column].origin = ColumnOrigin::Key;
    }
    Ok(())
}

/// Gives the columns of the key the names that their fields have there.
fn strip_prefix(
    option: &TableOption,
    key_fields: Option<&TableOption>,
    key_in_value: bool,
    in_key: &mut [Column],
) -> Result<(), SqlError> {
    let Some(key_fields) = key_fields else {
        return Err(SqlError::at(
            option.key_at,
            "'key.fields-prefix' means something only with 'key.fields'",
            "add 'key.fields' = '<column>;<column>', or leave the prefix out",
        ));
    };
    if key_in_value {
        return Err(SqlError::at(
            option.key_at,
            "with 'key.fields-prefix' the columns of the key are in the key alone",
            "add 'value.fields-include' = 'EXCEPT_KEY'",
        ));
    }
    for column in in_key {
        column.name = match column.name.strip_prefix(&option.value) {
            Some(rest) if !rest.is_empty() => rest.to_owned(),
            _ => {
                return Err(SqlError::at(
                    key_fields.value_at,
                    format!("column `{}` does not begin with '{}'", column.name, brief(&option.value)),
                    format!("call it `{}{}`", brief(&option.value), column.name),
                ));
            }
        };
    }
    Ok(())
}

/// That every option is one of a format that is used.
fn check_unused(options: &[TableOption], format: &RecordFormat) -> Result<(), SqlError> {
    for option in options {
        let Some((wanted, _)) = split(&option.key) else { continue };
        let used = match option.key.starts_with("key.") {
            true => format.key.as_ref(),
            false => Some(&format.value),
        };
        if used.is_none_or(|format| name_of(format) != wanted) {
            let place = if option.key.starts_with("key.") { "key.format" } else { "format" };
            return Err(SqlError::at(
                option.key_at,
                format!("'{}' means something only with '{place}' = '{wanted}'", option.key),
                "leave it out",
            ));
        }
    }
    Ok(())
}

fn name_of(format: &Format) -> &'static str {
    match format {
        Format::Json(_) => "json",
        Format::Csv(_) => "csv",
        Format::Avro(_) => "avro",
        Format::Protobuf(_) => "protobuf",
        Format::Raw => "raw",
        Format::Debezium(_) => "debezium-json",
    }
}

/// The options of the value's format, or of the key's.
struct FormatOptions<'a> {
    options: &'a [TableOption],
    /// What its options begin with.
    prefixes: &'a [&'a str],
    /// The option that names the format.
    named: &'a TableOption,
    /// The columns that are in it.
    columns: &'a [Column],
}

impl<'a> FormatOptions<'a> {
    fn format(&self) -> Result<Format, SqlError> {
        Ok(match self.named.value.as_str() {
            "json" => Format::Json(self.json("json")?),
            "csv" => Format::Csv(self.csv()?),
            "avro" => Format::Avro(self.avro()?),
            "protobuf" => Format::Protobuf(self.protobuf()?),
            "raw" => Format::Raw,
            "debezium-json" => Format::Debezium(DebeziumFormat {
                json: self.json("debezium-json")?,
                schema_include: self.truth("debezium-json.schema-include")?.unwrap_or(false),
            }),
            "avro-confluent" => return Err(choice(self.named, "'avro', and 'avro.confluent' = 'true'")),
            _ => {
                let key = &self.named.key;
                let known = "'json', 'csv', 'avro', 'protobuf', 'raw' or 'debezium-json'";
                return Err(choice(self.named, &format!("'{key}' = {known}")));
            }
        })
    }

    fn get(&self, key: &str) -> Option<&'a TableOption> {
        let is = |option: &&TableOption| {
            self.prefixes.iter().any(|prefix| option.key.strip_prefix(prefix) == Some(key))
        };
        self.options.iter().find(is)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|option| option.value.clone())
    }

    fn truth(&self, key: &str) -> Result<Option<bool>, SqlError> {
        match self.get(key) {
            None => Ok(None),
            Some(option) if option.value == "true" => Ok(Some(true)),
            Some(option) if option.value == "false" => Ok(Some(false)),
            Some(option) => Err(choice(option, &format!("'{key}' = 'true' or 'false'"))),
        }
    }

    /// One ASCII character that a CSV record can have between fields or around them.
    fn character(&self, key: &str) -> Result<Option<u8>, SqlError> {
        let Some(option) = self.get(key) else { return Ok(None) };
        match option.value.as_bytes() {
            b"\\t" => Ok(Some(b'\t')),
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(Some(*byte)),
            _ => Err(choice(option, &format!("'{key}' as one ASCII character, or '\\t'"))),
        }
    }

    fn json(&self, name: &str) -> Result<JsonFormat, SqlError> {
        let default = JsonFormat::default();
        let timestamps = match self.get(&format!("{name}.timestamp-format.standard")) {
            None => default.timestamps,
            Some(option) => match option.value.as_str() {
                "ISO-8601" => TimestampText::Iso8601,
                "SQL" => TimestampText::Sql,
                "EPOCH-MILLIS" => TimestampText::EpochMillis,
                _ => return Err(choice(option, "'ISO-8601', 'SQL' or 'EPOCH-MILLIS'")),
            },
        };
        let nested = self.truth(&format!("{name}.nested"))?.unwrap_or(default.nested);
        Ok(JsonFormat { nested, timestamps })
    }

    fn csv(&self) -> Result<CsvFormat, SqlError> {
        let mut csv = CsvFormat::new(self.columns.iter().map(|column| column.name.clone()).collect());
        csv.delimiter = self.character("csv.field-delimiter")?.unwrap_or(csv.delimiter);
        csv.quote = self.character("csv.quote-character")?.or(csv.quote);
        if self.truth("csv.disable-quote-character")? == Some(true) {
            csv.quote = None;
        }
        csv.null_literal = self.text("csv.null-literal").filter(|literal| !literal.is_empty());
        if csv.quote == Some(csv.delimiter) {
            let option = self.get("csv.field-delimiter").or(self.get("csv.quote-character"));
            return Err(choice(option.unwrap_or(self.named), "a delimiter that is not the quote"));
        }
        let special =
            |byte: u8| byte == csv.delimiter || Some(byte) == csv.quote || matches!(byte, b'\n' | b'\r');
        if let (Some(literal), Some(option)) = (&csv.null_literal, self.get("csv.null-literal"))
            && literal.bytes().any(special)
        {
            return Err(choice(option, "a null literal without delimiter, quote and line's end"));
        }
        Ok(csv)
    }

    fn avro(&self) -> Result<AvroFormat, SqlError> {
        let schema = match self.text("avro.schema") {
            Some(schema) => schema,
            None => AvroSchema::text_for(self.columns)
                .map_err(|error| SqlError::at(self.named.value_at, error.message, error.help))?,
        };
        let confluent = self.truth("avro.confluent")?.unwrap_or(false);
        let schema_id = match self.get("avro.schema-id") {
            None => None,
            Some(option) => match (option.value.parse::<u32>(), confluent) {
                (Ok(id), true) => Some(id),
                (Ok(_), false) => {
                    return Err(SqlError::at(
                        option.key_at,
                        "'avro.schema-id' means something only with 'avro.confluent' = 'true'",
                        "add that, or leave it out",
                    ));
                }
                (Err(_), _) => return Err(choice(option, "the schema's number in the registry")),
            },
        };
        Ok(AvroFormat { schema, confluent, schema_id })
    }

    fn protobuf(&self) -> Result<ProtobufFormat, SqlError> {
        let missing = |what: &str, help: &str| SqlError::at(self.named.value_at, what, help);
        let schema = match (self.text("protobuf.proto"), self.text("protobuf.descriptor")) {
            (Some(text), None) => ProtobufSchema::Proto(text),
            (None, Some(text)) => ProtobufSchema::Descriptor(text),
            _ => {
                return Err(missing(
                    "'protobuf' needs one description of its messages",
                    "add 'protobuf.proto' = '<text of a .proto file>', or 'protobuf.descriptor' = '<base64>'",
                ));
            }
        };
        let message = self.text("protobuf.message").ok_or_else(|| {
            missing("'protobuf' needs the name of a message", "add 'protobuf.message' = '<package.Message>'")
        })?;
        Ok(ProtobufFormat { schema, message })
    }
}

fn choice(option: &TableOption, help: &str) -> SqlError {
    SqlError::at(
        option.value_at,
        format!("option '{}' cannot be '{}'", option.key, brief(&option.value)),
        format!("write {help}"),
    )
}

/// The beginning of a value that may be a whole schema.
fn brief(value: &str) -> String {
    let mut shown: String = value.chars().take(40).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    shown
}
