//! Where the input of a pipeline ends, and what is left of one that has come there.

use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;

use super::super::taking_up::tests::{counts, script};
use super::super::{EventKind, InputEnd, PipelineError, PipelineState};
use super::{COPY, Parts};

impl Parts {
    /// Waits until the pipeline has ended, in whatever way.
    pub(super) async fn ended(&self, name: &str) -> PipelineState {
        for _ in 0..3_000 {
            let state = self.pipelines.view(name).unwrap().state;
            if !state.is_live() {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.pipelines.view(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_ends_where_its_input_ended_whoever_produces_meanwhile() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines
        .run("p", &COPY.replace("x BIGINT", "k STRING").replace("SELECT x", "SELECT k"), None)
        .await
        .unwrap();
    parts.produce("in", &[("a", 1), ("b", 2), ("c", 3)]).await;
    parts.caught_up("p").await;
    // Writing the end down takes a while, in which there is more to read.
    let metadata = pipelines.0.topics.metadata();
    let held = metadata.lock().await;
    let meanwhile = async {
        parts.produce("in", &[("d", 4), ("e", 5)]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(held);
    };
    let (ends, ()) = tokio::join!(pipelines.finish_input("p", InputEnd::Now), meanwhile);
    assert_eq!(ends.unwrap()["in"], [3]);
    assert_eq!(parts.ended("p").await, PipelineState::Finished);
    let view = pipelines.view("p").unwrap();
    assert_eq!((view.sources[0].position, view.sources[0].finish_at), (3, Some(3)));
    assert_eq!(parts.read("out"), ["a", "b", "c"].map(|k| format!(r#"{{"k":"{k}"}}"#)));
    parts.close().await;
}

/// Compaction has left no batch that ends where the input does: the one that reaches its end reaches beyond it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_comes_to_an_end_that_no_batch_ends_at() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 1), ("b", 2), ("c", 3)]).await;
    parts.caught_up("p").await;
    let ends = BTreeMap::from([("in".to_owned(), vec![5])]);
    let control = pipelines.0.known.lock().get("p").unwrap().control.clone();
    control.bound().set(|| Ok::<_, PipelineError>(ends.clone())).unwrap();
    parts.produce("in", &[("a", 4), ("b", 5), ("c", 6)]).await;
    for _ in 0..500 {
        if pipelines.view("p").unwrap().sources[0].position == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let position = |name: &str| pipelines.view(name).unwrap().sources[0].position;
    assert_eq!(position("p"), 5, "as far as it may read, and no further");
    control.finish_at(ends);
    assert_eq!(parts.ended("p").await, PipelineState::Finished);
    assert_eq!(position("p"), 5);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_has_finished_is_not_started_again() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    parts.produce("in", &[("a", 1), ("b", 2)]).await;
    for (name, sink) in [("done", "'out'"), ("stopped", "'other'")] {
        let script = counts().replace("'out'", sink);
        parts.pipelines.run(name, &script, Some(InputEnd::Now)).await.unwrap();
        assert_eq!(parts.ended(name).await, PipelineState::Finished);
    }
    parts.pipelines.stop("stopped").await.unwrap();
    parts.close().await;
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    parts.produce("in", &[("a", 3)]).await;
    pipelines.resume().await;
    for name in ["done", "stopped"] {
        let view = pipelines.view(name).unwrap();
        assert_eq!((view.state, view.generation), (PipelineState::Finished, 1), "{name}");
        assert_eq!((view.sources[0].position, view.progress.unwrap().totals.read), (2, 2));
        let events = pipelines.events(name, 0).unwrap();
        // That of its first run is kept.
        let starts = events.iter().filter(|event| event.kind == EventKind::Started).count();
        assert_eq!(starts, 1, "{events:?}");
    }
    // Nor is it by whoever runs it again; from a savepoint it is.
    let (view, created) = pipelines.run("done", &counts(), Some(InputEnd::Now)).await.unwrap();
    assert_eq!((view.state, view.generation, created), (PipelineState::Finished, 1, false));
    pipelines.make_savepoint("done", Some("end")).await.unwrap();
    pipelines.restore_savepoint("done", "end", None, None).await.unwrap();
    pipelines.run("done", &counts(), None).await.unwrap();
    parts.caught_up("done").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":2}"#);
    parts.close().await;
}

/// Its windows are given, and whatever came would be late.
#[tokio::test(flavor = "multi_thread")]
async fn where_event_time_has_ended_no_pipeline_begins() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    parts.produce("in", &[("a", 1), ("b", 2)]).await;
    let script = "CREATE TABLE a (k STRING, x BIGINT, ts AS TO_TIMESTAMP_LTZ(x, 3), WATERMARK FOR ts AS ts)
        WITH ('topic' = 'in', 'format' = 'json');
        CREATE TABLE b (n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
        INSERT INTO b SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' SECOND))
        GROUP BY window_start, window_end;";
    pipelines.run("p", script, None).await.unwrap();
    parts.caught_up("p").await;
    pipelines.make_savepoint("p", Some("before")).await.unwrap();
    pipelines.finish_input("p", InputEnd::Now).await.unwrap();
    assert_eq!(parts.ended("p").await, PipelineState::Finished);
    pipelines.make_savepoint("p", Some("end")).await.unwrap();
    for to in [None, Some("q")] {
        let refused = pipelines.restore_savepoint("p", "end", to, None).await.unwrap_err().to_string();
        assert!(refused.contains("event time has ended") && refused.contains("before the end"), "{refused}");
    }
    assert_eq!(pipelines.view("p").unwrap().state, PipelineState::Finished, "nothing has changed");
    pipelines.restore_savepoint("p", "before", None, None).await.unwrap();
    parts.produce("in", &[("c", 3)]).await;
    pipelines.run("p", script, Some(InputEnd::Now)).await.unwrap();
    assert_eq!(parts.ended("p").await, PipelineState::Finished);
    assert_eq!(parts.read("out"), [r#"{"n":2}"#, r#"{"n":3}"#]);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_script_takes_over_a_pipeline_whose_input_gets_an_end_meanwhile() {
    let directory = TempDir::new().unwrap();
    let limits = logmill_stream::EpochLimits { input_records: 1, ..Default::default() };
    let parts = Parts::open_limited(&directory, Vec::new(), 1 << 30, limits).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &(0..900).map(|x| ("a", x)).collect::<Vec<_>>()).await;
    parts.caught_up("p").await;
    let summed = script(", s BIGINT", ", SUM(x)", "");
    let finish = async {
        while pipelines.0.replays.is_empty() {
            tokio::task::yield_now().await;
        }
        pipelines.finish_input("p", InputEnd::Now).await
    };
    let (upgraded, finished) = tokio::join!(pipelines.upgrade("p", &summed, false), finish);
    let refused = upgraded.unwrap_err().to_string();
    assert!(refused.contains("given up") && refused.contains("finished"), "{refused}");
    finished.unwrap();
    assert_eq!(parts.ended("p").await, PipelineState::Finished);
    assert_eq!(pipelines.view("p").unwrap().script, counts());
    parts.close().await;
}
