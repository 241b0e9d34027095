//! Sessions, rankings and functions over rows: golden cases.

use std::collections::BTreeMap;

use logmill_stream::{EpochLimits, compile};

use crate::support;
use crate::support::cases::{
    SESSION_ROW, SESSIONS, SOURCE, append, check, check_table, lines, row, rows, run, runs, table, upsert,
};
use crate::support::{json, plan, small_epochs};

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

/// What each way of running a script gives, sorted: rows of one moment may come in either order.
#[track_caller]
fn check_sorted(script: &str, input: &str, expected: &str) {
    for how in runs().into_iter().chain([(small_epochs(1), 1, 1)]) {
        let logs = run(script, &lines(input), how);
        let mut values = logs.values("out");
        values.sort();
        assert_eq!(values, lines(expected), "{how:?}");
    }
}

#[test]
fn a_late_row_that_comes_before_one_that_waits_is_the_first() {
    let script = append(
        "k STRING, x BIGINT",
        "INSERT INTO o SELECT k, x FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS r FROM src) WHERE r = 1 UNBOUNDED",
    );
    // The watermark is 10 s when the row of 5 s comes, and that of 10 s waits for it to be passed.
    let input = rows(&[("a", 1, 10), ("b", 2, 12), ("a", 3, 5), ("c", 4, 30), ("a", 5, 31)]);
    check_sorted(&script, &input, "{\"k\":\"a\",\"x\":3}\n{\"k\":\"b\",\"x\":2}\n{\"k\":\"c\",\"x\":4}");
}

#[test]
fn a_first_row_that_another_of_its_instant_replaces_is_given_behind_a_restart() {
    let script = append(
        "k STRING, x BIGINT",
        "INSERT INTO o SELECT k, x FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts, x) AS r FROM src) WHERE r = 1 UNBOUNDED",
    );
    let input = rows(&[("a", 5, 10), ("a", 3, 10), ("z", 0, 20)]);
    check_sorted(&script, &input, "{\"k\":\"a\",\"x\":3}\n{\"k\":\"z\",\"x\":0}");
}

#[test]
fn the_row_of_a_key_that_comes_first_is_given_at_once() {
    for query in [
        "SELECT k, x FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME()) AS r FROM src) WHERE r = 1",
        "SELECT k, x FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY p ASC) AS r FROM
           (SELECT k, x, PROCTIME() AS p FROM src)) WHERE r <= 1",
    ] {
        let script = append("k STRING, x BIGINT", &format!("INSERT INTO o {query} UNBOUNDED"));
        // Whatever their event times are, and though the watermark passes none of the last ones.
        let input = rows(&[("a", 1, 10), ("b", 2, 12), ("a", 3, 5), ("c", 4, 30), ("b", 2, 12), ("d", 5, 1)]);
        let expected = r#"{"k":"a","x":1}
            {"k":"b","x":2}
            {"k":"c","x":4}
            {"k":"d","x":5}"#;
        let logs = check(&script, &input, expected);
        assert_eq!(support::restored(&plan(&script), &logs, 9_999).state_entries(), 4, "{query}");
    }
    // The window behind it has its rows on time: the first of each key.
    let script = append(
        "e TIMESTAMP(3), n BIGINT",
        "CREATE VIEW first AS SELECT k, ts FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME()) AS r FROM src) WHERE r = 1;
         INSERT INTO o SELECT window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE first, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end UNBOUNDED",
    );
    let input = rows(&[("a", 1, 1), ("b", 2, 2), ("a", 3, 11), ("c", 4, 12), ("c", 4, 25)]);
    check(
        &script,
        &input,
        r#"{"e":"1970-01-01T00:00:10Z","n":2}
           {"e":"1970-01-01T00:00:20Z","n":1}"#,
    );
    // The last one changes.
    let last = append(
        "k STRING, x BIGINT",
        "INSERT INTO o SELECT k, x FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME() DESC) AS r FROM src) WHERE r = 1 UNBOUNDED",
    );
    assert!(compile(&last).unwrap_err().message.contains("changes rows that it gave before"));
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
        let input: Vec<String> = (0..200).map(|second| row(&format!("k{second}"), 1, second)).collect();
        let logs = run(&script(query), &input, (small_epochs(1), 3, 2));
        // Key groups take turns over 64 epochs.
        assert!(support::restored(&plan(&script(query)), &logs, 9_999).state_entries() < 64 + 10);
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
    assert_eq!(
        ranked("PROCTIME()", "r = 1"),
        "Rank ROW_NUMBER <= 1 partition=[k] order=[] numbered=false emit=first that comes UNBOUNDED"
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
