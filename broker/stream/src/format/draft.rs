//! A drafted table as the text of its declaration.

use std::fmt::Write;

use super::infer::TableDraft;
use crate::plan::{ColumnOrigin, Format, ProtobufSchema as Description};

impl TableDraft {
    /// The declaration, with what was left out as comments in front of it.
    pub fn create_table(&self, table: &str, topic: &str) -> String {
        let mut out = String::new();
        self.write(&mut out, table, topic).expect("writing to a string cannot fail");
        out
    }

    fn write(&self, out: &mut String, table: &str, topic: &str) -> std::fmt::Result {
        for note in &self.notes {
            writeln!(out, "-- {}", note.replace(['\n', '\r'], " "))?;
        }
        writeln!(out, "CREATE TABLE {} (", quoted_name(table))?;
        let mut lines = Vec::new();
        for column in &self.columns {
            let required = if column.required { " NOT NULL" } else { "" };
            let from = match &column.origin {
                ColumnOrigin::Value => String::new(),
                origin => format!(" METADATA FROM {}", quoted_text(&origin.to_string())),
            };
            lines.push(format!("  {} {}{required}{from}", quoted_name(&column.name), column.data_type));
        }
        if let Some((name, late_ms)) = &self.event_time {
            let name = quoted_name(name);
            lines.push(format!("  WATERMARK FOR {name} AS {name} - {}", interval(*late_ms)));
        }
        writeln!(out, "{}", lines.join(",\n"))?;
        writeln!(out, ") WITH (")?;
        let mut options = vec![("topic".to_owned(), topic.to_owned())];
        options.extend(self.options());
        let options: Vec<String> = options
            .iter()
            .map(|(key, value)| format!("  {} = {}", quoted_text(key), quoted_text(value)))
            .collect();
        write!(out, "{}\n);\n", options.join(",\n"))
    }

    fn options(&self) -> Vec<(String, String)> {
        let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        match &self.format {
            Format::Json(_) => vec![option("format", "json")],
            Format::Raw => vec![option("format", "raw")],
            Format::Debezium(debezium) => {
                let mut options = vec![option("format", "debezium-json")];
                if debezium.schema_include {
                    options.push(option("debezium-json.schema-include", "true"));
                }
                options
            }
            Format::Csv(csv) => {
                let mut options = vec![option("format", "csv")];
                if csv.delimiter != b',' {
                    let delimiter = if csv.delimiter == b'\t' {
                        "\\t".to_owned()
                    } else {
                        char::from(csv.delimiter).to_string()
                    };
                    options.push(option("csv.field-delimiter", &delimiter));
                }
                match csv.quote {
                    Some(b'"') => {}
                    Some(quote) => {
                        options.push(option("csv.quote-character", &char::from(quote).to_string()))
                    }
                    None => options.push(option("csv.disable-quote-character", "true")),
                }
                if let Some(literal) = &csv.null_literal {
                    options.push(option("csv.null-literal", literal));
                }
                options
            }
            Format::Avro(avro) => {
                let mut options = vec![option("format", "avro"), option("avro.schema", &avro.schema)];
                if avro.confluent {
                    options.push(option("avro.confluent", "true"));
                }
                if let Some(id) = avro.schema_id {
                    options.push(option("avro.schema-id", &id.to_string()));
                }
                options
            }
            Format::Protobuf(protobuf) => {
                let (key, text) = match &protobuf.schema {
                    Description::Proto(text) => ("protobuf.proto", text),
                    Description::Descriptor(text) => ("protobuf.descriptor", text),
                };
                vec![
                    option("format", "protobuf"),
                    option("protobuf.message", &protobuf.message),
                    option(key, text),
                ]
            }
        }
    }
}

/// An interval that is at least as long, of a round length.
fn interval(late_ms: i64) -> String {
    const ROUND: [(i64, &str); 11] = [
        (5_000, "'5' SECOND"),
        (30_000, "'30' SECOND"),
        (60_000, "'1' MINUTE"),
        (300_000, "'5' MINUTE"),
        (900_000, "'15' MINUTE"),
        (3_600_000, "'1' HOUR"),
        (21_600_000, "'6' HOUR"),
        (86_400_000, "'1' DAY"),
        (172_800_000, "'2' DAY"),
        (604_800_000, "'7' DAY"),
        (2_592_000_000, "'30' DAY"),
    ];
    let round = ROUND.iter().find(|(ms, _)| *ms >= late_ms).unwrap_or(&ROUND[ROUND.len() - 1]);
    format!("INTERVAL {}", round.1)
}

fn quoted_name(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !sqlparser::keywords::ALL_KEYWORDS.contains(&name.to_ascii_uppercase().as_str());
    if plain { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
