//! Groups of windows without aggregates: what they say is known with their first row, and nobody waits for it.

use logmill_stream::{EpochLoop, Turn};

use crate::support::cases::{SOURCE, append, check, lines, runs};
use crate::support::{MemoryLogs, plan, restored};

const COLUMNS: &str = "k STRING, s TIMESTAMP(3)";

fn select(emit: &str) -> String {
    format!(
        "INSERT INTO o SELECT k, window_start FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end, k {emit}"
    )
}

/// The last but one is late: the window that it belongs to is over.
const INPUT: &str = r#"
    {"k":"b","ts":500}
    {"k":"a","ts":1000}
    {"k":"b","ts":1500}
    {"k":"b","ts":12500}
    {"k":"a","ts":9000}
    {"k":"c","ts":3000}
    {"k":"a","ts":11000}"#;

#[test]
fn they_come_once_in_the_order_of_their_first_rows() {
    let logs = check(
        &append(COLUMNS, &select("")),
        INPUT,
        r#"{"k":"b","s":"1970-01-01T00:00:00Z"}
           {"k":"a","s":"1970-01-01T00:00:00Z"}
           {"k":"b","s":"1970-01-01T00:00:10Z"}
           {"k":"a","s":"1970-01-01T00:00:10Z"}"#,
    );
    let progress = logs.last_progress().unwrap();
    assert_eq!(progress.totals.late, 2);
}

#[test]
fn they_wait_when_they_are_told_to() {
    check(
        &append(COLUMNS, &select("EMIT ON CLOSE")),
        INPUT,
        r#"{"k":"a","s":"1970-01-01T00:00:00Z"}
           {"k":"b","s":"1970-01-01T00:00:00Z"}
           {"k":"a","s":"1970-01-01T00:00:10Z"}
           {"k":"b","s":"1970-01-01T00:00:10Z"}"#,
    );
}

/// What is made of them is as early: here the keys of two tables that meet in a window.
#[test]
fn a_join_of_them_does_not_wait_for_the_window() {
    let of = |name: &str, topic: &str| {
        SOURCE.replace("TABLE src", &format!("TABLE {name}")).replace("'in'", &format!("'{topic}'"))
    };
    let groups = |name: &str| {
        format!(
            "(SELECT k, window_start, window_end FROM TABLE(TUMBLE(TABLE {name}, DESCRIPTOR(ts), INTERVAL '10' SECOND))
              GROUP BY k, window_start, window_end)"
        )
    };
    let script = format!(
        "{} {} CREATE TABLE o ({COLUMNS}) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT l.k, l.window_start FROM {} AS l JOIN {} AS r
         ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end",
        of("l", "in"),
        of("r", "other"),
        groups("l"),
        groups("r")
    );
    let plan = plan(&script);
    for (limits, _, shards) in runs() {
        let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
        ["in", "other", "out"].iter().for_each(|topic| logs.create(topic, 1));
        logs.produce("in", 0, &lines(INPUT)[..3]);
        logs.produce("other", 0, &lines(INPUT)[1..2]);
        let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), limits);
        while !matches!(epochs.turn(&mut logs, 1_000_000, 0).unwrap(), Turn::Idle) {}
        assert_eq!(logs.values("out"), [r#"{"k":"a","s":"1970-01-01T00:00:00Z"}"#], "{shards} shards");
    }
}
