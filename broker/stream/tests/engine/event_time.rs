//! Event time behind operators: what a column says about time decides what is late for the operators that use it.

use logmill_stream::compile;

use crate::support;
use crate::support::cases::{SOURCE, append, check, check_table, lines, rows, run, runs, upsert};
use crate::support::{MemoryLogs, plan, run_bounded};

#[test]
fn sessions_are_in_time_for_what_uses_their_window() {
    let script = append(
        "s TIMESTAMP(3), k STRING, n BIGINT, r BIGINT",
        "INSERT INTO o SELECT window_start, k, n, r FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS r FROM (
             SELECT window_start, window_end, k, COUNT(*) AS n
             FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5' SECOND))
             GROUP BY k, window_start, window_end))
         WHERE r <= 2",
    );
    // The session of `a` ends at 6 s, which is the watermark behind the second record.
    let input = rows(&[("a", 1, 1), ("b", 1, 8), ("c", 1, 20)]);
    let logs = check(
        &script,
        &input,
        r#"{"s":"1970-01-01T00:00:01Z","k":"a","n":1,"r":1}
           {"s":"1970-01-01T00:00:08Z","k":"b","n":1,"r":1}
           {"s":"1970-01-01T00:00:20Z","k":"c","n":1,"r":1}"#,
    );
    assert_eq!(logs.last_progress().unwrap().totals.late_rows, 0);
    assert_eq!(support::restored(&plan(&script), &logs, 9_999).state_entries(), 0);
}

#[test]
fn sessions_that_change_are_in_time_for_what_uses_their_window() {
    let script = format!(
        "{SOURCE} CREATE TABLE o (s TIMESTAMP(3), e TIMESTAMP(3), n BIGINT, PRIMARY KEY (s, e) NOT ENFORCED)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO o SELECT window_start, window_end, SUM(n) FROM (
           SELECT window_start, window_end, k, COUNT(*) AS n
           FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5' SECOND))
           GROUP BY k, window_start, window_end)
         GROUP BY window_start, window_end EMIT CHANGES"
    );
    // One session of `a` ends at 6 s; the row at 6 s comes at a watermark of 6 s, and belongs to it.
    let input = rows(&[("a", 1, 1), ("b", 1, 8), ("a", 2, 6), ("c", 1, 20), ("a", 3, 21)]);
    for how in runs() {
        let logs = run(&script, &lines(&input), how);
        let left: Vec<String> = support::cases::table(&logs).into_values().collect();
        let expected = [
            r#"{"s":"1970-01-01T00:00:01Z","e":"1970-01-01T00:00:11Z","n":2}"#,
            r#"{"s":"1970-01-01T00:00:08Z","e":"1970-01-01T00:00:13Z","n":1}"#,
            r#"{"s":"1970-01-01T00:00:20Z","e":"1970-01-01T00:00:25Z","n":1}"#,
            r#"{"s":"1970-01-01T00:00:21Z","e":"1970-01-01T00:00:26Z","n":1}"#,
        ];
        assert_eq!(left, expected, "{how:?}");
        assert_eq!(logs.last_progress().unwrap().totals.late_rows, 0, "{how:?}");
    }
}

/// The instants among the groups of a window are past when it closes.
#[test]
fn the_time_of_grouped_rows_is_no_event_time() {
    for grouped in [
        "SELECT ts, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end, ts",
        "SELECT ts, 1 AS n FROM (
           SELECT DISTINCT window_start, window_end, ts
           FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)))",
    ] {
        let script = format!(
            "{SOURCE} CREATE TABLE o (ts TIMESTAMP(3), n BIGINT, PRIMARY KEY (ts) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
             INSERT INTO o SELECT ts, SUM(n) OVER (ORDER BY ts) FROM ({grouped}) UNBOUNDED"
        );
        // The watermark is 7 s in the middle of the first window.
        let input = rows(&[("a", 1, 1), ("b", 1, 3), ("b", 1, 9), ("a", 1, 15), ("a", 1, 40)]);
        for how in runs() {
            let logs = run(&script, &lines(&input), how);
            let left: Vec<String> = support::cases::table(&logs).into_values().collect();
            let expected = [
                r#"{"ts":"1970-01-01T00:00:01Z","n":1}"#,
                r#"{"ts":"1970-01-01T00:00:03Z","n":2}"#,
                r#"{"ts":"1970-01-01T00:00:09Z","n":3}"#,
                r#"{"ts":"1970-01-01T00:00:15Z","n":4}"#,
                r#"{"ts":"1970-01-01T00:00:40Z","n":5}"#,
            ];
            assert_eq!(left, expected, "{how:?} {grouped}");
            assert_eq!(logs.last_progress().unwrap().totals.late_rows, 0);
        }
    }
}

