//! What whoever stops or changes a pipeline waits for, and what not.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

use logmill_stream::EpochLimits;
use tempfile::TempDir;

use super::super::snapshots::Snapshots;
use super::super::taking_up::tests::{counts, files};
use super::super::{PipelineError, PipelineState};
use super::{COPY, Parts};

/// Nothing that is not held up takes so long.
const AT_ONCE: Duration = Duration::from_secs(20);

async fn at_once<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(AT_ONCE, work).await;
    done.unwrap_or_else(|_| panic!("{what} waits"))
}

/// A lock that a thread of its own holds until this is dropped.
struct Held(Option<mpsc::Sender<()>>, Option<std::thread::JoinHandle<()>>);

impl Held {
    /// `hold` takes the lock, and then calls what it is given.
    fn new(hold: impl FnOnce(&dyn Fn()) + Send + 'static) -> Held {
        let (release, released) = mpsc::channel::<()>();
        let (taken, is_taken) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            hold(&move || {
                taken.send(()).unwrap();
                // Its other end is dropped.
                let _ = released.recv();
            });
        });
        is_taken.recv().unwrap();
        Held(Some(release), Some(thread))
    }

    /// As if somebody made a large file of a pipeline's state.
    fn working(snapshots: Snapshots) -> Held {
        Held::new(move |wait| snapshots.alone(|_| wait()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.take());
        let _ = self.1.take().unwrap().join();
    }
}

impl Parts {
    pub(super) fn snapshots(&self, name: &str) -> Snapshots {
        self.pipelines.0.known.lock().get(name).unwrap().snapshots.clone()
    }

