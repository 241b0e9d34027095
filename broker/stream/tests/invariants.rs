//! What must hold of every run, whatever the input, the cuts and the crashes; checked against a naive oracle.
//!
//! The numbers are those of the invariants the engine is built to: I1 prefix consistency, I4 no loss and no duplicate,
//! I5 the cuts do not matter, I7 conservation, I8 watermarks never go back, I15 replay gives the same bytes.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use logmill_stream::{
    EpochLimits, EpochLoop, Input, InputProgress, Logs, Pipeline, Plan, Progress, TopicPartition, Turn,
};
use proptest::prelude::*;
use support::{MemoryLogs, plan, restored, run_bounded, spec};

const DELAY: i64 = 30_000;
const SIZE: i64 = 10_000;

fn script(sink_options: &str) -> String {
    format!(
        "CREATE TABLE src (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (w TIMESTAMP(3), k STRING, n BIGINT, s BIGINT, m BIGINT)
         WITH ('topic' = 'out', 'format' = 'json' {sink_options});
         INSERT INTO o SELECT window_start, k, COUNT(*), SUM(v), MIN(v)
         FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         WHERE v IS NULL OR v <> 13
         GROUP BY window_start, window_end, k"
    )
}

/// One record of the input.
#[derive(Debug, Clone)]
struct Event {
    partition: i32,
    key: Option<String>,
    value: Option<i64>,
    time: i64,
}

impl Event {
    fn json(&self) -> String {
        serde_json::json!({ "k": self.key, "v": self.value, "ts": self.time, "unused": [1, 2] }).to_string()
    }
}

/// Events whose time goes forward by and by, each at most `disorder` behind the newest before it.
fn events(partitions: i32, disorder: i64) -> impl Strategy<Value = Vec<Event>> {
    let event = (
        0..partitions,
        prop_oneof![Just(None), "[a-c]".prop_map(Some)],
        prop_oneof![1 => Just(None), 1 => Just(Some(13)), 4 => (-5_i64..20).prop_map(Some)],
        0_i64..9_000,
        0..disorder,
    );
    prop::collection::vec(event, 1..60).prop_map(|steps| {
        let mut newest = 0;
        let event = |(partition, key, value, step, behind)| {
            newest += step;
            Event { partition, key, value, time: newest - behind }
        };
        steps.into_iter().map(event).collect()
    })
}

fn logs(events: &[Event], partitions: i32) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", partitions);
    logs.create("out", 1);
    for partition in 0..partitions {
        let own: Vec<String> =
            events.iter().filter(|event| event.partition == partition).map(Event::json).collect();
        own.chunks(3).for_each(|values| logs.produce("in", partition, values));
    }
    logs
}

/// The query over a prefix of the input, in one go: rows of the windows that end at the watermark or before, in order
/// of window and key.
fn oracle(events: &[Event], partitions: i32, ends: &[i64], finished: bool) -> Vec<String> {
    let mut newest = vec![i64::MIN; partitions as usize];
    let mut taken = vec![0; partitions as usize];
    let mut groups: BTreeMap<(i64, Option<String>), Vec<Option<i64>>> = BTreeMap::new();
    for event in events {
        let partition = event.partition as usize;
        if taken[partition] == ends[partition] {
            continue;
        }
        taken[partition] += 1;
        newest[partition] = newest[partition].max(event.time - DELAY);
        if event.value != Some(13) {
            let start = event.time.div_euclid(SIZE) * SIZE;
            groups.entry((start, event.key.clone())).or_default().push(event.value);
        }
    }
    let watermark = if finished { i64::MAX } else { newest.into_iter().min().unwrap() };
    let row = |((start, key), values): ((i64, Option<String>), Vec<Option<i64>>)| {
        let known: Vec<i64> = values.iter().copied().flatten().collect();
        let sum = (!known.is_empty()).then(|| known.iter().sum::<i64>());
        let window = logmill_stream::time::Iso(start).to_string();
        serde_json::json!({ "w": window, "k": key, "n": values.len(), "s": sum, "m": known.iter().min() })
            .to_string()
    };
    groups.into_iter().filter(|((start, _), _)| start + SIZE <= watermark).map(row).collect()
}

fn check_watermarks(progress: &[Progress]) {
    let mut before: Option<&Progress> = None;
    for progress in progress {
        if let Some(before) = before {
            assert!(progress.watermark >= before.watermark, "I8: the watermark goes back");
            for (input, input_before) in progress.inputs.iter().zip(&before.inputs) {
                assert!(input.watermarks >= input_before.watermarks, "I8: a partition's watermark goes back");
                assert_eq!(input.from, input_before.to, "an epoch begins where the one before ended");
            }
        }
        let open = progress.inputs.iter().filter(|input| input.end != Some(input.to));
        if let Some(slowest) = open.map(|input| input.watermarks[0]).min() {
            assert!(progress.watermark <= slowest, "I8: the watermark is ahead of the slowest partition");
        }
        before = Some(progress);
    }
}