/// Behind a join of near times the end of a window is no end of a window: rows come a millisecond too late for it.
#[test]
fn a_window_that_was_joined_by_its_end_is_none() {
    let windows = |k: &str| {
        format!(
            "(SELECT window_end, x FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
              WHERE k = '{k}')"
        )
    };
    let script = format!(
        "{SOURCE} CREATE TABLE o (e TIMESTAMP(3), l BIGINT, r BIGINT, n BIGINT, PRIMARY KEY (e, l, r) NOT ENFORCED)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO o SELECT e, l, r, ROW_NUMBER() OVER (PARTITION BY e ORDER BY l, r) FROM (
           SELECT a.window_end AS e, a.x AS l, b.x AS r FROM {} AS a JOIN {} AS b
           ON a.window_end BETWEEN b.window_end - INTERVAL '10' SECOND AND b.window_end)
         UNBOUNDED",
        windows("a"),
        windows("b"),
    );
    // The window of `b` ends at the watermark, 20 s, and finds that of `a`, which has ended ten seconds before it.
    let input = rows(&[("a", 1, 1), ("z", 0, 22), ("b", 2, 15), ("z", 0, 60)]);
    for how in runs() {
        let logs = run(&script, &lines(&input), how);
        let left: Vec<String> = support::cases::table(&logs).into_values().collect();
        assert_eq!(left, [r#"{"e":"1970-01-01T00:00:10Z","l":1,"r":2,"n":1}"#], "{how:?}");
        assert_eq!(logs.last_progress().unwrap().totals.late_rows, 0, "{how:?}");
    }
}

/// A table whose late records go to a topic, and a table of versions beside it.
const WITH_LATE_TOPIC: &str = "
    CREATE TABLE src (k STRING, x BIGINT, d DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
    WITH ('topic' = 'in', 'format' = 'json', 'late-topic' = 'late');
    CREATE TABLE names (k STRING, name STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'names', 'format' = 'json');
    CREATE TABLE o (s TIMESTAMP(3), k STRING) WITH ('topic' = 'out', 'format' = 'json');";

/// A late record goes to the late topic, though a node between its source and the operator adds columns to it.
#[test]
fn records_are_late_behind_operators_that_keep_rows() {
    let ranked = |table: &str, length: &str| {
        format!(
            "INSERT INTO o SELECT window_start, k FROM (
               SELECT window_start, k, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY x) AS r
               FROM TABLE({length})) WHERE r <= 9"
        )
        .replace("TABLE src", &format!("TABLE {table}"))
    };
    const TUMBLE: &str = "TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)";
    const HOP: &str = "HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)";
    let union = format!(
        "CREATE VIEW both AS SELECT k, x, ts FROM src WHERE x < 0 UNION ALL SELECT k, x, ts FROM src; {}",
        ranked("both", TUMBLE)
    );
    let looked_up = format!(
        "CREATE VIEW named AS SELECT src.k, x, ts FROM src
         LEFT JOIN names FOR SYSTEM_TIME AS OF PROCTIME() ON src.k = names.k; {}",
        ranked("named", TUMBLE)
    );
    // 2 s is late for all of its windows; 31 s for the first of its two windows of ten seconds only.
    let input = lines(&rows(&[("a", 1, 1), ("a", 2, 40), ("late", 3, 2), ("c", 4, 31), ("z", 5, 100)]));
    for (query, late_rows, results) in
        [(ranked("src", TUMBLE), 0, 4), (ranked("src", HOP), 2, 7), (union, 0, 4), (looked_up, 0, 4)]
    {
        let plan = plan(&format!("{WITH_LATE_TOPIC} {query}"));
        for (limits, crash_every, shards) in runs() {
            let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
            for topic in ["in", "names", "out", "late"] {
                logs.create(topic, 1);
            }
            input.iter().for_each(|line| logs.produce("in", 0, std::slice::from_ref(line)));
            run_bounded(&plan, &mut logs, limits, crash_every).unwrap();
            assert_eq!(logs.values("late"), [&*input[2]], "{query}");
            let totals = logs.last_progress().unwrap().totals;
            assert_eq!((totals.late, totals.late_rows, totals.processed), (1, late_rows, 4), "{query}");
            assert_eq!(logs.values("out").len(), results, "{query}");
        }
    }
}

