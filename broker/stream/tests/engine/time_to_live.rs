//! What is forgotten after its time to live, what is not yet, and what is taken back when nothing is known of it.

use logmill_stream::{EpochLimits, EpochLoop, Turn};
use proptest::prelude::*;

use crate::support::cases::{SOURCE, row, table};
use crate::support::{MemoryLogs, plan, restored};

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

/// Over how many epochs all key groups have their turn.
const TURNS: usize = 64;

/// What is forgotten by and by: a query with an append-only table, which passes over rows of the key `skip`.
const FORGETTING: [&str; 5] = [
    "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME()) AS n FROM src
     WHERE k <> 'skip') WHERE n = 1",
    "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS n FROM src
     WHERE k <> 'skip') WHERE n = 1",
    "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC) AS n FROM src
     WHERE k <> 'skip') WHERE n <= 2",
    "SELECT k, COUNT(*) AS x FROM src WHERE k <> 'skip' GROUP BY k",
    "SELECT a.k, a.x FROM (SELECT k, x FROM src WHERE k <> 'skip') AS a
     LEFT JOIN (SELECT k, x FROM src WHERE k <> 'skip' AND x > 2) AS b ON a.k = b.k",
];

fn forgetting(query: &str) -> String {
    format!(
        "{SOURCE} CREATE TABLE o (k STRING, x BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o {query} STATE TTL INTERVAL '10' MILLISECOND"
    )
}

/// Runs each step in an epoch of its own, behind as many that do nothing but forget.
fn run_behind(script: &str, steps: &[(i64, String)], idle: usize) -> MemoryLogs {
    let with_idle = steps.iter().flat_map(|(now, record)| {
        let skipped = std::iter::repeat_n((*now, row("skip", 0, 0)), idle);
        skipped.chain([(*now, record.clone())])
    });
    run_at(script, &with_idle.collect::<Vec<_>>(), false)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whether a key that has not been touched for too long was removed, or has not had its turn yet, shows in nothing.
    #[test]
    fn whose_turn_it_is_changes_nothing(
        query in 0..FORGETTING.len(),
        steps in prop::collection::vec((0_i64..13, "[a-d]", 0_i64..5), 1..12),
        idle in 0..TURNS,
    ) {
        let script = forgetting(FORGETTING[query]);
        let (mut now, mut second) = (0, 0);
        let steps: Vec<(i64, String)> = steps.into_iter().map(|(pause, k, x)| {
            (now, second) = (now + pause, second + 1);
            (now, row(&k, x, second))
        }).collect();
        // All that is over is removed before each step.
        let at_once = run_behind(&script, &steps, TURNS).values("out");
        prop_assert_eq!(run_behind(&script, &steps, 0).values("out"), at_once.clone());
        prop_assert_eq!(run_behind(&script, &steps, idle).values("out"), at_once);
    }
}

/// A pause lets the time of all keys be over at once: an epoch that removed them all could be too large to be committed, however little
/// it read.
#[test]
fn an_epoch_removes_a_part_of_what_is_over() {
    const KEYS: usize = 6_400;
    for query in FORGETTING {
        let plan = plan(&forgetting(query));
        let mut logs = MemoryLogs::default();
        logs.create("in", 1);
        logs.create("out", 1);
        let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
        let lines: Vec<String> = (0..KEYS).map(|key| row(&format!("k{key}"), 1, 0)).collect();
        logs.produce("in", 0, &lines);
        logs.produce("in", 0, &[row("skip", 0, 59)]);
        while let Turn::Committed { .. } = epochs.turn(&mut logs, 0, 0).unwrap() {}
        let known = epochs.pipeline().state_entries() as usize;
        assert!(known >= KEYS, "{query}: {known}");
        let mut changes = Vec::new();
        for _ in 0..TURNS {
            logs.produce("in", 0, &[row("skip", 0, 59)]);
            let before = logs.changelog.len();
            while let Turn::Committed { .. } = epochs.turn(&mut logs, 100, 0).unwrap() {}
            let records =
                logs.changelog[before..].iter().map(|batch| u64::from(batch.header().count.unsigned_abs()));
            changes.push(records.sum::<u64>());
        }
        assert_eq!(epochs.pipeline().state_entries(), 0, "{query}");
        let most = changes.iter().max().unwrap();
        assert!(*most < 6 * KEYS as u64 / TURNS as u64, "{query}: {changes:?}");
    }
}
