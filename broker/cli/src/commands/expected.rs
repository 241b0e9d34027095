//! What a case expects of a topic, and what of the records that a run gives is held against it.
//!
//! How often a row is written on its way depends on where epochs end. So what counts is what must be the same wherever
//! they do:
//!
//! ```text
//! 'output'      counts                                           in which order
//! append        every record, and so of dead letters and the     as given, where the input is one epoch;
//!               like                                             else in any
//! upsert        the last record of each key, unless it has no    any
//!               value
//! changes       the same; where epochs are smaller, rows may     any
//!               have been written that are gone since: the
//!               topic does not say so
//! retract       the rows that are given and not taken back       any
//! complete      the last table                                   as given
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use logmill_broker::pipelines::trial::{OutputMode, Plan, Record, Trial};
use serde_json::value::RawValue;

use super::cases::{CaseError, RECORDS, VALUES, WHOLE, files, io, lines, read};
use super::exact_json::Json;

/// A record as a case shows it.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    /// Its key; `None` also where a file has values only.
    key: Option<String>,
    value: Option<String>,
}

impl Shown {
    fn of(record: &Record) -> Self {
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Self { key: text(record.key.as_deref()), value: text(record.value.as_deref()) }
    }

    /// What a line of a file says.
    fn of_line(line: &str, whole: bool) -> Self {
        match Json::parse(line) {
            Ok(Json::Object(fields)) if whole => {
                let mut record = Self { key: None, value: None };
                for (name, value) in fields {
                    match name.as_str() {
                        "key" => record.key = value.into_text(),
                        "value" => record.value = value.into_text(),
                        _ => {}
                    }
                }
                record
            }
            _ => Self { key: None, value: (line != "null").then(|| line.to_owned()) },
        }
    }

    /// The line of a file of values, or of whole records.
    fn line(&self, whole: bool) -> String {
        if !whole {
            return self.value.clone().unwrap_or_else(|| "null".to_owned());
        }
        let value = match &self.value {
            None => Json::Null,
            Some(text) => Json::parse(text).unwrap_or_else(|_| Json::Text(text.clone())),
        };
        let key = self.key.clone().map_or(Json::Null, Json::Text);
        Json::Object(vec![("key".to_owned(), key), ("value".to_owned(), value)]).to_string()
    }
}

/// A change as Debezium writes it.
#[derive(serde::Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
}

/// What of a topic's records counts.
fn output(plan: &Plan, topic: &str) -> OutputMode {
    let mut modes = plan.sinks.iter().filter(|sink| sink.topic == topic).map(|sink| sink.mode);
    let first = modes.next().unwrap_or(OutputMode::Append);
    match modes.all(|mode| mode == first) {
        true => first,
        false => OutputMode::Append,
    }
}

/// What counts of the records of a run.
fn given(mode: OutputMode, records: &[Record]) -> Vec<Shown> {
    if mode != OutputMode::Complete {
        return left(mode, records.iter().map(Shown::of).collect(), true);
    }
    let number = |record: &Record, name: &str| {
        let header = record.headers.iter().find(|header| header.key == name)?;
        String::from_utf8_lossy(header.value.as_ref()?).parse::<u64>().ok()
    };
    let begins = |record: &Record| number(record, "logmill.row") == Some(0);
    let table = records.iter().rposition(begins).map_or(&[][..], |start| &records[start..]);
    let is_row = |record: &&Record| number(record, "logmill.rows") != Some(0);
    table.iter().filter(is_row).map(Shown::of).collect()
}

