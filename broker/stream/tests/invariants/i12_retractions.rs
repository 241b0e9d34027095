//! I12: the rows that were given less those that were taken back are the table, after every epoch; no row is taken back
//! that is not there; and what is taken back leaves every aggregate as if it had never come.

use std::collections::BTreeMap;

use logmill_stream::{Logs, Plan};
use proptest::prelude::*;

use super::faults::{Buggy, edit_outputs};
use super::history::{How, Kept, run, run_through};
use super::input::{DELAY, Event, events, filled, limits, prefix, singly, some_events};
use super::queries::{JOINED, NESTED, Query};
use super::support::{MemoryLogs, json, plan};
use super::{Checked, ensure_equal, found};

/// The greatest of values that may be missing.
fn greatest(values: &[Option<i64>]) -> Option<i64> {
    values.iter().copied().flatten().max()
}

/// The rows of `NESTED`, computed from all events at once.
fn nested(events: &[&Event]) -> Vec<serde_json::Value> {
    let mut by_count: BTreeMap<usize, Vec<Option<i64>>> = BTreeMap::new();
    for values in by_key(events).into_values() {
        by_count.entry(values.len()).or_default().push(greatest(&values));
    }
    let row = |(n, most): (usize, Vec<Option<i64>>)| serde_json::json!({ "n": n, "keys": most.len(), "most": greatest(&most) });
    by_count.into_iter().map(row).collect()
}

/// The rows of `JOINED`.
fn joined(events: &[&Event]) -> Vec<serde_json::Value> {
    let left: Vec<Option<i64>> = by_key(events).into_values().map(|values| greatest(&values)).collect();
    let mut right: BTreeMap<Option<i64>, usize> = BTreeMap::new();
    events.iter().for_each(|event| *right.entry(event.value).or_default() += 1);
    let is_pair = |l: &Option<i64>, r: &Option<i64>| l.is_some() && l == r && right[r] > 1;
    let mut rows = Vec::new();
    for l in &left {
        let partner = right.keys().find(|r| is_pair(l, r));
        rows.push(serde_json::json!({ "l": l, "r": partner.copied().flatten() }));
    }
    for r in right.keys().filter(|r| !left.iter().any(|l| is_pair(l, r))) {
        rows.push(serde_json::json!({ "l": null, "r": r }));
    }
    rows
}

fn by_key(events: &[&Event]) -> BTreeMap<Option<String>, Vec<Option<i64>>> {
    let mut keys: BTreeMap<Option<String>, Vec<Option<i64>>> = BTreeMap::new();
    events.iter().for_each(|event| keys.entry(event.key.clone()).or_default().push(event.value));
    keys
}

/// The sum of the changes is the table of the prefix; the sum itself finds rows that go and are not there.
fn check_sum(
    query: Query,
    logs: &MemoryLogs,
    expected: impl Fn(&[&Event]) -> Vec<serde_json::Value>,
    events: &[Event],
) -> Checked {
    let Some(progress) = logs.last_progress() else { return Ok(()) };
    let ends: Vec<i64> = progress.inputs.iter().map(|input| input.to).collect();
    let mut table: BTreeMap<String, i64> = BTreeMap::new();
    for row in expected(&prefix(events, &ends)) {
        *table.entry(row.to_string()).or_default() += 1;
    }
    ensure_equal(&query.table(logs)?, &table, &format!("the sum of the changes at epoch {}", progress.epoch))
}

fn check_run(
    query: Query,
    logs: &mut impl Kept,
    how: How,
    expected: impl Fn(&[&Event]) -> Vec<serde_json::Value> + Copy,
    events: &[Event],
) -> Checked {
    let mut checked = Ok(());
    run(&query.plan(), logs, how, |logs, _| {
        if checked.is_ok() {
            checked = check_sum(query, logs, expected, events);
        }
    })
    .unwrap();
    checked
}

/// Every aggregate that can take rows back.
const FOLDED: &str = "COUNT(*) AS a, COUNT(v) AS b, SUM(v) AS c, MIN(v) AS d, MAX(v) AS e, AVG(v) AS f, COUNT(DISTINCT v) AS g,
    SUM(DISTINCT v) AS h, ANY_VALUE(v) AS i, BOOL_AND(v > 3) AS j, BOOL_OR(v > 3) AS k, VAR_POP(v) AS l, STDDEV_SAMP(v) AS m,
    APPROX_PERCENTILE(v, 0.5) AS n, SUM(CAST(v AS DECIMAL(10, 2))) AS o, SUM(v) FILTER (WHERE v > 3) AS p";

