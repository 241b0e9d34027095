//! What folds many rows into one value: every aggregate, over rows that are only added and over rows that are taken back.

use std::collections::BTreeMap;

use logmill_stream::{EpochLimits, compile};
use proptest::prelude::*;

use crate::support;
use crate::support::{MemoryLogs, json, plan, run_bounded, small_epochs};

const SOURCE: &str = "CREATE TABLE src (k STRING, x BIGINT, d DOUBLE, n DECIMAL(10, 2), s STRING, ok BOOLEAN, day DATE,
    ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('topic' = 'in', 'format' = 'json');\n";

fn run(script: &str, input: &[String], limits: EpochLimits, crash_every: u64, shards: usize) -> MemoryLogs {
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

/// What a table of one row holds in the end, grouped without a window, and in a window of ten seconds that closes.
#[track_caller]
fn check(columns: &str, select: &str, input: &str, expected: &str) {
    let table = |options: &str| {
        format!("{SOURCE} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json'{options});")
    };
    let changing =
        format!("{} INSERT INTO o SELECT {select} FROM src UNBOUNDED", table(", 'output' = 'retract'"));
    let windowed = format!(
        "{} INSERT INTO o SELECT {select} FROM TABLE(HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '5' SECOND,
           INTERVAL '10' SECOND)) GROUP BY window_start, window_end HAVING window_start = TIMESTAMP '1970-01-01 00:00:00'",
        table("")
    );
    let session = format!(
        "{} INSERT INTO o SELECT {select} FROM TABLE(SESSION(TABLE src, DESCRIPTOR(ts), INTERVAL '30' SECOND))
         GROUP BY window_start, window_end",
        table("")
    );
    for (limits, crash) in [(EpochLimits::default(), 0), (small_epochs(1), 0), (small_epochs(2), 1)] {
        for shards in [1, 3] {
            let logs = run(&changing, &lines(input), limits, crash, shards);
            let last = json(logs.values("out").last().unwrap());
            assert_eq!(last["after"].to_string(), json(expected).to_string(), "{limits:?} {crash}");
            for script in [&windowed, &session] {
                let logs = run(script, &lines(input), limits, crash, shards);
                let values: Vec<String> =
                    logs.values("out").iter().map(|value| json(value).to_string()).collect();
                assert_eq!(values, [json(expected).to_string()], "{limits:?} {crash} {script}");
            }
        }
    }
}

