//! Shards on threads, over an input of which each partition is several stretches: every byte is that of one shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use logmill_stream::{EpochLimits, EpochLoop, Executor, Task, Turn, TurnError};

use crate::support::threads::Threads;
use crate::support::{MemoryLogs, plan, restored};

const PARTITIONS: i32 = 2;
const RECORDS: usize = 10_000;
/// So many records of each batch: no stretch of 4,096 ends with one.
const IN_BATCH: usize = 700;

const SOURCE: &str = "CREATE TABLE src (k STRING, v BIGINT, t STRING, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
    WITH ('topic' = 'in', 'format' = 'json', ON_ERROR, 'late-topic' = 'late');";

/// What has no state; windows, of which some rows are late; groups that change; and what joins these.
const QUERIES: &str = "
    CREATE TABLE plain (k STRING, v BIGINT, t STRING) WITH ('topic' = 'plain', 'format' = 'json');
    CREATE TABLE windows (w TIMESTAMP(3), k STRING, n BIGINT) WITH ('topic' = 'windows', 'format' = 'json');
    CREATE TABLE groups (k STRING, n BIGINT, m BIGINT, PRIMARY KEY (k) NOT ENFORCED)
      WITH ('topic' = 'groups', 'format' = 'json', 'output' = 'upsert');
    CREATE TABLE joined (k STRING, n BIGINT, r BIGINT) WITH ('topic' = 'joined', 'format' = 'json', 'output' = 'retract');
    INSERT INTO plain SELECT k, 100 / v, UPPER(t) FROM src WHERE v <> 7;
    INSERT INTO windows SELECT window_start, k, COUNT(*)
      FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k;
    INSERT INTO groups SELECT k, COUNT(*), MAX(v) FROM src GROUP BY k UNBOUNDED;
    INSERT INTO joined SELECT a.k, a.n, b.n
      FROM (SELECT k, COUNT(*) AS n FROM src GROUP BY k) AS a
      JOIN (SELECT v, COUNT(*) AS n FROM src GROUP BY v) AS b ON a.n = b.v UNBOUNDED;";

const FAIL: &str = "'on-error' = 'fail'";

fn script(on_error: &str) -> String {
    format!("{} {QUERIES}", SOURCE.replace("ON_ERROR", on_error))
}

/// Records with as many keys as there are; one in 3,001 cannot be read, one in 1,000 divides by zero, and some are late.
fn filled(poison: bool) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", PARTITIONS);
    for partition in 0..PARTITIONS {
        let record = |n: usize| {
            let v = if poison && n % 1_000 == 999 { 0 } else { 1 + n % 13 };
            let behind = if n % 97 == 5 { 60_000 } else { (n * 7919) % 20_000 };
            let time = 100_000 + n as i64 * 10 - behind as i64;
            match poison && n % 3_001 == 3_000 {
                true => "no JSON".to_owned(),
                false => format!(
                    "{{\"k\":\"{}\",\"v\":{v},\"t\":\"text {n}\",\"ts\":{time}}}",
                    (n * 31 + partition as usize) % 2_000
                ),
            }
        };
        let records: Vec<String> = (0..RECORDS).map(record).collect();
        records.chunks(IN_BATCH).for_each(|batch| logs.produce("in", partition, batch));
    }
    logs
}

/// Counts what it is given.
#[derive(Debug)]
struct Counting(Threads, Arc<AtomicUsize>);

impl Executor for Counting {
    fn width(&self) -> usize {
        self.0.width()
    }

    fn least_rows(&self) -> usize {
        self.0.least_rows()
    }

    fn run(&self, tasks: Vec<Task>) {
        self.1.fetch_add(tasks.len(), Ordering::Relaxed);
        self.0.run(tasks);
    }
}

