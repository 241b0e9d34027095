//! I4: the output with crashes and refused commits is the output without, for every way of keeping state.

use logmill_stream::{CommitError, EpochOutput, Logs};
use proptest::prelude::*;

use super::faults::{Buggy, edit_changelog};
use super::history::{How, Kept, run_through};
use super::input::{DELAY, events, filled, singly, some_events, steady_limits};
use super::queries::{ALL, GROUPED, Query, TUMBLE};
use super::support::MemoryLogs;
use super::{Checked, ensure_equal, found};

/// A run with crashes has written, counted and kept what the run without them has.
fn check_same(query: Query, disturbed: &MemoryLogs, undisturbed: &MemoryLogs) -> Checked {
    ensure_equal(&query.table(disturbed)?, &query.table(undisturbed)?, "the table")?;
    ensure_equal(&disturbed.values("in").len(), &undisturbed.values("in").len(), "records of the input")?;
    let records = |logs: &MemoryLogs| logs.records("out").len();
    ensure_equal(&records(disturbed), &records(undisturbed), "records written")?;
    let totals = |logs: &MemoryLogs| logs.last_progress().map(|progress| progress.totals);
    ensure_equal(&totals(disturbed), &totals(undisturbed), "counters")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn crashes_change_nothing(
        events in events(3, DELAY),
        limits in steady_limits(),
        crash_every in 1_u64..4,
        refuse in prop::collection::btree_set(1_u64..12, 0..4),
        compacted in any::<bool>(),
        query in 0..ALL.len(),
    ) {
        let query = ALL[query];
        let plan = query.plan();
        let mut undisturbed = filled(&events, 3);
        let mut disturbed = MemoryLogs { refuse, compacted, ..undisturbed.clone() };
        let how = How { limits, crash_every };
        run_through(&plan, &mut undisturbed, how.crashing(0));
        run_through(&plan, &mut disturbed, how);
        check_same(query, &disturbed, &undisturbed)?;
    }
}

/// Runs a query with a crash every seventh epoch over logs with a bug.
fn with_bug(
    query: Query,
    bug: impl FnMut(&mut MemoryLogs, EpochOutput) -> Result<(), CommitError>,
) -> Checked {
    let events = some_events(3);
    let mut undisturbed = singly(&events, 3);
    run_through(&query.plan(), &mut undisturbed, How::small());
    let mut disturbed = Buggy::new(singly(&events, 3), bug);
    run_through(&query.plan(), &mut disturbed, How::small().crashing(7));
    check_same(query, disturbed.memory(), &undisturbed)
}

/// What is not in the changelog is lost in a crash.
#[test]
fn state_that_is_not_in_the_changelog_is_found() {
    for query in [GROUPED, TUMBLE] {
        let lost = with_bug(query, |logs, mut epoch| {
            if epoch.epoch() % 7 == 0 {
                edit_changelog(&mut epoch, |_| Vec::new());
            }
            logs.commit(epoch)
        });
        found(lost, "the table");
    }
}

/// An epoch whose output is written again when nobody knows whether it was.
#[test]
fn output_that_is_written_again_is_found() {
    let twice = with_bug(TUMBLE, |logs, epoch| {
        if epoch.epoch() % 7 == 0 {
            for output in &epoch.outputs {
                logs.append(&output.topic, output.partition, output.batch.clone());
            }
        }
        logs.commit(epoch)
    });
    found(twice, "the table");
}
