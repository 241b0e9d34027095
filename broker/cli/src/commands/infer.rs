//! `logmill pipeline infer`.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use logmill_broker::pipelines::draft::{
    AvroFormat, CsvFormat, DataType, DebeziumFormat, Format, InferError, ProtobufFormat, ProtobufSchema,
    RecordSample, TableDraft, csv_header, infer,
};
use logmill_client::StartAt;
use serde_json::{Value, json};

use crate::arguments::{Connection, Output};
use crate::failure::Usage;
use crate::output;

/// Draft a table from a sample of its records. The sample is a file with a record's value a line, or the beginning of a
/// topic. What it prints is a CREATE TABLE to look at, and comments that say what was left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logmill pipeline infer orders.jsonl > orders.sql             needs no broker
  logmill pipeline infer flights.csv --header --topic flights  the first line names the columns
  logmill consume orders --exit | logmill pipeline infer - --topic orders
  logmill pipeline infer --topic orders --records 5000         asks a broker
  logmill pipeline infer --topic orders --format avro --schema order.avsc --confluent")]
pub(crate) struct Infer {
    /// A record's value a line; - is standard input. Without a file the topic is read.
    file: Option<PathBuf>,
    /// The topic; the file's name without its ending if not given.
    #[arg(short, long)]
    topic: Option<String>,
    /// The table's name; the topic's if not given.
    #[arg(long, visible_alias = "name")]
    table: Option<String>,
    /// Look at so many records at most, from the beginning.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    records: u32,
    /// What the values are, if it is not to be guessed.
    #[arg(short, long, value_enum)]
    format: Option<SampleFormat>,
    /// The first line of the file names the fields of a CSV record.
    #[arg(long)]
    header: bool,
    /// The Avro or Protobuf schema: its file.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The Protobuf message, with its package.
    #[arg(long, value_name = "NAME")]
    message: Option<String>,
    /// Avro values begin with a schema's number, as Confluent's do.
    #[arg(long)]
    confluent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SampleFormat {
    Json,
    Csv,
    Avro,
    Protobuf,
    Raw,
    DebeziumJson,
}

/// A sample's record has no more bytes than this, as a frame of the log.
const LONGEST_RECORD: u64 = 64 << 20;
/// So long nothing must come of a topic before what there is is the sample.
const QUIET: Duration = Duration::from_millis(500);

pub(crate) async fn run(command: Infer, connection: &Connection) -> anyhow::Result<()> {
    let format = command.format()?;
    let from_schema = matches!(format, Some(Format::Avro(_) | Format::Protobuf(_)));
    let topic = command.topic()?;
    let table = command.table.clone().unwrap_or_else(|| topic.clone());
    let mut header = None;
    let Sample { records: sample, whole } = match &command.file {
        Some(file) if file.as_os_str() == "-" => {
            sample_of(std::io::stdin().lock(), &command, &mut header).context("cannot read standard input")?
        }
        Some(file) => {
            let unreadable = || format!("cannot read {}", file.display());
            let open = std::fs::File::open(file).with_context(unreadable)?;
            sample_of(BufReader::new(open), &command, &mut header).with_context(unreadable)?
        }
        None if from_schema => Sample { records: Vec::new(), whole: true },
        None => sample_of_topic(&topic, &command, connection).await?,
    };
    let mut draft = drafted(format, &sample, header.as_deref())?;
    if command.file.is_some() && header.is_none() {
        note_header(&mut draft, &sample);
    }
    if !whole && !from_schema {
        leave_open(&mut draft, sample.len());
    }
    let text = draft.create_table(&table, &topic);
    match connection.output {
        Output::Table => output::lines([text.trim_end()])?,
        Output::Json => {
            output::json("pipeline infer", document(&draft, &table, &topic, &text, sample.len()))?
        }
    }
    Ok(())
}

impl Infer {
    fn topic(&self) -> anyhow::Result<String> {
        let stem = |file: &PathBuf| match file.as_os_str() == "-" {
            true => None,
            false => file.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        };
        let topic = self.topic.clone().or_else(|| self.file.as_ref().and_then(stem));
        topic.ok_or_else(|| Usage("say which topic: --topic NAME, or give a file".to_owned()).into())
    }

