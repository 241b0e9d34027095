//! `logmill storage`: files of a broker that is not running.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use logmill_broker::offline::{
    self, Depth, DumpOptions, Finding, Line, Repair as Allowed, Severity, Verification,
};
use serde_json::json;

use crate::arguments::Output;
use crate::confirm::confirm;
use crate::failure::Usage;
use crate::output::{self, note};

#[derive(Debug, Subcommand)]
pub(crate) enum Storage {
    /// Print the batches of a partition directory, or what one file of it holds.
    Dump(Dump),
    /// Check every file of partition directories against their batches.
    Verify(Verify),
    /// Make indexes, snapshots and other derived files again where they are missing or wrong.
    Repair(Repair),
    /// Copy partition directories from elsewhere into a data directory, as partitions of topics there.
    Import(super::import::Import),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logmill storage dump data/orders-0                              the batches
  logmill storage dump data/orders-0 --records --from 4711 --count 1
  logmill storage dump data/orders-0/00000000000000000000.timeindex
  logmill storage dump data/__consumer_offsets-12 --records       what groups committed")]
pub(crate) struct Dump {
    /// A partition directory, named TOPIC-PARTITION, or a file in one.
    path: PathBuf,
    /// Print each record, too.
    #[arg(short, long)]
    records: bool,
    /// Begin with the batch that holds this offset.
    #[arg(long, value_name = "OFFSET")]
    from: Option<i64>,
    /// End after so many batches.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// A data directory, or one partition directory of it.
    path: PathBuf,
    /// Decompress each batch and read each record, too.
    #[arg(short, long)]
    records: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Repair {
    /// A data directory, or one partition directory of it.
    path: PathBuf,
    /// Cut a log whose end is damaged, where the damage begins. What lies behind it is given up.
    #[arg(long)]
    cut_damaged_end: bool,
    /// Do not ask before something is cut.
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(command: Storage, form: Output) -> anyhow::Result<ExitCode> {
    match command {
        Storage::Dump(command) => dump(&command, form),
        Storage::Verify(command) => verify(&command, form),
        Storage::Repair(command) => repair(&command, form),
        Storage::Import(command) => super::import::run(command, form).await,
    }
}

fn dump(command: &Dump, form: Output) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut damaged = false;
    let mut show = |line: Line| {
        damaged |= matches!(line, Line::Damage { .. } | Line::Unreadable { .. });
        match form {
            Output::Json => serde_json::to_writer(&mut out, &line)?,
            Output::Table => write!(out, "{}", text(&line))?,
        }
        writeln!(out)
    };
    let options = DumpOptions { records: command.records, from: command.from, count: command.count };
    offline::dump(&offline::disk(), &command.path, &options, &mut show)?;
    out.flush()?;
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(line: &Line) -> String {
    match line {
        Line::File { path, bytes } => format!("{} ({bytes} bytes)", path.display()),
        Line::Batch {
            base_offset,
            last_offset,
            position,
            bytes,
            records,
            codec,
            max_timestamp,
            timestamp_type,
            leader_epoch,
            producer_id,
            producer_epoch,
            base_sequence,
            transactional,
            marker,
            crc,
        } => {
            let mut text = format!(
                "  {base_offset}..{last_offset}  position {position}  bytes {bytes}  records {records}  codec {codec}  \
                 time {max_timestamp} ({timestamp_type})  epoch {leader_epoch}"
            );
            if let (Some(id), Some(epoch), Some(sequence)) = (producer_id, producer_epoch, base_sequence) {
                text.push_str(&format!("  producer {id}/{epoch} sequence {sequence}"));
            }
            if let Some(marker) = marker {
                text.push_str(&format!("  {marker} marker"));
            } else if *transactional {
                text.push_str("  transactional");
            }
            text.push_str(&format!("  crc {crc:08x}"));
            text
        }
        Line::Record { offset, timestamp, key, value, headers, meaning } => {
            let mut text = format!("    | {offset}  time {timestamp}");
            if let Some(meaning) = meaning {
                text.push_str(&format!("  {meaning}"));
                return text;
            }
            let shown =
                |part: &Option<String>| part.as_ref().map_or("null".to_owned(), |part| format!("{part:?}"));
            text.push_str(&format!("  key {}  value {}", shown(key), shown(value)));
            for (key, value) in headers {
                text.push_str(&format!("  header {key}={}", shown(value)));
            }
            text
        }
        Line::Damage { position, bytes, followed_by, reason } => {
            let behind =
                followed_by.map_or("nothing follows".to_owned(), |offset| format!("offset {offset} follows"));
            format!("  DAMAGED  position {position}  bytes {bytes}  {reason}; {behind}")
        }
        Line::OffsetEntry { offset, position } => format!("  offset {offset}  position {position}"),
        Line::TimeEntry { timestamp, offset } => format!("  time {timestamp}  offset {offset}"),
        Line::Aborted { producer_id, first_offset, last_offset, last_stable_offset } => format!(
            "  aborted {first_offset}..{last_offset}  producer {producer_id}  last stable offset {last_stable_offset}"
        ),
        Line::Producer {
            producer_id,
            producer_epoch,
            last_sequence,
            last_timestamp,
            coordinator_epoch,
            transaction_first_offset,
        } => {
            let open = transaction_first_offset
                .map_or(String::new(), |offset| format!("  transaction open since offset {offset}"));
            format!(
                "  producer {producer_id}/{producer_epoch}  last sequence {last_sequence}  time {last_timestamp}  \
                 coordinator epoch {coordinator_epoch}{open}"
            )
        }
        Line::Segment { base_offset, bytes, aborted } => {
            let bytes = bytes.map_or("was written to".to_owned(), |bytes| format!("{bytes} bytes"));
            format!("  segment {base_offset}  {bytes}  {aborted} aborted transactions")
        }
        Line::LeaderEpoch { epoch, first_offset } => format!("  epoch {epoch}  from offset {first_offset}"),
        Line::Topic { id } => format!("  topic id {id}"),
        Line::Unreadable { reason } => format!("  UNREADABLE  {reason}"),
    }
}

fn verify(command: &Verify, form: Output) -> anyhow::Result<ExitCode> {
    let depth = if command.records { Depth::Records } else { Depth::Batches };
    let mut checked = Vec::new();
    for directory in partitions(&command.path)? {
        checked.push((name(&directory), offline::verify(&directory, depth)?));
    }
    let worst = checked.iter().filter_map(|(_, found)| found.worst()).max();
    match form {
        Output::Json => {
            let partitions: Vec<_> = checked.iter().map(|(name, found)| as_json(name, found)).collect();
            output::json("storage verify", json!({ "partitions": partitions }))?;
        }
        Output::Table => {
            let headings = ["partition", "segments", "batches", "records", "start", "end", "bytes", "state"];
            let rows: Vec<Vec<String>> = checked.iter().map(|(name, found)| row(name, found)).collect();
            output::table(&headings, &rows)?;
            let findings: Vec<String> =
                checked.iter().flat_map(|(_, found)| found.findings.iter().map(told)).collect();
            if !findings.is_empty() {
                output::lines([""])?;
                output::lines(findings)?;
            }
        }
    }
    let sound = worst.is_none_or(|worst| worst == Severity::Note);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn partitions(path: &Path) -> anyhow::Result<Vec<logmill_broker::offline::PartitionDirectory>> {
    let found = offline::partitions(&offline::disk(), path)?;
    if found.is_empty() {
        let what = format!("{} holds no partition directories (<topic>-<partition>)", path.display());
        return Err(Usage(what).into());
    }
    Ok(found)
}

fn name(directory: &offline::PartitionDirectory) -> String {
    directory.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn state(found: &Verification) -> &'static str {
    match found.worst() {
        None | Some(Severity::Note) => "sound",
        Some(Severity::Derived) => "to be repaired",
        Some(Severity::Damage) => "damaged",
    }
}

fn row(name: &str, found: &Verification) -> Vec<String> {
    let numbers = [
        found.segments.to_string(),
        found.batches.to_string(),
        found.records.to_string(),
        found.start_offset.to_string(),
        found.end_offset.to_string(),
        found.bytes.to_string(),
    ];
    let mut row = vec![name.to_owned()];
    row.extend(numbers);
    row.push(state(found).to_owned());
    row
}

fn told(finding: &Finding) -> String {
    let Finding { severity, file, position, what, remedy } = finding;
    let place = position.map_or_else(String::new, |position| format!(" at position {position}"));
    format!("{}: {}{place}: {what}\n  {remedy}", severity_name(*severity), file.display())
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Derived => "wrong",
        Severity::Damage => "damage",
    }
}

fn as_json(name: &str, found: &Verification) -> serde_json::Value {
    let findings: Vec<_> = found
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": severity_name(finding.severity),
                "file": finding.file,
                "position": finding.position,
                "what": finding.what,
                "remedy": finding.remedy,
            })
        })
        .collect();
    json!({
        "partition": name,
        "segments": found.segments,
        "batches": found.batches,
        "records": found.records,
        "start_offset": found.start_offset,
        "end_offset": found.end_offset,
        "bytes": found.bytes,
        "open_transactions": found.open_transactions,
        "state": state(found),
        "findings": findings,
    })
}