/// Runs to the end, or to an error; and says how many tasks there were.
fn run(logs: MemoryLogs, on_error: &str, limits: EpochLimits) -> (MemoryLogs, Option<String>, usize) {
    let mut logs = logs;
    let plan = plan(&script(on_error));
    let tasks = Arc::new(AtomicUsize::new(0));
    let mut pipeline = restored(&plan, &logs, 1);
    if logs.threads {
        pipeline = pipeline.with_executor(Arc::new(Counting(Threads(logs.shards), Arc::clone(&tasks))));
    }
    let mut epochs = EpochLoop::new(pipeline, limits);
    epochs.declare_ends(logs.ends("in")).unwrap();
    let error = loop {
        match epochs.turn(&mut logs, 1_700_000_000_000, 7) {
            Ok(Turn::Finished) => break None,
            Ok(Turn::Committed { .. }) => {}
            Ok(Turn::Idle) => panic!("a bounded run has always something to do"),
            Err(error @ TurnError::Poison { .. }) => break Some(error.to_string()),
            Err(error) => panic!("{error}"),
        }
    };
    let count = tasks.load(Ordering::Relaxed);
    (logs, error, count)
}

/// Everything it wrote, by what it is.
fn written(logs: &MemoryLogs) -> Vec<(String, Vec<u8>)> {
    let bytes =
        |batches: &[logmill_stream::Batch]| batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    let outputs = logs.partitions.iter().filter(|(partition, _)| partition.topic != "in");
    let outputs = outputs.map(|(partition, batches)| (partition.to_string(), bytes(batches)));
    let progress = logs.progress.iter().flat_map(|progress| progress.encode()).collect();
    outputs
        .chain([("changelog".to_owned(), bytes(&logs.changelog)), ("progress".to_owned(), progress)])
        .collect()
}

#[track_caller]
fn check(poison: bool, on_error: &str, limits: EpochLimits) -> (MemoryLogs, Option<String>) {
    let (one, error, tasks) = run(filled(poison), on_error, limits);
    assert_eq!(tasks, 0);
    let expected = written(&one);
    for shards in [2, 3, 8] {
        let logs = MemoryLogs { shards, threads: true, ..filled(poison) };
        let (several, other, tasks) = run(logs, on_error, limits);
        assert!(tasks > 2 * shards, "{tasks}");
        assert_eq!(other, error, "{shards} shards");
        let found = written(&several);
        assert_eq!(found.len(), expected.len());
        for ((what, bytes), (_, of_one)) in found.iter().zip(&expected) {
            assert!(
                bytes == of_one,
                "{what} on {shards} shards: {} bytes, and {} on one",
                bytes.len(),
                of_one.len()
            );
        }
    }
    (one, error)
}

#[test]
fn every_byte_is_that_of_one_shard() {
    let (logs, error) = check(true, "'on-error' = 'dlq', 'dlq-topic' = 'dead'", EpochLimits::default());
    assert_eq!(error, None);
    let totals = logs.last_progress().unwrap().totals;
    assert_eq!(totals.read, 2 * RECORDS as u64);
    // They would not be equal if there were nothing.
    assert!(totals.dead_lettered > 20 && totals.late > 50 && totals.written > 20_000, "{totals:?}");
    assert!(!logs.values("joined").is_empty());
}

/// The bound on what records unpack to ends an epoch at the same record, whoever computes.
#[test]
fn an_epoch_without_room_ends_at_the_same_record() {
    let limits = EpochLimits { unpacked_bytes: 900_000, ..EpochLimits::default() };
    let (logs, error) = check(false, FAIL, limits);
    assert_eq!(error, None);
    let first = &logs.progress[0];
    assert!(first.counters.read > 5_000 && first.counters.read < 2 * RECORDS as u64, "{first:?}");
}

/// So does the first record that fails, in serial order: others that fail are computed at the same time.
#[test]
fn the_first_record_that_fails_is_named() {
    let (logs, error) = check(true, FAIL, EpochLimits::default());
    let error = error.expect("a record fails");
    assert!(error.contains("in-0, offset 999"), "{error}");
    assert_eq!(logs.last_progress().unwrap().inputs[0].to, 999);
}