    /// The format, where one is asked for.
    fn format(&self) -> anyhow::Result<Option<Format>> {
        if self.header && !matches!(self.format, None | Some(SampleFormat::Csv)) {
            return Err(Usage("--header is for CSV: add --format csv, or leave it out".to_owned()).into());
        }
        if self.header && self.file.is_none() {
            return Err(Usage(
                "--header is for a file: records of a topic have no line before them".to_owned(),
            )
            .into());
        }
        let of_schema = |asked: SampleFormat| self.format == Some(asked);
        if self.schema.is_some() && !of_schema(SampleFormat::Avro) && !of_schema(SampleFormat::Protobuf) {
            return Err(Usage("--schema needs --format avro or --format protobuf".to_owned()).into());
        }
        if self.message.is_some() && !of_schema(SampleFormat::Protobuf) {
            return Err(Usage("--message needs --format protobuf".to_owned()).into());
        }
        if self.confluent && !of_schema(SampleFormat::Avro) {
            return Err(Usage("--confluent needs --format avro".to_owned()).into());
        }
        Ok(match self.format {
            None => None,
            Some(SampleFormat::Json) => Some(Format::json()),
            Some(SampleFormat::Csv) => Some(Format::Csv(CsvFormat::new(Vec::new()))),
            Some(SampleFormat::Raw) => Some(Format::Raw),
            Some(SampleFormat::DebeziumJson) => Some(Format::Debezium(DebeziumFormat::default())),
            Some(SampleFormat::Avro) => {
                let schema = self.schema_text("avro")?;
                Some(Format::Avro(AvroFormat { schema, confluent: self.confluent, schema_id: None }))
            }
            Some(SampleFormat::Protobuf) => {
                let message = self.message.clone();
                let message = message
                    .ok_or_else(|| Usage("--format protobuf needs --message <package.Name>".to_owned()))?;
                let schema = ProtobufSchema::Proto(self.schema_text("protobuf")?);
                Some(Format::Protobuf(ProtobufFormat { schema, message }))
            }
        })
    }