/// What is left of records in the end. Without keys each stands for a row of its own.
fn left(mode: OutputMode, records: Vec<Shown>, has_keys: bool) -> Vec<Shown> {
    match mode {
        OutputMode::Append | OutputMode::Complete => records,
        OutputMode::Upsert | OutputMode::Update => {
            let mut places: BTreeMap<String, usize> = BTreeMap::new();
            let mut last: Vec<Shown> = Vec::new();
            for record in records {
                match record.key.as_ref().filter(|_| has_keys).and_then(|key| places.get(key)) {
                    Some(place) => last[*place] = record,
                    None => {
                        record.key.iter().for_each(|key| _ = places.insert(key.clone(), last.len()));
                        last.push(record);
                    }
                }
            }
            last.into_iter().filter(|record| record.value.is_some()).collect()
        }
        OutputMode::Retract => {
            let mut rows: Vec<Option<Shown>> = Vec::new();
            let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for record in records {
                let change =
                    record.value.as_deref().and_then(|text| serde_json::from_str::<Change<'_>>(text).ok());
                let Some(Change { before, after }) = change else {
                    rows.push(Some(record));
                    continue;
                };
                let of_row = before.and_then(|row| places.get_mut(&meant(row.get())));
                if let Some(place) = of_row.and_then(Vec::pop) {
                    rows[place] = None;
                }
                if let Some(row) = after {
                    places.entry(meant(row.get())).or_default().push(rows.len());
                    let value = format!("{{\"before\":null,\"after\":{row},\"op\":\"c\"}}");
                    rows.push(Some(Shown { key: record.key.clone(), value: Some(value) }));
                }
            }
            rows.into_iter().flatten().collect()
        }
    }
}

/// Adds what is not as the files of `expected/` say.
///
/// # Errors
/// [`CaseError::Io`].
pub(super) fn compare(
    directory: &Path,
    how: &str,
    plan: &Plan,
    trial: &Trial,
    differences: &mut Vec<String>,
) -> Result<(), CaseError> {
    let expected = files(&directory.join("expected"))?;
    for (topic, records) in &trial.outputs {
        let given = given(output(plan, topic), records);
        if !given.is_empty() && !expected.iter().any(|(known, _, _)| known == topic) {
            differences.push(format!(
                "{how}: topic {topic} has {} records, and there is no expected/{topic}{VALUES}",
                given.len()
            ));
        }
    }
    for (topic, path, whole) in expected {
        let Some(records) = trial.outputs.get(&topic) else {
            let writes: Vec<&str> = plan.sink_topics().into_iter().chain(plan.side_topics()).collect();
            differences.push(format!("the script writes no topic {topic}; it writes: {}", writes.join(", ")));
            continue;
        };
        let mode = output(plan, &topic);
        let text = read(&path)?;
        let wanted = lines(&text).map(|(_, line)| Shown::of_line(line, whole)).collect();
        let wanted: Vec<String> = left(mode, wanted, whole).iter().map(|record| record.line(whole)).collect();
        let given: Vec<String> = given(mode, records).iter().map(|record| record.line(whole)).collect();
        let is_ordered = mode == OutputMode::Complete || mode == OutputMode::Append && how == WHOLE;
        let found = match is_ordered {
            true => first_other(&given, &wanted),
            false => unlike(&given, &wanted, mode == OutputMode::Update && how != WHOLE),
        };
        let Some(found) = found else { continue };
        let what = match mode {
            OutputMode::Append => "records",
            _ => "rows in the end",
        };
        differences.push(format!(
            "{how}: topic {topic} has {} {what}, {} are expected; {found}",
            given.len(),
            wanted.len()
        ));
    }
    Ok(())
}

/// What a line says: of JSON neither spaces nor the order of fields matter, and of a number its value does, to the last digit.
fn meant(line: &str) -> String {
    Json::parse(line).map_or_else(|_| line.to_owned(), |value| value.meaning().to_string())
}

/// The first place at which two lists differ, as text.
fn first_other(given: &[String], wanted: &[String]) -> Option<String> {
    let differs = |place: &usize| {
        let meant = |lines: &[String]| lines.get(*place).map(|line| meant(line));
        meant(given) != meant(wanted)
    };
    let first = (0..given.len().max(wanted.len())).find(differs)?;
    let shown = |lines: &[String]| lines.get(first).cloned().unwrap_or_else(|| "nothing".to_owned());
    Some(format!(
        "the first that differs is number {}\n  expected: {}\n  given: {}",
        first + 1,
        shown(wanted),
        shown(given)
    ))
}

/// What two lists do not have in common, the first of each side, whatever the order; with `more_given` others may be given,
/// too.
fn unlike(given: &[String], wanted: &[String], more_given: bool) -> Option<String> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let count = |counts: &mut BTreeMap<String, i64>, line: &String, by: i64| {
        let count = counts.entry(meant(line)).or_insert(0);
        *count += by;
        *count
    };
    given.iter().for_each(|line| _ = count(&mut counts, line, 1));
    let mut missing = None;
    for line in wanted {
        if count(&mut counts, line, -1) < 0 {
            missing.get_or_insert(line);
        }
    }
    let is_left = |line: &&String| counts.get(&meant(line)).is_some_and(|left| *left > 0);
    let over = given.iter().find(is_left).filter(|_| !more_given);
    if missing.is_none() && over.is_none() {
        return None;
    }
    let mut text = "in any order".to_owned();
    if let Some(line) = missing {
        let _ = write!(text, "\n  expected, and not given: {line}");
    }
    if let Some(line) = over {
        let _ = write!(text, "\n  given, and not expected: {line}");
    }
    Some(text)
}