fn repair(command: &Repair, form: Output) -> anyhow::Result<ExitCode> {
    if command.cut_damaged_end && !command.yes {
        confirm(&format!("cutting damaged logs in {}", command.path.display()))?;
    }
    let allowed = Allowed { cut_damaged_end: command.cut_damaged_end };
    let mut rows = Vec::new();
    let mut failed = false;
    for directory in partitions(&command.path)? {
        let name = name(&directory);
        match offline::repair(&offline::disk(), directory.path(), allowed) {
            Ok(done) => rows.push((name, done)),
            Err(error) => {
                failed = true;
                note(format!("error: {error}"));
            }
        }
    }
    match form {
        Output::Json => {
            let partitions: Vec<_> = rows
                .iter()
                .map(|(name, done)| {
                    json!({
                        "partition": name,
                        "remade": done.remade,
                        "cut_at_offset": done.cut.map(|(offset, _)| offset),
                        "cut_bytes": done.cut.map(|(_, bytes)| bytes),
                    })
                })
                .collect();
            output::json("storage repair", json!({ "partitions": partitions }))?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = rows
                .iter()
                .map(|(name, done)| {
                    let cut = done.cut.map_or_else(
                        || "-".to_owned(),
                        |(offset, bytes)| format!("{bytes} bytes from offset {offset}"),
                    );
                    vec![name.clone(), done.remade.len().to_string(), cut]
                })
                .collect();
            output::table(&["partition", "files made again", "cut"], &rows)?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
