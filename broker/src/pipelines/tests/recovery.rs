//! I14: what a restart reads, and what is kept for it, is bounded by the state, however much has gone through the pipeline.
//! Counted in bytes, at the disk; no clock tells.

use std::path::Path;
use std::time::Duration;

use logmill_record::Batch;
use logmill_stream::EpochLimits;
use tempfile::TempDir;

use super::Parts;
use super::counting_disk::CountingDisk;
use crate::pipelines::snapshots::{OwnLogs, for_each_batch};

/// A state of a few rows, each of which changes over and over.
const COUNTS: &str = "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
    INSERT INTO b SELECT k, COUNT(*) FROM a GROUP BY k UNBOUNDED;";

const KEYS: usize = 60;
/// How often every key changes.
const ROUNDS: usize = 220;
/// A snapshot is made after so many bytes of the pipeline's own logs.
const INTERVAL: u64 = 32 << 10;
/// A restart reads each of its two snapshots to see which it is, and the newest once more; and of the logs what came since
/// the one before the last, an index's step more, and what came while one was made in the background.
const TIMES: u64 = 4;
/// The logs go back to the older of two snapshots, and that was begun a stretch and the next one's making before the newest.
const STRETCHES: u64 = 2;
/// What comes while one is made, on a machine that has other things to do.
const SLACK: u64 = 384 << 10;

/// The pipeline's own files: its logs, and its snapshots.
const OWN: [&str; 3] = ["__logmill_changelog", "__logmill_progress", "pipelines/p"];
const LOGS: [&str; 2] = ["__logmill_changelog", "__logmill_progress"];

/// What a restart has read, of which state, behind which history; all in bytes of the pipeline's own files.
#[derive(Debug, Clone, Copy)]
struct Restarted {
    read: u64,
    state: u64,
    history: u64,
    /// What its logs had of all that was written to them.
    kept: u64,
    logged: u64,
}

impl Restarted {
    /// That it read no more than the state and a stretch of the logs explain, and that this says something.
    fn check_read(self) -> Result<(), String> {
        let Restarted { read, state, history, .. } = self;
        let bound = TIMES * (state + INTERVAL.max(state)) + SLACK;
        assert!(history > 3 * bound, "a history of {history} bytes says nothing, for a bound of {bound}");
        match read > bound {
            true => {
                Err(format!("{read} bytes were read for a state of {state}, behind a history of {history}"))
            }
            false => Ok(()),
        }
    }

    /// That the logs have no more than some stretches, and that this says something.
    fn check_kept(self) -> Result<(), String> {
        let Restarted { state, kept, logged, .. } = self;
        let bound = STRETCHES * INTERVAL.max(state) + SLACK;
        assert!(logged > 3 * bound, "logs of {logged} bytes say nothing, for a bound of {bound}");
        match kept > bound {
            true => Err(format!("{kept} bytes of {logged} in the logs are kept for a state of {state}")),
            false => Ok(()),
        }
    }
}

fn largest_snapshot(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory.join("pipelines").join("p"));
    let sizes = files.into_iter().flatten().map(|file| file.unwrap().metadata().unwrap().len());
    sizes.max().unwrap_or(0)
}

/// The bytes of what the pipeline's own logs have not let go of.
fn kept(parts: &Parts) -> u64 {
    let OwnLogs { changelog, progress } = parts.pipelines.own_logs("p").unwrap();
    let mut bytes = 0;
    for log in [changelog, progress] {
        let published = log.published();
        let (start, end) = (published.log_start_offset, published.high_watermark);
        let count = |batch: &Batch| {
            bytes += batch.size() as u64;
            Ok(())
        };
        for_each_batch(&log, start, end, count).unwrap();
    }
    bytes
}

/// What is wrong with the pipeline, if anything is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bug {
    /// No snapshot is made, so nothing is let go of.
    NoSnapshots,
    /// Snapshots are made, and the logs before them are kept.
    NoTrimming,
}

/// Runs the pipeline with a snapshot every [`INTERVAL`], stops the broker, and starts it again.
async fn restarted(bug: Option<Bug>) -> Restarted {
    let interval_bytes = if bug == Some(Bug::NoSnapshots) { 1 << 30 } else { INTERVAL };
    let directory = TempDir::new().unwrap();
    let disk = CountingDisk::default();
    let limits = EpochLimits::default();
    let parts = Parts::open_on(disk.clone(), &directory, Vec::new(), interval_bytes, limits).await;
    parts.pipelines.run("p", COUNTS, None).await.unwrap();
    if bug == Some(Bug::NoTrimming) {
        parts.snapshots("p").keep_logs();
    }
    let keys: Vec<String> = (0..KEYS).map(|key| format!("a key that is not short, number {key}")).collect();
    for round in 0..ROUNDS {
        let rows: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), round as i64)).collect();
        parts.produce("in", &rows).await;
        parts.caught_up("p").await;
        // A snapshot in the making is given up when the run ends; let it be made.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    parts.pipelines.shutdown().await;
    let kept = kept(&parts);
    parts.close().await;
    let history = disk.moved(&OWN).written;
    let logged = disk.moved(&LOGS).written;
    let state = largest_snapshot(directory.path());

    let disk = CountingDisk::default();
    let parts = Parts::open_on(disk.clone(), &directory, Vec::new(), interval_bytes, limits).await;
    parts.pipelines.resume().await;
    parts.produce("in", &[(&*keys[3], 0)]).await;
    parts.caught_up("p").await;
    let read = disk.moved(&OWN).read;
    let last = parts.read("out").pop().unwrap();
    assert!(last.ends_with(&format!("\"n\":{}}}", ROUNDS + 1)), "{last}");
    parts.close().await;
    Restarted { read, state, history, kept, logged }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_reads_is_bounded_by_the_state() {
    let restarted = restarted(None).await;
    assert!(restarted.state > 0, "{restarted:?}");
    restarted.check_read().unwrap_or_else(|error| panic!("{error}"));
    restarted.check_kept().unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_makes_no_snapshots_is_found() {
    let restarted = restarted(Some(Bug::NoSnapshots)).await;
    assert_eq!(restarted.state, 0);
    let error = restarted.check_read().unwrap_err();
    assert!(error.contains("bytes were read"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_are_not_let_go_of_are_found() {
    let restarted = restarted(Some(Bug::NoTrimming)).await;
    assert!(restarted.state > 0, "{restarted:?}");
    let error = restarted.check_kept().unwrap_err();
    assert!(error.contains("in the logs are kept"), "{error}");
}
