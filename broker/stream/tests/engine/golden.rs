//! Golden pipelines: a script, its input, and every record it must write; run with small and large epochs, and with
//! a restore after every one of them.

use logmill_stream::{EpochLimits, TurnError};

use crate::support::{MemoryLogs, plan, run_bounded, small_epochs};

/// Runs a script over the lines of one partition and compares the sink's values with the lines expected.
#[track_caller]
fn check(script: &str, input: &str, expected: &str) {
    let plan = plan(script);
    let runs = [
        (EpochLimits::default(), 0, 1),
        (EpochLimits::default(), 0, 3),
        (small_epochs(1), 0, 1),
        (small_epochs(2), 1, 2),
    ];
    for (limits, crash_every, shards) in runs {
        let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
        logs.create("in", 1);
        logs.create("out", 1);
        for line in input.trim().lines() {
            logs.produce("in", 0, &[line.trim().to_owned()]);
        }
        run_bounded(&plan, &mut logs, limits, crash_every).unwrap_or_else(|error| panic!("{error}"));
        let expected: Vec<&str> =
            expected.trim().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(logs.values("out"), expected, "{limits:?}, a restore every {crash_every} epochs");
    }
}

const SOURCE: &str = "CREATE TABLE src (id BIGINT, n DECIMAL(10, 2), day DATE, raw BYTES, a BIGINT, d DOUBLE, s STRING, ok BOOLEAN, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'skip');\n";

/// One expression of each record, as `v`.
#[track_caller]
fn expressions(sql_type: &str, select: &str, input: &str, expected: &str) {
    let script = format!(
        "{SOURCE} CREATE TABLE o (v {sql_type}) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT {select} FROM src"
    );
    let expected: String = expected.split_whitespace().map(|value| format!("{{\"v\":{value}}}\n")).collect();
    let with_time = |line: &str| match line.contains("\"ts\"") {
        true => format!("{line}\n"),
        false => format!("{}\n", line.replacen('{', "{\"ts\": 0, ", 1)),
    };
    check(&script, &input.lines().map(with_time).collect::<String>(), &expected);
}

