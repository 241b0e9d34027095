//! Sessions, rankings and functions over rows: golden cases, and random ones against the definition.

mod support;

use std::collections::BTreeMap;

use logmill_stream::{EpochLimits, compile};
use proptest::prelude::*;
use serde_json::Value;
use support::{MemoryLogs, json, plan, run_bounded, small_epochs};

const SOURCE: &str = "CREATE TABLE src (k STRING, x BIGINT, d DOUBLE, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('topic' = 'in', 'format' = 'json');\n";

/// How a script is run: whole, a record an epoch, with a restore after each epoch, and split into shards.
fn runs() -> [(EpochLimits, u64, usize); 4] {
    [
        (EpochLimits::default(), 0, 1),
        (EpochLimits::default(), 0, 3),
        (small_epochs(1), 0, 1),
        (small_epochs(2), 1, 2),
    ]
}

fn run(
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

fn lines(text: &str) -> Vec<String> {
    text.trim().lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Every record that a script writes, in order, however it is run.
#[track_caller]
fn check(script: &str, input: &str, expected: &str) -> MemoryLogs {
    let mut last = None;
    for how in runs() {
        let logs = run(script, &lines(input), how);
        assert_eq!(logs.values("out"), lines(expected), "{how:?}");
        last = Some(logs);
    }
    last.unwrap()
}

/// What a compacted topic holds, by key: the values that are left.
fn table(logs: &MemoryLogs) -> BTreeMap<String, String> {
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
fn check_table(script: &str, input: &str, expected: &str) -> MemoryLogs {
    let mut last = None;
    for how in runs() {
        let logs = run(script, &lines(input), how);
        assert_eq!(table(&logs).into_values().collect::<Vec<_>>(), lines(expected), "{how:?}");
        last = Some(logs);
    }
    last.unwrap()
}

fn append(columns: &str, insert: &str) -> String {
    format!("{SOURCE} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json');\n{insert}")
}

fn upsert(columns: &str, insert: &str) -> String {
    let options = "('topic' = 'out', 'format' = 'json', 'output' = 'upsert')";
    format!("{SOURCE} CREATE TABLE o ({columns}) WITH {options};\n{insert}")
}

/// A record at a second.
fn row(k: &str, x: i64, second: i64) -> String {
    format!(r#"{{"k":"{k}","x":{x},"d":{:?},"ts":{}}}"#, x as f64 + 0.5, second * 1000)
}

fn rows(of: &[(&str, i64, i64)]) -> String {
    of.iter().map(|(k, x, second)| row(k, *x, *second) + "\n").collect()
}

const SESSIONS: &str = "INSERT INTO o SELECT k, window_start, window_end, COUNT(*), SUM(x), MAX(d)
    FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5' SECOND))
    GROUP BY k, window_start, window_end";
const SESSION_ROW: &str = "k STRING, s TIMESTAMP(3), e TIMESTAMP(3), n BIGINT, x BIGINT, d DOUBLE";

#[test]
fn sessions_end_when_nothing_comes_for_the_gap() {
    let input = rows(&[
        ("a", 1, 0),
        ("b", 10, 1),
        // Exactly one gap behind the last row: the same session.
        ("a", 2, 5),
        // Within the disorder, and between two sessions of `b`, which it joins.
        ("b", 20, 8),
        ("b", 30, 6),
        ("a", 3, 11),
        // The watermark passes 18: all sessions but this one are over, in the order of their ends.
        ("c", 5, 20),
        // Late: its own session would be over.
        ("a", 9, 12),
        // Late too, but still within the session of `c`... of another key, which says nothing about `a`.
        ("a", 7, 16),
    ]);
    let logs = check(
        &append(SESSION_ROW, SESSIONS),
        &input,
        r#"{"k":"a","s":"1970-01-01T00:00:00Z","e":"1970-01-01T00:00:10Z","n":2,"x":3,"d":2.5}
           {"k":"b","s":"1970-01-01T00:00:01Z","e":"1970-01-01T00:00:13Z","n":3,"x":60,"d":30.5}
           {"k":"a","s":"1970-01-01T00:00:11Z","e":"1970-01-01T00:00:16Z","n":1,"x":3,"d":3.5}
           {"k":"a","s":"1970-01-01T00:00:16Z","e":"1970-01-01T00:00:21Z","n":1,"x":7,"d":7.5}
           {"k":"c","s":"1970-01-01T00:00:20Z","e":"1970-01-01T00:00:25Z","n":1,"x":5,"d":5.5}"#,
    );
    assert_eq!(logs.last_progress().unwrap().totals.late, 1);
    assert_eq!(support::restored(&plan(&append(SESSION_ROW, SESSIONS)), &logs, 9_999).state_entries(), 0);
}

#[test]
fn a_late_row_joins_a_session_that_is_open() {
    let input = rows(&[("a", 1, 0), ("a", 2, 4), ("a", 3, 8), ("z", 0, 10), ("a", 4, 2), ("z", 0, 90)]);
    check(
        &append(SESSION_ROW, SESSIONS),
        &input,
        r#"{"k":"a","s":"1970-01-01T00:00:00Z","e":"1970-01-01T00:00:13Z","n":4,"x":10,"d":4.5}
           {"k":"z","s":"1970-01-01T00:00:10Z","e":"1970-01-01T00:00:15Z","n":1,"x":0,"d":0.5}
           {"k":"z","s":"1970-01-01T00:01:30Z","e":"1970-01-01T00:01:35Z","n":1,"x":0,"d":0.5}"#,
    );
}

#[test]
fn the_first_of_each_window_are_given_when_it_closes() {
    let script = append(
        "s TIMESTAMP(3), k STRING, n BIGINT, r BIGINT",
        "INSERT INTO o SELECT window_start, k, n, r FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, k) AS r FROM (
             SELECT window_start, window_end, k, SUM(x) AS n
             FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
             GROUP BY window_start, window_end, k))
         WHERE r <= 2",
    );
    let input = rows(&[("c", 5, 1), ("a", 3, 2), ("b", 5, 3), ("d", 4, 4), ("a", 1, 15), ("a", 1, 40)]);
    let logs = check(
        &script,
        &input,
        r#"{"s":"1970-01-01T00:00:00Z","k":"b","n":5,"r":1}
           {"s":"1970-01-01T00:00:00Z","k":"c","n":5,"r":2}
           {"s":"1970-01-01T00:00:10Z","k":"a","n":1,"r":1}
           {"s":"1970-01-01T00:00:40Z","k":"a","n":1,"r":1}"#,
    );
    assert_eq!(support::restored(&plan(&script), &logs, 9_999).state_entries(), 0);
}

#[test]
fn equal_rows_share_a_rank() {
    let ranked = |function: &str| {
        let key = if function == "ROW_NUMBER" { "k, r" } else { "k, d" };
        upsert(
            &format!("k STRING, x BIGINT, d DOUBLE, r BIGINT, PRIMARY KEY ({key}) NOT ENFORCED"),
            &format!(
                "INSERT INTO o SELECT k, x, d, r FROM
                 (SELECT *, {function}() OVER (PARTITION BY k ORDER BY x) AS r FROM src) AS t
                 WHERE t.r < 3 UNBOUNDED"
            ),
        )
    };
    let input = r#"{"k":"a","x":2,"d":1,"ts":0}
                   {"k":"a","x":1,"d":2,"ts":1}
                   {"k":"a","x":2,"d":3,"ts":2}
                   {"k":"a","x":1,"d":4,"ts":3}
                   {"k":"a","x":3,"d":5,"ts":4}"#;
    check_table(
        &ranked("ROW_NUMBER"),
        input,
        r#"{"k":"a","x":1,"d":2.0,"r":1}
        {"k":"a","x":1,"d":4.0,"r":2}"#,
    );
    check_table(
        &ranked("RANK"),
        input,
        r#"{"k":"a","x":1,"d":2.0,"r":1}
        {"k":"a","x":1,"d":4.0,"r":1}"#,
    );
    check_table(
        &ranked("DENSE_RANK"),
        input,
        r#"{"k":"a","x":2,"d":1.0,"r":2}
        {"k":"a","x":1,"d":2.0,"r":1}
        {"k":"a","x":2,"d":3.0,"r":2}
        {"k":"a","x":1,"d":4.0,"r":1}"#,
    );
}

#[test]
fn the_first_row_of_a_key_is_given_once() {
    let script = append(
        "k STRING, x BIGINT, ts TIMESTAMP(3)",
        "INSERT INTO o SELECT k, x, ts FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS r FROM src) WHERE r = 1 UNBOUNDED",
    );
    let input = rows(&[
        ("a", 1, 3),
        // Earlier, and in time.
        ("a", 2, 2),
        // Of equal ones the one that came first.
        ("a", 3, 2),
        ("b", 4, 9),
        // The first of `a` is given.
        ("a", 5, 8),
        ("a", 6, 1),
        // Late, but the first there is.
        ("c", 7, 1),
        ("c", 8, 0),
        ("b", 9, 20),
    ]);
    for how in runs() {
        let logs = run(&script, &lines(&input), how);
        let mut values = logs.values("out");
        values.sort();
        assert_eq!(
            values,
            lines(
                r#"{"k":"a","x":2,"ts":"1970-01-01T00:00:02Z"}
                   {"k":"b","x":4,"ts":"1970-01-01T00:00:09Z"}
                   {"k":"c","x":7,"ts":"1970-01-01T00:00:01Z"}"#
            ),
            "{how:?}"
        );
    }
}

#[test]
fn the_last_row_of_a_key_replaces_the_one_before() {
    let script = upsert(
        "k STRING, x BIGINT, PRIMARY KEY (k) NOT ENFORCED",
        "INSERT INTO o SELECT k, x FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS r FROM src) WHERE r <= 1 UNBOUNDED",
    );
    let input = rows(&[("a", 1, 3), ("b", 2, 4), ("a", 3, 9), ("a", 4, 8), ("b", 5, 3)]);
    check_table(&script, &input, "{\"k\":\"a\",\"x\":3}\n{\"k\":\"b\",\"x\":2}");
}

/// Each row's change is written only once, although the two ranks above it move with every row.
#[test]
fn without_its_number_a_row_that_moves_is_no_change() {
    let script = |columns: &str, select: &str| {
        upsert(
            columns,
            &format!(
                "INSERT INTO o SELECT {select} FROM
                 (SELECT *, ROW_NUMBER() OVER (ORDER BY x DESC) AS r FROM src) WHERE r <= 3 UNBOUNDED"
            ),
        )
    };
    let input = lines(&rows(&[("a", 1, 0), ("b", 2, 0), ("c", 3, 0), ("d", 4, 0)]));
    let numbered = script("k STRING, r BIGINT, PRIMARY KEY (r) NOT ENFORCED", "k, r");
    let plain = script("k STRING, PRIMARY KEY (k) NOT ENFORCED", "k");
    let how = (small_epochs(1), 0, 1);
    let logs = run(&numbered, &input, how);
    assert_eq!(logs.records("out").len(), 1 + 2 + 3 + 3);
    let logs = run(&plain, &input, how);
    assert_eq!(logs.records("out").len(), 3 + 2, "three come, then one goes and one comes");
    assert_eq!(
        table(&logs).into_values().collect::<Vec<_>>(),
        [r#"{"k":"b"}"#, r#"{"k":"c"}"#, r#"{"k":"d"}"#]
    );
}

#[test]
fn a_row_moves_up_when_one_above_is_taken_back() {
    let script = upsert(
        "r BIGINT, k STRING, n BIGINT, PRIMARY KEY (r) NOT ENFORCED",
        "INSERT INTO o SELECT r, k, n FROM (
           SELECT *, ROW_NUMBER() OVER (ORDER BY n DESC, k) AS r FROM (
             SELECT k, SUM(x) AS n FROM src GROUP BY k))
         WHERE r <= 2 UNBOUNDED",
    );
    let input = rows(&[("a", 9, 0), ("b", 8, 0), ("c", 7, 0), ("a", -8, 0), ("c", 2, 0)]);
    check_table(&script, &input, "{\"r\":1,\"k\":\"c\",\"n\":9}\n{\"r\":2,\"k\":\"b\",\"n\":8}");
}

#[test]
fn rows_are_given_in_the_order_of_time_with_the_rows_before_them() {
    let script = append(
        "k STRING, x BIGINT, two BIGINT, five BIGINT, mean DOUBLE, n BIGINT, before BIGINT, number BIGINT",
        "INSERT INTO o SELECT k, x,
           SUM(x) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW),
           SUM(x) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '5' SECOND PRECEDING AND CURRENT ROW),
           AVG(d) OVER (PARTITION BY k ORDER BY ts ROWS 1 PRECEDING),
           COUNT(*) OVER (PARTITION BY k ORDER BY ts),
           LAG(x, 2, -1) OVER (PARTITION BY k ORDER BY ts),
           ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts)
         FROM src UNBOUNDED",
    );
    let input =
        rows(&[("a", 1, 1), ("b", 10, 0), ("a", 2, 3), ("a", 4, 2), ("a", 8, 3), ("a", 16, 9), ("a", 32, 6)]);
    let logs = check(
        &script,
        &input,
        r#"{"k":"b","x":10,"two":10,"five":10,"mean":10.5,"n":1,"before":-1,"number":1}
           {"k":"a","x":1,"two":1,"five":1,"mean":1.5,"n":1,"before":-1,"number":1}
           {"k":"a","x":4,"two":5,"five":5,"mean":3.0,"n":2,"before":-1,"number":2}
           {"k":"a","x":2,"two":6,"five":15,"mean":3.5,"n":4,"before":1,"number":3}
           {"k":"a","x":8,"two":10,"five":15,"mean":5.5,"n":4,"before":4,"number":4}
           {"k":"a","x":16,"two":24,"five":16,"mean":12.5,"n":5,"before":2,"number":5}"#,
    );
    assert_eq!(logs.last_progress().unwrap().totals.late, 1, "6 s come behind the watermark of 7 s");
}

