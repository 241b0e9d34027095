//! State that is not in memory (I10, I14): the same epochs, byte for byte, however little of it is, whatever is lost of the
//! store with a crash; and no more in memory than may be.

mod ranks;
mod rig;
mod windows;

use std::collections::BTreeMap;

use logmill_record::{BatchBuilder, BatchOptions};
use logmill_stream::{ColdError, ColdStore, EpochError, EpochLimits, EpochLoop, Plan, Turn, TurnError};
use proptest::prelude::*;
use rig::{Crash, Spilt, check_same, courses, digests};

use crate::support::MemoryLogs;

const SOURCES: &str = "
    CREATE TABLE l (k STRING, x BIGINT, d DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
    WITH ('topic' = 'left', 'format' = 'json');
    CREATE TABLE r (k STRING, y BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
    WITH ('topic' = 'right', 'format' = 'json');
    CREATE TABLE t (k STRING, y BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'right', 'format' = 'json');";

/// Queries whose state may be on disk, in whole or in part, and one whose state may not: columns, options, query.
const QUERIES: &[(&str, &str, &str)] = &[
    ("k STRING, n BIGINT", ", 'output' = 'upsert'", "SELECT k, COUNT(*) FROM l GROUP BY k UNBOUNDED"),
    (
        "k STRING, n BIGINT, a BIGINT, u BIGINT, d DOUBLE",
        ", 'output' = 'retract'",
        "SELECT k, COUNT(*), MIN(x), COUNT(DISTINCT x), SUM(d) FROM l GROUP BY k UNBOUNDED",
    ),
    (
        "n BIGINT, m BIGINT",
        ", 'output' = 'retract'",
        "SELECT n, COUNT(*) FROM (SELECT k, COUNT(*) AS n FROM l GROUP BY k) AS c GROUP BY n UNBOUNDED",
    ),
    ("y BIGINT, n BIGINT", ", 'output' = 'retract'", "SELECT y, COUNT(*) FROM t GROUP BY y UNBOUNDED"),
    (
        "k STRING, x BIGINT, y BIGINT",
        ", 'output' = 'retract'",
        "SELECT l.k, x, y FROM l LEFT JOIN r ON l.k = r.k UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, y BIGINT",
        "",
        "SELECT l.k, x, t.y FROM l LEFT JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON l.k = t.k",
    ),
    (
        "k STRING, x BIGINT, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT k, x, n FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC, ts) AS n FROM l)
         WHERE n <= 2 UNBOUNDED",
    ),
    (
        "c BIGINT, k STRING, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT c, k, n FROM (SELECT c, k, RANK() OVER (PARTITION BY c ORDER BY m DESC) AS n
         FROM (SELECT k, COUNT(*) AS c, MAX(x) AS m FROM l GROUP BY k)) WHERE n <= 2 UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT",
        "",
        "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS n FROM l) WHERE n = 1 UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT",
        "",
        "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME()) AS n FROM l) WHERE n = 1
         UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s BIGINT, n BIGINT",
        "",
        "SELECT k, x, SUM(x) OVER (PARTITION BY k ORDER BY ts), COUNT(DISTINCT x) OVER (PARTITION BY k ORDER BY ts)
         FROM l UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s BIGINT, y BIGINT",
        "",
        "SELECT k, x, SUM(x) OVER (PARTITION BY k ORDER BY ts), LAG(x) OVER (PARTITION BY k ORDER BY ts) FROM l UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s DOUBLE, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT k, x, SUM(d) OVER (PARTITION BY k ORDER BY x ROWS 1 PRECEDING), ROW_NUMBER() OVER (PARTITION BY k ORDER BY x)
         FROM l UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s BIGINT, n BIGINT",
        "",
        "SELECT k, x, SUM(x) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW),
         COUNT(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '1' SECOND PRECEDING AND CURRENT ROW) FROM l",
    ),
    (
        "k STRING, x BIGINT, s BIGINT, y BIGINT, d DOUBLE",
        "",
        "SELECT k, x, MAX(x) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '2' SECOND PRECEDING AND CURRENT ROW),
         LAG(x, 2) OVER (PARTITION BY k ORDER BY ts), SUM(d) OVER (PARTITION BY k ORDER BY ts) FROM l UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s DOUBLE",
        "",
        "SELECT k, x, SUM(d) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM l UNBOUNDED",
    ),
    (
        "s TIMESTAMP(3), k STRING, x BIGINT, y BIGINT, n BIGINT",
        "",
        "SELECT window_start, k, x, LEAD(x) OVER (PARTITION BY window_start, window_end, k ORDER BY x DESC),
         RANK() OVER (PARTITION BY window_start, window_end, k ORDER BY x DESC)
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '8' SECOND))",
    ),
    (
        "s TIMESTAMP(3), n BIGINT, y BIGINT",
        "",
        "SELECT window_start, n, SUM(y) OVER (PARTITION BY window_start, window_end ORDER BY n ROWS BETWEEN 1 PRECEDING AND
         1 FOLLOWING) FROM (SELECT window_start, window_end, x AS n, COUNT(*) AS y
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '6' SECOND)) GROUP BY window_start, window_end, x)",
    ),
    (
        "s TIMESTAMP(3), k STRING, n BIGINT, y BIGINT",
        "",
        "SELECT window_start, k, COUNT(*), MAX(x)
         FROM TABLE(SESSION(TABLE l PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND))
         GROUP BY k, window_start, window_end",
    ),
    (
        "s TIMESTAMP(3), k STRING, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT window_start, k, COUNT(DISTINCT x)
         FROM TABLE(SESSION(TABLE l PARTITION BY k, DESCRIPTOR(ts), INTERVAL '6' SECOND))
         GROUP BY k, window_start, window_end EMIT CHANGES",
    ),
    (
        "k STRING, x BIGINT, y BIGINT",
        "",
        "SELECT l.k, x, y FROM l JOIN r ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '2' SECOND AND l.ts",
    ),
    (
        "k STRING, x BIGINT, s BIGINT, n BIGINT",
        "",
        "SELECT k, x, SUM(x) OVER (PARTITION BY k ORDER BY ts),
         COUNT(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '1' SECOND PRECEDING AND CURRENT ROW)
         FROM l UNBOUNDED",
    ),
];