/// Writes what a run gave as what is expected: in the form that is there already, else values.
///
/// # Errors
/// [`CaseError::Io`].
pub(super) fn write(directory: &Path, plan: &Plan, trial: &Trial) -> Result<(), CaseError> {
    let folder = directory.join("expected");
    std::fs::create_dir_all(&folder).map_err(io(&folder))?;
    for (topic, records) in &trial.outputs {
        let records = given(output(plan, topic), records);
        let whole = folder.join(format!("{topic}{RECORDS}"));
        let (path, is_whole) = match whole.exists() || records.iter().any(|record| record.value.is_none()) {
            true => (whole, true),
            false => (folder.join(format!("{topic}{VALUES}")), false),
        };
        let text: String = records.iter().map(|record| record.line(is_whole) + "\n").collect();
        std::fs::write(&path, text).map_err(io(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn values(mode: OutputMode, records: &[(Option<&str>, Option<&str>)]) -> Vec<String> {
        let owned = |text: &Option<&str>| text.map(str::to_owned);
        let records = records.iter().map(|(key, value)| Shown { key: owned(key), value: owned(value) });
        left(mode, records.collect(), true).iter().map(|record| record.line(false)).collect()
    }

    #[test]
    fn of_a_key_the_last_record_is_left() {
        let records = [
            (Some("a"), Some("1")),
            (Some("b"), Some("2")),
            (Some("a"), Some("3")),
            (Some("b"), None),
            (None, Some("4")),
            (None, Some("4")),
        ];
        assert_eq!(values(OutputMode::Upsert, &records), ["3", "4", "4"]);
        assert_eq!(values(OutputMode::Append, &records), ["1", "2", "3", "null", "4", "4"]);
    }

    #[test]
    fn of_changes_the_rows_are_left_that_were_not_taken_back() {
        let change = |before: &str, after: &str| format!("{{\"after\":{after},\"before\":{before}}}");
        let changes =
            [change("null", "{\"n\":1}"), change("null", "{\"n\":1}"), change("{\"n\":1}", "{\"n\":2}")];
        let changes: Vec<_> = changes.iter().map(|change| (None, Some(change.as_str()))).collect();
        let left: Vec<serde_json::Value> = values(OutputMode::Retract, &changes)
            .iter()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).expect("it is JSON")["after"]["n"].clone()
            })
            .collect();
        assert_eq!(left, [1, 2]);
    }

    #[test]
    fn lists_are_alike_in_any_order_and_as_often() {
        let (given, same) =
            (texts(&["{\"a\":1,\"b\":2}", "x", "x"]), texts(&["x", "{\"b\": 2, \"a\": 1}", "x"]));
        assert_eq!(unlike(&given, &same, false), None);
        assert!(first_other(&given, &same).expect("another order").contains("number 1"));
        let fewer = texts(&["x", "x"]);
        let found = unlike(&given, &fewer, false).expect("one more");
        assert!(found.contains("given, and not expected: {\"a\":1,\"b\":2}"), "{found}");
        assert_eq!(unlike(&given, &fewer, true), None);
        let found = unlike(&fewer, &texts(&["x", "x", "x"]), true).expect("one is missing");
        assert!(found.contains("expected, and not given: x"), "{found}");
    }
}