#[test]
fn numbers() {
    let input = r#"{"a": 7, "d": -2.5}
                   {"a": -7, "d": 0.5}
                   {"a": null, "d": null}"#;
    expressions("BIGINT", "a / 2 + a % 2 * 10 - 1", input, "12 -14 null");
    expressions("DOUBLE", "a * d", input, "-17.5 -3.5 null");
    expressions("DOUBLE", "a / 2", input, "3.0 -3.0 null");
    expressions("BIGINT", "-a + ABS(a) + MOD(a, 4)", input, "3 11 null");
    expressions("DOUBLE", "ROUND(d) + FLOOR(d) * 10 + CEIL(d) * 100", input, "-233.0 101.0 null");
    expressions("BIGINT", "GREATEST(a, 0, NULL) - LEAST(a, 0)", input, "7 7 0");
    expressions("BIGINT", "CAST(d AS BIGINT)", input, "-2 0 null");
    expressions("STRING", "CAST(d AS STRING) || CAST(a AS STRING)", input, r#""-2.57" "0.5-7" null"#);
}

#[test]
fn decimals() {
    let input = r#"{"n": 12.345, "a": 3, "d": 0.5}
                   {"n": "-7.5", "a": -2, "d": 2}
                   {"n": null, "a": 1, "d": 1}"#;
    expressions("DECIMAL(10, 2)", "n", input, "12.35 -7.50 null");
    expressions("DECIMAL(12, 3)", "n + 1.005", input, "13.355 -6.495 null");
    expressions("DECIMAL(20, 4)", "n * n", input, "152.5225 56.2500 null");
    expressions("DECIMAL(20, 3)", "n * 0.5 * a", input, "18.525 7.500 null");
    expressions("DECIMAL(38, 16)", "n / a", input, "4.1166666666666667 3.7500000000000000 null");
    expressions("DECIMAL(10, 2)", "n % 5", input, "2.35 -2.50 null");
    expressions("DECIMAL(10, 2)", "-n", input, "-12.35 7.50 null");
    expressions("DOUBLE", "n * d", input, "6.175 -15.0 null");
    expressions("DOUBLE", "a * 0.5", input, "1.5 -1.0 0.5");
    expressions("BOOLEAN", "n > 12", input, "true false null");
    expressions("BOOLEAN", "n = 12.350", input, "true false null");
    expressions("BOOLEAN", "n < d", input, "false true null");
    expressions("BIGINT", "CAST(n AS BIGINT)", input, "12 -8 null");
    expressions("DECIMAL(4, 1)", "CAST(n AS DECIMAL(4, 1))", input, "12.4 -7.5 null");
    expressions("DECIMAL(10, 3)", "CAST(d / 3 AS DECIMAL(10, 3))", input, "0.167 0.667 0.333");
    expressions("STRING", "CAST(n AS STRING)", input, r#""12.35" "-7.50" null"#);
    expressions("DECIMAL(10, 2)", "COALESCE(n, a)", input, "12.35 -7.50 1.00");
    expressions("DECIMAL(10, 2)", "CASE WHEN a > 0 THEN n ELSE 0.125 END", input, "12.35 0.13 null");
    expressions("DECIMAL(10, 2)", "GREATEST(n, 0)", input, "12.35 0.00 0.00");
    expressions(
        "BIGINT",
        "CAST(FLOOR(n) * 100 + CEIL(n) * 10 + ROUND(n) AS BIGINT)",
        input,
        "1342 -878 null",
    );
    // What does not fit is the record's error; the record is skipped.
    expressions("DECIMAL(3, 2)", "n", input, "-7.50 null");
    expressions("DECIMAL(38, 0)", "n + 99999999999999999999999999999999999999", input, "null");
}

#[test]
fn days() {
    let input = r#"{"day": "2013-02-28", "ts": "2013-03-01T12:00:00Z"}
                   {"day": null}"#;
    expressions("DATE", "day + 1", input, r#""2013-03-01" null"#);
    expressions("BIGINT", "CAST(ts AS DATE) - day", input, "1 null");
    expressions("TIMESTAMP(3)", "day", input, r#""2013-02-28T00:00:00Z" null"#);
    expressions("BOOLEAN", "day < ts", input, "true null");
    expressions("TIMESTAMP(3)", "day + INTERVAL '1' HOUR", input, r#""2013-02-28T01:00:00Z" null"#);
    expressions("STRING", "CAST(day - 59 AS STRING)", input, r#""2012-12-31" null"#);
    expressions("BOOLEAN", "day IN (DATE '2013-02-28', CAST('2013-02-27' AS DATE))", input, "true null");
}

#[test]
fn bytes_and_other_conversions() {
    let input = r#"{"raw": "w6k=", "s": "12", "a": 70000, "ok": true}
                   {"raw": null, "s": "x", "a": 0, "ok": false}"#;
    expressions("STRING", "CAST(raw AS STRING)", input, r#""é" null"#);
    expressions("BYTES", "raw", input, r#""w6k=" null"#);
    expressions("BYTES", "CAST(s AS BYTES)", input, r#""MTI=" "eA==""#);
    expressions("BOOLEAN", "raw = X'C3A9'", input, "true null");
    expressions("BIGINT", "TRY_CAST(s AS BIGINT)", input, "12 null");
    expressions("BIGINT", "CAST(a AS SMALLINT)", input, "0");
    expressions("BIGINT", "a::INT", input, "70000 0");
    expressions("BIGINT", "CAST(ok AS BIGINT)", input, "1 0");
    expressions("BOOLEAN", "CAST(a AS BOOLEAN)", input, "true false");
    expressions("STRING", "CAST(a AS VARCHAR(3))", input, r#""700" "0""#);
}

#[test]
fn truth_has_three_values() {
    let input = r#"{"ok": true, "a": 1}
                   {"ok": false, "a": 1}
                   {"ok": null, "a": 1}
                   {"ok": null, "a": null}"#;
    expressions("BOOLEAN", "ok AND a = 1", input, "true false null null");
    expressions("BOOLEAN", "ok OR a = 1", input, "true true true null");
    expressions("BOOLEAN", "ok AND a = 2", input, "false false false null");
    expressions("BOOLEAN", "NOT ok", input, "false true null null");
    expressions("BOOLEAN", "ok IS NULL OR ok IS NOT FALSE", input, "true false true true");
    expressions("BOOLEAN", "ok IS TRUE", input, "true false false false");
    expressions("BOOLEAN", "ok IS NOT TRUE", input, "false true true true");
    expressions("BOOLEAN", "ok IS UNKNOWN", input, "false false true true");
    expressions("BOOLEAN", "a IN (2, NULL)", input, "null null null null");
    expressions("BOOLEAN", "a NOT IN (2, 3)", input, "true true true null");
    expressions("BOOLEAN", "a BETWEEN 0 AND 1", input, "true true true null");
    expressions("BOOLEAN", "a IS DISTINCT FROM NULL", input, "true true true false");
    expressions("BOOLEAN", "ok = (a = 1)", input, "true false null null");
}

#[test]
fn texts() {
    let input = r#"{"s": "Zürich"}
                   {"s": "a_b%"}
                   {"s": null}"#;
    expressions("STRING", "UPPER(s)", input, r#""ZÜRICH" "A_B%" null"#);
    expressions("STRING", "LOWER(s) || '!'", input, r#""zürich!" "a_b%!" null"#);
    expressions("BIGINT", "CHAR_LENGTH(s)", input, "6 4 null");
    expressions("STRING", "SUBSTRING(s FROM 2 FOR 2)", input, r#""ür" "_b" null"#);
    expressions("STRING", "SUBSTRING(s, 3)", input, r#""rich" "b%" null"#);
    expressions("STRING", "REPLACE(s, 'b', 'bb')", input, r#""Zürich" "a_bb%" null"#);
    expressions("STRING", "CONCAT(TRIM('  x '), s, 'y')", input, r#""xZürichy" "xa_b%y" "xy""#);
    expressions("BOOLEAN", "s LIKE 'Z_r%h'", input, "true false null");
    expressions("BOOLEAN", "s LIKE '%!_b!%' ESCAPE '!'", input, "false true null");
    expressions("BOOLEAN", "s NOT LIKE '%r%'", input, "false true null");
    expressions("BOOLEAN", "s >= 'a'", input, "false true null");
    expressions("STRING", "NULLIF(s, 'a_b%')", input, r#""Zürich" null null"#);
    expressions("STRING", "COALESCE(s, NULL, '-')", input, r#""Zürich" "a_b%" "-""#);
}

#[test]
fn times() {
    let input = r#"{"ts": "2013-02-28T23:59:59.250Z"}
                   {"ts": 1362096000000}"#;
    expressions(
        "TIMESTAMP(3)",
        "ts + INTERVAL '1' DAY",
        input,
        r#""2013-03-01T23:59:59.250Z" "2013-03-02T00:00:00Z""#,
    );
    expressions(
        "TIMESTAMP(3)",
        "FLOOR(ts TO MONTH)",
        input,
        r#""2013-02-01T00:00:00Z" "2013-03-01T00:00:00Z""#,
    );
    expressions(
        "TIMESTAMP(3)",
        "FLOOR(ts TO HOUR)",
        input,
        r#""2013-02-28T23:00:00Z" "2013-03-01T00:00:00Z""#,
    );
    expressions("BIGINT", "EXTRACT(YEAR FROM ts) * 100 + EXTRACT(MONTH FROM ts)", input, "201302 201303");
    expressions("BIGINT", "EXTRACT(HOUR FROM ts) * 100 + EXTRACT(SECOND FROM ts)", input, "2359 0");
    expressions("BOOLEAN", "ts < TIMESTAMP '2013-03-01'", input, "true false");
    expressions("BIGINT", "CAST(ts AS BIGINT)", input, "1362095999250 1362096000000");
    expressions(
        "TIMESTAMP(3)",
        "CAST(CAST(ts AS STRING) AS TIMESTAMP(3))",
        input,
        r#""2013-02-28T23:59:59.250Z" "2013-03-01T00:00:00Z""#,
    );
}

#[test]
fn what_is_not_needed_cannot_fail() {
    // Under 'on-error' = 'skip' a record that faults would be missing.
    let input = r#"{"ts": 0, "a": 0}
                   {"ts": 0, "a": 4}
                   {"ts": 0, "a": null}"#;
    expressions("BIGINT", "CASE WHEN a <> 0 THEN 8 / a ELSE -1 END", input, "-1 2 -1");
    expressions("BIGINT", "CASE a WHEN 0 THEN 0 WHEN 4 THEN 40 END", input, "0 40 null");
    expressions("BOOLEAN", "a <> 0 AND 8 / a = 2", input, "false true null");
    expressions("BOOLEAN", "a = 0 OR 8 / a = 2", input, "true true null");
    expressions("BIGINT", "COALESCE(a * 0 + 5, 1 / 0)", &input.replace("null", "1"), "5 5 5");
    expressions("BIGINT", "8 / a", input, "2 null");
    expressions("BIGINT", "a + 9223372036854775807", input, "9223372036854775807 null");
    expressions("BIGINT", "CAST('x' || CAST(a AS STRING) AS BIGINT)", input, "null");
}

#[test]
fn what_a_filter_leaves_out_of_an_aggregate_cannot_fail() {
    let aggregates = "SUM(8 / a) FILTER (WHERE a <> 0)";
    let numbers = "MAX(CAST(s AS BIGINT)) FILTER (WHERE s ~ '^[0-9]+$')";
    let input = r#"{"ts": 0, "a": 0, "s": "12"}
                   {"ts": 0, "a": 4, "s": "x"}
                   {"ts": 0, "a": 2, "s": "9"}"#;
    // Under 'on-error' = 'skip' a record that faults would be missing in the count, too.
    check(
        &format!(
            "{SOURCE} CREATE TABLE o (n BIGINT, v BIGINT, s BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT COUNT(*), {aggregates}, {numbers}
             FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end"
        ),
        input,
        r#"{"n":3,"v":6,"s":12}"#,
    );
    let over = "OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1' SECOND PRECEDING AND CURRENT ROW)";
    check(
        &format!(
            "{SOURCE} CREATE TABLE o (a BIGINT, n BIGINT, v BIGINT, s BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT a, COUNT(*) {over}, {aggregates} {over}, {numbers} {over} FROM src"
        ),
        input,
        r#"{"a":0,"n":3,"v":6,"s":12}
           {"a":4,"n":3,"v":6,"s":12}
           {"a":2,"n":3,"v":6,"s":12}"#,
    );
}

#[test]
fn a_filter_passes_on_what_is_true() {
    check(
        &format!(
            "{SOURCE} CREATE TABLE o (`the id` BIGINT, s STRING, t TIMESTAMP(3), d DOUBLE)
             WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o (`the id`, d) SELECT id, a FROM src WHERE s LIKE 'x%' AND a > 1 -- a comment"
        ),
        r#"{"ts": 0, "id": 1, "s": "xa", "a": 2}
           {"ts": 0, "id": 2, "s": "xa", "a": 1}
           {"ts": 0, "id": 3, "s": "ya", "a": 2}
           {"ts": 0, "id": 4, "a": 2}
           {"ts": 0, "id": 5, "s": "x", "a": 3}"#,
        r#"{"the id":1,"s":null,"t":null,"d":2.0}
           {"the id":5,"s":null,"t":null,"d":3.0}"#,
    );
}

#[test]
fn every_aggregate_of_every_type() {
    check(
        &format!(
            "{SOURCE} CREATE TABLE o (s STRING, n BIGINT, n_a BIGINT, sum_a BIGINT, avg_a DOUBLE, sum_d DOUBLE,
               min_a BIGINT, max_d DOUBLE, min_s STRING, max_ts TIMESTAMP(3), big BIGINT)
             WITH ('topic' = 'out', 'format' = 'json', 'compression' = 'zstd');
             INSERT INTO o SELECT s, COUNT(*), COUNT(a), SUM(a), AVG(a), SUM(d), MIN(a), MAX(d), MIN(LOWER(s)), MAX(ts),
               COUNT(*) FILTER (WHERE a > 1)
             FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
             GROUP BY window_start, window_end, s"
        ),
        r#"{"ts": 1000, "s": "B", "a": 1, "d": 0.5}
           {"ts": 2000, "s": "B", "a": 2, "d": 0.25}
           {"ts": 3000, "s": null, "a": null, "d": null}
           {"ts": 1500, "s": "A", "a": -4}
           {"ts": 3500, "s": "B", "a": null}"#,
        r#"{"s":null,"n":1,"n_a":0,"sum_a":null,"avg_a":null,"sum_d":null,"min_a":null,"max_d":null,"min_s":null,"max_ts":"1970-01-01T00:00:03Z","big":0}
           {"s":"A","n":1,"n_a":1,"sum_a":-4,"avg_a":-4.0,"sum_d":null,"min_a":-4,"max_d":null,"min_s":"a","max_ts":"1970-01-01T00:00:01.500Z","big":0}
           {"s":"B","n":3,"n_a":2,"sum_a":3,"avg_a":1.5,"sum_d":0.75,"min_a":1,"max_d":0.5,"min_s":"b","max_ts":"1970-01-01T00:00:03.500Z","big":1}"#,
    );
}

#[test]
fn groups_by_expression_with_having_and_arithmetic_over_aggregates() {
    check(
        &format!(
            "{SOURCE} CREATE TABLE o (w TIMESTAMP(3), t TIMESTAMP(3), k STRING, v BIGINT)
             WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT window_start, window_time, UPPER(x.s) || '!', MAX(a) - MIN(a) + 100 * COUNT(*)
             FROM TABLE(TUMBLE(DATA => TABLE src, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND)) AS x
             WHERE a IS NOT NULL
             GROUP BY window_start, UPPER(s)
             HAVING COUNT(*) > 1 AND UPPER(s) <> 'Z'"
        ),
        r#"{"ts": 1000, "s": "a", "a": 5}
           {"ts": 9999, "s": "A", "a": 7}
           {"ts": 10000, "s": "a", "a": 5}
           {"ts": 10001, "s": "z", "a": 5}
           {"ts": 10002, "s": "Z", "a": 5}
           {"ts": 10003, "s": "b", "a": 5}
           {"ts": 10003, "s": "b", "a": null}"#,
        r#"{"w":"1970-01-01T00:00:00Z","t":"1970-01-01T00:00:09.999Z","k":"A!","v":202}"#,
    );
}

const COUNT: &str = "CREATE TABLE o (w TIMESTAMP(3), n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
    INSERT INTO o SELECT window_start, COUNT(*)
    FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end";

#[test]
fn a_record_is_late_once_its_window_is_closed_and_not_before() {
    // The watermark is 2 s behind: 11999 leaves the first window open, 12000 closes it.
    check(
        &format!("{SOURCE} {COUNT}"),
        r#"{"ts": 5000}
           {"ts": 11999}
           {"ts": 1}
           {"ts": 12000}
           {"ts": 9999}
           {"ts": 10000}"#,
        r#"{"w":"1970-01-01T00:00:00Z","n":2}
           {"w":"1970-01-01T00:00:10Z","n":3}"#,
    );
}

#[test]
fn windows_of_windows_have_bounds_of_their_own() {
    check(
        &format!(
            "{SOURCE} CREATE VIEW tens AS SELECT window_start AS s, window_end AS e, window_time AS t, COUNT(*) AS n
             FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
             CREATE TABLE o (w TIMESTAMP(3), e TIMESTAMP(3), s TIMESTAMP(3), n BIGINT)
             WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT window_start, window_end, s, SUM(n)
             FROM TABLE(TUMBLE(TABLE tens, DESCRIPTOR(t), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, s"
        ),
        r#"{"ts": 71000}
           {"ts": 75000}
           {"ts": 80000}"#,
        r#"{"w":"1970-01-01T00:01:00Z","e":"1970-01-01T00:02:00Z","s":"1970-01-01T00:01:10Z","n":2}
           {"w":"1970-01-01T00:01:00Z","e":"1970-01-01T00:02:00Z","s":"1970-01-01T00:01:20Z","n":1}"#,
    );
}

#[test]
fn time_before_the_epoch_has_windows_too() {
    check(
        &format!("{SOURCE} {COUNT}"),
        r#"{"ts": -1}
           {"ts": -10000}
           {"ts": 0}"#,
        r#"{"w":"1969-12-31T23:59:50Z","n":2}
           {"w":"1970-01-01T00:00:00Z","n":1}"#,
    );
}

#[test]
fn a_window_beyond_the_end_of_time_is_the_records_error() {
    check(
        &format!("{SOURCE} {COUNT}"),
        r#"{"ts": 0}
           {"ts": "9999-12-31T23:59:59.999Z"}
           {"ts": 1}"#,
        r#"{"w":"1970-01-01T00:00:00Z","n":2}"#,
    );
}

#[test]
fn a_bare_null_takes_the_type_of_the_other_side_of_a_union() {
    for (sql_type, value, written) in
        [("BIGINT", "id", "7"), ("TIMESTAMP(3)", "ts", r#""1970-01-01T00:00:00Z""#)]
    {
        for (union, expected) in [
            (format!("SELECT NULL FROM src UNION ALL SELECT {value} FROM src"), ["null", written]),
            (format!("SELECT {value} FROM src UNION ALL SELECT NULL AS x FROM src"), [written, "null"]),
            (
                format!("SELECT CAST(NULL AS STRING) FROM src UNION ALL SELECT {value} FROM src"),
                ["null", written],
            ),
        ] {
            check(
                &format!(
                    "{SOURCE} CREATE TABLE o (v {sql_type}) WITH ('topic' = 'out', 'format' = 'json'); INSERT INTO o {union}"
                ),
                r#"{"ts": 0, "id": 7}"#,
                &expected.map(|value| format!("{{\"v\":{value}}}")).join("\n"),
            );
        }
    }
}

#[test]
fn columns_may_have_the_names_of_keywords() {
    check(
        "CREATE TABLE src (year BIGINT, month BIGINT, day BIGINT, hour BIGINT, minute BIGINT, flight BIGINT, origin STRING,
           `order` STRING, value STRING, name STRING, type STRING, user_id STRING)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (day BIGINT, `order` STRING, value STRING) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT year * 10000 + month * 100 + day, `order`, value || name || type
         FROM src WHERE hour = 5 AND minute < 30",
        r#"{"year": 2013, "month": 7, "day": 4, "hour": 5, "minute": 0, "order": "x", "value": "v", "name": "n", "type": "t"}"#,
        r#"{"day":20130704,"order":"x","value":"vnt"}"#,
    );
}

#[test]
fn a_sum_that_does_not_fit_is_the_rows_error() {
    let script = |on_error: &str| {
        format!(
            "{SOURCE} CREATE TABLE o (s STRING, v BIGINT) WITH ('topic' = 'out', 'format' = 'json' {on_error});
             INSERT INTO o SELECT s, SUM(a) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' SECOND))
             GROUP BY window_start, s"
        )
    };
    let input = r#"{"ts": 0, "s": "a", "a": 9223372036854775807}
                   {"ts": 0, "s": "a", "a": 1}
                   {"ts": 0, "s": "b", "a": 9223372036854775807}
                   {"ts": 0, "s": "b", "a": 1}
                   {"ts": 0, "s": "b", "a": -1}"#;
    check(&script(", 'on-error' = 'skip'"), input, r#"{"s":"b","v":9223372036854775807}"#);
    let plan = plan(&script(""));
    let mut logs = MemoryLogs::default();
    logs.create("in", 1);
    logs.produce("in", 0, &input.lines().map(str::to_owned).collect::<Vec<_>>());
    let error = run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap_err();
    let TurnError::Epoch { error, .. } = error else { panic!("{error}") };
    assert!(error.needs_restore());
    let text = error.to_string();
    assert!(text.contains("1970-01-01T00:00:01Z, key a") && text.contains("does not fit a BIGINT"), "{text}");
}
