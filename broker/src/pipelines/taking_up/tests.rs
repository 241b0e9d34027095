//! Restarts, savepoints and upgrades over a data directory, without a port.

use std::path::PathBuf;
use std::time::Duration;

use logmill_record::{BatchBuilder, BatchOptions};
use logmill_storage::{Check, Isolation, ReadRequest};
use logmill_stream::Fate;
use tempfile::TempDir;

use super::super::tests::Parts;
use super::super::{PipelineError, PipelineState};
use crate::partitions::Acknowledge;

pub(in crate::pipelines) fn script(aggregates: &str, select: &str, filter: &str) -> String {
    format!(
        "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE b (k STRING, n BIGINT {aggregates})
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO b SELECT k, COUNT(*) {select} FROM a {filter} GROUP BY k UNBOUNDED;"
    )
}

pub(in crate::pipelines) fn counts() -> String {
    script("", "", "")
}

impl Parts {
    pub(in crate::pipelines) async fn produce(&self, topic: &str, rows: &[(&str, i64)]) {
        self.produce_to(topic, 0, rows).await;
    }

    pub(in crate::pipelines) async fn produce_to(&self, topic: &str, partition: i32, rows: &[(&str, i64)]) {
        let topic = self.pipelines.0.topics.get(topic).unwrap();
        for rows in rows.chunks(3) {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            for (k, x) in rows {
                let value = format!(r#"{{"k":"{k}","x":{x}}}"#);
                builder.push(1_000, None, Some(value.as_bytes()), &[]);
            }
            let batch = builder.build();
            let check = Check::Internal { expected_end: None };
            let partition = topic.partition(partition).unwrap();
            let pending = self.partitions.submit(partition, batch, check, Acknowledge::Durable).unwrap();
            pending.wait().await.unwrap();
        }
    }

    /// One record of this value.
    pub(in crate::pipelines) async fn produce_text(&self, topic: &str, value: &str) {
        let topic = self.pipelines.0.topics.get(topic).unwrap();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(1_000, None, Some(value.as_bytes()), &[]);
        let check = Check::Internal { expected_end: None };
        let partition = topic.partition(0).unwrap();
        let pending =
            self.partitions.submit(partition, builder.build(), check, Acknowledge::Durable).unwrap();
        pending.wait().await.unwrap();
    }

    /// Every record of a topic, oldest first.
    pub(in crate::pipelines) fn read(&self, topic: &str) -> Vec<String> {
        let topic = self.pipelines.0.topics.get(topic).unwrap();
        let mut rows = Vec::new();
        for partition in &topic.partitions {
            let mut offset = partition.published().log_start_offset;
            while offset < partition.published().high_watermark {
                let request = ReadRequest {
                    offset,
                    max_bytes: 1 << 20,
                    isolation: Isolation::Committed,
                    min_one_batch: true,
                };
                for chunk in partition.read(request).unwrap().chunks {
                    for batch in logmill_record::batch::batches(chunk) {
                        let batch = batch.unwrap();
                        for record in batch.records(1 << 20).unwrap() {
                            let text = |bytes: Option<bytes::Bytes>| {
                                String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
                            };
                            rows.push(text(record.value));
                        }
                        offset = batch.header().next_offset();
                    }
                }
            }
        }
        rows
    }

    /// Waits until the pipeline has read everything.
    pub(in crate::pipelines) async fn caught_up(&self, name: &str) {
        for _ in 0..3_000 {
            let view = self.pipelines.view(name).unwrap();
            if let PipelineState::Failed(failure) = &view.state {
                panic!("{failure}");
            }
            if view.progress.is_some() && view.sources.iter().all(|source| source.position == source.end) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.pipelines.view(name));
    }

    pub(in crate::pipelines) fn changelog_start(&self, name: &str) -> i64 {
        self.pipelines.own_logs(name).unwrap().changelog.published().log_start_offset
    }
}

pub(in crate::pipelines) fn files(directory: &TempDir, name: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(directory.path().join("pipelines").join(name));
    let mut files: Vec<PathBuf> =
        found.map_or_else(|_| Vec::new(), |found| found.map(|entry| entry.unwrap().path()).collect());
    files.sort();
    files
}

const ROWS: [(&str, i64); 6] = [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("a", 5), ("b", 6)];

/// Produces one record at a time, so that every epoch has one.
async fn trickle(parts: &Parts, name: &str, rows: &[(&str, i64)]) {
    for row in rows {
        parts.produce("in", &[*row]).await;
        parts.caught_up(name).await;
        // A snapshot in the making is given up when the run ends; let it be made.
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_the_newest_snapshot_that_is_whole() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    for _ in 0..3 {
        trickle(&parts, "p", &ROWS).await;
    }
    parts.pipelines.stop("p").await.unwrap();
    let snapshots = files(&directory, "p");
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    let start = parts.changelog_start("p");
    assert!(start > 0, "the changelog before the older snapshot is let go");
    parts.close().await;

    // The newest is damaged: the older one and the changelog behind it are as good.
    let newest = snapshots.last().unwrap();
    let mut bytes = std::fs::read(newest).unwrap();
    let middle = bytes.len() - 20;
    bytes[middle] ^= 1;
    std::fs::write(newest, bytes).unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 7), ("c", 8)]).await;
    parts.caught_up("p").await;
    let out = parts.read("out");
    assert_eq!(out[out.len() - 2..], [r#"{"k":"a","n":10}"#, r#"{"k":"c","n":4}"#]);
    let events = parts.pipelines.events("p", 0).unwrap();
    assert!(events.iter().any(|event| event.text.contains("cannot be used")), "{events:?}");
    parts.pipelines.stop("p").await.unwrap();
    parts.close().await;

    // Without any it says what is missing, and does not begin anew.
    std::fs::remove_dir_all(directory.path().join("pipelines").join("p")).unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    for _ in 0..500 {
        if matches!(parts.pipelines.view("p").unwrap().state, PipelineState::Failed(_)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let PipelineState::Failed(failure) = parts.pipelines.view("p").unwrap().state else { panic!("it runs") };
    assert!(failure.what.contains("no snapshot"), "{failure}");
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_no_progress_record_vouches_for_is_passed_over() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1 << 30).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &ROWS).await;
    parts.caught_up("p").await;
    parts.pipelines.stop("p").await.unwrap();
    // As if the machine had gone down between the snapshot of an upgrade and its frame: the file is of an epoch that then
    // became another one.
    let made = parts.pipelines.make_savepoint("p", Some("s")).await.unwrap();
    let directory_of = directory.path().join("pipelines").join("p");
    let epoch = made.header.progress.epoch + 1;
    let text = std::fs::read(directory_of.join("savepoint-s.lms")).unwrap();
    parts.pipelines.restore_savepoint("p", "s", None, None).await.unwrap();
    let born = directory_of.join(format!("snapshot-{epoch:020}.lms"));
    assert!(born.exists());
    let unborn = std::fs::read(&born).unwrap();
    parts.pipelines.restore_savepoint("p", "s", None, None).await.unwrap();
    std::fs::write(&born, unborn).unwrap();
    std::fs::write(directory_of.join("snapshot-99999999999999999999.lms"), text).unwrap();
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 1)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":4}"#);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_goes_back_to_a_savepoint_and_another_begins_there() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    trickle(&parts, "p", &ROWS).await;
    let made = pipelines.make_savepoint("p", Some("six")).await.unwrap();
    assert_eq!(made.header.progress.inputs[0].to, 6);
    let again = pipelines.make_savepoint("p", Some("six")).await;
    assert!(matches!(again, Err(PipelineError::SavepointExists { .. })), "{again:?}");
    trickle(&parts, "p", &[("a", 7), ("b", 8), ("d", 9)]).await;
    pipelines.make_savepoint("p", None).await.unwrap();
    let names: Vec<String> =
        pipelines.savepoints("p").await.unwrap().into_iter().map(|savepoint| savepoint.name).collect();
    assert_eq!(names.len(), 2);
    assert!(names[0].starts_with("epoch-") && names[1] == "six", "{names:?}");
    let running = pipelines.restore_savepoint("p", "six", None, None).await;
    assert!(matches!(running, Err(PipelineError::State { .. })), "{running:?}");
    pipelines.stop("p").await.unwrap();
    let before = parts.read("out").len();

    let view = pipelines.restore_savepoint("p", "six", None, None).await.unwrap();
    assert_eq!(view.state, PipelineState::Stopped);
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.caught_up("p").await;
    // What came behind the cut comes again, and is the same.
    let mut last: Vec<String> = parts.read("out")[before..].to_vec();
    last.sort();
    assert_eq!(last, [r#"{"k":"a","n":4}"#, r#"{"k":"b","n":3}"#, r#"{"k":"d","n":1}"#]);

    // Another one, with sinks of its own, from the same cut.
    let fork = counts().replace("'out'", "'fork-out'");
    let owned = pipelines.restore_savepoint("p", "six", Some("q"), None).await;
    assert!(matches!(owned, Err(PipelineError::Sink { .. })), "{owned:?}");
    let other = script(", m BIGINT", ", MAX(x)", "").replace("'out'", "'fork-out'");
    let other = pipelines.restore_savepoint("p", "six", Some("q"), Some(&other)).await;
    assert!(matches!(other, Err(PipelineError::State { .. })), "{other:?}");
    pipelines.restore_savepoint("p", "six", Some("q"), Some(&fork)).await.unwrap();
    pipelines.run("q", &fork, None).await.unwrap();
    parts.caught_up("q").await;
    let mut rows = parts.read("fork-out");
    rows.sort();
    assert_eq!(rows, last);

    pipelines.delete_savepoint("p", "six").await.unwrap();
    let gone = pipelines.delete_savepoint("p", "six").await;
    assert!(matches!(gone, Err(PipelineError::NoSavepoint { .. })), "{gone:?}");
    // After a restart everything is as it was.
    parts.close().await;
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    parts.pipelines.resume().await;
    parts.produce("in", &[("d", 1)]).await;
    for (name, topic) in [("p", "out"), ("q", "fork-out")] {
        parts.caught_up(name).await;
        assert_eq!(parts.read(topic).last().unwrap(), r#"{"k":"d","n":2}"#);
    }
    parts.pipelines.stop("p").await.unwrap();
    let kept = parts.pipelines.delete("p", false).await;
    assert!(matches!(kept, Err(PipelineError::HasSavepoints { .. })), "{kept:?}");
    assert_eq!(parts.pipelines.view("p").unwrap().state, PipelineState::Stopped);
    parts.pipelines.delete("p", true).await.unwrap();
    assert!(files(&directory, "p").is_empty());
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_script_takes_over_with_the_state_it_would_have() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    trickle(&parts, "p", &ROWS).await;

    // Nothing but what is done with the rows: the state is kept.
    let doubled = script(", m BIGINT", ", COUNT(*) * 2", "");
    let view = pipelines.explain_upgrade("p", &doubled).await.unwrap();
    assert_eq!(view.upgrade.operators[0].fate, Fate::Kept);
    assert_eq!((view.to_read, view.incomplete.len()), (0, 0));
    let before = pipelines.view("p").unwrap();
    let (view, _) = pipelines.upgrade("p", &doubled, false).await.unwrap();
    assert!(view.generation > before.generation);
    trickle(&parts, "p", &[("a", 9)]).await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":4,"m":8}"#);

    // Another aggregate and another filter: made anew of the whole input.
    let summed = script(", s BIGINT", ", SUM(x)", "WHERE x <> 3");
    let view = pipelines.explain_upgrade("p", &summed).await.unwrap();
    assert_eq!(view.upgrade.operators[0].fate, Fate::Rebuilt);
    assert_eq!(view.to_read, 7);
    let rows = parts.read("out").len();
    pipelines.upgrade("p", &summed, false).await.unwrap();
    trickle(&parts, "p", &[("a", 100), ("c", 1)]).await;
    // 1, 5, 9, 100; and 4, 1. Nothing of before the cut is written again.
    assert_eq!(parts.read("out")[rows..], [r#"{"k":"a","n":4,"s":115}"#, r#"{"k":"c","n":2,"s":5}"#]);

    // A join with a topic that was not read before, beside what is there.
    parts.produce("other-in", &[("a", -1), ("c", -2)]).await;
    let joined = format!(
        "{summed}
         CREATE TABLE o (k STRING, x BIGINT) WITH ('topic' = 'other-in', 'format' = 'json');
         CREATE TABLE j (k STRING, x BIGINT, y BIGINT) WITH ('topic' = 'joined', 'format' = 'json', 'output' = 'retract');
         INSERT INTO j SELECT a.k, a.x, o.x FROM a JOIN o ON a.k = o.k UNBOUNDED;"
    );
    let view = pipelines.explain_upgrade("p", &joined).await.unwrap();
    let fates: Vec<Fate> = view.upgrade.operators.iter().map(|change| change.fate).collect();
    assert_eq!(fates, [Fate::Kept, Fate::New]);
    assert_eq!(view.upgrade.new_sources, ["other-in"]);
    pipelines.upgrade("p", &joined, false).await.unwrap();
    trickle(&parts, "p", &[("c", 50)]).await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"c","n":3,"s":55}"#);
    let pairs = parts.read("joined");
    assert_eq!(pairs.len(), 1, "{pairs:?}");
    assert!(pairs[0].contains("50") && pairs[0].contains("-2"), "{pairs:?}");

    // It is the same after a restart, and the old script is not taken any more.
    parts.close().await;
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    parts.pipelines.resume().await;
    parts.produce("in", &[("b", 1)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"b","n":3,"s":9}"#);
    let old = parts.pipelines.run("p", &summed, None).await;
    assert!(matches!(old, Err(PipelineError::OtherScript(_))), "{old:?}");

    // The input is not all there any more.
    let partition = parts.pipelines.0.topics.get("in").unwrap().partition(0).unwrap().clone();
    parts.partitions.delete_records(&partition, 5).unwrap().await.unwrap();
    // For fewer aggregates the state has all that there was.
    let fewer = joined.replace(", SUM(x)", "").replace(", s BIGINT", "");
    let view = parts.pipelines.explain_upgrade("p", &fewer).await.unwrap();
    let fates: Vec<Fate> = view.upgrade.operators.iter().map(|change| change.fate).collect();
    assert_eq!((fates, view.to_read), (vec![Fate::Migrated, Fate::Kept], 0));
    parts.pipelines.upgrade("p", &fewer, false).await.unwrap();
    parts.produce("in", &[("b", 1)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"b","n":4}"#);

    let refused = parts.pipelines.upgrade("p", &counts(), false).await.unwrap_err();
    assert!(refused.to_string().contains("begins at offset 5"), "{refused}");
    parts.pipelines.upgrade("p", &counts(), true).await.unwrap();
    parts.produce("in", &[("b", 1)]).await;
    parts.caught_up("p").await;
    // Of `b` the log has left the sixth record, the two above and this one.
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"b","n":4}"#);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_cannot_take_over_leaves_everything_as_it_is() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    trickle(&parts, "p", &ROWS).await;
    // A record that the new script cannot read: it has no number called `z`.
    let strict = counts().replace("x BIGINT", "z BIGINT NOT NULL").replace("COUNT(*)", "COUNT(z)");
    let refused = pipelines.upgrade("p", &strict, false).await;
    assert!(matches!(refused, Err(PipelineError::Upgrade { .. })), "{refused:?}");
    pipelines.run("other", &counts().replace("'out'", "'taken'"), None).await.unwrap();
    let taken = pipelines.upgrade("p", &counts().replace("'out'", "'taken'"), false).await;
    assert!(matches!(taken, Err(PipelineError::Sink { .. })), "{taken:?}");
    trickle(&parts, "p", &[("a", 1)]).await;
    let view = pipelines.view("p").unwrap();
    assert_eq!((view.state, view.script), (PipelineState::Running, counts()));
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":4}"#);
    parts.close().await;
}
