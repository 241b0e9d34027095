//! Windows whose groups are not all in memory.

use std::collections::BTreeMap;

use logmill_stream::{ColdStore, EpochLimits, EpochLoop, Plan, Turn};
use proptest::prelude::*;

use super::rig::{Crash, Spilt, check_same, courses, digests};
use super::{event, inputs, inputs_of, logs, many_keys, plan_of};

/// Windows that rows are put into, or come with; given when they close, later once more, or whenever they change: columns,
/// options, query.
const QUERIES: &[(&str, &str, &str)] = &[
    (
        "s TIMESTAMP(3), k STRING, n BIGINT, y BIGINT",
        "",
        "SELECT window_start, k, COUNT(*), MAX(x)
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND)) GROUP BY window_start, window_end, k",
    ),
    (
        "s TIMESTAMP(3), k STRING, n BIGINT, d DOUBLE",
        "",
        "SELECT window_start, k, COUNT(DISTINCT x), SUM(d)
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND))
         GROUP BY window_start, window_end, k",
    ),
    (
        "s TIMESTAMP(3), e TIMESTAMP(3), k STRING, n BIGINT",
        "",
        "SELECT window_start, window_end, k, COUNT(*)
         FROM TABLE(CUMULATE(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND))
         GROUP BY window_start, window_end, k",
    ),
    // Some slices are in no window.
    (
        "s TIMESTAMP(3), k STRING, n BIGINT",
        "",
        "SELECT window_start, k, COUNT(*)
         FROM TABLE(HOP(DATA => TABLE l, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '10' SECOND, SIZE => INTERVAL '4' SECOND))
         GROUP BY window_start, window_end, k",
    ),
    (
        "s TIMESTAMP(3), n BIGINT, u BIGINT",
        "",
        "SELECT window_start, COUNT(*), COUNT(DISTINCT k)
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND)) GROUP BY window_start, window_end",
    ),
    (
        "s TIMESTAMP(3), k STRING",
        "",
        "SELECT window_start, k
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND)) GROUP BY window_start, window_end, k",
    ),
    (
        "s TIMESTAMP(3), k STRING, n BIGINT, y BIGINT",
        ", 'output' = 'retract'",
        "SELECT window_start, k, COUNT(*), MIN(x)
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND)) GROUP BY window_start, window_end, k
         EMIT CHANGES",
    ),
    (
        "s TIMESTAMP(3), k STRING, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT window_start, k, COUNT(DISTINCT x)
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND))
         GROUP BY window_start, window_end, k EMIT CHANGES",
    ),
    (
        "s TIMESTAMP(3), k STRING, n BIGINT, d DOUBLE",
        ", 'output' = 'retract'",
        "SELECT window_start, k, COUNT(*), SUM(d)
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND)) GROUP BY window_start, window_end, k
         EMIT ON CLOSE ALLOWING LATENESS INTERVAL '3' SECOND",
    ),
    // When a window is given, slices of an earlier one go.
    (
        "s TIMESTAMP(3), k STRING, n BIGINT, u BIGINT",
        ", 'output' = 'retract'",
        "SELECT window_start, k, COUNT(*), COUNT(DISTINCT x)
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '8' SECOND))
         GROUP BY window_start, window_end, k EMIT ON CLOSE ALLOWING LATENESS INTERVAL '4' SECOND",
    ),
    // Windows that come with the rows.
    (
        "s TIMESTAMP(3), n BIGINT, m BIGINT",
        "",
        "SELECT window_start, n, COUNT(*) FROM (SELECT window_start, window_end, k, COUNT(*) AS n
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND))
         GROUP BY window_start, window_end, k) GROUP BY window_start, window_end, n",
    ),
    // Rows are taken back.
    (
        "s TIMESTAMP(3), y BIGINT, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT window_start, y, COUNT(*) FROM (SELECT window_start, window_end, k, MAX(x) AS y
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '8' SECOND))
         GROUP BY window_start, window_end, k) GROUP BY window_start, window_end, y EMIT CHANGES",
    ),
    (
        "s TIMESTAMP(3), y BIGINT, n BIGINT, u BIGINT",
        ", 'output' = 'retract'",
        "SELECT window_start, y, COUNT(*), COUNT(DISTINCT k) FROM (SELECT window_start, window_end, k, MAX(x) AS y
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '6' SECOND, INTERVAL '12' SECOND))
         GROUP BY window_start, window_end, k) GROUP BY window_start, window_end, y
         EMIT ON CLOSE ALLOWING LATENESS INTERVAL '8' SECOND",
    ),
];

fn query(index: usize) -> Plan {
    let (columns, options, select) = QUERIES[index];
    plan_of(columns, options, select)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn windows_that_are_spilt_change_nothing(
        index in 0..QUERIES.len(),
        input in prop_oneof![inputs(), inputs_of("[a-h]{1,2}", 600), inputs_of("[a-f]", 1_000)],
        course in courses(),
    ) {
        check_same(&query(index), input, course)?;
    }
}

/// I14. A window of more groups than memory has room for is counted, given and forgotten within what it may have.
#[test]
fn a_window_larger_than_memory_is_given_in_parts() {
    const KEYS: usize = 3_000;
    const ROWS: u32 = 50;
    let keep = 20_000;
    let limits = EpochLimits { input_records: 20, emit_rows: ROWS, ..EpochLimits::default() };
    for (index, (_, _, select)) in QUERIES.iter().enumerate() {
        // All of it is in one group.
        if select.contains("COUNT(DISTINCT k)") {
            continue;
        }
        let plan = query(index);
        let mut logs = many_keys(KEYS);
        let mut run = Spilt::new(&plan, limits, keep, 0);
        let ends: BTreeMap<_, _> =
            plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect();
        let mut epochs = EpochLoop::new(run.restore(&logs), limits);
        epochs.declare_ends(ends).unwrap();
        let (mut most, mut state, mut given) = (0, 0, 0);
        while let Turn::Committed { progress, .. } = epochs.turn(&mut logs, 1_000_000, 0).unwrap() {
            run.ends.push(logs.changelog.len() as i64);
            epochs.committed(progress.epoch, run.position(&progress)).unwrap();
            most = most.max(epochs.pipeline().memory_bytes());
            state = state.max(epochs.pipeline().state_bytes());
            let records = logs.records("out").len();
            assert!(records - given <= 2 * ROWS as usize, "{select}: {} in an epoch", records - given);
            given = records;
        }
        assert!(given >= KEYS || select.contains("FROM (SELECT"), "{select}: {given} rows");
        assert!(state > 10 * keep, "{select}: {state}");
        assert!(most <= keep, "{select}: {most} of {state}");
        assert_eq!(epochs.pipeline().state_entries(), 0, "{select}");
        assert_eq!(run.store.dump(), [], "{select}");
    }
}

/// The bugs: a store that has lost an entry of a slice, and one that still has one which is gone.
#[test]
fn an_entry_of_a_slice_that_is_lost_or_kept_is_found() {
    let limits = EpochLimits { input_records: 4, ..EpochLimits::default() };
    for index in 0..3 {
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
        assert_ne!(lost, intact);
        let kept = run_with(&|run| {
            let (mut key, value) = run.store.dump()[0].clone();
            // The key's last letter is before two zeros that end it.
            let letter = key.len() - 3;
            key[letter] = b'x';
            run.store.damage(&key, &value);
        });
        assert_ne!(kept, intact);
    }
}
