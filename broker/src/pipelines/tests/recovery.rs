//! I14: what a restart reads is bounded by the state, however much has gone through the pipeline. Counted in bytes, at the
//! disk; no clock tells.

use std::path::Path;
use std::time::Duration;

use logmill_stream::EpochLimits;
use tempfile::TempDir;

use super::Parts;
use super::counting_disk::CountingDisk;

/// A state of a few rows, each of which changes over and over.
const COUNTS: &str = "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
    INSERT INTO b SELECT k, COUNT(*) FROM a GROUP BY k UNBOUNDED;";

const KEYS: usize = 60;
/// How often every key changes.
const ROUNDS: usize = 180;
/// A snapshot is made after so many bytes of the pipeline's own logs.
const INTERVAL: u64 = 32 << 10;
/// A restart reads each of its two snapshots to see which it is, and the newest once more; and of the logs what came since
/// the one before the last, an index's step more, and what came while one was made in the background.
const TIMES: u64 = 4;
const SLACK: u64 = 192 << 10;

/// The pipeline's own files: its logs, and its snapshots.
const OWN: [&str; 3] = ["__logmill_changelog", "__logmill_progress", "pipelines/p"];

/// What a restart has read, of which state, behind which history; all in bytes of the pipeline's own files.
#[derive(Debug, Clone, Copy)]
struct Restarted {
    read: u64,
    state: u64,
    history: u64,
}

impl Restarted {
    /// That it read no more than the state and a stretch of the logs explain, and that this says something.
    fn check(self) -> Result<(), String> {
        let Restarted { read, state, history } = self;
        let bound = TIMES * (state + INTERVAL.max(state)) + SLACK;
        assert!(history > 3 * bound, "a history of {history} bytes says nothing, for a bound of {bound}");
        match read > bound {
            true => {
                Err(format!("{read} bytes were read for a state of {state}, behind a history of {history}"))
            }
            false => Ok(()),
        }
    }
}

fn largest_snapshot(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory.join("pipelines").join("p"));
    let sizes = files.into_iter().flatten().map(|file| file.unwrap().metadata().unwrap().len());
    sizes.max().unwrap_or(0)
}

/// Runs the pipeline with a snapshot every so many bytes, stops the broker, and starts it again.
async fn restarted(interval_bytes: u64) -> Restarted {
    let directory = TempDir::new().unwrap();
    let disk = CountingDisk::default();
    let limits = EpochLimits::default();
    let parts = Parts::open_on(disk.clone(), &directory, Vec::new(), interval_bytes, limits).await;
    parts.pipelines.run("p", COUNTS, None).await.unwrap();
    let keys: Vec<String> = (0..KEYS).map(|key| format!("a key that is not short, number {key}")).collect();
    for round in 0..ROUNDS {
        let rows: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), round as i64)).collect();
        parts.produce("in", &rows).await;
        parts.caught_up("p").await;
        // A snapshot in the making is given up when the run ends; let it be made.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    parts.close().await;
    let history = disk.moved(&OWN).written;
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
    Restarted { read, state, history }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_reads_is_bounded_by_the_state() {
    let restarted = restarted(INTERVAL).await;
    assert!(restarted.state > 0, "{restarted:?}");
    restarted.check().unwrap_or_else(|error| panic!("{error}"));
}

/// The bug: no snapshot is made, so nothing is let go of.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_makes_no_snapshots_is_found() {
    let restarted = restarted(1 << 30).await;
    assert_eq!(restarted.state, 0);
    let error = restarted.check().unwrap_err();
    assert!(error.contains("bytes were read"), "{error}");
}
