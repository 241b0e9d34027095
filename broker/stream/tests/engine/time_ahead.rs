//! Partitions that are far ahead in event time wait for the others, and for nobody who has nothing to read.

use logmill_stream::{
    EpochLimits, EpochLoop, Input, InputProgress, Logs, Pipeline, Plan, TopicPartition, Turn, compile,
};

use crate::support::{MemoryLogs, plan, restored, run_bounded, spec};

fn script(options: &str) -> String {
    format!(
        "CREATE TABLE src (k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
         WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'skip' {options});
         CREATE TABLE o (w TIMESTAMP(3), n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT window_end, COUNT(*)
         FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end"
    )
}

const TEN_SECONDS: &str = ", 'max-time-ahead' = '10 s'";

fn logs(partitions: i32) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", partitions);
    logs.create("out", 1);
    logs
}

fn produce(logs: &mut MemoryLogs, partition: i32, seconds: impl IntoIterator<Item = i64>) {
    for second in seconds {
        logs.produce("in", partition, &[format!(r#"{{"k":"a","ts":{}}}"#, second * 1_000)]);
    }
}

/// Turns until nothing is to do; how far apart the partitions' event times were at most, and what windows were open at most.
fn apart(plan: &Plan, logs: &mut MemoryLogs) -> (i64, u64) {
    let mut epochs = EpochLoop::new(restored(plan, logs, 1), EpochLimits::default());
    let (mut most, mut open) = (0, 0);
    while let Turn::Committed { progress, .. } = epochs.turn(logs, 0, 0).unwrap() {
        let times: Vec<i64> = progress.inputs.iter().filter_map(|input| input.watermarks[0]).collect();
        if let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) {
            most = most.max(last - first);
        }
        open = open.max(epochs.pipeline().open_windows());
    }
    (most, open)
}

#[test]
fn a_partition_waits_for_the_slowest_and_state_stays_small() {
    let filled = || {
        let mut logs = logs(2);
        // One is read in a few epochs; of the other an epoch takes no more than its first batches.
        produce(&mut logs, 0, (0..1_000).step_by(5));
        produce(&mut logs, 1, 0..1_000);
        logs
    };
    let (aligned, free) = (plan(&script(TEN_SECONDS)), plan(&script("")));
    let (mut logs, mut others) = (filled(), filled());
    logs.batches_per_read = 10;
    others.batches_per_read = 10;
    let (most, open) = apart(&aligned, &mut logs);
    assert!(most <= 10_000 && open <= 4, "{most} ms apart, {open} windows");
    let (most, open) = apart(&free, &mut others);
    assert!(most > 100_000 && open > 20, "without the option {most} ms apart, {open} windows");
    assert_eq!(logs.values("out"), others.values("out"));
    assert_eq!(logs.last_progress().unwrap().totals, others.last_progress().unwrap().totals);
}

#[test]
fn a_gap_in_all_partitions_is_passed() {
    let plan = plan(&script(TEN_SECONDS));
    let mut logs = logs(3);
    produce(&mut logs, 0, [0, 5_000, 5_001]);
    produce(&mut logs, 1, [1, 9_000]);
    produce(&mut logs, 2, [2, 7_000, 8_000, 8_001]);
    apart(&plan, &mut logs);
    assert_eq!(logs.last_progress().unwrap().totals.processed, 9);
}

#[test]
fn nobody_waits_for_a_partition_at_its_end() {
    let plan = plan(&script(TEN_SECONDS));
    let mut logs = logs(3);
    produce(&mut logs, 0, [0, 1]);
    produce(&mut logs, 1, (0..500).step_by(20));
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    while let Turn::Committed { .. } = epochs.turn(&mut logs, 0, 0).unwrap() {}
    assert_eq!(logs.last_progress().unwrap().totals.processed, 27, "two are at their ends");
    // It gets more, and is far behind what is read already.
    produce(&mut logs, 0, [2, 3]);
    produce(&mut logs, 1, [501]);
    while let Turn::Committed { .. } = epochs.turn(&mut logs, 0, 0).unwrap() {}
    assert_eq!(logs.last_progress().unwrap().totals.read, 30);
}

#[test]
fn records_without_a_time_hold_nobody_up_for_ever() {
    let plan = plan(&script(TEN_SECONDS));
    let mut logs = logs(2);
    (0..600).for_each(|_| logs.produce("in", 0, &["no JSON".to_owned()]));
    produce(&mut logs, 0, [700]);
    produce(&mut logs, 1, (0..700).step_by(50));
    apart(&plan, &mut logs);
    let totals = logs.last_progress().unwrap().totals;
    assert_eq!((totals.skipped, totals.processed + totals.late), (600, 15));
}

#[test]
fn the_same_cuts_give_the_same_bytes_and_a_restart_goes_on() {
    let plan = plan(&script(TEN_SECONDS));
    let mut last = None;
    for crash_every in [0, 1, 3] {
        let mut logs = logs(2);
        produce(&mut logs, 0, (0..300).step_by(3));
        produce(&mut logs, 1, 0..300);
        logs.batches_per_read = 10;
        run_bounded(&plan, &mut logs, EpochLimits::default(), crash_every).unwrap();
        logs.batches_per_read = 0;
        for shards in [1, 3] {
            let mut spec = spec(&plan, &logs, 1);
            spec.shards = shards;
            let mut replayed = Pipeline::new(plan.clone(), spec).unwrap();
            for progress in &logs.progress.clone() {
                let input = |input: &InputProgress| {
                    let partition = TopicPartition::new(&*input.topic, input.partition);
                    let read = logs.read(&partition, input.from, usize::MAX).unwrap();
                    Input { partition, batches: read.batches, aborted: read.aborted }
                };
                let input: Vec<Input> = progress.inputs.iter().map(input).collect();
                let output = replayed.step(&progress.cut(), &input).unwrap();
                assert_eq!(output.progress.digest, progress.digest);
            }
        }
        let values = logs.values("out");
        assert_eq!(
            *last.get_or_insert_with(|| values.clone()),
            values,
            "a restart every {crash_every} epochs"
        );
    }
}

#[test]
fn the_option_needs_event_time_and_a_length() {
    let without =
        "CREATE TABLE a (k STRING) WITH ('topic' = 'in', 'format' = 'json', 'max-time-ahead' = '10 s');
        CREATE TABLE o (k STRING) WITH ('topic' = 'out', 'format' = 'json'); INSERT INTO o SELECT k FROM a";
    let error = compile(without).expect_err("there is no event time");
    assert!(
        error.message.contains("'max-time-ahead' means something only where there is a WATERMARK"),
        "{error}"
    );
    let error = compile(&script(", 'max-time-ahead' = 'long'")).expect_err("it is no length");
    assert!(error.help.contains("'max-time-ahead' = '30 s'"), "{error}");
    let (with, free) = (plan(&script(TEN_SECONDS)), plan(&script("")));
    assert!(with.explain().contains("max-ahead=10000ms"));
    assert_eq!(with.identities(), free.identities());
}