#[test]
fn what_no_frame_reaches_is_forgotten() {
    let script = append(
        "k STRING, n BIGINT",
        "INSERT INTO o SELECT k,
           COUNT(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW)
         FROM src",
    );
    let input: Vec<String> =
        (0..50).map(|second| row(["a", "b", "c"][second as usize % 3], 1, second)).collect();
    for how in runs() {
        let logs = run(&script, &input, how);
        assert_eq!(support::restored(&plan(&script), &logs, 9_999).state_entries(), 0, "{how:?}");
    }
}

#[test]
fn a_window_that_closes_shows_all_of_its_rows() {
    let script = append(
        "k STRING, x BIGINT, share DOUBLE, later BIGINT, number BIGINT, last BIGINT",
        "INSERT INTO o SELECT k, x,
           x / SUM(d) OVER (PARTITION BY window_start, window_end),
           LEAD(x) OVER (PARTITION BY window_start, window_end ORDER BY x DESC),
           RANK() OVER (PARTITION BY window_start, window_end ORDER BY x DESC),
           SUM(x) OVER (PARTITION BY window_start, window_end ORDER BY x DESC
             ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
         FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
    );
    let input = r#"{"k":"a","x":1,"d":1,"ts":1000}
                   {"k":"b","x":3,"d":3,"ts":9000}
                   {"k":"c","x":3,"d":4,"ts":8000}
                   {"k":"d","x":5,"d":5,"ts":10000}"#;
    check(
        &script,
        input,
        r#"{"k":"b","x":3,"share":0.375,"later":3,"number":1,"last":7}
           {"k":"c","x":3,"share":0.375,"later":1,"number":1,"last":4}
           {"k":"a","x":1,"share":0.125,"later":null,"number":3,"last":1}
           {"k":"d","x":5,"share":1.0,"later":null,"number":1,"last":5}"#,
    );
}

/// Nexmark's q6 in small: the average of the last two winners of each seller, while winners still change.
#[test]
fn functions_over_rows_that_are_taken_back_change() {
    let script = format!(
        "{SOURCE} CREATE TABLE o (k STRING, mean DOUBLE)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o SELECT k, AVG(x) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
         FROM (SELECT k, x, ts FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k, d ORDER BY x DESC) AS r FROM src) WHERE r <= 1)
         UNBOUNDED"
    );
    let input = r#"{"k":"s","x":1,"d":1,"ts":1000}
                   {"k":"s","x":5,"d":2,"ts":2000}
                   {"k":"s","x":3,"d":1,"ts":3000}
                   {"k":"s","x":9,"d":3,"ts":4000}"#;
    for how in runs() {
        let logs = run(&script, &lines(input), how);
        let mut rows: BTreeMap<String, i64> = BTreeMap::new();
        for value in logs.values("out") {
            let value = json(&value);
            for (side, by) in [("before", -1), ("after", 1)] {
                if !value[side].is_null() {
                    *rows.entry(value[side].to_string()).or_default() += by;
                }
            }
        }
        rows.retain(|_, count| *count != 0);
        let left: Vec<String> = rows.keys().cloned().collect();
        // The winners are 5 (2 s), 3 (3 s) and 9 (4 s).
        let expected = [r#"{"k":"s","mean":4.0}"#, r#"{"k":"s","mean":5.0}"#, r#"{"k":"s","mean":6.0}"#];
        assert_eq!(left, expected, "{how:?}");
        assert!(rows.values().all(|count| *count == 1), "{rows:?}");
    }
}

