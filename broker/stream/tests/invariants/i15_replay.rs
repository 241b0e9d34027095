//! I15: the recorded cuts over the same input give the same bytes, on any number of shards, in turn or on threads.

use logmill_stream::{EpochOutput, Input, InputProgress, Logs, Pipeline, Plan, Progress, TopicPartition};
use proptest::prelude::*;

use super::faults::{Buggy, edit_outputs, edit_progress};
use super::history::{How, Kept, run_through};
use super::input::{DELAY, Event, events, filled, limits, some_events};
use super::queries::{ALL, GROUPED, TUMBLE};
use super::support::threads::on_threads;
use super::support::{MemoryLogs, batch_of, spec};
use super::{Checked, ensure, ensure_equal, found};

/// Runs the cuts that a run has recorded again, and compares byte for byte.
fn check_replay(plan: &Plan, logs: &MemoryLogs, shards: usize, threads: bool) -> Checked {
    let mut inputs = logs.clone();
    let (progress, changelog) = (Vec::new(), Vec::new());
    let mut replayed = MemoryLogs { progress, changelog, shards, threads, ..logs.clone() };
    replayed.partitions.retain(|partition, _| partition.topic == "in");
    let pipeline = Pipeline::new(plan.clone(), spec(plan, &replayed, 0)).unwrap();
    let mut pipeline = on_threads(pipeline, &replayed);
    for progress in &logs.progress {
        let input = |input: &InputProgress| {
            let partition = TopicPartition::new(&*input.topic, input.partition);
            let read = inputs.read(&partition, input.from, usize::MAX).unwrap();
            Input { partition, batches: read.batches, aborted: read.aborted }
        };
        let input: Vec<Input> = progress.inputs.iter().map(input).collect();
        let output: EpochOutput = pipeline.step(&progress.cut(), &input).unwrap();
        let again = Progress { generation: progress.generation, ..output.progress.clone() };
        let what = format!("epoch {} on {shards} shards, with threads: {threads}", progress.epoch);
        ensure_equal(&again.digest, &progress.digest, &format!("{what}: digest"))?;
        ensure_equal(&again, progress, &format!("{what}: progress"))?;
        replayed.commit(output).unwrap();
    }
    let bytes = |logs: &MemoryLogs| -> Vec<u8> {
        let partitions = logs.partitions.iter().filter(|(partition, _)| partition.topic == "out");
        let batches = partitions.flat_map(|(_, batches)| batches).chain(&logs.changelog);
        batches.flat_map(|batch| batch.bytes().to_vec()).collect()
    };
    ensure(bytes(logs) == bytes(&replayed), || "bytes of output or state differ".to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn the_same_cuts_give_the_same_bytes(
        // Late records too: which they are is decided by the order alone.
        events in events(3, 4 * DELAY),
        limits in limits(),
        crash_every in 0_u64..4,
        ran_on in 1_usize..4,
        shards in prop_oneof![Just(1_usize), Just(2), Just(3), Just(8)],
        threads in any::<bool>(),
        query in 0..ALL.len(),
    ) {
        let plan = ALL[query].plan();
        let mut logs = MemoryLogs { shards: ran_on, ..filled(&events, 3) };
        run_through(&plan, &mut logs, How { limits, crash_every });
        check_replay(&plan, &logs, shards, threads)?;
    }
}

#[test]
fn a_replay_over_other_input_is_found() {
    let event = |value| Event { partition: 0, key: None, value: Some(value), time: 0 };
    let mut logs = filled(&[event(1)], 1);
    run_through(&TUMBLE.plan(), &mut logs, How::default());
    check_replay(&TUMBLE.plan(), &logs, 1, false).unwrap();
    logs.partitions.insert(TopicPartition::new("in", 0), vec![batch_of(&[event(2).json()], None)]);
    found(check_replay(&TUMBLE.plan(), &logs, 1, false), "digest");
}

/// What hangs on the order in which threads came, and a clock that is not frozen.
#[test]
fn a_run_that_no_cut_explains_is_found() {
    let run = |bug: fn(&mut EpochOutput)| {
        let mut logs = Buggy::new(filled(&some_events(3), 3), |logs: &mut MemoryLogs, mut epoch| {
            bug(&mut epoch);
            logs.commit(epoch)
        });
        run_through(&GROUPED.plan(), &mut logs, How::default());
        check_replay(&GROUPED.plan(), logs.memory(), 1, false)
    };
    run(|_| {}).unwrap();
    let turned = run(|epoch| edit_outputs(epoch, "out", |records| records.into_iter().rev().collect()));
    found(turned, "bytes of output or state differ");
    let other = run(|epoch| edit_progress(epoch, |progress| progress.now += 1));
    found(other, "digest");
}
