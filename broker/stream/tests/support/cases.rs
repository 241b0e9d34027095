//! What the cases of sessions, rankings and functions over rows share: one source, one table, and how they are run.

use std::collections::BTreeMap;

use logmill_stream::EpochLimits;

use super::{MemoryLogs, plan, run_bounded, small_epochs};

pub(crate) const SOURCE: &str = "CREATE TABLE src (k STRING, x BIGINT, d DOUBLE, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('topic' = 'in', 'format' = 'json');\n";

/// How a script is run: whole, a record an epoch, with a restore after each epoch, and split into shards.
pub(crate) fn runs() -> [(EpochLimits, u64, usize); 4] {
    [
        (EpochLimits::default(), 0, 1),
        (EpochLimits::default(), 0, 3),
        (small_epochs(1), 0, 1),
        (small_epochs(2), 1, 2),
    ]
}

pub(crate) fn run(
    script: &str,
    input: &[String],
    (limits, crash_every, shards): (EpochLimits, u64, usize),
) -> MemoryLogs {
    let plan = plan(script);
    let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
    logs.create("in", 1);
    logs.create("out", 1);
    input.iter().for_each(|line| logs.produce("in", 0, std::slice::from_ref(line)));
    run_bounded(&plan, &mut logs, limits, crash_every).unwrap_or_else(|error| panic!("{error}"));
    logs
}

pub(crate) fn lines(text: &str) -> Vec<String> {
    text.trim().lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Every record that a script writes, in order, however it is run.
#[track_caller]
pub(crate) fn check(script: &str, input: &str, expected: &str) -> MemoryLogs {
    let mut last = None;
    for how in runs() {
        let logs = run(script, &lines(input), how);
        assert_eq!(logs.values("out"), lines(expected), "{how:?}");
        last = Some(logs);
    }
    last.unwrap()
}

/// What a compacted topic holds, by key: the values that are left.
pub(crate) fn table(logs: &MemoryLogs) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, record) in logs.records("out") {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let key = text(&record.key.unwrap());
        match record.value {
            Some(value) => table.insert(key, text(&value)),
            None => table.remove(&key),
        };
    }
    table
}

/// The rows a table holds in the end, in the order of their keys, however the script is run.
#[track_caller]
pub(crate) fn check_table(script: &str, input: &str, expected: &str) -> MemoryLogs {
    let mut last = None;
    for how in runs() {
        let logs = run(script, &lines(input), how);
        assert_eq!(table(&logs).into_values().collect::<Vec<_>>(), lines(expected), "{how:?}");
        last = Some(logs);
    }
    last.unwrap()
}

pub(crate) fn append(columns: &str, insert: &str) -> String {
    format!("{SOURCE} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json');\n{insert}")
}

pub(crate) fn upsert(columns: &str, insert: &str) -> String {
    let options = "('topic' = 'out', 'format' = 'json', 'output' = 'upsert')";
    format!("{SOURCE} CREATE TABLE o ({columns}) WITH {options};\n{insert}")
}

/// A record at a second.
pub(crate) fn row(k: &str, x: i64, second: i64) -> String {
    format!(r#"{{"k":"{k}","x":{x},"d":{:?},"ts":{}}}"#, x as f64 + 0.5, second * 1000)
}

pub(crate) fn rows(of: &[(&str, i64, i64)]) -> String {
    of.iter().map(|(k, x, second)| row(k, *x, *second) + "\n").collect()
}

pub(crate) const SESSIONS: &str = "INSERT INTO o SELECT k, window_start, window_end, COUNT(*), SUM(x), MAX(d)
    FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5' SECOND))
    GROUP BY k, window_start, window_end";
pub(crate) const SESSION_ROW: &str = "k STRING, s TIMESTAMP(3), e TIMESTAMP(3), n BIGINT, x BIGINT, d DOUBLE";
