//! Real data: the demo's query over real flights, against a result computed elsewhere.

use std::io::{Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;
use logmill_stream::EpochLimits;
use serde_json::{Map, Value};

use crate::support;
use crate::support::{MemoryLogs, plan, run_bounded};

const SCRIPT: &str = include_str!("../../../../config/demo/carrier-hourly.sql");
const PARTITIONS: i32 = 4;

/// Each row as a JSON object; numbers as numbers, `NA` as null.
fn flights(path: &Path) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(&*std::fs::read(path).unwrap()).read_to_string(&mut text).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let row = |record: csv::StringRecord| {
        let value = |text: &str| match text {
            "NA" => Value::Null,
            _ => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        };
        let fields = names.iter().zip(record.iter()).map(|(name, text)| (name.to_owned(), value(text)));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// The sink's rows as lines of the expected file, sorted.
fn lines(logs: &MemoryLogs) -> Vec<String> {
    let line = |value: String| {
        let row = support::json(&value);
        let names = ["window_start", "carrier", "flights", "departed", "dep_delay_sum", "dep_delay_max"];
        let cells = names.map(|name| match &row[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        cells.join(",")
    };
    let mut lines: Vec<String> = logs.values("carrier-hourly").into_iter().map(line).collect();
    lines.sort();
    lines
}

fn limits(input_bytes: usize, emit_rows: u32) -> EpochLimits {
    EpochLimits { input_bytes, emit_rows, ..EpochLimits::default() }
}

fn check(input: &Path, expected: &Path, limits: EpochLimits, crash_every: u64) -> MemoryLogs {
    let plan = plan(SCRIPT);
    let mut logs = MemoryLogs::default();
    logs.create("flights", PARTITIONS);
    logs.create("carrier-hourly", PARTITIONS);
    let flights = flights(input);
    for (chunk, rows) in flights.chunks(500).enumerate() {
        logs.produce("flights", chunk as i32 % PARTITIONS, rows);
    }
    run_bounded(&plan, &mut logs, limits, crash_every).unwrap();
    let text = std::fs::read_to_string(expected).unwrap();
    let mut expected: Vec<&str> = text.lines().skip(1).collect();
    expected.sort_unstable();
    let found = lines(&logs);
    assert_eq!(found.len(), expected.len(), "rows");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    let progress = logs.last_progress().unwrap();
    assert!(progress.finished);
    assert_eq!(progress.totals.read, flights.len() as u64);
    assert_eq!(progress.totals.processed, flights.len() as u64, "nothing is late");
    logs
}

#[test]
fn a_month_gives_the_expected_report_whatever_the_epochs_and_crashes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/demo");
    let input = folder.join("flights-2013-01.csv.gz");
    let expected = folder.join("expected-2013-01.csv");
    check(&input, &expected, EpochLimits::default(), 0);
    check(&input, &expected, limits(1, 100), 0);
    check(&input, &expected, limits(1 << 20, 7), 3);
    check(&input, &expected, limits(1 << 18, 1_000_000), 1);
}

#[test]
fn the_whole_year_gives_the_expected_report() {
    let Some(folder) = std::env::var_os("LOGMILL_DATA") else {
        let hint = "skipped: LOGMILL_DATA is not set to a folder with flights.csv.gz and expected/";
        writeln!(std::io::stderr(), "{hint}").unwrap();
        return;
    };
    let folder = Path::new(&folder);
    let (input, expected) = (folder.join("flights.csv.gz"), folder.join("expected/carrier_hourly.csv"));
    let logs = check(&input, &expected, limits(4 << 20, 2_000), 5);
    assert_eq!(logs.records("carrier-hourly").len(), 60_142);
}
