//! A pipeline meets a limit: of a frame, of its memory, of the disk.

use logmill_client::{Codec, PipelineState};
use logmill_config::{ByteSize, Config};
use logmill_storage::SimDisk;
use logmill_storage::disk::sim::Faults;

use crate::rig::Rig;

/// Writes each text so many times over.
fn repeated(times: u32) -> String {
    format!(
        "CREATE TABLE a (id BIGINT, s STRING) WITH ('topic' = 'in', 'format' = 'json');
        CREATE TABLE b (id BIGINT, s STRING) WITH ('topic' = 'out', 'format' = 'json');
        INSERT INTO b SELECT id, REPEAT(s, {times}) FROM a;"
    )
}

fn texts(count: usize, bytes: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |id| format!("{{\"id\":{id},\"s\":\"{}\"}}", "x".repeat(bytes)))
}

/// A frame has half of the journal at most.
fn small_frames(config: &mut Config) {
    config.journal.file_size = ByteSize::kib(512);
    config.journal.max_size = ByteSize::mib(2);
}

/// A disk that has room again when the test ends, however it does: a broker on a full one does not stop.
struct Full<'d>(&'d SimDisk);

impl Drop for Full<'_> {
    fn drop(&mut self) {
        self.0.set_faults(Faults::default());
    }
}

/// Pairs of records of one id within a day: rows that are found by their time do not leave memory.
const PAIRS: &str = "CREATE TABLE a (id BIGINT, s STRING, at TIMESTAMP(3) METADATA FROM 'timestamp',
        WATERMARK FOR at AS at - INTERVAL '1' MINUTE) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (id BIGINT, s STRING) WITH ('topic' = 'out', 'format' = 'json');
    INSERT INTO b SELECT l.id, r.s FROM a AS l JOIN a AS r
    ON l.id = r.id AND r.at BETWEEN l.at - INTERVAL '1' DAY AND l.at + INTERVAL '1' DAY;";

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_too_large_for_a_frame_is_computed_in_parts() {
    let rig = Rig::start_with(small_frames).await;
    rig.topic("in", 1).await;
    // 200 records in one batch, of which 6 MB come out.
    rig.try_produce("in", 0, texts(200, 100), Codec::Zstd).await.expect("they are taken");
    rig.run("p", &repeated(300)).await;
    let pipeline = rig.finish("p").await;
    assert_eq!(pipeline.counters.unwrap_or_default().records_out, 200);
    assert_eq!(rig.values("out").await.len(), 200);
    let events = rig.pipelines.events("p", 0).await.expect("events");
    let told = events.iter().find(|event| event.kind == "pace").expect("it is told");
    assert!(told.text.contains("bytes, and may have"), "{}", told.text);
    rig.others_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_a_frame_ends_its_pipeline_with_the_sizes() {
    let rig = Rig::start_with(small_frames).await;
    rig.topic("in", 1).await;
    rig.try_produce("in", 0, texts(3, 100), Codec::None).await.expect("they are taken");
    rig.run("p", &repeated(30_000)).await;
    let pipeline = rig.until_state("p", PipelineState::Failed).await;
    assert!(pipeline.error.contains("bytes, and a frame may have"), "{}", pipeline.error);
    assert!(pipeline.error.contains("journal.max_size"), "{}", pipeline.error);
    assert_eq!(pipeline.epoch, 0);
    rig.others_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_over_its_budget_waits_for_more() {
    let rig = Rig::start_with(|config| {
        config.pipelines.memory = ByteSize::kib(64);
    })
    .await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, texts(3_000, 1)).await;
    rig.run("p", PAIRS).await;
    let pipeline = rig.until_state("p", PipelineState::Blocked).await;
    let failure = pipeline.last_error.clone().expect("a reason");
    for part in ["Join", "may have 65536", "entries"] {
        assert!(failure.what.contains(part), "{part:?} in {}", failure.what);
    }
    assert!(failure.remedy.contains("logmill pipeline resume"), "{}", failure.remedy);
    assert!(pipeline.operators[0].bytes > 65_536, "{:?}", pipeline.operators);
    rig.others_are_served().await;
    // Nothing is read meanwhile.
    let position = pipeline.sources[0].position;
    rig.produce("in", 0, texts(10, 1)).await;
    assert_eq!(rig.describe("p").await.sources[0].position, position);
    // A restart changes nothing about it, nor does a little more.
    let rig = rig.restart_with(|_| {}).await;
    rig.until_state("p", PipelineState::Blocked).await;
    rig.pipelines.set_memory("p", 70_000).await.expect("it is set");
    assert_eq!(rig.describe("p").await.state(), PipelineState::Blocked);
    rig.pipelines.set_memory("p", 10 << 20).await.expect("it is set");
    let pipeline = rig.finish("p").await;
    assert_eq!(pipeline.counters.unwrap_or_default().records_in, 3_010);
    assert_eq!(pipeline.memory_bytes, 10 << 20);
    let events = rig.events("p").await;
    assert!(events.contains(&"blocked".to_owned()) && events.contains(&"unblocked".to_owned()), "{events:?}");
    // What it was given stays given.
    let rig = rig.restart_with(|_| {}).await;
    assert_eq!(rig.describe("p").await.memory_bytes, 10 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_waits_for_memory_can_be_stopped() {
    let rig = Rig::start_with(|config| {
        config.pipelines.memory = ByteSize::kib(1);
    })
    .await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, texts(100, 1)).await;
    rig.run("p", PAIRS).await;
    rig.until_state("p", PipelineState::Blocked).await;
    let pipeline = rig.pipelines.stop("p").await.expect("it stops");
    assert_eq!(pipeline.state(), PipelineState::Stopped);
    assert_eq!(pipeline.error, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_a_pipeline_up_and_nothing_is_lost_or_doubled() {
    let disk = SimDisk::new(7);
    let rig = Rig::start_on(&disk, |config| {
        config.journal.file_size = ByteSize::mib(1);
        config.journal.max_size = ByteSize::mib(4);
    })
    .await;
    rig.topic("in", 1).await;
    rig.topic("read", 1).await;
    rig.produce("read", 0, ["before".to_owned()]).await;
    rig.try_produce("in", 0, texts(400, 100), Codec::None).await.expect("they are taken");
    let used: u64 = disk.files().iter().map(|(_, size)| size).sum();
    disk.set_faults(Faults { capacity_bytes: Some(used + (6 << 20)), ..Faults::default() });
    let full = Full(&disk);
    // 20 MB come out.
    rig.run("p", &repeated(500)).await;
    let pipeline = rig.until_state("p", PipelineState::Blocked).await;
    let failure = pipeline.last_error.clone().expect("a reason");
    assert!(failure.what.contains("disk is full"), "{}", failure.what);
    assert!(failure.remedy.contains("Free space"), "{}", failure.remedy);
    assert!(pipeline.counters.unwrap_or_default().records_out < 400);
    assert_eq!(rig.values("read").await, ["before"], "what is there can be read");
    drop(full);
    rig.until_state("p", PipelineState::Running).await;
    rig.others_are_served().await;
    let pipeline = rig.finish("p").await;
    assert_eq!(pipeline.counters.unwrap_or_default().records_out, 400);
    let ids = |value: &String| value.split("\"s\"").next().map(str::to_owned);
    let mut values: Vec<_> = rig.values("out").await.iter().filter_map(ids).collect();
    values.dedup();
    assert_eq!(values.len(), 400);
    assert_eq!(pipeline.generation, 1, "it went on by itself");
}
