//! Cases of a pipeline: a directory with a script, its input and the output expected, run without a broker.
//!
//! ```text
//! case/
//!   pipeline.sql                     the script
//!   input/<topic>.jsonl              a record's value a line; partition 0
//!   input/<topic>.records.jsonl      or whole records: {"partition": 0, "timestamp": 0, "key": "a", "value": {…}, "headers": {…}}
//!   shed.json                        what tables shed: {"<table>": 2500} of 10,000 records; without it nothing is shed
//!   expected/<topic>.jsonl           the values the topic must hold
//!   expected/<topic>.records.jsonl   or keys and values: {"key": "a", "value": null}
//! ```
//!
//! Each case is run whole, with one record an epoch, restored after every epoch, and in several shards: the answer must be
//! the same each time. What of a topic's records is the answer depends on its `'output'`: see `expected.rs`. Processing time
//! stands still at 1970-01-01 00:00:00, so that `NOW()` has an answer too. Where something is shed, which records go depends
//! on the epochs: then it is run whole and in shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use logmill_broker::pipelines::trial::{
    EpochLimits, Plan, ShedControl, ShedPolicy, TrialError, TrialOptions, TrialRecord, WHOLE_LEVEL, run_trial,
};

use super::exact_json::Json;
use super::expected;
use super::script::{Script, ScriptError};

/// The script's name in a case.
const SCRIPT: &str = "pipeline.sql";
/// The name of the file that says what is shed.
const SHED: &str = "shed.json";
/// How a file of whole records ends.
pub(super) const RECORDS: &str = ".records.jsonl";
/// How a file of values ends.
pub(super) const VALUES: &str = ".jsonl";

/// How the run in one epoch is called, whose records come in an order that is always the same.
pub(super) const WHOLE: &str = "whole";

/// A case that could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaseError {
    /// A file or a directory.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line of a file.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The script.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The pipeline did not run to its end.
    #[error("{how}: {error}")]
    Trial {
        /// How it was run.
        how: &'static str,
        /// Why.
        error: Box<TrialError>,
    },
}

/// What became of a case.
#[derive(Debug)]
pub(crate) struct CaseReport {
    /// Records read, as it ran whole.
    pub(crate) records_in: u64,
    /// Records written, as it ran whole.
    pub(crate) records_out: u64,
    /// What is not as expected, each difference a text of one or more lines; none is a pass.
    pub(crate) differences: Vec<String>,
}

/// Runs a case. With `update`, what it gives is written as what is expected.
///
/// # Errors
/// [`CaseError`]; an answer that is not as expected is none: it is in the report.
pub(crate) fn run_case(directory: &Path, update: bool) -> Result<CaseReport, CaseError> {
    let plan = Script::read(&directory.join(SCRIPT))?.plan()?;
    let mut inputs: BTreeMap<String, Vec<TrialRecord>> = BTreeMap::new();
    for (topic, path, whole) in files(&directory.join("input"))? {
        inputs.entry(topic).or_default().extend(records_of(&path, whole)?);
    }
    let shed = shed_of(directory, &plan)?;
    let small = EpochLimits { input_records: 1, input_bytes: 1, ..EpochLimits::default() };
    let still = TrialOptions { epoch_ms: 0, ..TrialOptions::default() };
    let mut ways = vec![
        (WHOLE, still.clone()),
        ("one record an epoch", TrialOptions { limits: small, ..still.clone() }),
        ("restored after every epoch", TrialOptions { limits: small, restore_every: 1, ..still.clone() }),
        ("in three shards", TrialOptions { shards: 3, ..still }),
    ];
    if let Some(shedding) = shed {
        ways.retain(|(_, options)| options.limits == EpochLimits::default());
        ways.iter_mut().for_each(|(_, options)| options.shedding = shedding.clone());
    }
    let mut report = CaseReport { records_in: 0, records_out: 0, differences: Vec::new() };
    for (index, (how, options)) in ways.into_iter().enumerate() {
        let trial = run_trial(&plan, &inputs, options)
            .map_err(|error| CaseError::Trial { how, error: Box::new(error) })?;
        if index == 0 {
            report.records_in = trial.totals.read;
            report.records_out = trial.totals.written;
            if update {
                expected::write(directory, &plan, &trial)?;
            }
        }
        expected::compare(directory, how, &plan, &trial, &mut report.differences)?;
        if !report.differences.is_empty() {
            break;
        }
    }
    Ok(report)
}

