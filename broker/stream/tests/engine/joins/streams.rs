//! Rows of two streams that event time bounds: of one window, or of near times.

use logmill_stream::{EpochLimits, EpochLoop, Turn};

use super::{check_rows, entries_at_the_end, every_way, filled, streams};
use crate::support::{plan, restored};

const WINDOWS: [(&str, &str); 2] = [
    (
        "a",
        r#"{"id": 1, "k": "u", "ts": 1000}
           {"id": 2, "k": "v", "ts": 2000}
           {"id": 3, "k": "u", "ts": 11000}
           {"id": 3, "k": "u", "ts": 11000}
           {"id": 4, "k": null, "ts": 12000}"#,
    ),
    (
        "b",
        r#"{"id": 10, "k": "u", "ts": 9999}
           {"id": 11, "k": "u", "ts": 10000}
           {"id": 12, "k": "u", "ts": 19999}
           {"id": 13, "k": "w", "ts": 19000}"#,
    ),
];

pub(super) fn in_windows(kind: &str) -> String {
    streams(&format!(
        "SELECT l.id, r.id
         FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS l
         {kind} JOIN TABLE(TUMBLE(TABLE b, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS r
         ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end"
    ))
}

#[test]
fn rows_of_one_window() {
    let pairs = r#"{"l":1,"r":10}
        {"l":3,"r":11}
        {"l":3,"r":11}
        {"l":3,"r":12}
        {"l":3,"r":12}"#;
    let left = r#"{"l":2,"r":null}
        {"l":4,"r":null}"#;
    let right = r#"{"l":null,"r":13}"#;
    check_rows(&in_windows(""), &WINDOWS, pairs);
    check_rows(&in_windows("LEFT"), &WINDOWS, &[pairs, left].join("\n"));
    check_rows(&in_windows("RIGHT OUTER"), &WINDOWS, &[pairs, right].join("\n"));
    check_rows(&in_windows("FULL OUTER"), &WINDOWS, &[pairs, left, right].join("\n"));
    assert_eq!(entries_at_the_end(&in_windows("FULL"), &WINDOWS), 0);
}

#[test]
fn aggregates_of_one_window() {
    // Nexmark q8: who opened an account and an auction within ten seconds.
    check_rows(
        &streams(
            "SELECT p.id, s.n
             FROM (SELECT id, k, window_start, window_end
                   FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '10' SECOND))
                   GROUP BY id, k, window_start, window_end) AS p
             JOIN (SELECT k, COUNT(*) AS n, window_start AS `from`, window_end AS `to`
                   FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(ts), INTERVAL '10' SECOND))
                   GROUP BY k, window_start, window_end) AS s
             ON p.k = s.k AND p.window_start = s.`from` AND p.window_end = s.`to`",
        ),
        &WINDOWS,
        r#"{"l":1,"r":1}
           {"l":3,"r":2}"#,
    );
}