/// What a sum of floats leaves behind when its values go.
#[test]
fn nothing_is_left_of_floats_that_are_gone() {
    let script = "CREATE TABLE src (k BIGINT, d DOUBLE) WITH ('topic' = 'in', 'format' = 'debezium-json');
        CREATE TABLE o (one BIGINT, s DOUBLE, m DOUBLE, v DOUBLE, PRIMARY KEY (one) NOT ENFORCED)
        WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert', 'on-error' = 'skip');
        INSERT INTO o SELECT 1, SUM(d), AVG(d), VAR_POP(d) FROM src UNBOUNDED";
    let row = |k: i64, d: &str| format!(r#"{{"k":{k},"d":{d}}}"#);
    let comes = |k: i64, d: &str| format!(r#"{{"before":null,"after":{},"op":"c"}}"#, row(k, d));
    let goes = |k: i64, d: &str| format!(r#"{{"before":{},"after":null,"op":"d"}}"#, row(k, d));
    let last = |steps: &[String], crash| {
        let logs = run(script, steps, small_epochs(1), crash, 1);
        let (_, last) = logs.records("out").pop().unwrap();
        String::from_utf8(last.value.unwrap().to_vec()).unwrap()
    };
    let null = comes(0, "null");
    for crash in [0, 1] {
        let tenths =
            [&null, &comes(1, "0.1"), &comes(2, "0.2"), &goes(1, "0.1"), &goes(2, "0.2"), &comes(3, "0.0")];
        assert_eq!(last(&tenths.map(String::clone), crash), r#"{"one":1,"s":0.0,"m":0.0,"v":0.0}"#);
        let great = [
            &null,
            &comes(1, "1e308"),
            &comes(2, "1e308"),
            &goes(1, "1e308"),
            &goes(2, "1e308"),
            &comes(3, "7.5"),
        ];
        assert_eq!(last(&great.map(String::clone), crash), r#"{"one":1,"s":7.5,"m":7.5,"v":0.0}"#);
        let steps = [
            comes(1, "1e9"),
            comes(2, "1.0"),
            comes(3, "2.0"),
            goes(1, "1e9"),
            comes(1, "3.0"),
            comes(4, "2.0"),
        ];
        assert_eq!(last(&steps, crash), r#"{"one":1,"s":8.0,"m":2.0,"v":0.5}"#);
    }
}

const INPUT: &str = r#"{"x":2,"d":1.5,"n":"1.10","s":"b","ok":true,"day":"2013-01-02","ts":1000}
    {"x":4,"d":0.5,"n":"2.25","s":"a","ok":true,"day":"2013-01-01","ts":6000}
    {"x":4,"d":2.5,"n":"0.01","s":"b","ok":false,"day":"2013-01-03","ts":5500}
    {"x":null,"d":null,"n":null,"s":null,"ok":null,"day":null,"ts":7000}
    {"x":10,"d":-2.5,"n":"-7.00","s":"c","ok":true,"day":"2013-01-02","ts":9000}"#;

#[test]
fn first_last_and_any() {
    // A window is merged of its parts, of which the one at 5.5 s came late.
    check(
        "a STRING, b BIGINT, c STRING, e DATE",
        "FIRST_VALUE(s), LAST_VALUE(x), ANY_VALUE(s), FIRST_VALUE(day)",
        INPUT,
        r#"{"a":"b","b":10,"c":"b","e":"2013-01-02"}"#,
    );
}

#[test]
fn texts_end_to_end() {
    check(
        "a STRING, b STRING, c STRING",
        "STRING_AGG(s, '; '), LISTAGG(CAST(x AS STRING)), STRING_AGG(DISTINCT s, '') FILTER (WHERE x > 2)",
        INPUT,
        r#"{"a":"b; a; b; c","b":"2,4,4,10","c":"abc"}"#,
    );
}

#[test]
fn truth() {
    check(
        "a BOOLEAN, b BOOLEAN, c BOOLEAN, e BOOLEAN",
        "BOOL_AND(ok), BOOL_OR(ok), EVERY(x > 1), BOOL_OR(ok) FILTER (WHERE x > 100)",
        INPUT,
        r#"{"a":false,"b":true,"c":true,"e":null}"#,
    );
}

#[test]
fn spread() {
    // Of 2, 4, 4 and 10: the mean is 5, the squares of the distances are 36.
    check(
        "a DOUBLE, b DOUBLE, c DOUBLE, e DOUBLE, f DOUBLE",
        "VAR_POP(x), VAR_SAMP(x), STDDEV_POP(x), ROUND(STDDEV_SAMP(d) * 1000), STDDEV(x) FILTER (WHERE x = 2)",
        INPUT,
        r#"{"a":9.0,"b":12.0,"c":3.0,"e":2160.0,"f":null}"#,
    );
}

#[test]
fn decimals_and_days() {
    check(
        "a DECIMAL(38, 2), b DECIMAL(38, 6), c DECIMAL(10, 2), e DECIMAL(10, 2), f DATE, g DATE, h BIGINT",
        "SUM(n), AVG(n), MIN(n), MAX(n), MIN(day), MAX(day), COUNT(DISTINCT day)",
        INPUT,
        r#"{"a":-3.64,"b":-0.910000,"c":-7.00,"e":2.25,"f":"2013-01-01","g":"2013-01-03","h":3}"#,
    );
}

#[test]
fn sketches() {
    check(
        "a BIGINT, b DOUBLE, c DOUBLE, e DOUBLE",
        "APPROX_COUNT_DISTINCT(s), APPROX_PERCENTILE(x, 0.5), APPROX_QUANTILE(x, 1), APPROX_PERCENTILE(x, 0)",
        INPUT,
        r#"{"a":3,"b":4.0,"c":10.0,"e":2.0}"#,
    );
}

#[test]
fn distinct_values() {
    check(
        "a BIGINT, b BIGINT, c DOUBLE, e BIGINT, f BIGINT",
        "COUNT(DISTINCT x), SUM(DISTINCT x), AVG(DISTINCT x), COUNT(DISTINCT s) FILTER (WHERE ok), MAX(DISTINCT x)",
        INPUT,
        r#"{"a":3,"b":16,"c":5.333333333333333,"e":3,"f":10}"#,
    );
}

/// Of a thousand values that a group keeps, an epoch writes those it changes.
#[test]
fn an_epoch_writes_only_the_values_it_changes() {
    for query in [
        "INSERT INTO o SELECT 1, COUNT(DISTINCT x) FROM src UNBOUNDED",
        "INSERT INTO o SELECT 1, COUNT(DISTINCT x)
         FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end",
        "INSERT INTO o SELECT 1, MAX(n) FROM (SELECT k, SUM(x) AS n FROM src GROUP BY k) UNBOUNDED",
    ] {
        let script = format!(
            "{SOURCE} CREATE TABLE o (k BIGINT, v BIGINT, PRIMARY KEY (k) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert'); {query}"
        );
        let input: Vec<String> =
            (0..1_000).map(|x| format!(r#"{{"x":{x},"k":"k{x}","ts":{}}}"#, x * 10)).collect();
        let logs = run(&script, &input, small_epochs(100), 50, 2);
        let value = json(logs.values("out").last().unwrap());
        assert!([999, 1_000].contains(&value["v"].as_i64().unwrap()), "{value}");
        let sizes: Vec<usize> = logs.changelog.iter().map(|batch| batch.size()).collect();
        // The window's last epoch takes all of them back.
        let large = sizes.iter().filter(|size| **size > 400).count();
        assert!(large <= 1, "{query}: {sizes:?}");
        let windowed = query.contains("TUMBLE");
        let left = support::restored(&plan(&script), &logs, 9_999).state_entries();
        assert_eq!(left == 0, windowed, "{query}");
    }
}

/// A small value beside a large one that goes again.
#[test]
fn sums_of_floats_that_change_are_exact() {
    let script = format!(
        "{SOURCE} CREATE TABLE o (one BIGINT, sum DOUBLE, mean DOUBLE, PRIMARY KEY (one) NOT ENFORCED)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO o SELECT 1, SUM(CAST(v AS DOUBLE)), AVG(CAST(v AS DOUBLE))
         FROM (SELECT k, SUM(x) AS v FROM src GROUP BY k) UNBOUNDED"
    );
    let changes = [("a", 100_000_000_000_000_000_i64), ("b", 1), ("a", -100_000_000_000_000_000)];
    let input: Vec<String> =
        changes.iter().map(|(k, x)| format!(r#"{{"k":"{k}","x":{x},"ts":0}}"#)).collect();
    for (crash, shards) in [(0, 1), (1, 2)] {
        let logs = run(&script, &input, small_epochs(1), crash, shards);
        assert_eq!(logs.values("out").last().unwrap(), r#"{"one":1,"sum":1.0,"mean":0.5}"#);
    }
}

#[test]
fn what_cannot_be_taken_back_is_refused() {
    for (call, help) in [
        ("FIRST_VALUE(n)", "only added"),
        ("STRING_AGG(k, ',')", "only added"),
        ("APPROX_COUNT_DISTINCT(n)", "COUNT"),
    ] {
        let script = format!(
            "{SOURCE} CREATE TABLE o (v STRING) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT CAST({call} AS STRING) FROM (SELECT k, SUM(x) AS n FROM src GROUP BY k) UNBOUNDED"
        );
        let error = compile(&script).unwrap_err();
        assert!(error.message.contains("taken back") && error.help.contains(help), "{error}");
    }
    for (call, message) in [
        ("APPROX_PERCENTILE(x, 2)", "from 0 to 1"),
        ("APPROX_PERCENTILE(x)", "this form of APPROX_PERCENTILE"),
        ("STRING_AGG(s, s)", "not a constant text"),
        ("BOOL_AND(x)", "BOOL_AND needs a BOOLEAN"),
        ("STDDEV(s)", "not a number"),
    ] {
        let script = format!(
            "{SOURCE} CREATE TABLE o (v STRING) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT CAST({call} AS STRING) FROM src UNBOUNDED"
        );
        let error = compile(&script).unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Over sums that go up and down every aggregate is what it is over the sums that are left (I12).
    #[test]
    fn aggregates_invert(
        rows in prop::collection::vec((0_u8..4, -5_i64..6), 1..24),
        shards in 1_usize..4,
        crash in 0_u64..3,
    ) {
        let script = format!(
            "{SOURCE} CREATE TABLE o (one BIGINT, n BIGINT, sum BIGINT, least BIGINT, most BIGINT, many BIGINT, any BIGINT,
               var DOUBLE, all_up BOOLEAN, middle DOUBLE, once BIGINT, mean DOUBLE, halves DOUBLE, spread DOUBLE,
               PRIMARY KEY (one) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
             INSERT INTO o SELECT 1, COUNT(*), SUM(v), MIN(v), MAX(v), COUNT(DISTINCT v), ANY_VALUE(v), VAR_POP(v),
               BOOL_AND(v > 0), APPROX_PERCENTILE(v, 0.5), SUM(DISTINCT v), AVG(DISTINCT v), SUM(DISTINCT v / 2e0),
               VAR_POP(DISTINCT v)
             FROM (SELECT k, SUM(x) AS v FROM src GROUP BY k) UNBOUNDED"
        );
        let input: Vec<String> =
            rows.iter().map(|(k, x)| format!(r#"{{"k":"{k}","x":{x},"ts":0}}"#)).collect();
        let mut sums: BTreeMap<u8, i64> = BTreeMap::new();
        rows.iter().for_each(|(k, x)| *sums.entry(*k).or_default() += x);
        let mut values: Vec<i64> = sums.into_values().collect();
        values.sort_unstable();
        let n = values.len() as i64;
        let sum: i64 = values.iter().sum();
        let squares: i64 = values.iter().map(|value| value * value).sum();
        let mut distinct = values.clone();
        distinct.dedup();
        for limits in [EpochLimits::default(), small_epochs(5)] {
            let logs = run(&script, &input, limits, crash, shards);
            let last = json(logs.values("out").last().unwrap());
            prop_assert_eq!(last["n"].as_i64(), Some(n));
            prop_assert_eq!(last["sum"].as_i64(), Some(sum));
            prop_assert_eq!(last["least"].as_i64(), values.first().copied());
            prop_assert_eq!(last["any"].as_i64(), values.first().copied());
            prop_assert_eq!(last["most"].as_i64(), values.last().copied());
            prop_assert_eq!(last["many"].as_i64(), Some(distinct.len() as i64));
            // The JSON reader of the test is exact to the last digit but one.
            let variance = (n * squares - sum * sum) as f64 / n as f64 / n as f64;
            prop_assert!((last["var"].as_f64().unwrap() - variance).abs() < 1e-9);
            prop_assert_eq!(last["all_up"].as_bool(), Some(values[0] > 0));
            let middle = values[(0.5 * (n - 1) as f64).round() as usize] as f64;
            prop_assert_eq!(last["middle"].as_f64(), Some(middle));
            let (many, once) = (distinct.len() as i64, distinct.iter().sum::<i64>());
            prop_assert_eq!(last["once"].as_i64(), Some(once));
            prop_assert!((last["mean"].as_f64().unwrap() - once as f64 / many as f64).abs() < 1e-9);
            prop_assert_eq!(last["halves"].as_f64(), Some(once as f64 / 2.0));
            let squares: i64 = distinct.iter().map(|value| value * value).sum();
            let spread = (many * squares - once * once) as f64 / many as f64 / many as f64;
            prop_assert!((last["spread"].as_f64().unwrap() - spread).abs() < 1e-9);
        }
    }
}

/// What is left of a topic with changes: each row as often as it is there.
fn left(logs: &MemoryLogs) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for value in logs.values("out") {
        let value = json(&value);
        for (side, by) in [("before", -1), ("after", 1)] {
            if !value[side].is_null() {
                *rows.entry(value[side].to_string()).or_default() += by;
            }
        }
    }
    assert!(rows.values().all(|count| *count >= 0), "{rows:?}");
    rows.into_iter().flat_map(|(row, count)| std::iter::repeat_n(row, count as usize)).collect()
}

fn emitting(from: &str, group: &str, emit: &str) -> String {
    format!(
        "{SOURCE} CREATE TABLE o (s TIMESTAMP(3), k STRING, n BIGINT, x BIGINT)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o SELECT window_start, k, COUNT(*), SUM(x) FROM TABLE({from}) GROUP BY {group} {emit}"
    )
}

const TUMBLE: &str = "TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)";

/// At a second the value of a key.
fn at(second: i64, k: &str, x: i64) -> String {
    format!(r#"{{"k":"{k}","x":{x},"ts":{}}}"#, second * 1000)
}

#[test]
fn windows_that_emit_changes_show_each_of_them() {
    let script = emitting(TUMBLE, "window_start, window_end, k", "EMIT CHANGES");
    let input = [at(1, "a", 1), at(2, "a", 2), at(11, "a", 4), at(9, "a", 8), at(15, "b", 1), at(3, "a", 16)];
    let logs = run(&script, &input, small_epochs(10), 1, 2);
    let changes: Vec<(Option<i64>, Option<i64>)> = logs
        .values("out")
        .iter()
        .map(|value| {
            let value = json(value);
            (value["before"]["x"].as_i64(), value["after"]["x"].as_i64())
        })
        .collect();
    // 9 s are in time behind 11 s, 3 s come behind the watermark of 13 s: the window is closed.
    let expected =
        [(None, Some(1)), (Some(1), Some(3)), (None, Some(4)), (Some(3), Some(11)), (None, Some(1))];
    assert_eq!(changes, expected);
    assert_eq!(logs.last_progress().unwrap().totals.late, 1);
    assert_eq!(support::restored(&plan(&script), &logs, 9_999).state_entries(), 0);
    let keys: Vec<_> = logs.records("out").into_iter().map(|(_, record)| record.key).collect();
    assert!(
        keys.iter().all(|key| String::from_utf8_lossy(key.as_ref().unwrap()).contains("window_start")),
        "{keys:?}"
    );
}

#[test]
fn a_row_that_is_late_changes_what_a_window_gave_while_that_is_allowed() {
    let emit = "EMIT ON CLOSE ALLOWING LATENESS INTERVAL '20' SECOND";
    let script = emitting(TUMBLE, "window_start, window_end, k", emit);
    let input = [
        at(1, "a", 1),
        at(2, "a", 2),
        at(20, "b", 4),
        // The window is closed, and changes.
        at(3, "a", 8),
        at(4, "c", 16),
        at(31, "b", 1),
        at(8, "a", 32),
        // The watermark is at 30 s.
        at(32, "b", 1),
        at(5, "a", 64),
        // So is that of the window of 20 s.
        at(29, "b", 2),
    ];
    for (limits, crash) in [(EpochLimits::default(), 0), (small_epochs(1), 0), (small_epochs(2), 1)] {
        let logs = run(&script, &input, limits, crash, 2);
        assert_eq!(
            left(&logs),
            [
                r#"{"s":"1970-01-01T00:00:00Z","k":"a","n":4,"x":43}"#,
                r#"{"s":"1970-01-01T00:00:00Z","k":"c","n":1,"x":16}"#,
                r#"{"s":"1970-01-01T00:00:20Z","k":"b","n":2,"x":6}"#,
                r#"{"s":"1970-01-01T00:00:30Z","k":"b","n":2,"x":2}"#
            ],
            "{limits:?}"
        );
        assert_eq!(logs.last_progress().unwrap().totals.late, 1);
        assert_eq!(support::restored(&plan(&script), &logs, 9_999).state_entries(), 0);
    }
    let logs = run(&script, &input[..5], small_epochs(10), 0, 1);
    let first: Vec<String> =
        logs.values("out").iter().map(|value| json(value)["after"]["x"].to_string()).collect();
    assert_eq!(first, ["3", "11", "16", "4"], "given when the window closes, then changed");
}

#[test]
fn what_cannot_emit_so_is_refused() {
    let refused = |query: &str, message: &str, help: &str| {
        let script = format!(
            "{SOURCE} CREATE TABLE o (v BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract'); {query}"
        );
        let error = compile(&script).unwrap_err();
        assert!(error.message.contains(message) && error.help.contains(help), "{error}");
    };
    let sessions =
        "INSERT INTO o SELECT COUNT(*) FROM TABLE(SESSION(TABLE src, DESCRIPTOR(ts), INTERVAL '1' HOUR))
        GROUP BY window_start, window_end";
    refused(
        &format!("{sessions} EMIT ON CLOSE ALLOWING LATENESS INTERVAL '1' HOUR"),
        "sessions that are over",
        "WATERMARK",
    );
    refused(
        "INSERT INTO o SELECT COUNT(*) FROM src UNBOUNDED EMIT ON CLOSE",
        "no windows that close",
        "TUMBLE",
    );
    refused("INSERT INTO o SELECT x FROM src EMIT CHANGES", "no groups that change", "leave it out");
    refused(&format!("{sessions} EMIT SOMETIMES"), "not what EMIT can do", "EMIT ON CLOSE");
    refused(&format!("{sessions} EMIT ON CLOSE ALLOWING LATENESS 5"), "not an INTERVAL", "INTERVAL '1' HOUR");
    refused(
        "INSERT INTO o SELECT n FROM (
           SELECT n, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n) AS r FROM (
             SELECT window_start, window_end, k, COUNT(*) AS n
             FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, k))
         WHERE r = 1 EMIT ON CLOSE ALLOWING LATENESS INTERVAL '1' HOUR",
        "gives the rows of a window once",
        "leave ALLOWING LATENESS out",
    );
    let table = "CREATE TABLE o (v BIGINT) WITH ('topic' = 'out', 'format' = 'json');";
    let error = compile(&format!("{SOURCE} {table} {sessions} EMIT CHANGES")).unwrap_err();
    assert!(error.message.contains("changes rows that it gave before"), "{error}");
    compile(&format!("{SOURCE} {table} {sessions} EMIT ON CLOSE")).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever a window emits, and however often, in the end its rows are those that it gives when it closes.
    #[test]
    fn changes_lead_to_the_rows_of_the_close(
        rows in prop::collection::vec((0_i64..3, -5_i64..6, 0_i64..6), 1..30),
        shards in 1_usize..4,
        crash in 0_u64..3,
    ) {
        let mut newest = 0;
        let input: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(index, (k, x, second))| {
                let second = (second + index as i64).max(newest - 2);
                newest = newest.max(second);
                at(second, &format!("k{k}"), *x)
            })
            .collect();
        for (from, group) in [
            (TUMBLE, "window_start, window_end, k"),
            ("HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '3' SECOND, INTERVAL '9' SECOND)", "window_start, window_end, k"),
            ("CUMULATE(TABLE src, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '8' SECOND)", "k, window_start, window_end"),
            ("SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)", "k, window_start, window_end"),
        ] {
            let closed = run(&emitting(from, group, "EMIT ON CLOSE"), &input, EpochLimits::default(), 0, 1);
            prop_assert_eq!(closed.last_progress().unwrap().totals.late, 0);
            for emit in ["EMIT CHANGES", "EMIT ON CLOSE ALLOWING LATENESS INTERVAL '7' SECOND"] {
                if from.starts_with("SESSION") && emit != "EMIT CHANGES" {
                    continue;
                }
                let script = emitting(from, group, emit);
                for limits in [EpochLimits::default(), small_epochs(1)] {
                    let logs = run(&script, &input, limits, crash, shards);
                    prop_assert_eq!(left(&logs), left(&closed), "{} {}", from, emit);
                    prop_assert_eq!(support::restored(&plan(&script), &logs, 9_999).state_entries(), 0);
                }
            }
        }
    }

    /// Windows over windows: of rows that are taken back nothing is left.
    #[test]
    fn windows_over_changing_windows(
        rows in prop::collection::vec((0_i64..3, -5_i64..6, 0_i64..3), 1..20),
        shards in 1_usize..4,
        crash in 0_u64..3,
    ) {
        let input: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(index, (k, x, second))| at(second + index as i64, &format!("k{k}"), *x))
            .collect();
        let script = |emit: &str| format!(
            "{SOURCE} CREATE TABLE o (s TIMESTAMP(3), k BIGINT, n BIGINT, x BIGINT)
             WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
             INSERT INTO o SELECT window_start, most, COUNT(*), MIN(least) FROM (
               SELECT window_start, window_end, k, MAX(x) AS most, MIN(x) AS least FROM TABLE({TUMBLE})
               GROUP BY window_start, window_end, k)
             GROUP BY window_start, window_end, most {emit}"
        );
        let closed = run(&script(""), &input, EpochLimits::default(), 0, 1);
        for limits in [EpochLimits::default(), small_epochs(1)] {
            let logs = run(&script("EMIT CHANGES"), &input, limits, crash, shards);
            prop_assert_eq!(left(&logs), left(&closed));
            prop_assert_eq!(support::restored(&plan(&script("EMIT CHANGES")), &logs, 9_999).state_entries(), 0);
        }
    }
}

/// The bounds of a window may be read by what is grouped and aggregated, and not only be the group.
#[test]
fn groups_read_the_bounds_of_their_windows() {
    let at = |second: i64, x: i64| at(second, "k", x);
    let input = [at(1, 1), at(4, 2), at(12, 3), at(63, 4)];
    for (windows, expected) in [
        (TUMBLE.to_owned(), [r#"{"x":0}"#, r#"{"x":0}"#, r#"{"x":1}"#]),
        (
            "CUMULATE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '10' SECOND)".to_owned(),
            [r#"{"x":0}"#, r#"{"x":0}"#, r#"{"x":1}"#],
        ),
    ] {
        let table = "CREATE TABLE o (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');";
        let script = format!(
            "{SOURCE} {table} INSERT INTO o SELECT EXTRACT(MINUTE FROM window_start) FROM TABLE({windows})
             GROUP BY window_start, window_end, EXTRACT(MINUTE FROM window_start)"
        );
        let logs = run(&script, &input, small_epochs(1), 1, 2);
        assert_eq!(logs.values("out"), expected, "{windows}");
        let script = format!(
            "{SOURCE} {table} INSERT INTO o SELECT COUNT(*) FILTER (WHERE ts < window_start + INTERVAL '3' SECOND)
             FROM TABLE({windows}) GROUP BY window_start, window_end"
        );
        let logs = run(&script, &input, small_epochs(1), 1, 2);
        assert_eq!(logs.values("out"), [r#"{"x":1}"#, r#"{"x":1}"#, r#"{"x":0}"#], "{windows}");
    }
}
