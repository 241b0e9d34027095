//! `logmill produce`.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Context as _;
use clap::ValueEnum;
use logmill_client::{Acks, Codec, ProducerRecord};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::arguments::Connection;
use crate::failure::Usage;
use crate::output::note;

/// Send records, one per line of standard input.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo 'hello' | logmill produce greetings
  echo 'en:hello' | logmill produce greetings --key-delimiter :
  echo '{\"key\": \"en\", \"value\": \"hello\", \"headers\": {\"from\": \"me\"}}' | logmill produce greetings --json")]
pub(crate) struct Produce {
    /// Name of the topic.
    topic: String,
    /// The key of every record.
    #[arg(short, long, conflicts_with = "key_delimiter")]
    key: Option<String>,
    /// What stands between key and value in each line.
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "json")]
    key_delimiter: Option<String>,
    /// The partition of every record; chosen by the key if not given.
    #[arg(short, long)]
    partition: Option<i32>,
    /// A header of every record. May be repeated.
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Lines are JSON objects with `value` and, if wanted, `key`, `headers`, `timestamp`, `partition`. A value that
    /// is not text is sent as JSON; null is a tombstone.
    #[arg(long)]
    json: bool,
    /// An empty value is null: a tombstone in a compacted topic.
    #[arg(short = 'Z', long)]
    null: bool,
    /// How batches are compressed.
    #[arg(short = 'z', long, value_enum, default_value_t = Compression::None)]
    compression: Compression,
    /// When a record counts as written.
    #[arg(long, value_enum, default_value_t = AcksArgument::All)]
    acks: AcksArgument,
    /// Send everything in one transaction of this id, committed at the end of the input.
    #[arg(long, value_name = "ID", conflicts_with = "acks")]
    transactional_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AcksArgument {
    /// When it is durable.
    All,
    /// When the leader has it: with Logmill the same, but a retry may write it twice.
    Leader,
    /// At once.
    None,
}