#[test]
fn joined_windows_are_grouped_again() {
    check_rows(
        &streams(
            "SELECT COUNT(*), SUM(r.id)
             FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS l
             JOIN TABLE(TUMBLE(TABLE b, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS r
             ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end
             GROUP BY l.window_start, l.window_end",
        ),
        &WINDOWS,
        r#"{"l":1,"r":10}
           {"l":4,"r":46}"#,
    );
}

/// What equals nothing is given alone, but no later than any other row.
#[test]
fn a_row_without_a_key_is_late_like_others() {
    let inputs = |b| {
        let a = r#"{"id": 1, "k": "u", "ts": 40000}
                   {"id": 2, "k": null, "ts": 39500}
                   {"id": 3, "k": null, "ts": 1000}
                   {"id": 4, "k": "u", "ts": 1000}
                   {"id": 5, "k": "u", "ts": 60000}"#;
        [("a", a), ("b", b)]
    };
    let given = r#"{"l":1,"r":null}
                   {"l":2,"r":null}
                   {"l":5,"r":null}"#;
    let near = streams(
        "SELECT a.id, b.id FROM a LEFT JOIN b ON a.k = b.k AND a.ts BETWEEN b.ts AND b.ts + INTERVAL '2' SECOND",
    );
    let versions = streams("SELECT a.id, v.id FROM a LEFT JOIN v FOR SYSTEM_TIME AS OF a.ts ON a.k = v.k");
    let versions = format!(
        "CREATE TABLE v (id BIGINT, k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts, PRIMARY KEY (k) NOT ENFORCED)
         WITH ('topic' = 'b', 'format' = 'json'); {versions}"
    );
    let elsewhere = r#"{"id": 10, "k": "w", "ts": 100000}
                       {"id": 11, "k": "w", "ts": 200000}"#;
    for script in [in_windows("LEFT"), near, versions] {
        every_way(&script, &inputs(elsewhere), |logs, run| {
            let mut found = logs.values("out");
            found.sort_unstable();
            assert!(found.iter().map(String::as_str).eq(super::lines(given)), "{found:?} {run} {script}");
            let mut late = logs.values("late");
            late.sort_unstable();
            assert_eq!(late.len(), 2, "{late:?} {run} {script}");
            assert!(late[0].contains("\"id\": 3") && late[1].contains("\"id\": 4"), "{late:?}");
        });
    }
}

const TIMES: [(&str, &str); 2] = [
    (
        "a",
        r#"{"id": 1, "k": "u", "x": 1, "ts": 5000}
           {"id": 2, "k": "u", "x": 2, "ts": 6000}
           {"id": 3, "k": "v", "x": 3, "ts": 6000}
           {"id": 4, "k": "u", "x": 4, "ts": 20000}
           {"id": 5, "k": "u", "x": 5, "ts": 1}"#,
    ),
    (
        "b",
        r#"{"id": 10, "k": "u", "y": 1, "ts": 3000}
           {"id": 11, "k": "u", "y": 2, "ts": 5500}
           {"id": 12, "k": "u", "y": 2, "ts": 8000}
           {"id": 13, "k": "u", "y": 3, "ts": 8001}
           {"id": 14, "k": "w", "y": 4, "ts": 8001}"#,
    ),
];

#[test]
fn rows_of_near_times() {
    let query = |kind: &str, more: &str| {
        streams(&format!(
            "SELECT a.id, b.id FROM a {kind} JOIN b
             ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '2' SECOND AND b.ts + INTERVAL '2' SECOND {more}"
        ))
    };
    let pairs = r#"{"l":1,"r":10}
        {"l":1,"r":11}
        {"l":2,"r":11}
        {"l":2,"r":12}"#;
    check_rows(&query("", ""), &TIMES, pairs);
    let left = r#"{"l":3,"r":null}
        {"l":4,"r":null}"#;
    check_rows(&query("LEFT", ""), &TIMES, &[pairs, left].join("\n"));
    let right = r#"{"l":null,"r":13}
        {"l":null,"r":14}"#;
    check_rows(&query("FULL", ""), &TIMES, &[pairs, left, right].join("\n"));
    check_rows(
        &query("LEFT", "AND x + 0 = y"),
        &TIMES,
        &[
            r#"{"l":1,"r":10}
               {"l":2,"r":11}
               {"l":2,"r":12}"#,
            left,
        ]
        .join("\n"),
    );
    assert_eq!(entries_at_the_end(&query("FULL", ""), &TIMES), 0);
    every_way(&query("", ""), &TIMES, |logs, run| {
        assert_eq!(logs.values("late"), [r#"{"id": 5, "k": "u", "x": 5, "ts": 1}"#], "{run}");
    });
}

#[test]
fn the_other_ways_to_write_near_times() {
    let pairs = r#"{"l":2,"r":11}
        {"l":1,"r":10}"#;
    for condition in [
        "a.ts > b.ts AND a.ts <= b.ts + INTERVAL '2' SECOND",
        "b.ts < a.ts AND b.ts + INTERVAL '2' SECOND >= a.ts",
        "b.ts >= a.ts - INTERVAL '2' SECOND AND a.ts - INTERVAL '0' SECOND > b.ts",
    ] {
        let script = streams(&format!("SELECT a.id, b.id FROM a, b WHERE a.k = b.k AND {condition}"));
        assert!(plan(&script).explain().contains("IntervalJoin INNER on=[k = k] left"), "{condition}");
        check_rows(&script, &TIMES, pairs);
    }
}

#[test]
fn windows_follow_a_join_of_near_times() {
    // The pair of 5000 and 3000 may come when the watermark is at 5000: the window of 3000 must still be open.
    check_rows(
        &streams(
            "SELECT COUNT(*), EXTRACT(SECOND FROM window_start)
             FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(bt), INTERVAL '2' SECOND)) GROUP BY window_start, window_end",
        )
        .replace(
            "INSERT INTO",
            "CREATE VIEW j AS SELECT a.id AS id, b.ts AS bt FROM a JOIN b
             ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '2' SECOND AND b.ts + INTERVAL '2' SECOND;
             INSERT INTO",
        ),
        &TIMES,
        r#"{"l":1,"r":2}
           {"l":2,"r":4}
           {"l":1,"r":8}"#,
    );
}

#[test]
fn the_highest_of_each_window() {
    // Nexmark q7.
    check_rows(
        &streams(
            "SELECT a.id, m.y
             FROM a JOIN (SELECT MAX(y) AS y, window_end AS until
                          FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(ts), INTERVAL '10' SECOND))
                          GROUP BY window_start, window_end) AS m
             ON a.x = m.y
             WHERE a.ts BETWEEN m.until - INTERVAL '10' SECOND AND m.until",
        ),
        &[
            (
                "a",
                r#"{"id": 1, "x": 4, "ts": 5000}
                   {"id": 2, "x": 5, "ts": 6000}
                   {"id": 3, "x": 4, "ts": 10001}"#,
            ),
            (
                "b",
                r#"{"y": 1, "ts": 5000}
                   {"y": 4, "ts": 6000}
                   {"y": 9, "ts": 11000}"#,
            ),
        ],
        r#"{"l":1,"r":4}"#,
    );
}

/// Small rows take more memory than their bytes, and what a pipeline may hold is held against that (I14).
#[test]
fn what_kept_rows_take_is_counted_in_full() {
    const ROWS: u64 = 4_000;
    let script = streams(
        "SELECT a.id, b.id FROM a JOIN b ON a.k = b.k
         AND a.ts BETWEEN b.ts - INTERVAL '1' HOUR AND b.ts + INTERVAL '1' HOUR",
    );
    let row = |id: u64| format!(r#"{{"id": {id}, "k": "key {id}", "ts": {id}}}"#);
    let rows: Vec<String> = (0..ROWS).map(row).collect();
    let mut logs = filled(&[("a", &rows.join("\n")), ("b", "")], 1);
    let plan = plan(&script);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    while let Turn::Committed { .. } = epochs.turn(&mut logs, 0, 0).unwrap() {}
    let again = restored(&plan, &logs, 2);
    for pipeline in [epochs.pipeline(), &again] {
        assert_eq!(pipeline.state_entries(), ROWS);
        // Its key and its row, where it lies, the place of the newest row of its key; and vectors that have doubled.
        let least = ROWS * (12 + 26 + 24 + 20);
        assert!((least..2 * least).contains(&pipeline.state_bytes()), "{} bytes", pipeline.state_bytes());
    }
}
