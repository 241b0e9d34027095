//! Aggregates in WebAssembly: over windows, sessions and groups, through restarts, with a state of bytes.

use logmill_stream::{EpochLimits, TrialOptions, compile};

use super::{outputs, run, run_with, with_memory};

/// The sum of the squares, in eight bytes; `NULL` of nothing.
fn squares() -> String {
    let module = with_memory(
        r#"(global $null (mut i32) (i32.const 0))
           (func $of (param $at i32) (param $length i32) (result i64)
             (if (result i64) (i32.eqz (local.get $length))
               (then (i64.const 0)) (else (i64.load (local.get $at)))))
           (func $pack (param $value i64) (result i64)
             (i64.store (i32.const 16) (local.get $value))
             (i64.const 0x1000000008))
           (func (export "squares_add") (param i32 i32 i64) (result i64)
             (call $pack (i64.add (call $of (local.get 0) (local.get 1))
               (i64.mul (local.get 2) (local.get 2)))))
           (func (export "squares_take_back") (param i32 i32 i64) (result i64)
             (call $pack (i64.sub (call $of (local.get 0) (local.get 1))
               (i64.mul (local.get 2) (local.get 2)))))
           (func (export "squares_merge") (param i32 i32 i32 i32) (result i64)
             (call $pack (i64.add (call $of (local.get 0) (local.get 1))
               (call $of (local.get 2) (local.get 3)))))
           (func (export "squares_finish") (param i32 i32) (result i64)
             (global.set $null (i32.eqz (local.get 1)))
             (call $of (local.get 0) (local.get 1)))
           (func (export "squares_is_null") (result i32) (global.get $null))"#,
    );
    format!("CREATE AGGREGATE FUNCTION squares(a BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{module}'")
}

fn row(key: &str, a: &str, second: u32) -> String {
    format!(r#"{{"k": "{key}", "a": {a}, "ts": "2020-01-01T00:00:{second:02}Z"}}"#)
}

fn rows() -> Vec<String> {
    vec![
        row("x", "2", 1),
        row("y", "null", 2),
        row("x", "3", 12),
        row("x", "null", 13),
        row("x", "1", 25),
        row("y", "5", 26),
        row("x", "4", 47),
    ]
}

/// A query over windows, run with small epochs and a restart after each, and in one go.
fn both_ways(query: &str, outputs_are: &str, rest: &str) -> Vec<String> {
    let text = format!(
        "{};
         CREATE TABLE src (k STRING, a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o ({outputs_are}) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o {query} {rest}",
        squares()
    );
    let plan = compile(&text).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(&text)));
    let rows = rows();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let at_once = outputs(&run(&plan, &rows).unwrap_or_else(|error| panic!("{error}")), "out");
    let limits = EpochLimits { input_records: 1, ..EpochLimits::default() };
    let options = TrialOptions { limits, restore_every: 1, shards: 3, ..TrialOptions::default() };
    let restored = outputs(&run_with(&plan, &rows, options).unwrap_or_else(|error| panic!("{error}")), "out");
    if !outputs_are.contains("PRIMARY KEY") {
        assert_eq!(at_once, restored);
    }
    restored
}

#[test]
fn over_windows() {
    let query = "SELECT k, squares(a), squares(a) FILTER (WHERE a < 3) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), \
                 INTERVAL '30' SECOND)) GROUP BY window_start, window_end, k";
    let found = both_ways(query, "k STRING, s BIGINT, t BIGINT", "");
    let expected =
        [r#"{"k":"x","s":14,"t":5}"#, r#"{"k":"y","s":25,"t":null}"#, r#"{"k":"x","s":16,"t":null}"#];
    assert_eq!(found, expected);
}

#[test]
fn over_windows_that_share_slices() {
    let query = "SELECT k, squares(a) FROM TABLE(HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' \
                 SECOND)) GROUP BY window_start, window_end, k";
    let found = both_ways(query, "k STRING, s BIGINT", "");
    let of_x: Vec<&String> = found.iter().filter(|text| text.contains("\"x\"")).collect();
    let expected = [4, 13, 10, 1, 16, 16].map(|sum| format!(r#"{{"k":"x","s":{sum}}}"#));
    assert_eq!(of_x, expected.iter().collect::<Vec<_>>());
}

#[test]
fn over_sessions() {
    let query = "SELECT k, squares(a) FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '14' \
                 SECOND)) GROUP BY window_start, window_end, k";
    let found = both_ways(query, "k STRING, s BIGINT", "");
    let expected =
        [r#"{"k":"y","s":null}"#, r#"{"k":"x","s":14}"#, r#"{"k":"y","s":25}"#, r#"{"k":"x","s":16}"#];
    assert_eq!(found, expected);
}

#[test]
fn over_groups_that_change_and_distinct_values() {
    let query = "SELECT k, squares(s), squares(DISTINCT s) FROM (SELECT k, a, SUM(a) AS s FROM src GROUP BY k, a) \
                 GROUP BY k";
    let found = both_ways(query, "k STRING, s BIGINT, d BIGINT, PRIMARY KEY (k) NOT ENFORCED", "UNBOUNDED");
    assert_eq!(found.last().unwrap(), r#"{"k":"x","s":30,"d":30}"#);
}

#[test]
fn over_rows_around_each_row() {
    let query = "SELECT k, squares(a) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM src";
    let found = both_ways(query, "k STRING, s BIGINT", "UNBOUNDED");
    let of_x: Vec<&String> = found.iter().filter(|text| text.contains("\"x\"")).collect();
    let expected = [4, 13, 9, 1, 17].map(|sum| format!(r#"{{"k":"x","s":{sum}}}"#));
    assert_eq!(of_x, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_group_it_fails_for_is_an_error_of_its_row() {
    let module = with_memory(
        r#"(func (export "bad_add") (param i32 i32 i64) (result i64)
             (loop $again (br_if $again (i64.eqz (local.get 2)))) (i64.const 0x1000000001))
           (func (export "bad_merge") (param i32 i32 i32 i32) (result i64) (i64.const 0))
           (func (export "bad_finish") (param i32 i32) (result i64) (i64.const 7))"#,
    );
    let of = |sink: &str| {
        format!(
            "CREATE AGGREGATE FUNCTION bad(a BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{module}';
             CREATE TABLE src (k STRING, a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
             WITH ('topic' = 'in', 'format' = 'json');
             CREATE TABLE o (k STRING, s BIGINT) WITH ('topic' = 'out', 'format' = 'json' {sink});
             INSERT INTO o SELECT k, bad(a) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' DAY))
             GROUP BY window_start, window_end, k"
        )
    };
    let rows = [row("x", "1", 1), row("y", "0", 2), row("y", "3", 3)];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let error = run(&compile(&of("")).unwrap(), &rows).unwrap_err().to_string();
    assert!(error.contains("fuel") && error.contains("bad") && error.contains('y'), "{error}");
    let plan = compile(&of(", 'on-error' = 'skip'")).unwrap();
    let limits = EpochLimits { input_records: 1, ..EpochLimits::default() };
    // That a group has no result is in the changelog, too.
    for restore_every in [0, 1] {
        let options = TrialOptions { limits, restore_every, ..TrialOptions::default() };
        let trial = run_with(&plan, &rows, options).unwrap();
        assert_eq!(outputs(&trial, "out"), [r#"{"k":"x","s":7}"#]);
        assert_eq!(trial.totals.unwritten, 1);
    }
}