/// What is forgotten after its time to live begins anew.
#[test]
fn state_goes_when_it_is_not_touched() {
    let script = |query: &str| upsert("k STRING, x BIGINT, PRIMARY KEY (k) NOT ENFORCED", query);
    for query in [
        "INSERT INTO o SELECT k, x FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC) AS r FROM src) WHERE r = 1
         STATE TTL INTERVAL '5' MILLISECOND",
        "INSERT INTO o SELECT k, n FROM
           (SELECT k, COUNT(*) OVER (PARTITION BY k ORDER BY x) AS n FROM src)
         STATE TTL INTERVAL '5' MILLISECOND",
    ] {
        // The clock of the test goes on by a millisecond with each epoch.
        let input: Vec<String> = (0..40).map(|second| row(&format!("k{second}"), 1, second)).collect();
        let logs = run(&script(query), &input, (small_epochs(1), 3, 2));
        assert!(support::restored(&plan(&script(query)), &logs, 9_999).state_entries() < 10);
    }
}

/// Groups and rankings that one epoch changes are written in one order, whoever they are split among.
#[test]
fn shards_do_not_show_in_the_order_of_changes() {
    let input: Vec<String> =
        (0..40).map(|second| row(&format!("k{}", second * 7 % 11), second % 5, second / 9)).collect();
    for query in [
        "INSERT INTO o SELECT k, SUM(x) FROM src GROUP BY k UNBOUNDED",
        "INSERT INTO o SELECT k, x FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC) AS r FROM src) WHERE r = 1 UNBOUNDED",
        "INSERT INTO o SELECT k, n FROM
           (SELECT k, COUNT(*) OVER (PARTITION BY k ORDER BY x) AS n FROM src) UNBOUNDED",
    ] {
        let script = upsert("k STRING, x BIGINT, PRIMARY KEY (k) NOT ENFORCED", query);
        let of = |shards| run(&script, &input, (EpochLimits::default(), 0, shards)).values("out");
        assert_eq!(of(1), of(3), "{query}");
    }
}

