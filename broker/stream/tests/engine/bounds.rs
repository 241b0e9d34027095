//! How large an epoch may be: what its input unpacks to, what it gives, and what comes of one that was too large.

use std::collections::{BTreeMap, BTreeSet};

use logmill_record::{BatchBuilder, BatchOptions, Codec};
use logmill_stream::{EpochLimits, EpochLoop, Pace, Plan, Progress, ShedControl, TopicPartition, Turn};

use crate::support::{MemoryLogs, plan, restored};

const COPY: &str = "CREATE TABLE src (k STRING, n BIGINT) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE o (n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
    INSERT INTO o SELECT n FROM src";

/// Batches of records that are long and pack to almost nothing.
fn zeros(logs: &mut MemoryLogs, partition: i32, batches: i64, records: i64, bytes: usize) {
    let mut number = 0;
    for _ in 0..batches {
        let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() });
        for _ in 0..records {
            let value = format!(r#"{{"n":{number},"k":"{}"}}"#, "0".repeat(bytes));
            builder.push(1_000, None, Some(value.as_bytes()), &[]);
            number += 1;
        }
        logs.append("in", partition, builder.build());
    }
}

fn logs(partitions: i32) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", partitions);
    logs.create("out", 1);
    logs
}

/// Turns a loop until it is idle, and gives the epochs' progress.
fn run(plan: &Plan, logs: &mut MemoryLogs, limits: EpochLimits) -> Vec<Progress> {
    let mut epochs = EpochLoop::new(restored(plan, logs, 1), limits);
    let mut progress = Vec::new();
    while let Turn::Committed { progress: epoch, .. } = epochs.turn(logs, 0, 0).unwrap() {
        progress.push(*epoch);
    }
    progress
}