/// What a ranking takes back has no window that closes: its groups change as the rows do.
#[test]
fn windows_of_rows_that_are_taken_back_are_plain_groups() {
    let query = "INSERT INTO o SELECT window_start, window_end, COUNT(*) FROM (
           SELECT window_start, window_end, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC) AS r
           FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)))
         WHERE r <= 1 GROUP BY window_start, window_end UNBOUNDED";
    let columns = "s TIMESTAMP(3), e TIMESTAMP(3), n BIGINT";
    let script = upsert(&format!("{columns}, PRIMARY KEY (s, e) NOT ENFORCED"), query);
    // The second row takes the place of the first, whose window is long over.
    check_table(
        &script,
        &rows(&[("a", 5, 1), ("a", 9, 41)]),
        r#"{"s":"1970-01-01T00:00:40Z","e":"1970-01-01T00:00:50Z","n":1}"#,
    );
    let error = compile(&append(columns, query)).unwrap_err();
    assert!(error.message.contains("changes rows that it gave before"), "{error}");
}

/// Rows that an operator gives later than they came are behind the watermark by any time but the one it went by.
#[test]
fn only_the_time_rows_were_ordered_by_is_an_event_time_behind_it() {
    let refused = |rows: &str, time: &str| {
        let script = append(
            "s TIMESTAMP(3), n BIGINT",
            &format!(
                "CREATE VIEW given AS {rows};
                 INSERT INTO o SELECT window_start, COUNT(*)
                 FROM TABLE(TUMBLE(TABLE given, DESCRIPTOR({time}), INTERVAL '10' MINUTE))
                 GROUP BY window_start, window_end UNBOUNDED"
            ),
        );
        compile(&script).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let pairs = "(SELECT a.k AS k, a.x AS x, a.ts AS ats, b.ts AS bts FROM src AS a JOIN src AS b
        ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '1' HOUR AND a.ts)";
    let summed = format!(
        "SELECT ats, bts, SUM(x) OVER (PARTITION BY k ORDER BY ats
           RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) AS s FROM {pairs}"
    );
    let first = format!(
        "SELECT ats, bts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ats) AS r FROM {pairs}) WHERE r = 1"
    );
    let top = "SELECT ts, window_time FROM (
         SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY x) AS r
         FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' MINUTE))) WHERE r <= 2";
    for (rows, time, wrong) in [(&*summed, "ats", "bts"), (&first, "ats", "bts"), (top, "window_time", "ts")]
    {
        assert_eq!(refused(rows, time), "", "{rows}");
        let error = refused(rows, wrong);
        assert!(error.contains(&format!("`{wrong}` is not the event time of `given`")), "{rows}: {error}");
        assert!(error.contains(&format!("DESCRIPTOR({time})")), "{rows}: {error}");
    }
    let error = refused(
        "SELECT ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY x) AS r
         FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' MINUTE))) WHERE r <= 2",
        "ts",
    );
    assert!(error.contains("query `given` has no event time") && error.contains("window_time"), "{error}");
}