/// The query, or if `lives` is set, what it is with a time to live.
fn query(index: usize, lives: bool) -> Plan {
    let (columns, options, select) = QUERIES[index];
    plan_of(
        columns,
        options,
        &if lives { select.replace("UNBOUNDED", TIME_TO_LIVE) } else { select.to_owned() },
    )
}

fn plan_of(columns: &str, options: &str, select: &str) -> Plan {
    crate::support::plan(&format!(
        "{SOURCES} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json' {options}); INSERT INTO o {select}"
    ))
}

const TIME_TO_LIVE: &str = "STATE TTL INTERVAL '3' SECOND";

fn event(key: &str, value: i64, ts: i64) -> String {
    serde_json::json!({ "k": key, "x": value, "y": value, "d": value as f64 + 0.25, "ts": ts }).to_string()
}

fn logs() -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    ["left", "right"].iter().for_each(|topic| logs.create(topic, 2));
    logs.create("out", 1);
    logs
}

fn inputs() -> impl Strategy<Value = MemoryLogs> {
    inputs_of("[a-h]{1,2}", 2_500)
}

/// Records whose keys match a pattern and whose times step by so many milliseconds at most.
fn inputs_of(keys: &'static str, step: i64) -> impl Strategy<Value = MemoryLogs> {
    let event_of = (any::<bool>(), 0..2, keys, -3_i64..6, 0_i64..step, 0_i64..4_000);
    prop::collection::vec(event_of, 1..80).prop_map(|steps| {
        let mut logs = logs();
        let mut newest = 10_000;
        for (left, partition, key, value, step, behind) in steps {
            newest += step;
            let topic = if left { "left" } else { "right" };
            let value = (left || value > -3).then(|| event(&key, value, newest - behind));
            let mut batch = BatchBuilder::new(BatchOptions::default());
            batch.push(1_000, Some(key.as_bytes()), value.as_ref().map(String::as_bytes), &[]);
            logs.append(topic, partition, batch.build());
        }
        logs
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_is_spilt_changes_nothing(
        index in 0..QUERIES.len(),
        lives in any::<bool>(),
        input in inputs(),
        course in courses(),
    ) {
        check_same(&query(index, lives), input, course)?;
    }
}

fn many_keys(count: usize) -> MemoryLogs {
    let mut logs = logs();
    for at in 0..count {
        logs.produce("left", 0, &[event(&format!("key-{at}"), 1, 10_000)]);
    }
    logs
}

/// I14. What the state has grown to shows in neither memory nor what a restart reads.
#[test]
fn memory_is_bounded_while_the_state_grows() {
    let plan = query(1, false);
    let keep = 20_000;
    let mut logs = many_keys(3_000);
    let limits = EpochLimits { input_records: 20, ..EpochLimits::default() };
    let mut run = Spilt::new(&plan, limits, keep, 0);
    let ends: BTreeMap<_, _> = plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect();
    let mut epochs = EpochLoop::new(run.restore(&logs), limits);
    epochs.declare_ends(ends).unwrap();
    let mut most = 0;
    while let Turn::Committed { progress, .. } = epochs.turn(&mut logs, 1_000_000, 0).unwrap() {
        run.ends.push(logs.changelog.len() as i64);
        epochs.committed(progress.epoch, run.position(&progress)).unwrap();
        most = most.max(epochs.pipeline().memory_bytes());
    }
    let state = epochs.pipeline().state_bytes();
    assert!(state > 20 * keep, "{state}");
    assert!(most <= keep && most > keep / 4, "{most}");
    drop(epochs);
    let again = run.restore(&logs);
    assert_eq!((again.state_bytes(), again.memory_bytes()), (state, 0));
    assert_eq!(again.state_entries(), 3_000);
}

/// I14. Of what is forgotten after a time only the keys and their times stay in memory; and all of it is forgotten by and by.
#[test]
fn what_lives_for_a_time_leaves_memory() {
    const KEYS: u64 = 4_000;
    // A key's time, itself, and that the buffer they are in has grown.
    const OF_A_KEY: u64 = 2 * (12 + 12);
    let keep = 20_000;
    let limits = EpochLimits { input_records: 20, ..EpochLimits::default() };
    for part in [
        "COUNT(DISTINCT x), SUM(d) FROM",
        "LEFT JOIN r",
        "ORDER BY x DESC",
        "ORDER BY PROCTIME()",
        "ROWS 1 PRECEDING",
    ] {
        let index = QUERIES.iter().position(|(_, _, select)| select.contains(part)).unwrap();
        let plan = query(index, true);
        let mut logs = many_keys(KEYS as usize);
        let mut run = Spilt::new(&plan, limits, keep, 0);
        let mut epochs = EpochLoop::new(run.restore(&logs), limits);
        let mut turns = |epochs: &mut EpochLoop, logs: &mut MemoryLogs, now: i64| {
            let mut most = 0;
            while let Turn::Committed { progress, .. } = epochs.turn(logs, now, 0).unwrap() {
                run.ends.push(logs.changelog.len() as i64);
                epochs.committed(progress.epoch, run.position(&progress)).unwrap();
                most = most.max(epochs.pipeline().memory_bytes());
            }
            most
        };
        let most = turns(&mut epochs, &mut logs, 1_000_000);
        let state = epochs.pipeline().state_bytes();
        assert!(state > 20 * keep, "{part}: {state}");
        assert!(most < keep + KEYS * OF_A_KEY + (4 << 10), "{part}: {most} of {state} bytes");
        assert_eq!(epochs.pipeline().state_entries(), KEYS, "{part}");
        logs.produce("left", 0, &[event("another", 1, 10_000)]);
        turns(&mut epochs, &mut logs, 1_003_000);
        let of_over = part.contains("PRECEDING");
        assert_eq!(epochs.pipeline().state_entries() > KEYS * 9 / 10, !of_over, "{part}");
        for _ in 0..64 {
            logs.produce("left", 0, &[event("another", 1, 10_000)]);
            turns(&mut epochs, &mut logs, 1_003_000);
        }
        assert!(epochs.pipeline().state_entries() < 70, "{part}");
        assert!(epochs.pipeline().memory_bytes() < 10_000, "{part}");
    }
}

/// A key that is forgotten among many in the epoch in which a record of it comes begins anew, as it does in memory.
#[test]
fn what_is_forgotten_as_its_record_comes_begins_anew() {
    let limits = EpochLimits { input_records: 5_000, ..EpochLimits::default() };
    for part in [
        "COUNT(DISTINCT x), SUM(d) FROM",
        "LEFT JOIN r",
        "ORDER BY x DESC",
        "ORDER BY PROCTIME()",
        "ROWS 1 PRECEDING",
        "SUM(d) OVER (PARTITION BY k ORDER BY ts ROWS",
    ] {
        let index = QUERIES.iter().position(|(_, _, select)| select.contains(part)).unwrap();
        let plan = query(index, true);
        let first = many_keys(3_000);
        let then = |logs: &mut MemoryLogs| {
            (0..3_000).step_by(100).for_each(|at| {
                logs.produce("left", 0, &[event(&format!("key-{at}"), 1, 20_000)]);
            });
        };
        let mut whole = first.clone();
        let mut in_memory = EpochLoop::new(crate::support::restored(&plan, &whole, 1), limits);
        for now in [1_000_000, 1_003_000] {
            while let Turn::Committed { .. } = in_memory.turn(&mut whole, now, 0).unwrap() {}
            then(&mut whole);
        }
        let mut logs = first;
        let mut run = Spilt::new(&plan, limits, 0, 0);
        let mut epochs = EpochLoop::new(run.restore(&logs), limits);
        for now in [1_000_000, 1_003_000] {
            while let Turn::Committed { progress, .. } = epochs.turn(&mut logs, now, 0).unwrap() {
                run.ends.push(logs.changelog.len() as i64);
                epochs.committed(progress.epoch, run.position(&progress)).unwrap();
            }
            then(&mut logs);
        }
        assert_eq!(logs.values("out"), whole.values("out"), "{part}");
        assert_eq!(digests(&logs), digests(&whole), "{part}");
        let size = |epochs: &EpochLoop| (epochs.pipeline().state_entries(), epochs.pipeline().state_bytes());
        assert_eq!(size(&epochs), size(&in_memory), "{part}");
    }
}

/// I14. What an epoch touches is bounded: one that would read too much back is done in parts.
#[test]
fn an_epoch_that_touches_much_is_done_in_parts() {
    let plan = crate::support::plan(
        "CREATE TABLE l (k BIGINT, s STRING, x BIGINT) WITH ('topic' = 'left', 'format' = 'json');
         CREATE TABLE o (k BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o SELECT k, LENGTH(s) FROM
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x) AS n FROM l) WHERE n = 1 UNBOUNDED",
    );
    let text = "x".repeat(1 << 20);
    let mut logs = logs();
    let each = |x: i64, text: &str| {
        (0..40).map(|k| format!("{{\"k\":{k},\"x\":{x},\"s\":\"{text}\"}}")).collect::<Vec<_>>()
    };
    each(2, &text).iter().for_each(|record| logs.produce("left", 0, std::slice::from_ref(record)));
    let mut run = Spilt::new(&plan, EpochLimits::default(), 0, 0);
    let mut epochs =
        EpochLoop::new(run.restore(&logs), EpochLimits { input_records: 4, ..EpochLimits::default() });
    let go = |epochs: &mut EpochLoop, run: &mut Spilt<'_>, logs: &mut MemoryLogs| loop {
        match epochs.turn(logs, 0, 0) {
            Ok(Turn::Committed { progress, .. }) => {
                run.ends.push(logs.changelog.len() as i64);
                epochs.committed(progress.epoch, run.position(&progress)).unwrap();
            }
            Ok(_) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(go(&mut epochs, &mut run, &mut logs).is_none());
    assert!(epochs.pipeline().state_bytes() > 40 << 20);
    drop(epochs);
    logs.produce("left", 0, &each(1, "y"));
    let (mut pace, mut parted) = (Default::default(), 0);
    loop {
        let mut epochs = EpochLoop::new(run.restore(&logs), EpochLimits::default()).with_pace(pace);
        let Some(error) = go(&mut epochs, &mut run, &mut logs) else { break };
        let (bytes, limit) = error.too_large().unwrap_or_else(|| panic!("{error}"));
        assert!(bytes > limit && bytes < 2 * limit, "{error}");
        assert!(epochs.shrink());
        (pace, parted) = (epochs.pace(), parted + 1);
    }
    assert!(parted > 0);
    let shortest = logs.values("out").iter().filter(|value| value.contains("\"n\":1}")).count();
    assert_eq!(shortest, 40);
}

/// A store that fails, and one that holds what nobody wrote, end the run: no epoch is computed from them.
#[test]
fn a_store_that_fails_or_is_damaged_is_an_error() {
    let plan = query(0, false);
    let limits = EpochLimits { input_records: 4, ..EpochLimits::default() };
    let mut logs = logs();
    (0..40).for_each(|at| logs.produce("left", 0, &[event(&format!("{}", at % 20), 1, 10_000)]));
    let start = || {
        let mut logs = logs.clone();
        let mut run = Spilt::new(&plan, limits, 0, 0);
        let crash = Crash { after: 4, kept: 100, synced: false, lost: false };
        assert!(!run.run(&mut logs, Some(crash)).unwrap());
        (run, logs)
    };
    let failed = |epochs: &mut EpochLoop, logs: &mut MemoryLogs| loop {
        match epochs.turn(logs, 1_000_000, 0) {
            Ok(Turn::Committed { .. }) => {}
            Err(TurnError::Epoch { error: EpochError::Cold(error), .. }) => break error,
            other => panic!("{other:?}"),
        }
    };
    let (mut run, mut failing) = start();
    let mut epochs = EpochLoop::new(run.restore(&failing), limits);
    run.store.fail_after(1);
    let error = failed(&mut epochs, &mut failing);
    assert!(matches!(error, ColdError::Failed { .. }), "{error}");

    let (mut run, mut damaged) = start();
    for (key, _) in run.store.dump() {
        run.store.damage(&key, b"?");
    }
    let mut epochs = EpochLoop::new(run.restore(&damaged), limits);
    let error = failed(&mut epochs, &mut damaged);
    assert!(matches!(error, ColdError::Damaged { .. }), "{error}");

    // One that has lost an entry in the middle shows: the digests differ.
    let (mut run, mut lossy) = start();
    let mut whole = lossy.clone();
    let (key, _) = run.store.dump()[0].clone();
    let mark = run.store.mark().unwrap().unwrap();
    run.store.write(&mut std::iter::once((&*key, None)), &mark).unwrap();
    run.run(&mut lossy, None).unwrap();
    let mut intact = start().0;
    intact.run(&mut whole, None).unwrap();
    assert_ne!(digests(&lossy), digests(&whole));
}
