//! I5: shards, their threads, key groups, partitions and cuts change neither the final table nor the order of a key's rows.
//!
//! A broker's pipelines have 256 key groups, always; here there are 16, too. A state keeps the number it was begun with.
//! Different cuts interleave the partitions differently, so the input is
//! one of which the interleaving decides nothing: no record is late, and queries order by what rows say.

use std::collections::BTreeMap;

use logmill_stream::{KeyGroups, Logs, Pipeline, RestoreError};
use proptest::prelude::*;

use super::faults::{Buggy, edit_changelog, edit_outputs, edit_progress};
use super::history::{How, Kept, run_through};
use super::input::{DELAY, Event, events, filled, limits, singly, some_events};
use super::queries::{ALL, GROUPED, Query, TUMBLE};
use super::support::{MemoryLogs, json, spec};
use super::{Checked, ensure_equal, found};

/// The rows of each key, in the order in which they were written.
fn by_key(logs: &MemoryLogs) -> BTreeMap<String, Vec<String>> {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in logs.values("out") {
        rows.entry(json(&row)["k"].to_string()).or_default().push(row);
    }
    rows
}

/// The table is the same, and where rows are only added so is the order of each key's. Rows of one moment are in
/// the order of the operator that gives them, which is that of the windows for these queries.
fn check_same(query: Query, one: &MemoryLogs, other: &MemoryLogs) -> Checked {
    ensure_equal(&query.table(one)?, &query.table(other)?, "the table")?;
    match query.script() == TUMBLE.script() {
        true => ensure_equal(&by_key(one), &by_key(other), "the order of a key's rows"),
        false => Ok(()),
    }
}

fn few() -> KeyGroups {
    KeyGroups::new(16).expect("there may be so many")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn shards_partitions_and_cuts_do_not_matter(
        events in events(5, DELAY),
        one in limits(),
        other in limits(),
        partitions in 1_i32..5,
        shards in prop_oneof![Just(1_usize), Just(2), Just(3), Just(8)],
        threads in any::<bool>(),
        few_groups in any::<bool>(),
        crash_every in 0_u64..4,
        query in 0..ALL.len(),
    ) {
        let query = ALL[query];
        let plan = query.plan();
        let mut left = filled(&events, 5);
        run_through(&plan, &mut left, How { limits: one, crash_every: 0 });
        let moved: Vec<Event> =
            events.iter().map(|event| Event { partition: event.partition % partitions, ..event.clone() }).collect();
        let key_groups = if few_groups { few() } else { KeyGroups::DEFAULT };
        let mut right = MemoryLogs { shards, threads, key_groups, ..filled(&moved, partitions) };
        run_through(&plan, &mut right, How { limits: other, crash_every });
        check_same(query, &left, &right)?;
    }

    /// The shards may be others after every restart.
    #[test]
    fn a_rescale_in_the_middle_does_not_matter(
        events in events(3, DELAY),
        limits in limits(),
        shards in prop::collection::vec(1_usize..9, 1..5),
        threads in any::<bool>(),
        few_groups in any::<bool>(),
        query in 0..ALL.len(),
    ) {
        let query = ALL[query];
        let plan = query.plan();
        let key_groups = if few_groups { few() } else { KeyGroups::DEFAULT };
        let mut left = filled(&events, 3);
        run_through(&plan, &mut left, How { limits, crash_every: 0 });
        let mut epochs = 0;
        let filled = MemoryLogs { threads, key_groups, ..filled(&events, 3) };
        let mut right = Buggy::new(filled, |logs: &mut MemoryLogs, epoch| {
            epochs += 1;
            logs.shards = shards[epochs % shards.len()];
            logs.commit(epoch)
        });
        run_through(&plan, &mut right, How { limits, crash_every: 2 });
        check_same(query, &left, right.memory())?;
    }
}

#[test]
fn rows_in_another_order_are_found() {
    let events = some_events(3);
    let mut left = singly(&events, 3);
    run_through(&TUMBLE.plan(), &mut left, How::default());
    let mut right = Buggy::new(singly(&events, 3), |logs: &mut MemoryLogs, mut epoch| {
        edit_outputs(&mut epoch, "out", |records| records.into_iter().rev().collect());
        logs.commit(epoch)
    });
    run_through(&TUMBLE.plan(), &mut right, How::default());
    found(check_same(TUMBLE, right.memory(), &left), "the order of a key's rows");
}

/// A shard that is moved and loses what it had.
#[test]
fn a_rescale_that_loses_a_key_group_is_found() {
    let events = some_events(3);
    let mut left = singly(&events, 3);
    run_through(&GROUPED.plan(), &mut left, How::small());
    let mut right = Buggy::new(singly(&events, 3), |logs: &mut MemoryLogs, mut epoch| {
        logs.shards = 1 + epoch.epoch() as usize % 3;
        if epoch.epoch() == 10 {
            edit_changelog(&mut epoch, |_| Vec::new());
        }
        logs.commit(epoch)
    });
    run_through(&GROUPED.plan(), &mut right, How::small().crashing(2));
    found(check_same(GROUPED, right.memory(), &left), "the table");
}

/// Every query, and every number of shards that the two numbers of groups deal out otherwise.
#[test]
fn few_key_groups_give_the_same_bytes() {
    let events = some_events(3);
    for query in ALL {
        let run = |key_groups, shards| {
            let mut logs = MemoryLogs { key_groups, shards, ..singly(&events, 3) };
            run_through(&query.plan(), &mut logs, How::small().crashing(3));
            logs
        };
        let many = run(KeyGroups::DEFAULT, 1);
        for shards in [1, 2, 3, 8, 16] {
            let few = run(few(), shards);
            check_same(query, &few, &many).unwrap();
            assert_eq!(few.values("out"), many.values("out"), "{shards} shards");
        }
    }
}

#[test]
fn a_state_stays_with_the_key_groups_it_has() {
    let plan = GROUPED.plan();
    let mut logs = MemoryLogs { key_groups: few(), ..singly(&some_events(3), 3) };
    run_through(&plan, &mut logs, How::small());
    let restore = |spec| Pipeline::restore(plan.clone(), spec, logs.last_progress());
    assert!(restore(spec(&plan, &logs, 9)).is_ok());
    let many = logmill_stream::PipelineSpec { key_groups: KeyGroups::DEFAULT, ..spec(&plan, &logs, 9) };
    let refused = restore(many).unwrap_err();
    assert!(matches!(refused, RestoreError::OtherKeyGroups { found: 16, expected: 256 }), "{refused}");
    let shards = logmill_stream::PipelineSpec { shards: 17, ..spec(&plan, &logs, 9) };
    assert!(restore(shards).unwrap_err().to_string().contains("17 shards; there are 1 to 16"));
}

/// State that is taken for one of another number of groups: its progress records do not say how many it has.
#[test]
fn a_state_that_changes_its_key_groups_is_found() {
    let events = some_events(3);
    let mut left = singly(&events, 3);
    run_through(&GROUPED.plan(), &mut left, How::small());
    let filled = MemoryLogs { key_groups: few(), ..singly(&events, 3) };
    let mut right = Buggy::new(filled, |logs: &mut MemoryLogs, mut epoch| {
        if epoch.epoch() >= 10 {
            logs.key_groups = KeyGroups::DEFAULT;
            edit_progress(&mut epoch, |progress| progress.key_groups = KeyGroups::DEFAULT);
        }
        logs.commit(epoch)
    });
    run_through(&GROUPED.plan(), &mut right, How::small().crashing(2));
    found(check_same(GROUPED, right.memory(), &left), "the table");
}
