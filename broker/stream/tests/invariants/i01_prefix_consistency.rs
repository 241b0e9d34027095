//! I1: after every committed epoch the output is the query over the input up to the cut.

use std::collections::{BTreeMap, BTreeSet};

use logmill_stream::plan::Operator;
use logmill_stream::{Logs, Plan};
use proptest::prelude::*;

use super::faults::{Buggy, edit_outputs};
use super::history::{How, Kept, run};
use super::input::{DELAY, Event, events, filled, limits, prefix, singly, some_events, tumbled};
use super::queries::{GROUPED, TUMBLE};
use super::support::MemoryLogs;
use super::{Checked, ensure, ensure_equal, found};

/// How far the epochs so far have read each partition.
fn ends(logs: &MemoryLogs) -> Option<Vec<i64>> {
    logs.last_progress().map(|progress| progress.inputs.iter().map(|input| input.to).collect())
}

/// Windows that are closed are there, in order; all of them unless some wait to be written.
fn check_windows(events: &[Event], logs: &MemoryLogs, pending: bool) -> Checked {
    let expected = ends(logs).map(|ends| tumbled(events, &ends)).unwrap_or_default();
    let found = logs.values("out");
    let so_far = &expected[..found.len().min(expected.len())];
    ensure(found == so_far, || format!("windows of the output: {found:?}, expected {expected:?}"))?;
    ensure(pending || found.len() == expected.len(), || {
        format!("windows are missing: {:?}", &expected[found.len()..])
    })
}

/// The table is the groups of the prefix.
fn check_groups(events: &[Event], logs: &MemoryLogs) -> Checked {
    let mut groups: BTreeMap<String, Vec<Option<i64>>> = BTreeMap::new();
    for event in prefix(events, &ends(logs).unwrap_or_else(|| vec![0; 3])) {
        groups.entry(event.name()).or_default().push(event.value);
    }
    let row = |(key, values): (String, Vec<Option<i64>>)| {
        let known: Vec<i64> = values.iter().copied().flatten().collect();
        let sum = (!known.is_empty()).then(|| known.iter().sum::<i64>());
        let distinct = known.iter().collect::<BTreeSet<_>>().len();
        let row = serde_json::json!({
            "k": key, "n": values.len(), "s": sum, "m": known.iter().max(), "d": distinct
        });
        (row.to_string(), 1)
    };
    ensure_equal(&GROUPED.table(logs)?, &groups.into_iter().map(row).collect(), "groups of the output")
}

/// Runs a query, and checks what is there after every epoch.
fn check_run<L: Kept>(
    plan: &Plan,
    logs: &mut L,
    how: How,
    check: impl Fn(&MemoryLogs, bool) -> Checked,
) -> Checked {
    let mut checked = Ok(());
    run(plan, logs, how, |logs, pending| {
        if checked.is_ok() {
            checked = check(logs, pending);
        }
    })
    .unwrap_or_else(|error| panic!("{error}"));
    checked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn the_output_is_the_query_over_a_prefix(
        events in events(3, DELAY),
        limits in limits(),
        crash_every in 0_u64..3,
    ) {
        let how = How { limits, crash_every };
        check_run(&TUMBLE.plan(), &mut filled(&events, 3), how, |logs, pending| {
            check_windows(&events, logs, pending)
        })?;
        check_run(&GROUPED.plan(), &mut filled(&events, 3), how, |logs, _| check_groups(&events, logs))?;
    }
}

/// A row that is lost on its way to the topic.
#[test]
fn a_lost_row_is_found() {
    let events = some_events(3);
    let losing = || {
        Buggy::new(singly(&events, 3), |logs: &mut MemoryLogs, mut epoch| {
            if epoch.epoch() % 5 == 0 {
                edit_outputs(&mut epoch, "out", |_| Vec::new());
            }
            logs.commit(epoch)
        })
    };
    let windows = check_run(&TUMBLE.plan(), &mut losing(), How::small(), |logs, pending| {
        check_windows(&events, logs, pending)
    });
    found(windows, "windows");
    found(
        check_run(&GROUPED.plan(), &mut losing(), How::small(), |logs, _| check_groups(&events, logs)),
        "groups",
    );
}

/// A plan that forgets the WHERE of its query, and one that forgets what is distinct.
#[test]
fn another_query_is_found() {
    let events: Vec<Event> = some_events(3)
        .into_iter()
        .map(|event| Event { value: event.value.map(|v| v.max(13)), ..event })
        .collect();
    let mut unfiltered = TUMBLE.plan();
    let mut plain = GROUPED.plan();
    for node in unfiltered.nodes.iter_mut().chain(&mut plain.nodes) {
        match &mut node.operator {
            Operator::Map { filter, .. } => *filter = None,
            Operator::GroupAggregate(group) => {
                group.aggregates.iter_mut().for_each(|aggregate| aggregate.distinct = false);
            }
            _ => {}
        }
    }
    let windows = check_run(&unfiltered, &mut singly(&events, 3), How::small(), |logs, pending| {
        check_windows(&events, logs, pending)
    });
    found(windows, "windows");
    let groups =
        check_run(&plain, &mut singly(&events, 3), How::small(), |logs, _| check_groups(&events, logs));
    found(groups, "groups");
}