impl From<AcksArgument> for Acks {
    fn from(acks: AcksArgument) -> Self {
        match acks {
            AcksArgument::All => Self::All,
            AcksArgument::Leader => Self::Leader,
            AcksArgument::None => Self::None,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Lines read ahead of what is sent.
const LINES_AHEAD: usize = 1024;

pub(crate) async fn run(command: Produce, connection: &Connection) -> anyhow::Result<()> {
    let client = connection.client().await?;
    if std::io::stdin().is_terminal() {
        note("one record per line; end with Ctrl-D");
    }
    let mut lines = read_lines();
    let mut sent = 0_u64;
    if let Some(id) = &command.transactional_id {
        let mut producer = client.transactional(id).compression(command.compression.into()).build().await?;
        let mut transaction = producer.begin().await?;
        while let Some(line) = lines.recv().await {
            let record = command.record(&line?, sent + 1)?;
            drop(transaction.enqueue(record).await?);
            sent += 1;
        }
        transaction.commit().await?;
        producer.close().await;
    } else {
        let producer = client
            .producer()
            .compression(command.compression.into())
            .acks(command.acks.into())
            .delivery_timeout(connection.timeout)
            .build()
            .await?;
        while let Some(line) = lines.recv().await {
            let record = command.record(&line?, sent + 1)?;
            drop(producer.enqueue(record).await?);
            sent += 1;
        }
        producer.close().await?;
    }
    note(format!("{sent} records sent to {}", command.topic));
    Ok(())
}

/// Standard input has no asynchronous form; a thread of its own reads it.
fn read_lines() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            let line = line.map(|mut line| {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                line
            });
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Produce {
    fn record(&self, line: &[u8], number: u64) -> anyhow::Result<ProducerRecord> {
        let mut record = ProducerRecord::to(&self.topic);
        if let Some(partition) = self.partition {
            record = record.partition(partition);
        }
        if let Some(key) = &self.key {
            record = record.key(key.clone());
        }
        for (key, value) in &self.headers {
            record = record.header(key, value.clone());
        }
        if self.json {
            return from_json(record, line).with_context(|| format!("line {number}"));
        }
        let mut value = line;
        if let Some(delimiter) = &self.key_delimiter {
            let delimiter = delimiter.as_bytes();
            let at = line.windows(delimiter.len().max(1)).position(|window| window == delimiter);
            let at = at.ok_or_else(|| Usage(format!("line {number}: there is no key delimiter in it")))?;
            record = record.key(line[..at].to_vec());
            value = &line[at + delimiter.len()..];
        }
        if !(self.null && value.is_empty()) {
            record = record.value(value.to_vec());
        }
        Ok(record)
    }
}

fn from_json(mut record: ProducerRecord, line: &[u8]) -> anyhow::Result<ProducerRecord> {
    let wrong = |what: String| {
        Usage(format!("{what}; --json takes objects such as {{\"key\": \"a\", \"value\": 1}}"))
    };
    let Value::Object(fields) = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?
    else {
        return Err(wrong("not an object".to_owned()).into());
    };
    for (name, field) in fields {
        match (name.as_str(), field) {
            ("key" | "value" | "headers" | "timestamp" | "partition", Value::Null) => {}
            ("key", field) => record = record.key(bytes(&field)),
            ("value", field) => record = record.value(bytes(&field)),
            ("headers", Value::Object(headers)) => {
                for (key, value) in headers {
                    record = record.header(key, bytes(&value));
                }
            }
            ("timestamp", Value::Number(number)) if number.is_i64() => {
                record = record.timestamp(number.as_i64().unwrap_or_default());
            }
            ("partition", Value::Number(number)) => {
                let partition = number.as_i64().and_then(|number| i32::try_from(number).ok());
                record = record.partition(partition.ok_or_else(|| wrong(format!("partition {number}")))?);
            }
            // What `consume --format json` prints besides.
            ("topic" | "offset", _) => {}
            (name, _) => return Err(wrong(format!("the field {name:?}")).into()),
        }
    }
    Ok(record)
}

/// Text as it is, anything else as JSON.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        produce: Produce,
    }

    fn record(arguments: &[&str], line: &str) -> anyhow::Result<ProducerRecord> {
        let all = ["produce", "t"].iter().chain(arguments);
        let Line { produce } = Line::try_parse_from(all).expect("arguments");
        produce.record(line.as_bytes(), 1)
    }

    fn plain() -> ProducerRecord {
        ProducerRecord::to("t")
    }

    #[test]
    fn a_line_is_a_value() {
        assert_eq!(record(&[], "a:b").expect("a record"), plain().value("a:b"));
        assert_eq!(
            record(&["-k", "x", "-p", "3"], "").expect("a record"),
            plain().partition(3).key("x").value("")
        );
        assert_eq!(record(&["-Z"], "").expect("a record"), plain());
    }

    #[test]
    fn a_delimiter_takes_the_key_off() {
        assert_eq!(record(&["-K", "::"], "a::b::c").expect("a record"), plain().key("a").value("b::c"));
        assert!(record(&["-K", ":"], "abc").is_err());
    }

    #[test]
    fn json_says_everything() {
        let line =
            r#"{"key": 7, "value": {"a": [1, null]}, "headers": {"h": "x"}, "timestamp": 5, "partition": 2}"#;
        let expected = plain().key("7").value(r#"{"a":[1,null]}"#).header("h", "x").timestamp(5).partition(2);
        assert_eq!(record(&["--json"], line).expect("a record"), expected);
        assert_eq!(
            record(&["--json"], r#"{"key": "a", "value": null}"#).expect("a record"),
            plain().key("a")
        );
        for wrong in ["[1]", "{", r#"{"valeu": 1}"#, r#"{"timestamp": "x"}"#] {
            assert!(record(&["--json"], wrong).is_err(), "{wrong}");
        }
    }
}
