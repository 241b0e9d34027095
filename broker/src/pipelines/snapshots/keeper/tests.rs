//! What is kept of snapshots and of the logs behind them, over a data directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::find;
use crate::pipelines::snapshots::{CHANGES_BYTES, SnapshotFiles, Source, Stop, make};
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
    let found = find(snapshots_of.files(), &logs, &cut).unwrap();
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

/// Changes that do not fit into memory wait in files, each once: the state is not written anew for each of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_many_changes_is_written_once() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open_with(&directory, Vec::new(), u64::MAX).await;
    parts.pipelines.run("p", COUNTS, None).await.unwrap();
    // More of them than are left beside each other; some keys change again.
    for x in 0..100_usize {
        let key = format!("{}{:01000}", ["", "z"][x % 2], x % 80);
        parts.produce("in", &[(key.as_str(), x as i64)]).await;
        parts.caught_up("p").await;
    }
    parts.pipelines.stop("p").await.unwrap();
    let cut = parts.pipelines.standing("p").await.unwrap();
    assert!(cut.progress.epoch > 70, "{}", cut.progress.epoch);
    let logs = parts.pipelines.own_logs("p").unwrap();
    let plan = parts.pipelines.plan_of(COUNTS).await.unwrap();
    let snapshots = parts.pipelines.0.snapshots("p");
    let (made, most) = snapshots.alone(|files| {
        let path = files.directory().to_owned();
        let most = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&most);
        // It is asked between any two parts.
        let stop: Stop = Arc::new(move || {
            // There is no directory before the first file.
            let files = std::fs::read_dir(&path).into_iter().flatten();
            let bytes = files.map(|file| file.unwrap().metadata().map_or(0, |file| file.len())).sum();
            seen.fetch_max(bytes, Ordering::Relaxed);
            false
        });
        let made = [CHANGES_BYTES, 1].map(|changes_bytes| {
            let source = Source {
                files,
                logs: &logs,
                plan: &plan,
                script: COUNTS,
                now_ms: 7,
                changes_bytes,
                stop: &stop,
            };
            let file = SnapshotFiles::of_savepoint(&changes_bytes.to_string());
            let (_, size) = make(&source, &cut, &file).unwrap();
            (std::fs::read(files.directory().join(file)).unwrap(), size)
        });
        (made, most.load(Ordering::Relaxed))
    });
    let [at_once, in_stretches] = made;
    assert!(at_once == in_stretches, "{:?}, {:?}", at_once.1, in_stretches.1);
    assert_eq!(at_once.1.entries, 80);
    // The first one, the changes, and the second one; each file has a header.
    assert!(most < 6 * at_once.1.bytes, "{most} bytes for {}", at_once.1.bytes);
    let left = std::fs::read_dir(snapshots.files().directory()).unwrap().count();
    assert_eq!(left, 2);
    parts.close().await;
}