/// Runs the recorded cuts again over the same input, and compares byte for byte.
fn check_replay(plan: &Plan, logs: &MemoryLogs) {
    let mut inputs = logs.clone();
    let mut replayed = MemoryLogs { progress: Vec::new(), changelog: Vec::new(), ..logs.clone() };
    replayed.partitions.retain(|partition, _| partition.topic == "in");
    let mut pipeline = Pipeline::new(plan.clone(), spec(plan, logs, 0)).unwrap();
    for progress in &logs.progress {
        let input = |input: &InputProgress| {
            let partition = TopicPartition::new(&*input.topic, input.partition);
            let read = inputs.read(&partition, input.from, usize::MAX).unwrap();
            Input { partition, batches: read.batches, aborted: read.aborted }
        };
        let input: Vec<Input> = progress.inputs.iter().map(input).collect();
        let output = pipeline.step(&progress.cut(), &input).unwrap();
        assert_eq!(output.progress.digest, progress.digest, "I15: epoch {}", progress.epoch);
        let again = Progress { generation: progress.generation, ..output.progress.clone() };
        assert_eq!(again, *progress, "I15");
        replayed.commit(output).unwrap();
    }
    let bytes = |logs: &MemoryLogs, topic: &str| -> Vec<u8> {
        let partitions = logs.partitions.iter().filter(|(partition, _)| partition.topic == topic);
        partitions.flat_map(|(_, batches)| batches.iter().flat_map(|batch| batch.bytes().to_vec())).collect()
    };
    assert_eq!(bytes(logs, "out"), bytes(&replayed, "out"), "I15: output bytes");
    let changelog = |logs: &MemoryLogs| -> Vec<u8> {
        logs.changelog.iter().flat_map(|batch| batch.bytes().to_vec()).collect()
    };
    assert_eq!(changelog(logs), changelog(&replayed), "I15: changelog bytes");
}

fn limits() -> impl Strategy<Value = EpochLimits> {
    (
        prop_oneof![Just(1_usize), Just(700), Just(1 << 20)],
        prop_oneof![Just(1_u64), Just(5), Just(10_000)],
        prop_oneof![Just(1_u32), Just(3), Just(1_000)],
        prop_oneof![Just(1_usize), Just(700), Just(1 << 20)],
        prop_oneof![Just(1_usize), Just(900), Just(1 << 20)],
    )
        .prop_map(|(input_bytes, input_records, emit_rows, unpacked_bytes, output_bytes)| EpochLimits {
            input_bytes,
            input_records,
            unpacked_bytes,
            output_bytes,
            emit_rows,
        })
}

