//! I2: at any crash, outputs, offsets, state, watermarks and counters are all those of one epoch.

use std::collections::BTreeMap;

use logmill_record::Batch;
use logmill_stream::{EpochOutput, Logs, Plan, Progress, TopicPartition};
use proptest::prelude::*;

use super::faults::{Buggy, refused};
use super::history::{How, Kept, run};
use super::input::{DELAY, events, filled, singly, some_events, steady_limits};
use super::queries::{ALL, GROUPED, Query, TUMBLE};
use super::support::MemoryLogs;
use super::{Checked, ensure_equal, found};

/// All that is committed at a moment.
#[derive(Debug, Clone, PartialEq)]
struct Contents {
    outputs: BTreeMap<TopicPartition, Vec<u8>>,
    changelog: Vec<u8>,
    /// Offsets, watermarks and counters; without the generation, which crashes count.
    progress: Option<Progress>,
}

fn bytes(batches: &[Batch]) -> Vec<u8> {
    batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect()
}

impl Contents {
    fn of(logs: &MemoryLogs) -> Contents {
        let outputs = logs.partitions.iter().filter(|(partition, _)| partition.topic != "in");
        Contents {
            outputs: outputs.map(|(partition, batches)| (partition.clone(), bytes(batches))).collect(),
            changelog: bytes(&logs.changelog),
            progress: logs.last_progress().map(|progress| Progress { generation: 0, ..progress }),
        }
    }
}

/// What is committed after each epoch of a run without a crash; the first is the beginning.
fn epochs(plan: &Plan, mut logs: MemoryLogs, how: How) -> Vec<Contents> {
    let mut contents = vec![Contents::of(&logs)];
    run(plan, &mut logs, how.crashing(0), |logs, _| {
        if contents.len() == logs.progress.len() {
            contents.push(Contents::of(logs));
        }
    })
    .unwrap();
    contents
}

/// Whatever happens, what is committed is what one epoch has left.
fn check_atomic(epochs: &[Contents], logs: &MemoryLogs) -> Checked {
    let found = Contents::of(logs);
    let epoch = found.progress.as_ref().map_or(0, |progress| progress.epoch as usize);
    let expected = &epochs[epoch];
    ensure_equal(&found.outputs, &expected.outputs, &format!("outputs at epoch {epoch}"))?;
    ensure_equal(&found.changelog, &expected.changelog, &format!("state at epoch {epoch}"))?;
    ensure_equal(&found.progress, &expected.progress, &format!("progress at epoch {epoch}"))
}

/// Runs with crashes, and checks what is committed after every turn.
fn check_run(plan: &Plan, logs: &mut impl Kept, epochs: &[Contents], how: How) -> Checked {
    let mut checked = Ok(());
    run(plan, logs, how, |logs, _| {
        if checked.is_ok() {
            checked = check_atomic(epochs, logs);
        }
    })
    .unwrap();
    checked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn what_is_committed_is_one_epoch(
        events in events(3, DELAY),
        limits in steady_limits(),
        crash_every in 0_u64..4,
        refuse in prop::collection::btree_set(1_u64..12, 0..4),
        query in 0..ALL.len(),
    ) {
        let how = How { limits, crash_every };
        let plan = ALL[query].plan();
        let undisturbed = epochs(&plan, filled(&events, 3), how);
        let mut disturbed = MemoryLogs { refuse, ..filled(&events, 3) };
        check_run(&plan, &mut disturbed, &undisturbed, how)?;
    }
}

/// Runs a query over logs that at one epoch do as `commit` does and then say that they refused it.
fn torn(query: Query, tear: impl Fn(&mut MemoryLogs, &EpochOutput)) -> Checked {
    let events = some_events(3);
    let plan = query.plan();
    let how = How::small();
    let undisturbed = epochs(&plan, singly(&events, 3), how);
    let mut once = false;
    let mut logs = Buggy::new(singly(&events, 3), |logs: &mut MemoryLogs, epoch| {
        let is_full = !epoch.outputs.is_empty() && !epoch.changelog.is_empty();
        if epoch.epoch() > 9 && is_full && !std::mem::replace(&mut once, true) {
            tear(logs, &epoch);
            return Err(refused(&epoch));
        }
        logs.commit(epoch)
    });
    check_run(&plan, &mut logs, &undisturbed, how)
}

#[test]
fn a_frame_that_is_written_in_part_is_found() {
    let outputs = torn(TUMBLE, |logs, epoch| {
        for output in &epoch.outputs {
            logs.append(&output.topic, output.partition, output.batch.clone());
        }
    });
    found(outputs, "outputs at epoch");
    let state = torn(GROUPED, |logs, epoch| logs.changelog.extend(epoch.changelog.iter().cloned()));
    found(state, "state at epoch");
    let progress = torn(GROUPED, |logs, epoch| logs.progress.push(epoch.progress.clone()));
    found(progress, "at epoch");
}
