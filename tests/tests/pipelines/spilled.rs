//! A state that is larger than its budget: it is on disk, and nothing else changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use logmill_client::{Pipeline, PipelineState};
use logmill_config::ByteSize;

use crate::rig::Rig;

/// Counts each id, for ever.
const SCRIPT: &str = "CREATE TABLE a (id BIGINT, s STRING) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (id BIGINT, n BIGINT, PRIMARY KEY (id) NOT ENFORCED)
    WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
    INSERT INTO b SELECT id, COUNT(*) FROM a GROUP BY id UNBOUNDED;";

const IDS: usize = 4_000;
const BUDGET: u64 = 128 << 10;

fn each_id() -> impl Iterator<Item = String> {
    (0..IDS).map(|id| format!("{{\"id\":{id},\"s\":\"x\"}}"))
}

async fn start() -> Rig {
    let rig = Rig::start_with(|config| {
        config.pipelines.memory = ByteSize::bytes(BUDGET);
    })
    .await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, each_id()).await;
    rig.run("p", SCRIPT).await;
    rig
}

fn has_read(records: usize) -> impl Fn(&Pipeline) -> bool {
    move |pipeline| pipeline.counters.is_some_and(|counters| counters.records_in == records as i64)
}

fn sizes(pipeline: &Pipeline) -> (u64, u64, u64) {
    let operator = &pipeline.operators[0];
    (operator.entries, operator.bytes, operator.memory_bytes)
}

/// The last count of each id.
async fn counts(rig: &Rig) -> BTreeMap<i64, i64> {
    let mut counts = BTreeMap::new();
    for (value, _) in rig.records("out").await {
        let row: serde_json::Value = serde_json::from_str(&value).expect("JSON");
        let (id, count) = (row["id"].as_i64().expect("an id"), row["n"].as_i64().expect("a count"));
        counts.insert(id, count);
    }
    counts
}