#[test]
fn plans_show_what_is_kept() {
    let explain = |query: &str| {
        let options = "('topic' = 'out', 'format' = 'json', 'output' = 'retract')";
        let script = format!("{SOURCE} CREATE TABLE o (k STRING, x BIGINT) WITH {options};\n{query}");
        let text = compile(&script).unwrap_or_else(|error| panic!("{error}")).explain();
        text.lines()
            .filter(|line| line.contains("Rank") || line.contains("Over"))
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let ranked = |order: &str, condition: &str| {
        explain(&format!(
            "INSERT INTO o SELECT k, x FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) AS r
             FROM src) WHERE {condition} UNBOUNDED"
        ))
    };
    assert_eq!(
        ranked("ts", "r = 1"),
        "Rank ROW_NUMBER <= 1 partition=[k] order=[ts] numbered=false emit=first by ts UNBOUNDED"
    );
    let windowed = explain(
        "INSERT INTO o SELECT k, r FROM (
           SELECT k, DENSE_RANK() OVER (PARTITION BY window_end, window_start ORDER BY n DESC NULLS FIRST) AS r FROM (
             SELECT window_start, window_end, k, COUNT(*) AS n
             FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
             GROUP BY window_start, window_end, k))
         WHERE r BETWEEN 1 AND 3",
    );
    assert_eq!(
        windowed,
        "Rank DENSE_RANK <= 3 partition=[window_end, window_start] order=[n DESC NULLS FIRST] numbered=true \
         emit=on-close of window_end"
    );
    let over = explain(
        "INSERT INTO o SELECT k,
           SUM(x) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '2' SECOND PRECEDING AND CURRENT ROW)
         FROM src",
    );
    assert_eq!(over, "Over partition=[k] order=[ts] functions=[SUM(x) range -2000ms..current] emit=on-time");
    let both = explain(
        "INSERT INTO o SELECT k, LEAD(x) OVER (PARTITION BY k ORDER BY ts)
           + SUM(x) OVER (ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
         FROM src STATE TTL INTERVAL '1' HOUR",
    );
    assert_eq!(
        both,
        "Over partition=[] order=[ts] functions=[SUM(x) rows -2..current] ttl=3600000ms changes\n\
         Over partition=[k] order=[ts] functions=[LEAD(x, 1, NULL)] ttl=3600000ms changes"
    );
}