#[test]
fn what_an_epoch_reads_is_bounded_by_what_it_unpacks_to() {
    let mut logs = logs(1);
    zeros(&mut logs, 0, 20, 5, 100_000);
    let packed: usize = logs.partitions[&TopicPartition::new("in", 0)].iter().map(|batch| batch.size()).sum();
    assert!(packed < 20_000, "one epoch by what is read: {packed}");
    let limits = EpochLimits { unpacked_bytes: 300_000, ..EpochLimits::default() };
    let epochs = run(&plan(COPY), &mut logs, limits);
    assert!(epochs.iter().all(|epoch| epoch.counters.read <= 2), "two records of 100,000 bytes have room");
    let expected: Vec<String> = (0..100).map(|number| format!(r#"{{"n":{number}}}"#)).collect();
    assert_eq!(logs.values("out"), expected, "each record once, in order");
}

#[test]
fn a_record_beyond_every_bound_is_an_epoch_of_its_own() {
    for script in [
        COPY.to_owned(),
        // Two readers of one record.
        "CREATE TABLE a (k STRING, n BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE b (k STRING, n BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT n FROM a UNION ALL SELECT n FROM b"
            .to_owned(),
    ] {
        let mut logs = logs(2);
        zeros(&mut logs, 0, 1, 3, 50_000);
        zeros(&mut logs, 1, 3, 1, 50_000);
        let limits = EpochLimits { unpacked_bytes: 10, output_bytes: 1, ..EpochLimits::default() };
        let plan = plan(&script);
        let readers = plan.sources.len();
        let epochs = run(&plan, &mut logs, limits);
        let reads: Vec<u64> = epochs.iter().map(|epoch| epoch.counters.read).collect();
        assert_eq!(reads, [readers as u64; 6], "{script}");
        assert_eq!(logs.values("out").len(), 6 * readers);
    }
}

#[test]
fn a_partition_full_of_long_records_keeps_no_other_waiting() {
    let mut logs = logs(3);
    zeros(&mut logs, 0, 40, 5, 100_000);
    zeros(&mut logs, 2, 2, 5, 100_000);
    let limits = EpochLimits { unpacked_bytes: 600_000, ..EpochLimits::default() };
    let epochs = run(&plan(COPY), &mut logs, limits);
    let done = epochs.iter().position(|epoch| epoch.inputs[2].to == 10).expect("it is read");
    let others = epochs[done].inputs[0].to;
    assert!(others <= 30, "10 records wait for {others} of another partition");
}

/// One record in, a hundred rows out.
fn fan_out() -> Plan {
    plan(
        "CREATE TABLE src (k STRING, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (n BIGINT, k STRING, w TIMESTAMP(3)) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT n, k, window_start
         FROM TABLE(HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '100' SECOND))",
    )
}

#[test]
fn an_epoch_that_gives_too_much_makes_those_behind_it_smaller() {
    let mut logs = logs(1);
    let record = |n: usize| format!(r#"{{"k":"{}","n":{n},"ts":{}}}"#, "x".repeat(100), 1_000 * n);
    // One batch: a smaller epoch must end within it.
    logs.produce("in", 0, &(0..1_000).map(record).collect::<Vec<_>>());
    logs.produce("in", 0, &(1_000..2_000).map(record).collect::<Vec<_>>());
    let limits = EpochLimits { input_bytes: 1, output_bytes: 1 << 20, ..EpochLimits::default() };
    let epochs = run(&fan_out(), &mut logs, limits);
    let reads: Vec<u64> = epochs.iter().map(|epoch| epoch.counters.read).collect();
    assert_eq!(reads[0], 1_000, "nothing is known of what a record gives");
    // A record gives about 100 rows of 170 bytes.
    assert!(reads[1..].iter().all(|read| *read <= 70), "{reads:?}");
    let rows: BTreeSet<String> = logs.values("out").into_iter().collect();
    assert_eq!((rows.len(), reads.iter().sum::<u64>()), (200_000, 2_000));
}

#[test]
fn the_rows_of_a_partition_count_where_epochs_are_bounded_by_rows() {
    let ranked = |mode: &str| {
        plan(&format!(
            "CREATE TABLE src (k STRING, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
             WITH ('topic' = 'in', 'format' = 'json');
             CREATE TABLE o (n BIGINT, k STRING) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT n, k FROM (SELECT n, k, {mode}
             FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))) {}",
            if mode.contains("ROW_NUMBER") { "WHERE r <= 3" } else { "WHERE r > 0" }
        ))
    };
    for mode in [
        "ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY n) AS r",
        "COUNT(*) OVER (PARTITION BY window_start, window_end, k ORDER BY n) AS r",
    ] {
        let mut logs = logs(1);
        let record = |n: u64| format!(r#"{{"k":"{}","n":{n},"ts":1000}}"#, n % 10);
        logs.produce("in", 0, &(0..30).map(record).collect::<Vec<_>>());
        logs.produce("in", 0, &[r#"{"k":"z","n":1,"ts":20000}"#.to_owned()]);
        let epochs = run(&ranked(mode), &mut logs, EpochLimits { emit_rows: 7, ..EpochLimits::default() });
        let written: Vec<u64> = epochs.iter().map(|epoch| epoch.counters.written).collect();
        assert_eq!(written, [6, 6, 6, 6, 6], "keys of three rows, two of which have room: {mode}");
    }
}

#[test]
fn epochs_of_records_that_windows_copy_often_are_small_from_the_start() {
    let plan = plan(
        "CREATE TABLE src (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT n FROM TABLE(HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '800' SECOND))",
    );
    let mut logs = logs(1);
    logs.produce("in", 0, &(0..100).map(|n| format!(r#"{{"n":{n},"ts":0}}"#)).collect::<Vec<_>>());
    let epochs = run(&plan, &mut logs, EpochLimits { input_records: 1_000, ..EpochLimits::default() });
    assert_eq!(epochs.iter().map(|epoch| epoch.counters.read).collect::<Vec<_>>(), [20; 5]);
    assert_eq!(logs.values("out").len(), 80_000);
}

#[test]
fn a_frame_that_was_too_large_is_tried_again_in_parts() {
    let plan = plan(COPY);
    let mut logs = logs(1);
    logs.produce("in", 0, &(0..100).map(|n| format!(r#"{{"n":{n}}}"#)).collect::<Vec<_>>());
    logs.refuse = BTreeSet::from([1]);
    let limits = EpochLimits { input_records: 64, emit_rows: 1, ..EpochLimits::default() };
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), limits);
    assert!(epochs.turn(&mut logs, 0, 0).is_err());
    assert!(epochs.shrink());
    let mut again = EpochLoop::new(restored(&plan, &logs, 1), limits).with_pace(epochs.pace());
    assert!(!again.pace().is_full());
    let Turn::Committed { progress, .. } = again.turn(&mut logs, 0, 0).unwrap() else {
        panic!("there is input")
    };
    assert_eq!(progress.counters.read, 50, "half of the batch that was an epoch");
    assert!(again.shrink());
    let mut sizes = Vec::new();
    while let Turn::Committed { progress, .. } = again.turn(&mut logs, 0, 0).unwrap() {
        sizes.push(progress.counters.read);
        if sizes.len() < 6 {
            assert_eq!(again.shrink(), progress.counters.read > 1);
        }
    }
    assert_eq!(sizes[..7], [25, 12, 6, 3, 1, 1, 1], "until it is one record");
    assert_eq!(logs.values("out").len(), 100);
}

/// How often the epoch behind what is committed is made smaller until that does no good. Each one is said to be too large.
fn shrinks(plan: &Plan, logs: &MemoryLogs) -> usize {
    let (mut pace, mut times) = (Pace::default(), 0);
    loop {
        let mut trial = logs.clone();
        let mut epochs = EpochLoop::new(restored(plan, &trial, 1), EpochLimits::default()).with_pace(pace);
        assert!(matches!(epochs.turn(&mut trial, 0, 0).unwrap(), Turn::Committed { .. }));
        if !epochs.shrink() {
            return times;
        }
        (pace, times) = (epochs.pace(), times + 1);
        assert!(times < 100, "it is tried for ever");
    }
}

#[test]
fn what_cannot_be_smaller_is_not_tried_for_ever() {
    // All rows of a key come at once.
    let ranked = plan(
        "CREATE TABLE src (k STRING, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (n BIGINT, k STRING) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT n, k FROM (SELECT n, k,
           ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY n) AS r
         FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE r <= 30",
    );
    let row = |n: i64, ts: i64| format!(r#"{{"k":"a","n":{n},"ts":{ts}}}"#);
    let mut ranked_logs = logs(1);
    ranked_logs.produce("in", 0, &(0..30).map(|n| row(n, 0)).collect::<Vec<_>>());
    run(&ranked, &mut ranked_logs, EpochLimits::default());
    ranked_logs.produce("in", 0, &[row(99, 20_000)]);
    // A row of each of two operators, one behind the other.
    let chained = plan(
        "CREATE TABLE src (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT SUM(n) FROM (SELECT window_start, window_end, window_time AS t, SUM(n) AS n
           FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '5' SECOND))
           GROUP BY window_start, window_end, window_time)
         GROUP BY window_start, window_end",
    );
    let mut chained_logs = logs(1);
    chained_logs.produce("in", 0, &[row(1, 0)]);
    run(&chained, &mut chained_logs, EpochLimits::default());
    chained_logs.produce("in", 0, &[row(2, 60_000)]);
    // Two readers of one record.
    let twice = plan(
        "CREATE TABLE a (n BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE b (n BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT n FROM a UNION ALL SELECT n FROM b",
    );
    let mut twice_logs = logs(1);
    twice_logs.produce("in", 0, &[row(1, 0)]);
    assert_eq!(
        shrinks(&ranked, &ranked_logs),
        4,
        "30 rows, and then 15, 7, 3 and 1 of them, if there were so few"
    );
    assert_eq!(shrinks(&chained, &chained_logs), 1);
    assert_eq!(shrinks(&twice, &twice_logs), 0);
    let mut twice_logs = logs(1);
    twice_logs.produce("in", 0, &(0..8).map(|n| row(n, 0)).collect::<Vec<_>>());
    assert_eq!(shrinks(&twice, &twice_logs), 3, "8 records, and then 4, 2 and 1");
}

#[test]
fn what_is_shed_to_a_topic_is_within_the_bound() {
    for (to, reads) in [("TO 'shed'", 2), ("", 100)] {
        let mut logs = logs(1);
        logs.create("shed", 1);
        zeros(&mut logs, 0, 20, 5, 100_000);
        let plan = plan(&COPY.replacen(
            "'json');",
            &format!("'json') SHED WHEN lag > 1 RECORDS USING random {to};"),
            1,
        ));
        let limits = EpochLimits { unpacked_bytes: 300_000, ..EpochLimits::default() };
        let all = ShedControl::Always(BTreeMap::from([("src".to_owned(), 10_000)]));
        let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), limits).with_shedding(all);
        let mut most = 0;
        while let Turn::Committed { progress, .. } = epochs.turn(&mut logs, 0, 0).unwrap() {
            most = most.max(progress.counters.read);
        }
        assert_eq!((most, logs.last_progress().unwrap().totals.shed), (reads, 100), "{to}");
    }
}
