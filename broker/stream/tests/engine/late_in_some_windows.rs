//! A row of overlapping windows may be late for some of them and not for all: it counts for those that end behind the
//! watermark it came with, wherever the cuts are.

use std::collections::BTreeMap;

use logmill_stream::EpochLimits;
use proptest::prelude::*;

use crate::support;
use crate::support::cases::{SOURCE, run};
use crate::support::{MemoryLogs, json};

const HOP: &str = "HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '8' SECOND)";
const CUMULATE: &str = "CUMULATE(TABLE src, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '8' SECOND)";
const DELAY: i64 = 2_000;

fn script(windows: &str, emit: &str) -> String {
    format!(
        "{SOURCE} CREATE TABLE o (s TIMESTAMP(3), w TIMESTAMP(3), k STRING, n BIGINT, x BIGINT, d DOUBLE, v BIGINT)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o SELECT window_start, window_end, k, COUNT(*), SUM(x), SUM(d), COUNT(DISTINCT x)
         FROM TABLE({windows}) GROUP BY window_start, window_end, k {emit}"
    )
}

/// The rows that are left when all changes are taken.
fn left(logs: &MemoryLogs) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for value in logs.values("out") {
        let change = json(&value);
        for (side, by) in [("before", -1), ("after", 1)] {
            if !change[side].is_null() {
                *rows.entry(change[side].to_string()).or_default() += by;
            }
        }
    }
    assert!(rows.values().all(|count| [0, 1].contains(count)), "{rows:?}");
    rows.into_iter().filter(|(_, count)| *count == 1).map(|(row, _)| row).collect()
}

fn record(k: i64, x: i64, time: i64) -> String {
    format!(r#"{{"k":"k{k}","x":{x},"d":{}.1,"ts":{time}}}"#, x * 7)
}

/// By the definition: how many rows each window of each key has.
fn counts(rows: &[(i64, i64, i64)], cumulate: bool, lateness: i64) -> BTreeMap<(i64, i64, i64), i64> {
    let mut watermark = i64::MIN;
    let mut counts = BTreeMap::new();
    for (k, _, time) in rows {
        watermark = watermark.max(time - DELAY);
        let windows: Vec<(i64, i64)> = match cumulate {
            true => {
                let start = time.div_euclid(8_000) * 8_000;
                (1..=4).map(|step| (start, start + step * 2_000)).collect()
            }
            false => (0..4)
                .map(|back| time.div_euclid(2_000) * 2_000 - back * 2_000)
                .map(|start| (start, start + 8_000))
                .collect(),
        };
        for (start, end) in windows.into_iter().filter(|(_, end)| time < end && end + lateness > watermark) {
            *counts.entry((start, end, *k)).or_default() += 1;
        }
    }
    counts
}

#[test]
fn a_row_counts_for_the_windows_that_are_open_when_it_comes() {
    // When 3 s comes, the watermark is 6 s: the window that ends there is over, the one that ends at 8 s is not.
    let input = [record(0, 1, 1_000), record(0, 2, 8_000), record(0, 3, 3_000), record(0, 4, 30_000)];
    for limits in [EpochLimits::default(), support::small_epochs(1)] {
        let logs = run(&script(HOP, ""), &input, (limits, 0, 1));
        let rows = left(&logs).into_iter().map(|row| json(&row));
        let counted: Vec<i64> =
            rows.filter(|row| row["k"] == "k0").map(|row| row["n"].as_i64().unwrap()).collect();
        assert_eq!(
            counted.iter().sum::<i64>(),
            4 + 4 + 2 + 4,
            "two of the late row's four windows: {counted:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_cuts_do_not_decide_for_which_windows_a_row_is_late(
        steps in prop::collection::vec((0_i64..3, 0_i64..6, 0_i64..2_500, prop_oneof![Just(0), 0_i64..9_000]), 1..40),
        batches in 1_u64..12,
        emit_rows in prop_oneof![Just(1_u32), Just(3), Just(1_000)],
        crash in 0_u64..3,
        shards in 1_usize..4,
    ) {
        let mut newest = 0;
        let rows: Vec<(i64, i64, i64)> = steps
            .iter()
            .map(|(k, x, step, behind)| {
                newest += step;
                (*k, *x, newest - behind)
            })
            .collect();
        let input: Vec<String> = rows.iter().map(|(k, x, time)| record(*k, *x, *time)).collect();
        for (windows, cumulate) in [(HOP, false), (CUMULATE, true)] {
            for (emit, lateness) in [
                ("", 0),
                ("EMIT CHANGES", 0),
                ("EMIT ON CLOSE ALLOWING LATENESS INTERVAL '3' SECOND", 3_000),
            ] {
                let script = script(windows, emit);
                let one_by_one = run(&script, &input, (support::small_epochs(1_000), 0, 1));
                let expected = left(&one_by_one);
                let counted: i64 = expected.iter().map(|row| json(row)["n"].as_i64().unwrap()).sum();
                prop_assert_eq!(counted, counts(&rows, cumulate, lateness).values().sum::<i64>(), "{}", script);
                let cut = EpochLimits { input_records: batches, emit_rows, ..EpochLimits::default() };
                for (limits, crash) in [(EpochLimits::default(), 0), (cut, crash)] {
                    let logs = run(&script, &input, (limits, crash, shards));
                    prop_assert_eq!(left(&logs), &expected[..], "{} {:?}", script, limits);
                    let pipeline = support::restored(&support::plan(&script), &logs, 9_999);
                    prop_assert_eq!(pipeline.state_entries(), 0);
                    let totals = |logs: &MemoryLogs| logs.last_progress().unwrap().totals;
                    prop_assert_eq!(totals(&logs).late, totals(&one_by_one).late);
                }
            }
        }
    }
}