#[derive(Debug, Clone)]
struct Row {
    k: u8,
    x: i64,
    second: i64,
}

fn random_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0_u8..3, -5_i64..6, 0_i64..4).prop_map(|(k, x, second)| Row { k, x, second });
    prop::collection::vec(row, 1..24).prop_map(|mut rows| {
        // Time goes on, with disorder that the watermark allows for.
        rows.iter_mut().enumerate().for_each(|(index, row)| row.second += index as i64 * 2 / 3);
        let mut newest = 0;
        for row in &mut rows {
            newest = newest.max(row.second);
            row.second = row.second.max(newest - 2);
        }
        rows
    })
}

fn as_lines(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|each| row(&format!("k{}", each.k), each.x, each.second)).collect()
}

/// The table of a topic after each epoch, and how many input records it is of.
fn prefixes(logs: &MemoryLogs) -> Vec<(usize, BTreeMap<String, String>)> {
    let records = logs.records("out");
    let mut left = records.iter();
    let mut table = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    for progress in &logs.progress {
        for (_, record) in left.by_ref().take(progress.counters.written as usize) {
            let key = text(record.key.as_ref().unwrap());
            match &record.value {
                Some(value) => table.insert(key, text(value)),
                None => table.remove(&key),
            };
        }
        found.push((progress.inputs[0].to as usize, table.clone()));
    }
    assert!(left.next().is_none());
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Sessions by the definition: rows in the order of time, parted where a gap is.
    #[test]
    fn sessions_are_those_of_sorted_rows(rows in random_rows(), shards in 1_usize..4, crash in 0_u64..3) {
        let mut expected = Vec::new();
        for k in 0..3 {
            let mut times: Vec<(i64, i64)> =
                rows.iter().filter(|row| row.k == k).map(|row| (row.second, row.x)).collect();
            times.sort_unstable();
            let mut sessions: Vec<(i64, i64, i64, i64)> = Vec::new();
            for (second, x) in times {
                match sessions.last_mut().filter(|session| second <= session.1) {
                    Some(session) => *session = (session.0, second + 5, session.2 + 1, session.3 + x),
                    None => sessions.push((second, second + 5, 1, x)),
                }
            }
            expected.extend(sessions.into_iter().map(|(start, end, n, x)| (end, k, start, n, x)));
        }
        expected.sort_unstable();
        let script = append(SESSION_ROW, SESSIONS);
        for limits in [EpochLimits::default(), small_epochs(1)] {
            let logs = run(&script, &as_lines(&rows), (limits, crash, shards));
            prop_assert_eq!(logs.last_progress().unwrap().totals.late, 0);
            let mut found: Vec<(i64, u8, i64, i64, i64)> = logs.values("out").iter().map(|value| {
                let value = json(value);
                let second = |name: &str| {
                    let text = value[name].as_str().unwrap();
                    text[17..19].parse::<i64>().unwrap() + text[14..16].parse::<i64>().unwrap() * 60
                };
                let k = value["k"].as_str().unwrap()[1..].parse().unwrap();
                (second("e"), k, second("s"), value["n"].as_i64().unwrap(), value["x"].as_i64().unwrap())
            }).collect();
            // Of sessions that end together those given in parts are given by key group.
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
        }
    }

    /// After every epoch the table is the ranking of the rows read so far.
    #[test]
    fn a_ranking_is_that_of_every_prefix(
        rows in random_rows(),
        limit in 1_usize..4,
        shards in 1_usize..4,
        crash in 0_u64..3,
        batch in 1_usize..4,
    ) {
        // Sums go up and down, so that rows are taken back.
        let script = upsert(
            "r BIGINT, k STRING, n BIGINT, PRIMARY KEY (r) NOT ENFORCED",
            &format!(
                "INSERT INTO o SELECT r, k, n FROM (
                   SELECT *, ROW_NUMBER() OVER (ORDER BY n DESC, k) AS r FROM (
                     SELECT k, SUM(x) AS n FROM src GROUP BY k))
                 WHERE r <= {limit} UNBOUNDED"
            ),
        );
        let plan = plan(&script);
        let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
        logs.create("in", 1);
        logs.create("out", 1);
        as_lines(&rows).chunks(batch).for_each(|lines| logs.produce("in", 0, lines));
        run_bounded(&plan, &mut logs, small_epochs(1_000), crash).unwrap();
        for (read, table) in prefixes(&logs) {
            let mut sums: BTreeMap<u8, i64> = BTreeMap::new();
            rows[..read].iter().for_each(|row| *sums.entry(row.k).or_default() += row.x);
            let mut order: Vec<(i64, u8)> = sums.into_iter().map(|(k, n)| (-n, k)).collect();
            order.sort_unstable();
            let ranked: Vec<String> = order
                .iter()
                .take(limit)
                .zip(1..)
                .map(|((n, k), r)| format!(r#"{{"r":{r},"k":"k{k}","n":{}}}"#, -n))
                .collect();
            prop_assert_eq!(table.into_values().collect::<Vec<_>>(), ranked, "the first {} rows", read);
        }
    }

    /// Functions over rows by the definition, given in time and as changes.
    #[test]
    fn functions_over_rows_are_those_of_sorted_rows(rows in random_rows(), shards in 1_usize..4, crash in 0_u64..3) {
        let mut expected = Vec::new();
        for k in 0..3 {
            let mut sorted: Vec<&Row> = rows.iter().filter(|row| row.k == k).collect();
            sorted.sort_by_key(|row| row.second);
            for (index, row) in sorted.iter().enumerate() {
                let three = &sorted[index.saturating_sub(2)..=index];
                let near = sorted.iter().filter(|other| (row.second - 3..=row.second).contains(&other.second));
                let mean = three.iter().map(|row| row.x as f64 + 0.5).sum::<f64>() / three.len() as f64;
                expected.push((
                    row.x,
                    near.clone().map(|row| row.x).sum::<i64>(),
                    near.map(|row| row.x).max().unwrap(),
                    (mean * 1e6).round() as i64,
                    index.checked_sub(1).map_or(-99, |before| sorted[before].x),
                ));
            }
        }
        expected.sort_unstable();
        let columns = "x BIGINT, near BIGINT, most BIGINT, mean DOUBLE, before BIGINT";
        let window = "(PARTITION BY k ORDER BY ts";
        let select = format!(
            "SELECT x,
               SUM(x) OVER {window} RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW) AS near,
               MAX(x) OVER {window} RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW) AS most,
               AVG(d) OVER {window} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS mean,
               LAG(x, 1, -99) OVER {window}) AS before"
        );
        let in_time = append(columns, &format!("INSERT INTO o {select} FROM src UNBOUNDED"));
        // The last row of each instant and key, which is every row, as changes.
        let changing = format!(
            "{SOURCE} CREATE TABLE o ({columns})
             WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
             INSERT INTO o {select} FROM (SELECT k, x, d, ts FROM (
               SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS r FROM src) WHERE r <= 100)
             UNBOUNDED"
        );
        let tuple = |value: &Value| {
            let number = |name: &str| value[name].as_i64().unwrap();
            let mean = (value["mean"].as_f64().unwrap() * 1e6).round() as i64;
            (number("x"), number("near"), number("most"), mean, number("before"))
        };
        // Equal instants are ordered as they came, which the ranking before turns around.
        let distinct = {
            let mut instants: Vec<(u8, i64)> = rows.iter().map(|row| (row.k, row.second)).collect();
            instants.sort_unstable();
            instants.windows(2).all(|pair| pair[0] != pair[1])
        };
        for limits in [EpochLimits::default(), small_epochs(1)] {
            let logs = run(&in_time, &as_lines(&rows), (limits, crash, shards));
            let mut found: Vec<_> = logs.values("out").iter().map(|value| tuple(&json(value))).collect();
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
            if !distinct {
                continue;
            }
            let logs = run(&changing, &as_lines(&rows), (limits, crash, shards));
            let mut counts: BTreeMap<_, i64> = BTreeMap::new();
            for value in logs.values("out") {
                let value = json(&value);
                for (side, by) in [("before", -1), ("after", 1)] {
                    if !value[side].is_null() {
                        *counts.entry(tuple(&value[side])).or_default() += by;
                    }
                }
            }
            let found: Vec<_> = counts
                .into_iter()
                .flat_map(|(row, count)| std::iter::repeat_n(row, usize::try_from(count).unwrap()))
                .collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}

