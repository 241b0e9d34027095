//! What is kept of snapshots and of the logs behind them, over a data directory.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::FoundSnapshots;
use crate::pipelines::tests::Parts;
use crate::topics::{CHANGELOG_PREFIX, ConfigUpdate, PROGRESS_PREFIX};

const COUNTS: &str = "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
     CREATE TABLE b (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
     INSERT INTO b SELECT k, COUNT(*) FROM a GROUP BY k UNBOUNDED;";

const COPY: &str = "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
     CREATE TABLE b (k STRING, x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
     INSERT INTO b SELECT k, x FROM a;";

fn snapshots(directory: &TempDir) -> Vec<PathBuf> {
    let found = std::fs::read_dir(directory.path().join("pipelines").join("p")).unwrap();
    let mut files: Vec<PathBuf> = found
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snapshot-"))
        .collect();
    files.sort();
    files
}

async fn trickle(parts: &Parts, records: i64) {
    for x in 0..records {
        parts.produce("in", &[("a", x)]).await;
        parts.caught_up("p").await;
        // A snapshot in the making is given up when the run ends; let it be made.
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_cannot_be_read_now_are_not_removed() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    parts.pipelines.run("p", COUNTS, None).await.unwrap();
    trickle(&parts, 10).await;
    parts.pipelines.stop("p").await.unwrap();
    let before = snapshots(&directory);
    assert_eq!(before.len(), 2, "{before:?}");
    let whole: Vec<Vec<u8>> = before.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for path in &before {
        std::fs::write(path, b"").unwrap();
    }
    let cut = parts.pipelines.standing("p").await.unwrap();
    let (logs, snapshots_of) = (parts.pipelines.own_logs("p").unwrap(), parts.pipelines.0.snapshots("p"));
    let start = parts.changelog_start("p");
    snapshots_of.alone(|_| snapshots_of.let_go(&logs, &cut)).unwrap();
    assert_eq!(snapshots(&directory), before);
    assert_eq!(parts.changelog_start("p"), start);
    // They can be read again.
    for (path, bytes) in before.iter().zip(whole) {
        std::fs::write(path, bytes).unwrap();
    }
    parts.pipelines.run("p", COUNTS, None).await.unwrap();
    trickle(&parts, 1).await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":11}"#);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_the_state_before_a_restore_is_not_gone_on_from() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", COUNTS, None).await.unwrap();
    trickle(&parts, 3).await;
    pipelines.make_savepoint("p", Some("three")).await.unwrap();
    trickle(&parts, 3).await;
    pipelines.stop("p").await.unwrap();
    let old = snapshots(&directory).pop().unwrap();
    let bytes = std::fs::read(&old).unwrap();
    let ended = pipelines.standing("p").await.unwrap();
    pipelines.restore_savepoint("p", "three", None, None).await.unwrap();
    let cut = pipelines.standing("p").await.unwrap();
    // As if the machine had gone down before the old ones were let go. This one ends where the new state begins.
    assert_eq!(cut.progress.state_from, Some(ended.changelog_end));
    std::fs::write(&old, bytes).unwrap();
    let (logs, snapshots_of) = (pipelines.own_logs("p").unwrap(), pipelines.0.snapshots("p"));
    let found = FoundSnapshots::of(snapshots_of.files(), &logs, &cut).unwrap();
    assert_eq!(found.usable.len(), 1, "{found:?}");
    assert_eq!(found.usable[0].header.progress.epoch, cut.progress.epoch);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_progress_of_a_pipeline_without_state_is_let_go() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1).await;
    parts.pipelines.run("p", COPY, None).await.unwrap();
    trickle(&parts, 8).await;
    parts.pipelines.stop("p").await.unwrap();
    let logs = parts.pipelines.own_logs("p").unwrap();
    assert!(logs.progress.published().log_start_offset > 0);
    parts.pipelines.run("p", COPY, None).await.unwrap();
    trickle(&parts, 1).await;
    assert_eq!(parts.read("out").len(), 9);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_topics_are_not_compacted_those_of_earlier_versions_neither() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), 1 << 30).await;
    parts.pipelines.run("p", COUNTS, None).await.unwrap();
    parts.pipelines.stop("p").await.unwrap();
    let topics = &parts.pipelines.0.topics;
    let names = [CHANGELOG_PREFIX, PROGRESS_PREFIX].map(|prefix| format!("{prefix}p"));
    let compacted = || ConfigUpdate::Replace([("cleanup.policy".to_owned(), "compact".to_owned())].into());
    for name in &names {
        assert!(!topics.get(name).unwrap().rules.keys_required, "{name}");
        topics.alter_any(name, &compacted(), false).await.unwrap();
        assert!(topics.get(name).unwrap().rules.keys_required, "{name}");
    }
    parts.pipelines.run("p", COUNTS, None).await.unwrap();
    for name in &names {
        let topic = topics.get(name).unwrap();
        assert!(!topic.rules.keys_required, "{name}");
        assert_eq!(topic.configs["retention.ms"], "-1");
    }
    parts.close().await;
}