fn folded() -> Plan {
    plan(&format!(
        "CREATE TABLE src (k BIGINT, v BIGINT) WITH ('topic' = 'in', 'format' = 'debezium-json');
         CREATE TABLE o (one BIGINT, a BIGINT, b BIGINT, c BIGINT, d BIGINT, e BIGINT, f DOUBLE, g BIGINT, h BIGINT, i BIGINT,
           j BOOLEAN, k BOOLEAN, l DOUBLE, m DOUBLE, n DOUBLE, o DECIMAL(38, 2), p BIGINT, PRIMARY KEY (one) NOT ENFORCED)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO o SELECT 1, * FROM (SELECT {FOLDED} FROM src) UNBOUNDED"
    ))
}

/// What the aggregates are in the end, over changes.
fn aggregates(plan: &Plan, changes: &[String], how: How) -> Option<String> {
    let mut logs = MemoryLogs::default();
    logs.create("in", 1);
    logs.create("out", 1);
    changes.iter().for_each(|change| logs.produce("in", 0, std::slice::from_ref(change)));
    run_through(plan, &mut logs, how);
    let (_, last) = logs.records("out").pop()?;
    last.value.map(|value| json(std::str::from_utf8(&value).unwrap()).to_string())
}

fn row(k: usize, v: Option<i64>) -> serde_json::Value {
    serde_json::json!({ "k": k, "v": v })
}

fn comes(k: usize, v: Option<i64>) -> String {
    serde_json::json!({ "before": null, "after": row(k, v), "op": "c" }).to_string()
}

fn goes(k: usize, v: Option<i64>) -> String {
    serde_json::json!({ "before": row(k, v), "after": null, "op": "d" }).to_string()
}

/// Rows of which some are taken back again, in some order behind their coming; the rest alone says the same.
fn check_inverts(plan: &Plan, rows: &[(Option<i64>, bool)], how: How) -> Checked {
    let mut changes = Vec::new();
    let mut gone = Vec::new();
    for (k, (v, stays)) in rows.iter().enumerate() {
        changes.push(comes(k, *v));
        if !stays {
            gone.push(goes(k, *v));
        }
        if k % 3 == 2 {
            changes.append(&mut gone);
        }
    }
    changes.extend(gone.into_iter().rev());
    let rest: Vec<String> =
        rows.iter().enumerate().filter(|(_, (_, stays))| *stays).map(|(k, (v, _))| comes(k, *v)).collect();
    ensure_equal(
        &aggregates(plan, &changes, how),
        &aggregates(&folded(), &rest, How::default()),
        "aggregates of rows some of which are taken back",
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn changes_sum_to_the_table(
        events in events(3, DELAY),
        limits in limits(),
        crash_every in 0_u64..4,
        shards in 1_usize..4,
    ) {
        let how = How { limits, crash_every };
        let logs = || MemoryLogs { shards, ..filled(&events, 3) };
        check_run(NESTED, &mut logs(), how, nested, &events)?;
        check_run(JOINED, &mut logs(), how, joined, &events)?;
    }

    #[test]
    fn aggregates_invert(
        rows in prop::collection::vec((prop::option::weighted(0.9, -5_i64..12), any::<bool>()), 1..20),
        limits in limits(),
        crash_every in 0_u64..4,
    ) {
        check_inverts(&folded(), &rows, How { limits, crash_every })?;
    }
}

/// A row that is not taken back, and one that is taken back twice.
#[test]
fn a_lost_retraction_is_found() {
    let events = some_events(3);
    for query in [NESTED, JOINED] {
        for twice in [false, true] {
            let mut logs = Buggy::new(singly(&events, 3), |logs: &mut MemoryLogs, mut epoch| {
                edit_outputs(&mut epoch, "out", |records| {
                    let goes = |record: &logmill_record::Record| {
                        json(std::str::from_utf8(record.value.as_ref().unwrap()).unwrap())["op"] == "d"
                    };
                    let times = |record: &logmill_record::Record| match (goes(record), twice) {
                        (true, true) => 2,
                        (true, false) => 0,
                        _ => 1,
                    };
                    records
                        .iter()
                        .flat_map(|record| std::iter::repeat_n(record.clone(), times(record)))
                        .collect()
                });
                logs.commit(epoch)
            });
            let checked = match query.script() == NESTED.script() {
                true => check_run(query, &mut logs, How::small(), nested, &events),
                false => check_run(query, &mut logs, How::small(), joined, &events),
            };
            found(checked, if twice { "is not there" } else { "the sum of the changes" });
        }
    }
}

/// A plan that believes its rows are never taken back: extremes and distinct values only grow.
#[test]
fn an_aggregate_that_does_not_invert_is_found() {
    let rows: Vec<(Option<i64>, bool)> = (0..10).map(|v| (Some(v), v < 5)).collect();
    check_inverts(&folded(), &rows, How::small()).unwrap();
    let mut believing = folded();
    believing.nodes.iter_mut().for_each(|node| node.changes = false);
    found(check_inverts(&believing, &rows, How::small()), "aggregates");
}