/// A script that is refused: where, what, and what to write.
#[track_caller]
fn refused(insert: &str, at: (u64, u64), message: &str, help: &str) {
    let script = append("k STRING, x BIGINT", insert);
    let error = compile(&script).expect_err("it must be refused");
    let line = 4;
    assert_eq!((error.line - line + 1, error.column), at, "{error}");
    assert!(error.message.contains(message), "{error}");
    assert!(error.help.contains(help), "{error}");
}

#[test]
fn what_cannot_be_ranked_is_refused() {
    refused(
        "INSERT INTO o SELECT k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x) FROM src",
        (1, 25),
        "never complete",
        "UNBOUNDED",
    );
    refused(
        "INSERT INTO o SELECT k, x FROM src WHERE ROW_NUMBER() OVER (ORDER BY x) = 1",
        (1, 42),
        "OVER stands only in the list after SELECT",
        "WHERE n <= 3",
    );
    refused(
        "INSERT INTO o SELECT k, RANK() OVER (PARTITION BY k) FROM src",
        (1, 25),
        "without an order",
        "ORDER BY",
    );
    refused(
        "INSERT INTO o SELECT k, SUM(x) OVER (ORDER BY x RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW)
         FROM src UNBOUNDED",
        (1, 25),
        "needs an order by one TIMESTAMP",
        "ROWS BETWEEN",
    );
    refused(
        "INSERT INTO o SELECT k, COUNT(*) OVER (ORDER BY COUNT(*)) FROM src GROUP BY k UNBOUNDED",
        (1, 25),
        "OVER over groups",
        "FROM (SELECT ... GROUP BY ...)",
    );
    refused(
        "INSERT INTO o SELECT k, x FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY x) AS r FROM src) WHERE r < 1 UNBOUNDED",
        (1, 43),
        "the first row has the number 1",
        "r <= 1",
    );
    refused(
        "INSERT INTO o SELECT k, UPPER(k) OVER (ORDER BY x) FROM src",
        (1, 25),
        "UPPER has no OVER",
        "ROW_NUMBER",
    );
}