    fn schema_text(&self, format: &str) -> anyhow::Result<String> {
        let file: &Path = self.schema.as_deref().ok_or_else(|| {
            Usage(format!("--format {format} needs --schema FILE: the values do not say it"))
        })?;
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    }
}

/// Records to look at, and whether they are all there are.
struct Sample {
    records: Vec<RecordSample>,
    whole: bool,
}

/// How a file begins that gzip made.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The lines of a file; the first one apart where it names the fields.
fn sample_of(
    mut input: impl BufRead,
    command: &Infer,
    header: &mut Option<String>,
) -> anyhow::Result<Sample> {
    let mut sample = Vec::new();
    let mut number = 0_u64;
    if input.fill_buf()?.starts_with(&GZIP) {
        return Err(Usage(
            "it is compressed: gunzip -c FILE | logmill pipeline infer - --topic NAME".to_owned(),
        )
        .into());
    }
    while sample.len() < command.records as usize {
        let mut line = Vec::new();
        if input.by_ref().take(LONGEST_RECORD + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if line.len() as u64 > LONGEST_RECORD {
            anyhow::bail!("line {number} has more than {} MiB; a record is a line", LONGEST_RECORD >> 20);
        }
        while line.ends_with(b"\n") || line.ends_with(b"\r") {
            line.pop();
        }
        if command.header && header.is_none() {
            *header = Some(String::from_utf8_lossy(&line).into_owned());
        } else if !line.is_empty() {
            sample.push(RecordSample { value: Some(line), ..RecordSample::default() });
        }
    }
    Ok(Sample { records: sample, whole: input.fill_buf()?.is_empty() })
}

/// The first records of a topic's partitions, as they come.
async fn sample_of_topic(topic: &str, command: &Infer, connection: &Connection) -> anyhow::Result<Sample> {
    let client = connection.client().await?;
    let described = client.admin().timeout(connection.timeout).describe_topic(topic).await?;
    let mut reader = client.reader();
    for partition in &described.partitions {
        reader = reader.partition(topic, partition.index, StartAt::Earliest);
    }
    let mut reader = reader.build().await?;
    let wanted = command.records as usize;
    let mut sample = Vec::new();
    while sample.len() < wanted {
        // The first ones may take as long as any command.
        let patience = if sample.is_empty() { connection.timeout.min(QUIET * 10) } else { QUIET };
        let Ok(records) = tokio::time::timeout(patience, reader.next_batch(wanted - sample.len())).await
        else {
            break;
        };
        sample.extend(records?.into_iter().map(|record| RecordSample {
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(|key| key.to_vec()),
            value: record.value.map(|value| value.to_vec()),
        }));
    }
    reader.close().await;
    let whole = sample.len() < wanted;
    Ok(Sample { records: sample, whole })
}

/// That all records of a sample have a field says nothing of those behind it.
fn leave_open(draft: &mut TableDraft, records: usize) {
    let mut always = Vec::new();
    for column in draft.columns.iter_mut().filter(|column| column.required) {
        column.required = false;
        always.push(column.name.as_str());
    }
    if !always.is_empty() {
        let note = format!(
            "the first {records} records all have {}: NOT NULL is for you to say, or for --records to look at more",
            always.join(", ")
        );
        draft.notes.push(note);
    }
}

/// A first line that has texts where all others have something else names the fields, as it seems.
fn note_header(draft: &mut TableDraft, sample: &[RecordSample]) {
    let (Format::Csv(layout), [_, rest @ ..]) = (&draft.format, sample) else { return };
    let layout = Format::Csv(CsvFormat { fields: Vec::new(), ..layout.clone() });
    let texts = |draft: &TableDraft| {
        draft.columns.iter().filter(|column| column.data_type == DataType::String).count()
    };
    if infer(Some(&layout), rest).is_ok_and(|without| texts(&without) < texts(draft)) {
        draft.notes.push("the first line looks like the fields' names: say --header, if it is".to_owned());
    }
}

fn drafted(
    format: Option<Format>,
    sample: &[RecordSample],
    header: Option<&str>,
) -> anyhow::Result<TableDraft> {
    let draft = infer(format.as_ref(), sample).map_err(|error| match error {
        InferError::NeedsSchema => anyhow::Error::new(Usage(format!(
            "{error}: --format avro --confluent --schema FILE, or --format protobuf --schema FILE --message NAME"
        ))),
        other => anyhow::Error::new(other),
    })?;
    let Some(header) = header else { return Ok(draft) };
    let Format::Csv(layout) = &draft.format else {
        return Err(Usage(
            "--header is for CSV, and the lines behind it are none: say --format csv".to_owned(),
        )
        .into());
    };
    let fields = csv_header(layout, header).map_err(|reason| anyhow::anyhow!("the header: {reason}"))?;
    if fields.len() != layout.fields.len() {
        return Err(Usage(format!(
            "the header names {} fields, the records have {}",
            fields.len(),
            layout.fields.len()
        ))
        .into());
    }
    let named = Format::Csv(CsvFormat { fields, ..layout.clone() });
    Ok(infer(Some(&named), sample)?)
}

fn document(draft: &TableDraft, table: &str, topic: &str, text: &str, records: usize) -> Value {
    let columns: Vec<Value> = draft
        .columns
        .iter()
        .map(|column| {
            json!({
                "column": column.name, "type": column.data_type.to_string(), "not_null": column.required,
                "from": column.origin.to_string(),
            })
        })
        .collect();
    json!({
        "table": table, "topic": topic, "format": draft.format.to_string(), "records": records,
        "columns": columns, "event_time": draft.event_time.as_ref().map(|(column, _)| column),
        "late_ms": draft.event_time.as_ref().map(|(_, late_ms)| late_ms), "notes": draft.notes,
        "create_table": text,
    })
}
