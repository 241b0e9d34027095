//! Rankings whose rows wait for time, and are not all in memory.

use std::collections::BTreeMap;

use logmill_stream::{ColdStore, EpochLimits, EpochLoop, Plan, Turn};
use proptest::prelude::*;

use super::rig::{Crash, Spilt, check_same, courses, digests};
use super::{event, inputs, inputs_of, logs, many_keys, plan_of};

/// Rankings of windows of each kind, of rows that are only added or taken back, by key or of all rows, and the first row of
/// each key: columns, query.
const QUERIES: &[(&str, &str)] = &[
    (
        "s TIMESTAMP(3), k STRING, x BIGINT, n BIGINT",
        "SELECT window_start, k, x, n FROM
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY x DESC, ts) AS n
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND))) WHERE n <= 2",
    ),
    (
        "s TIMESTAMP(3), k STRING, x BIGINT, n BIGINT",
        "SELECT window_start, k, x, n FROM
         (SELECT *, RANK() OVER (PARTITION BY window_start, window_end, k ORDER BY x) AS n
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND))) WHERE n <= 2",
    ),
    (
        "s TIMESTAMP(3), k STRING, x BIGINT",
        "SELECT window_start, k, x FROM
         (SELECT *, DENSE_RANK() OVER (PARTITION BY window_start, window_end, k ORDER BY x) AS n
         FROM TABLE(CUMULATE(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND))) WHERE n <= 2",
    ),
    (
        "k STRING, x BIGINT",
        "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS n FROM l) WHERE n = 1 UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT",
        "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts, x) AS n FROM l) WHERE n = 1
         STATE TTL INTERVAL '3' SECOND",
    ),
    // Rows are taken back, so that those beyond the limit are kept.
    (
        "s TIMESTAMP(3), y BIGINT, k STRING, n BIGINT",
        "SELECT window_start, y, k, n FROM
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, y ORDER BY k) AS n FROM
         (SELECT window_start, window_end, k, MAX(x) AS y FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND))
         GROUP BY window_start, window_end, k)) WHERE n <= 2 EMIT CHANGES",
    ),
    // One partition a window.
    (
        "s TIMESTAMP(3), k STRING, y BIGINT, n BIGINT",
        "SELECT window_start, k, y, n FROM
         (SELECT *, DENSE_RANK() OVER (PARTITION BY window_start, window_end ORDER BY y DESC) AS n FROM
         (SELECT window_start, window_end, k, COUNT(*) AS y FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND))
         GROUP BY window_start, window_end, k)) WHERE n <= 2",
    ),
    // Windows that end alone.
    (
        "k STRING, x BIGINT, n BIGINT",
        "SELECT k, y, n FROM
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY y DESC, k) AS n FROM
         (SELECT window_start, window_end, k, SUM(x) AS y
         FROM TABLE(SESSION(TABLE l PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND))
         GROUP BY k, window_start, window_end)) WHERE n <= 2",
    ),
];

/// How many of them have a partition for each key.
const BY_KEY: usize = 5;

fn query(index: usize) -> Plan {
    let (columns, select) = QUERIES[index];
    plan_of(columns, "", select)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn rankings_that_are_spilt_change_nothing(
        index in 0..QUERIES.len(),
        input in prop_oneof![inputs(), inputs_of("[a-h]{1,2}", 600), inputs_of("[a-f]", 1_000)],
        course in courses(),
    ) {
        check_same(&query(index), input, course)?;
    }
}

/// I14. More partitions than memory has room for are ranked, given and forgotten within what it may have: but for when each is
/// due all of them leave it.
#[test]
fn partitions_that_wait_leave_memory_and_are_given_in_parts() {
    const KEYS: usize = 3_000;
    const ROWS: u32 = 50;
    // Of each partition its key, and what that takes beside itself; of one that is given and lives for a time its key and that
    // time, and that the buffer they are in has grown.
    const STAYS: u64 = 64 + 36;
    const LIVES: u64 = 2 * (12 + 12);
    let keep = 20_000;
    let limits = EpochLimits { input_records: 20, emit_rows: ROWS, ..EpochLimits::default() };
    for (index, (_, select)) in QUERIES[..BY_KEY].iter().enumerate() {
        let plan = query(index);
        let mut logs = many_keys(KEYS);
        let mut run = Spilt::new(&plan, limits, keep, 0);
        let ends: BTreeMap<_, _> =
            plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect();
        let mut epochs = EpochLoop::new(run.restore(&logs), limits);
        epochs.declare_ends(ends).unwrap();
        let (mut most, mut state, mut entries, mut given) = (0, 0, 0, 0);
        while let Turn::Committed { progress, .. } = epochs.turn(&mut logs, 1_000_000, 0).unwrap() {
            run.ends.push(logs.changelog.len() as i64);
            epochs.committed(progress.epoch, run.position(&progress)).unwrap();
            most = most.max(epochs.pipeline().memory_bytes());
            state = state.max(epochs.pipeline().state_bytes());
            entries = entries.max(epochs.pipeline().state_entries());
            let records = logs.records("out").len();
            assert!(records - given <= 2 * ROWS as usize, "{select}: {} in an epoch", records - given);
            given = records;
        }
        assert!(given >= KEYS, "{select}: {given} rows");
        let lives = if select.contains("STATE TTL") { LIVES } else { 0 };
        let bound = keep + entries * (STAYS + lives);
        assert!(state > bound, "{select}: {state} bytes say nothing, where {bound} may be");
        assert!(most <= bound, "{select}: {most} of {state}, where {bound} may be");
        if select.contains("window_start") {
            assert_eq!(epochs.pipeline().state_entries(), 0, "{select}");
            assert_eq!(run.store.dump(), [], "{select}");
        }
    }
}

/// The bugs: a store that has lost a row that waits, and one that still has one which is gone.
#[test]
fn a_row_that_waits_and_is_lost_or_kept_is_found() {
    let limits = EpochLimits { input_records: 4, ..EpochLimits::default() };
    for index in 0..BY_KEY {
        let plan = query(index);
        let mut logs = logs();
        (0..40).for_each(|at| logs.produce("left", 0, &[event(&format!("{}", at % 20), 1, 10_000 + at)]));
        let run_with = |bug: &dyn Fn(&Spilt<'_>)| {
            let mut logs = logs.clone();
            let mut run = Spilt::new(&plan, limits, 0, 0);
            let crash = Crash { after: 8, kept: 100, synced: false, lost: false };
            assert!(!run.run(&mut logs, Some(crash)).unwrap());
            bug(&run);
            run.run(&mut logs, None).unwrap();
            digests(&logs)
        };
        let intact = run_with(&|_| {});
        let lost = run_with(&|run| {
            let (key, _) = run.store.dump()[0].clone();
            let mark = run.store.mark().unwrap().unwrap();
            run.store.write(&mut std::iter::once((&*key, None)), &mark).unwrap();
        });
        assert_ne!(lost, intact, "query {index}");
        let kept = run_with(&|run| {
            let (mut key, value) = run.store.dump()[0].clone();
            // Its place among equals: one more of them.
            *key.last_mut().unwrap() += 9;
            run.store.damage(&key, &value);
        });
        assert_ne!(kept, intact, "query {index}");
    }
}
