//! How `logmill consume` prints a record.

use std::fmt::Write as _;

use bytes::Bytes;
use logmill_client::ConsumerRecord;
use serde_json::{Value, json};

/// A form for records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// The value and a newline.
    Value,
    /// The key and a newline.
    Key,
    /// One JSON object per line.
    Json,
    /// A pattern with percent signs.
    Pattern(Vec<Piece>),
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
}

/// The help for `--format`.
pub(crate) const HELP: &str = "\
How a record is printed: value, key, json (one object per line), or a pattern with
%t topic, %p partition, %o offset, %T timestamp (ms), %k key, %K its length, %s or %v value, %S or %V its length,
%h headers, %% a percent sign, \\n newline, \\t tab";

/// What stands for a key or value that is null, in a pattern.
const NULL: &str = "NULL";

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "value" => return Ok(Self::Value),
            "key" => return Ok(Self::Key),
            "json" => return Ok(Self::Json),
            pattern if !pattern.contains('%') => {
                return Err("write value, key, json, or a pattern with %k, %v and so on".to_owned());
            }
            _ => {}
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let piece = match character {
                '\\' => {
                    match characters.next() {
                        Some('n') => literal.push('\n'),
                        Some('t') => literal.push('\t'),
                        Some('r') => literal.push('\r'),
                        Some(other) => literal.push(other),
                        None => return Err("the pattern ends with a backslash".to_owned()),
                    }
                    continue;
                }
                '%' => match characters.next() {
                    Some('%') => {
                        literal.push('%');
                        continue;
                    }
                    Some('t') => Piece::Topic,
                    Some('p') => Piece::Partition,
                    Some('o') => Piece::Offset,
                    Some('T') => Piece::Timestamp,
                    Some('k') => Piece::Key,
                    Some('K') => Piece::KeyLength,
                    Some('s' | 'v') => Piece::Value,
                    Some('S' | 'V') => Piece::ValueLength,
                    Some('h') => Piece::Headers,
                    Some(other) => {
                        return Err(format!("%{other} means nothing; write %% for a percent sign"));
                    }
                    None => return Err("the pattern ends with a percent sign".to_owned()),
                },
                other => {
                    literal.push(other);
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self::Pattern(pieces))
    }
}

impl Format {
    /// Appends a record to what is to be printed.
    pub(crate) fn write(&self, record: &ConsumerRecord, out: &mut Vec<u8>) {
        match self {
            Self::Value => {
                out.extend_from_slice(record.value.as_deref().unwrap_or_default());
                out.push(b'\n');
            }
            Self::Key => {
                out.extend_from_slice(record.key.as_deref().unwrap_or_default());
                out.push(b'\n');
            }
            Self::Json => {
                // Serialising a Value cannot fail.
                let _ = serde_json::to_writer(&mut *out, &as_json(record));
                out.push(b'\n');
            }
            Self::Pattern(pieces) => pieces.iter().for_each(|piece| piece.write(record, out)),
        }
    }
}

impl Piece {
    fn write(&self, record: &ConsumerRecord, out: &mut Vec<u8>) {
        let mut text = |text: &dyn std::fmt::Display| out.extend_from_slice(text.to_string().as_bytes());
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64);
        match self {
            Self::Text(literal) => text(literal),
            Self::Topic => text(&record.topic),
            Self::Partition => text(&record.partition),
            Self::Offset => text(&record.offset),
            Self::Timestamp => text(&record.timestamp),
            Self::KeyLength => text(&length(&record.key)),
            Self::ValueLength => text(&length(&record.value)),
            Self::Key => out.extend_from_slice(record.key.as_deref().unwrap_or(NULL.as_bytes())),
            Self::Value => out.extend_from_slice(record.value.as_deref().unwrap_or(NULL.as_bytes())),
            Self::Headers => {
                for (i, header) in record.headers.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(&header.key);
                    out.push(b'=');
                    out.extend_from_slice(header.value.as_deref().unwrap_or(NULL.as_bytes()));
                }
            }
        }
    }
}

/// A record as JSON. Bytes that are not UTF-8 are `{"hex": "…"}`.
fn as_json(record: &ConsumerRecord) -> Value {
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|header| json!({ "key": text(Some(&header.key)), "value": text(header.value.as_ref()) }))
        .collect();
    json!({
        "topic": &*record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": text(record.key.as_ref()),
        "value": text(record.value.as_ref()),
        "headers": headers,
    })
}

fn text(bytes: Option<&Bytes>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => {
            let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            json!({ "hex": hex })
        }
    }
}

#[cfg(test)]
mod tests {
    use logmill_client::RecordHeader;

    use super::*;

    fn record() -> ConsumerRecord {
        ConsumerRecord {
            topic: "orders".into(),
            partition: 2,
            offset: 41,
            timestamp: 1_700_000_000_000,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"\xff\x01")),
            headers: vec![RecordHeader { key: Bytes::from_static(b"h"), value: None }],
        }
    }

    fn printed(format: &str) -> Vec<u8> {
        let mut out = Vec::new();
        format.parse::<Format>().expect("a format").write(&record(), &mut out);
        out
    }

    #[test]
    fn patterns_are_kcats() {
        assert_eq!(printed(r"%t[%p]@%o\t%k=%K %S %h 100%%\n"), b"orders[2]@41\tk=1 2 h=NULL 100%\n");
        assert_eq!(printed("%T %s"), b"1700000000000 \xff\x01");
    }

    #[test]
    fn names_stand_for_whole_forms() {
        assert_eq!(printed("value"), b"\xff\x01\n");
        assert_eq!(printed("key"), b"k\n");
        let json: Value = serde_json::from_slice(&printed("json")).expect("JSON");
        assert_eq!(json["value"], json!({ "hex": "ff01" }));
        assert_eq!(json["headers"], json!([{ "key": "h", "value": null }]));
        assert_eq!(json["key"], "k");
    }

    #[test]
    fn mistakes_are_named() {
        for wrong in ["values", "%x", "%", "%k\\"] {
            assert!(wrong.parse::<Format>().is_err(), "{wrong}");
        }
    }
}
