//! What folds many rows into one value: every aggregate, over rows that are only added and over rows that are taken back.

mod support;

use std::collections::BTreeMap;

use logmill_stream::{EpochLimits, compile};
use proptest::prelude::*;
use support::{MemoryLogs, json, plan, run_bounded, small_epochs};

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
               var DOUBLE, all_up BOOLEAN, middle DOUBLE, PRIMARY KEY (one) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
             INSERT INTO o SELECT 1, COUNT(*), SUM(v), MIN(v), MAX(v), COUNT(DISTINCT v), ANY_VALUE(v), VAR_POP(v),
               BOOL_AND(v > 0), APPROX_PERCENTILE(v, 0.5)
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
            prop_assert_eq!(last["var"].as_f64(), Some((n * squares - sum * sum) as f64 / n as f64 / n as f64));
            prop_assert_eq!(last["all_up"].as_bool(), Some(values[0] > 0));
            let middle = values[(0.5 * (n - 1) as f64).round() as usize] as f64;
            prop_assert_eq!(last["middle"].as_f64(), Some(middle));
        }
    }
}