async fn told(rig: &Rig, kind: &str, part: &str) -> bool {
    let events = rig.pipelines.events("p", 0).await.expect("events");
    events.iter().any(|event| event.kind == kind && event.text.contains(part))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_larger_than_its_budget_is_on_disk_and_comes_back() {
    let rig = start().await;
    // With an epoch behind it everything that may leave memory has left.
    rig.until("p", has_read(IDS)).await;
    let pipeline = rig.until("p", |pipeline| sizes(pipeline).2 < BUDGET).await;
    let (entries, bytes, memory) = sizes(&pipeline);
    assert_eq!(entries, IDS as u64);
    assert!(bytes > 2 * BUDGET && memory < BUDGET, "{bytes} bytes, {memory} of them in memory");
    assert!(told(&rig, "changed", "goes to").await);
    assert!(rig.spill("p").is_dir());

    let rig = rig.restart_with(|_| {}).await;
    let pipeline = rig.until_state("p", PipelineState::Running).await;
    let (again, of_bytes, memory) = sizes(&pipeline);
    assert_eq!((again, of_bytes), (entries, bytes));
    assert!(memory < BUDGET / 8, "nothing was read yet, and {memory} bytes are in memory");
    rig.produce("in", 0, each_id()).await;
    rig.until("p", has_read(2 * IDS)).await;

    // A savepoint holds all of it.
    rig.pipelines.make_savepoint("p", Some("twice")).await.expect("a savepoint");
    rig.produce("in", 0, each_id().take(10)).await;
    rig.until("p", has_read(2 * IDS + 10)).await;
    rig.pipelines.stop("p").await.expect("it stops");
    rig.pipelines.restore_savepoint("p", "twice", None, None).await.expect("it is restored");
    rig.run("p", SCRIPT).await;
    rig.finish("p").await;
    let pipeline = rig.describe("p").await;
    assert_eq!(sizes(&pipeline).0, IDS as u64);
    let counts = counts(&rig).await;
    assert_eq!(counts.len(), IDS);
    assert!((0..10).all(|id| counts[&id] == 3) && (10..IDS as i64).all(|id| counts[&id] == 2));

    rig.pipelines.delete_with_savepoints("p").await.expect("it is gone");
    assert!(!rig.spill("p").exists());
}

fn damage(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            damage(&path);
            continue;
        }
        let mut bytes = fs::read(&path).expect("it is read");
        bytes.iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).expect("it is written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_damaged_or_gone_is_made_anew() {
    let rig = start().await;
    rig.until("p", has_read(IDS)).await;
    rig.until("p", |pipeline| sizes(pipeline).2 < BUDGET).await;
    let rig = rig.restart_after(|data| damage(&data.join("pipelines/p/spill"))).await;
    rig.until_state("p", PipelineState::Running).await;
    assert!(told(&rig, "changed", "is thrown away and made anew").await);
    rig.produce("in", 0, each_id()).await;
    rig.until("p", has_read(2 * IDS)).await;
    let gone = |data: &Path| fs::remove_dir_all(data.join("pipelines/p/spill")).expect("it goes");
    let rig = rig.restart_after(gone).await;
    rig.until_state("p", PipelineState::Running).await;
    rig.produce("in", 0, each_id()).await;
    rig.finish("p").await;
    let counts = counts(&rig).await;
    assert!(counts.len() == IDS && counts.values().all(|count| *count == 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_waits_for_memory_and_the_store_goes() {
    let rig = start().await;
    rig.until("p", has_read(IDS)).await;
    let rig = rig.restart_with(|config| config.pipelines.spill = false).await;
    let pipeline = rig.until_state("p", PipelineState::Blocked).await;
    assert!(pipeline.error.contains("may have 131072"), "{}", pipeline.error);
    assert!(!rig.spill("p").exists());
    rig.pipelines.set_memory("p", 64 << 20).await.expect("it is set");
    rig.produce("in", 0, each_id()).await;
    rig.finish("p").await;
    assert!(counts(&rig).await.values().all(|count| *count == 2));
}

/// Counts each id in one window, which is closed by a record of the year after.
const WINDOW: &str = "CREATE TABLE a (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
    WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (id BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
    INSERT INTO b SELECT id, COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' DAY))
    GROUP BY window_start, window_end, id;";

fn at(id: usize, day: &str) -> String {
    format!("{{\"id\":{id},\"ts\":\"{day}T12:00:00Z\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_more_groups_than_fit_is_on_disk_until_it_is_given() {
    let rig = Rig::start_with(|config| {
        config.pipelines.memory = ByteSize::bytes(BUDGET);
        config.pipelines.emit_rows = 300;
    })
    .await;
    rig.topic("in", 1).await;
    let each = || (0..IDS).map(|id| at(id, "2026-01-01"));
    rig.produce("in", 0, each()).await;
    rig.run("p", WINDOW).await;
    rig.until("p", has_read(IDS)).await;
    let pipeline = rig.until("p", |pipeline| sizes(pipeline).2 < BUDGET).await;
    let (entries, bytes, _) = sizes(&pipeline);
    assert_eq!(entries, IDS as u64);
    assert!(bytes > 2 * BUDGET, "{bytes}");
    assert!(told(&rig, "changed", "goes to").await);

    // A restart knows how much of it there is, and how it is split does not matter.
    let rig = rig.restart_with(|_| {}).await;
    let pipeline = rig.until_state("p", PipelineState::Running).await;
    assert_eq!((sizes(&pipeline).0, sizes(&pipeline).1), (entries, bytes));
    assert!(sizes(&pipeline).2 < BUDGET / 8, "nothing was read yet: {:?}", sizes(&pipeline));
    rig.pipelines.rescale("p", 3).await.expect("it is rescaled");
    rig.produce("in", 0, each()).await;
    rig.until("p", has_read(2 * IDS)).await;
    rig.produce("in", 0, [at(0, "2027-01-01")]).await;
    let done = |pipeline: &Pipeline| {
        pipeline
            .counters
            .is_some_and(|counters| counters.records_out == IDS as i64 && counters.windows_closed == 1)
    };
    rig.until("p", done).await;
    let pipeline = rig.until("p", |pipeline| sizes(pipeline).0 == 1).await;
    assert!(sizes(&pipeline).1 < 1_000, "what was given is gone: {:?}", sizes(&pipeline));
    let counts = counts(&rig).await;
    assert!(counts.len() == IDS && counts.values().all(|count| *count == 2));
    let events = rig.events("p").await;
    assert!(!events.contains(&"blocked".to_owned()), "{events:?}");
}