/// Limits that no epoch is ever too large for: a loop that was restored cuts as the one before would have.
fn steady_limits() -> impl Strategy<Value = EpochLimits> {
    let steady = |limits| EpochLimits { unpacked_bytes: usize::MAX, output_bytes: usize::MAX, ..limits };
    limits().prop_map(steady)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_epoch_is_the_query_over_a_prefix(events in events(3, DELAY), limits in limits()) {
        let plan = plan(&script(""));
        let mut logs = logs(&events, 3);
        let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), limits);
        let mut declared = false;
        loop {
            match epochs.turn(&mut logs, 0, 0).unwrap() {
                Turn::Finished => break,
                Turn::Idle => {
                    prop_assert!(!declared, "a declared end is reached");
                    declared = true;
                    epochs.declare_ends(logs.ends("in")).unwrap();
                    continue;
                }
                Turn::Committed { progress, .. } => {
                    let ends: Vec<i64> = progress.inputs.iter().map(|input| input.to).collect();
                    let at_end = declared && progress.inputs.iter().all(|input| input.end == Some(input.to));
                    let expected = oracle(&events, 3, &ends, at_end);
                    let found = logs.values("out");
                    prop_assert_eq!(&found, &expected[..found.len()], "I1");
                    prop_assert!(found.len() == expected.len() || epochs.pipeline().emission_pending(), "I1");
                    prop_assert_eq!(progress.totals.read as i64, ends.iter().sum::<i64>(), "I7");
                    prop_assert_eq!(progress.totals.late, 0);
                }
            }
        }
        prop_assert!(logs.last_progress().unwrap().finished);
        check_watermarks(&logs.progress);
        check_replay(&plan, &logs);
    }

    #[test]
    fn crashes_and_refused_commits_change_nothing(
        events in events(3, DELAY),
        limits in steady_limits(),
        crash_every in 1_u64..4,
        refuse in prop::collection::btree_set(1_u64..12, 0..4),
    ) {
        let plan = plan(&script(""));
        let mut undisturbed = logs(&events, 3);
        let mut disturbed = undisturbed.clone();
        disturbed.refuse = refuse;
        run_bounded(&plan, &mut undisturbed, limits, 0).unwrap();
        run_bounded(&plan, &mut disturbed, limits, crash_every).unwrap();
        prop_assert_eq!(undisturbed.values("out"), disturbed.values("out"), "I4");
        let bytes = |logs: &MemoryLogs| logs.changelog.iter().map(|batch| batch.bytes().clone()).collect::<Vec<_>>();
        prop_assert_eq!(bytes(&undisturbed), bytes(&disturbed), "I4: the state's changes are the same too");
        let totals = |logs: &MemoryLogs| logs.last_progress().unwrap().totals;
        prop_assert_eq!(totals(&undisturbed), totals(&disturbed), "I7");
        check_watermarks(&disturbed.progress);
        check_replay(&plan, &disturbed);
    }

    #[test]
    fn a_compacted_changelog_restores_the_same_state(
        events in events(2, DELAY),
        limits in steady_limits(),
        crash_every in 1_u64..4,
    ) {
        let plan = plan(&script(""));
        let mut undisturbed = logs(&events, 2);
        let mut compacted = MemoryLogs { compacted: true, ..undisturbed.clone() };
        run_bounded(&plan, &mut undisturbed, limits, 0).unwrap();
        run_bounded(&plan, &mut compacted, limits, crash_every).unwrap();
        prop_assert_eq!(undisturbed.values("out"), compacted.values("out"));
        let digests = |logs: &MemoryLogs| logs.progress.iter().map(|progress| progress.digest).collect::<Vec<_>>();
        prop_assert_eq!(digests(&undisturbed), digests(&compacted));
    }

    #[test]
    fn in_one_partition_the_cuts_decide_nothing_not_even_what_is_late(
        events in events(1, 4 * DELAY),
        one in limits(),
        other in limits(),
    ) {
        let plan = plan(&script(", 'compression' = 'lz4'"));
        let mut left = logs(&events, 1);
        let mut right = left.clone();
        run_bounded(&plan, &mut left, one, 0).unwrap();
        run_bounded(&plan, &mut right, other, 2).unwrap();
        prop_assert_eq!(left.values("out"), right.values("out"), "I5");
        let late = |logs: &MemoryLogs| logs.last_progress().unwrap().totals.late;
        prop_assert_eq!(late(&left), late(&right), "I5");
        // The naive count of late records: those whose window ends at the watermark they meet or before.
        let mut newest = i64::MIN;
        let mut expected = 0;
        for event in &events {
            newest = newest.max(event.time - DELAY);
            let window_end = (event.time.div_euclid(SIZE) + 1) * SIZE;
            expected += u64::from(event.value != Some(13) && window_end <= newest);
        }
        prop_assert_eq!(late(&left), expected);
    }
}

#[test]
fn the_oracle_sees_a_wrong_row() {
    let event = |time| Event { partition: 0, key: None, value: Some(1), time };
    let rows = oracle(&[event(0), event(1), event(50_000)], 1, &[3], false);
    assert_eq!(rows, [r#"{"w":"1970-01-01T00:00:00Z","k":null,"n":2,"s":2,"m":1}"#]);
    assert_ne!(rows, oracle(&[event(0), event(50_000)], 1, &[2], false));
}

#[test]
fn a_replay_over_other_input_is_seen() {
    let plan = plan(&script(""));
    let event = |value| Event { partition: 0, key: None, value: Some(value), time: 0 };
    let mut logs = logs(&[event(1)], 1);
    run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
    check_replay(&plan, &logs);
    logs.partitions.insert(TopicPartition::new("in", 0), vec![support::batch_of(&[event(2).json()], None)]);
    let replay = std::panic::AssertUnwindSafe(|| check_replay(&plan, &logs));
    assert!(std::panic::catch_unwind(replay).is_err(), "another input gives another digest");
}

#[test]
fn two_copies_of_a_pipeline_cannot_both_commit() {
    let plan = plan(&script(""));
    let event = |time| Event { partition: 0, key: None, value: Some(1), time };
    let mut logs = logs(&[event(0), event(100_000)], 1);
    let mut old = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    let mut new = EpochLoop::new(restored(&plan, &logs, 2), EpochLimits::default());
    assert!(matches!(new.turn(&mut logs, 0, 0).unwrap(), Turn::Committed { .. }));
    let outputs = logs.values("out");
    assert!(old.turn(&mut logs, 0, 0).unwrap_err().to_string().contains("fenced"));
    assert_eq!(logs.values("out"), outputs);
    let names: BTreeSet<u32> = logs.progress.iter().map(|progress| progress.generation).collect();
    assert_eq!(names, BTreeSet::from([2]));
}