    /// Runs `counts` until it makes a snapshot.
    async fn with_a_snapshot_due(&self) {
        self.pipelines.run("p", &counts(), None).await.unwrap();
        self.produce("in", &[("a", 1), ("b", 2)]).await;
        self.caught_up("p").await;
        // The epoch before is durable when the next one is.
        self.produce("in", &[("a", 3)]).await;
        self.caught_up("p").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_the_snapshot_of_another_pipeline() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    let turn = std::sync::Arc::clone(&parts.pipelines.0.snapshot_turn);
    let held = Held::new(move |wait| {
        let _turn = turn.lock();
        wait();
    });
    parts.with_a_snapshot_due().await;
    let stopped = at_once("the stop", parts.pipelines.stop("p")).await.unwrap();
    assert_eq!(stopped.state, PipelineState::Stopped);
    assert!(files(&directory, "p").is_empty(), "it was not its turn");
    drop(held);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_waits_for_a_savepoint_holds_up_no_other_pipeline() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    let held = Held::working(parts.snapshots("p"));
    parts.with_a_snapshot_due().await;
    pipelines.run("q", &counts().replace("'out'", "'other'"), None).await.unwrap();
    at_once("the snapshot", async {
        for x in 4.. {
            if !files(&directory, "q").is_empty() {
                break;
            }
            parts.produce("in", &[("a", x)]).await;
            parts.caught_up("q").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(files(&directory, "p").is_empty(), "its files are somebody else's");
    drop(held);
    at_once("its own snapshot", async {
        while files(&directory, "p").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_restored_does_not_wait_for_a_snapshot_in_the_making() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    parts.with_a_snapshot_due().await;
    let held = Held::working(parts.snapshots("p"));
    parts.produce("in", &[("a", 4)]).await;
    parts.caught_up("p").await;
    parts.pipelines.rescale("p", 2).await.unwrap();
    at_once("the new shards", async {
        while parts.pipelines.view("p").unwrap().running_shards != 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    at_once("the stop", parts.pipelines.stop("p")).await.unwrap();
    drop(held);
    // The one that was given up is made when there is reason again.
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 5)]).await;
    parts.caught_up("p").await;
    parts.produce("in", &[("a", 6)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":5}"#);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_savepoint_in_the_making() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 1), ("b", 2)]).await;
    parts.caught_up("p").await;
    let held = Held::working(parts.snapshots("p"));
    let made = tokio::spawn({
        let pipelines = pipelines.clone();
        async move { pipelines.make_savepoint("p", None).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    at_once("the memory", pipelines.set_memory("p", 1 << 27)).await.unwrap();
    at_once("the shards", pipelines.rescale("p", 2)).await.unwrap();
    parts.produce("in", &[("a", 3)]).await;
    parts.caught_up("p").await;
    at_once("the stop", pipelines.stop("p")).await.unwrap();
    drop(held);
    // It is of where the pipeline is when it is made, and is called by that.
    let made = made.await.unwrap().unwrap();
    assert_eq!(made.name, format!("epoch-{}", made.header.progress.epoch));
    assert_eq!(made.header.progress.inputs[0].to, 3);
    // Nor is one made of a pipeline that is gone by then.
    let held = Held::working(parts.snapshots("p"));
    let late = tokio::spawn({
        let pipelines = pipelines.clone();
        async move { pipelines.make_savepoint("p", Some("late")).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let delete = tokio::spawn({
        let pipelines = pipelines.clone();
        async move { pipelines.delete("p", true).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(held);
    delete.await.unwrap().unwrap();
    let late = late.await.unwrap().map(|made| made.name);
    assert!(matches!(late, Err(PipelineError::Unknown(_) | PipelineError::State { .. })), "{late:?}");
    assert!(files(&directory, "p").is_empty());
    parts.close().await;
}

/// A savepoint that is told of stays: it is made before a delete looks for some, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn no_savepoint_is_begun_of_a_pipeline_that_goes() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 1), ("b", 2)]).await;
    parts.caught_up("p").await;
    pipelines.stop("p").await.unwrap();
    // One that has its cut, and waits for the files.
    let (record, ..) = pipelines.for_savepoints("p").unwrap();
    let cut = pipelines.standing("p").await.unwrap();
    let held = Held::working(parts.snapshots("p"));
    {
        let delete = pipelines.delete("p", false);
        let mut delete = std::pin::pin!(delete);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut delete).await;
        assert!(early.is_err(), "it did not wait for the files");
        let late = pipelines.newest_of(&record, cut).map(|_| ());
        assert!(matches!(late, Err(PipelineError::State { .. })), "{late:?}");
    }
    // The delete was given up: it can be made again.
    drop(held);
    pipelines.make_savepoint("p", Some("s")).await.unwrap();
    let kept = pipelines.delete("p", false).await;
    assert!(matches!(kept, Err(PipelineError::HasSavepoints { .. })), "{kept:?}");
    pipelines.make_savepoint("p", Some("t")).await.unwrap();
    pipelines.delete("p", true).await.unwrap();
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_until_windows_are_wholly_written() {
    const KEYS: usize = 900;
    let directory = TempDir::new().unwrap();
    // An epoch for each row.
    let limits = EpochLimits { emit_rows: 1, ..EpochLimits::default() };
    let parts = Parts::open_limited(&directory, Vec::new(), 1 << 30, limits).await;
    let pipelines = &parts.pipelines;
    let script = "CREATE TABLE a (k STRING, x BIGINT, t AS TO_TIMESTAMP_LTZ(x, 3), WATERMARK FOR t AS t)
        WITH ('topic' = 'in', 'format' = 'json');
        CREATE TABLE b (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
        INSERT INTO b SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(t), INTERVAL '1' SECOND))
        GROUP BY window_start, window_end, k";
    pipelines.run("p", script, None).await.unwrap();
    let keys: Vec<String> = (0..KEYS).map(|key| format!("key-{key}")).collect();
    parts.produce("in", &keys.iter().map(|key| (&**key, 1)).collect::<Vec<_>>()).await;
    parts.produce("in", &[("last", 5_000)]).await;
    at_once("the first row", async {
        while parts.read("out").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    pipelines.stop("p").await.unwrap();
    let written = parts.read("out").len();
    assert!((1..KEYS).contains(&written), "{written} rows");
    // The rest comes when it runs again, and nothing twice. Whoever takes it up finds whole windows.
    let other = script.replace("COUNT(*)", "COUNT(*) + 1");
    let refused = pipelines.upgrade("p", &other, false).await.unwrap_err().to_string();
    assert!(refused.contains("not wholly written"), "{refused}");
    pipelines.run("p", script, None).await.unwrap();
    at_once("the second start", async {
        while parts.read("out").len() == written {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    pipelines.upgrade("p", &other, false).await.unwrap();
    let rows = parts.read("out");
    assert_eq!(rows.len(), KEYS);
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), KEYS);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_disk_that_does_not_answer() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", COPY, None).await.unwrap();
    pipelines.stop("p").await.unwrap();
    let mut logs = pipelines.broker_logs("p").unwrap();
    let control = pipelines.0.known.lock().get("p").unwrap().control.clone();
    assert!(control.is_stopping());
    let (_never, ticket) = tokio::sync::oneshot::channel();
    let waited = tokio::task::spawn_blocking(move || logs.wait_unless_stopped(ticket, &control));
    let waited = at_once("a run that is to stop", waited).await.unwrap();
    assert!(matches!(waited, Ok(false)), "{waited:?}");
    parts.close().await;
}
