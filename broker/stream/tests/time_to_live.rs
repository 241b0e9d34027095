//! What is forgotten after its time to live, what is not yet, and what is taken back when nothing is known of it.

mod support;

use logmill_stream::{EpochLimits, EpochLoop, Turn};
use support::cases::{SOURCE, row, table};
use support::{MemoryLogs, plan, restored};

/// Runs epochs of their own, each at a time of the clock and over one record; restores before each if asked to.
fn run_at(script: &str, steps: &[(i64, String)], restarts: bool) -> MemoryLogs {
    let plan = plan(script);
    let mut logs = MemoryLogs::default();
    logs.create("in", 1);
    logs.create("out", 1);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    for (generation, (now, record)) in (2..).zip(steps) {
        logs.produce("in", 0, std::slice::from_ref(record));
        while let Turn::Committed { .. } = epochs.turn(&mut logs, *now, 0).unwrap() {}
        if restarts {
            epochs = EpochLoop::new(restored(&plan, &logs, generation), EpochLimits::default());
        }
    }
    logs
}

#[test]
fn a_row_that_goes_from_a_forgotten_group_leaves_no_debt() {
    let script = "CREATE TABLE src (k STRING, g STRING) WITH ('topic' = 'in', 'format' = 'debezium-json');
        CREATE TABLE o (g STRING, n BIGINT, PRIMARY KEY (g) NOT ENFORCED)
        WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
        INSERT INTO o SELECT g, COUNT(*) FROM src GROUP BY g STATE TTL INTERVAL '10' MILLISECOND";
    let change = |op: &str, k: &str| {
        let row = format!(r#"{{"k":"{k}","g":"a"}}"#);
        match op {
            "c" => format!(r#"{{"before":null,"after":{row},"op":"c"}}"#),
            _ => format!(r#"{{"before":{row},"after":null,"op":"d"}}"#),
        }
    };
    let steps = [
        (0, change("c", "x")),
        // The group is forgotten: what goes from it says nothing.
        (100, change("d", "x")),
        (101, change("c", "y")),
        (102, change("c", "z")),
    ];
    for restarts in [false, true] {
        let logs = run_at(script, &steps, restarts);
        assert_eq!(table(&logs).into_values().collect::<Vec<_>>(), [r#"{"g":"a","n":2}"#]);
        assert_eq!(restored(&plan(script), &logs, 9_999).state_entries(), 1);
    }
}

/// Duplicates leave the state as it is: the time of a first row counts from when it was given.
#[test]
fn a_key_that_goes_on_coming_is_new_again_after_its_time() {
    for order in ["ts", "PROCTIME()"] {
        let script = format!(
            "{SOURCE} CREATE TABLE o (k STRING, x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) AS n FROM src)
             WHERE n = 1 STATE TTL INTERVAL '10' MILLISECOND"
        );
        // Each row is given by the next one's time at the latest.
        let steps: Vec<(i64, String)> =
            (0..8).map(|step| (6 * step, row("a", step, 10_000 * step))).collect();
        for restarts in [false, true] {
            let given = run_at(&script, &steps, restarts).values("out");
            let expected = if order == "ts" { [0, 3, 6].as_slice() } else { &[0, 2, 4, 6] };
            let expected = expected.iter().map(|x| format!(r#"{{"k":"a","x":{x}}}"#));
            assert_eq!(given, expected.collect::<Vec<_>>(), "{order}, {restarts}");
        }
    }
}

#[test]
fn a_partition_with_rows_to_give_is_not_forgotten() {
    let script = format!(
        "{SOURCE} CREATE TABLE o (k STRING, x BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT k, x, COUNT(*) OVER (PARTITION BY k ORDER BY ts) FROM src
         STATE TTL INTERVAL '10' MILLISECOND"
    );
    let steps = [
        (0, row("a", 1, 0)),
        (1, row("b", 9, 5)),
        // Waits for the watermark, for longer than the time to live.
        (9, row("a", 2, 8)),
        (15, row("b", 9, 9)),
        (25, row("b", 9, 9)),
        (35, row("b", 9, 20)),
        // Now nothing has been heard of it for too long.
        (90, row("b", 9, 21)),
        (91, row("a", 3, 30)),
        (92, row("b", 9, 40)),
    ];
    for restarts in [false, true] {
        let logs = run_at(&script, &steps, restarts);
        let of_a: Vec<String> =
            logs.values("out").into_iter().filter(|value| value.contains(r#""k":"a""#)).collect();
        let expected = [r#"{"k":"a","x":1,"n":1}"#, r#"{"k":"a","x":2,"n":2}"#, r#"{"k":"a","x":3,"n":1}"#];
        assert_eq!(of_a, expected, "restarts: {restarts}");
    }
}

#[test]
fn a_key_that_came_is_forgotten_after_its_time() {
    let script = format!(
        "{SOURCE} CREATE TABLE o (k STRING, x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT k, x FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME()) AS r FROM src) WHERE r = 1
         STATE TTL INTERVAL '10' MILLISECOND"
    );
    let steps = [
        (0, row("a", 1, 0)),
        (5, row("a", 2, 1)),
        (9, row("b", 3, 2)),
        // Ten milliseconds behind the row that was given, whatever came since.
        (11, row("a", 4, 3)),
        (12, row("b", 5, 3)),
    ];
    for restarts in [false, true] {
        let logs = run_at(&script, &steps, restarts);
        assert_eq!(
            logs.values("out"),
            [r#"{"k":"a","x":1}"#, r#"{"k":"b","x":3}"#, r#"{"k":"a","x":4}"#],
            "{restarts}"
        );
    }
}