/// What the case says is shed.
fn shed_of(directory: &Path, plan: &Plan) -> Result<Option<ShedControl>, CaseError> {
    let path = directory.join(SHED);
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |reason: String| CaseError::Line { path: path.clone(), line: 1, reason };
    let levels: BTreeMap<String, u32> =
        serde_json::from_str(&read(&path)?).map_err(|error| wrong(error.to_string()))?;
    for (table, level) in &levels {
        let source = plan.sources.iter().find(|source| source.table == *table);
        let Some(shed) = source.and_then(|source| source.shed.as_ref()) else {
            return Err(wrong(format!("the script reads no table `{table}` that declares SHED")));
        };
        if shed.policy == ShedPolicy::Oldest {
            return Err(wrong(format!(
                "`{table}` sheds its oldest, which goes by how far behind it is alone"
            )));
        }
        if *level > WHOLE_LEVEL {
            return Err(wrong(format!("`{table}` cannot shed {level} of {WHOLE_LEVEL} records")));
        }
    }
    Ok(Some(ShedControl::Always(levels)))
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> CaseError {
    let path = path.to_owned();
    move |error| CaseError::Io { path, error }
}

pub(super) fn read(path: &Path) -> Result<String, CaseError> {
    std::fs::read_to_string(path).map_err(io(path))
}

/// The files of a directory by topic, and whether they hold whole records; sorted.
pub(super) fn files(directory: &Path) -> Result<Vec<(String, PathBuf, bool)>, CaseError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io(directory))? {
        let path = entry.map_err(io(directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(topic) = name.strip_suffix(RECORDS) {
            found.push((topic.to_owned(), path, true));
        } else if let Some(topic) = name.strip_suffix(VALUES) {
            found.push((topic.to_owned(), path, false));
        }
    }
    found.sort();
    Ok(found)
}

/// The lines of a file that say something, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).map(|(line, text)| (line, text.trim())).filter(|(_, text)| !text.is_empty())
}

fn records_of(path: &Path, whole: bool) -> Result<Vec<TrialRecord>, CaseError> {
    let text = read(path)?;
    lines(&text)
        .map(|(line, text)| match whole {
            false => Ok(TrialRecord { value: Some(text.as_bytes().to_vec()), ..TrialRecord::default() }),
            true => record_of(text).map_err(|reason| CaseError::Line { path: path.to_owned(), line, reason }),
        })
        .collect()
}

fn record_of(text: &str) -> Result<TrialRecord, String> {
    let Json::Object(fields) = Json::parse(text).map_err(|error| error.to_string())? else {
        return Err("a record is a JSON object".to_owned());
    };
    let mut record = TrialRecord::default();
    for (name, value) in fields {
        match name.as_str() {
            "partition" => {
                let partition = whole_number(&value).and_then(|partition| i32::try_from(partition).ok());
                record.partition = partition
                    .filter(|partition| (0..1_000).contains(partition))
                    .ok_or("`partition` is a number from 0 to 999")?;
            }
            "timestamp" => {
                record.timestamp = whole_number(&value).ok_or("`timestamp` is a number of milliseconds")?;
            }
            "key" => record.key = bytes_of(value),
            "value" => record.value = bytes_of(value),
            "headers" => {
                let Json::Object(headers) = value else {
                    return Err("`headers` is an object of names and texts".to_owned());
                };
                record.headers = headers.into_iter().map(|(name, value)| (name, bytes_of(value))).collect();
            }
            other => {
                return Err(format!(
                    "there is no field `{other}`; known are partition, timestamp, key, value, headers"
                ));
            }
        }
    }
    Ok(record)
}

fn whole_number(value: &Json) -> Option<i64> {
    match value {
        Json::Number(text) => text.parse().ok(),
        _ => None,
    }
}

/// A text as it is, anything else as JSON.
fn bytes_of(value: Json) -> Option<Vec<u8>> {
    value.into_text().map(String::into_bytes)
}
