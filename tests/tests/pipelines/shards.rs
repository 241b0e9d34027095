//! Into how many shards a pipeline's work is split: from its start, while it runs, after a restart, and where it is refused.

use std::collections::BTreeMap;

use logmill_client::{Error, Pipeline, PipelineState, RpcCode, RunOptions};
use logmill_config::ByteSize;

use crate::rig::Rig;

/// Windows, whose rows are written once, and counts, of which the last of each key is the table.
fn script(sinks: &str) -> String {
    format!(
        "CREATE TABLE a (k STRING, x BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE w (w TIMESTAMP(3), k STRING, n BIGINT, x BIGINT) WITH ('topic' = '{sinks}-windows', 'format' = 'json');
         CREATE TABLE c (k STRING, n BIGINT, x BIGINT, PRIMARY KEY (k) NOT ENFORCED)
         WITH ('topic' = '{sinks}-counts', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO w SELECT window_start, k, COUNT(*), SUM(x)
         FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end, k;
         INSERT INTO c SELECT k, COUNT(*), MAX(x) FROM a GROUP BY k UNBOUNDED;"
    )
}

const PARTITIONS: i32 = 2;
const ROUNDS: i64 = 6;
const PER_ROUND: i64 = 3_000;
/// The number of shards that the last rescale gives.
const LAST: u32 = 8;

/// What comes in one after the other, to each of the partitions.
async fn produce(rig: &Rig, round: i64) {
    for partition in 0..PARTITIONS {
        let record = |n: i64| {
            let x = round * PER_ROUND + n;
            let (second, ms) = (x / 1_000, x % 1_000);
            format!(
                "{{\"k\":\"{}\",\"x\":{x},\"ts\":\"2026-01-01T00:{:02}:{:02}.{ms:03}Z\"}}",
                (x * 7) % 300,
                second / 60,
                second % 60
            )
        };
        rig.produce("in", partition, (0..PER_ROUND).map(record)).await;
    }
}

/// The table that a topic of changes holds, by key.
async fn table(rig: &Rig, topic: &str) -> BTreeMap<String, (i64, i64)> {
    let mut table = BTreeMap::new();
    for (value, _) in rig.records(topic).await {
        let row: serde_json::Value = serde_json::from_str(&value).expect("JSON");
        let number = |field: &str| row[field].as_i64().expect("a number");
        table.insert(row["k"].as_str().expect("a key").to_owned(), (number("n"), number("x")));
    }
    table
}

fn refused<T: std::fmt::Debug>(result: logmill_client::Result<T>, code: RpcCode) -> String {
    match result.expect_err("it is refused") {
        Error::Rpc { code: found, message, .. } => {
            assert_eq!(found, code, "{message}");
            message
        }
        other => panic!("{other}"),
    }
}

fn on(shards: u32) -> RunOptions {
    RunOptions { shards: Some(shards), ..RunOptions::default() }
}

async fn until_split(rig: &Rig, name: &str, shards: u32) -> Pipeline {
    rig.until(name, |pipeline| (pipeline.running_shards, pipeline.shards) == (shards, shards)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescale_while_it_runs_loses_and_doubles_nothing() {
    let rig = Rig::start().await;
    rig.topic("in", PARTITIONS as u32).await;
    rig.run("one", &script("one")).await;
    let (pipeline, created) =
        rig.pipelines.run_with("several", &script("several"), on(2)).await.expect("it runs");
    assert!(created && pipeline.shards == 2, "{pipeline:?}");
    for round in 0..ROUNDS {
        produce(&rig, round).await;
        let shards = [3, 1, LAST][round as usize % 3];
        // Input goes on, and nobody waits for it.
        rig.pipelines.rescale("several", shards).await.expect("it is rescaled");
    }
    let pipeline = until_split(&rig, "several", LAST).await;
    assert_eq!(pipeline.generation, 1, "it is the same run");
    // What it was last told is what it has after a restart.
    let rig = rig.restart_with(|_| {}).await;
    until_split(&rig, "several", LAST).await;
    produce(&rig, ROUNDS).await;
    rig.finish("one").await;
    let pipeline = rig.finish("several").await;
    let counters = pipeline.counters.unwrap_or_default();
    assert_eq!(counters.records_in, i64::from(PARTITIONS) * (ROUNDS + 1) * PER_ROUND);
    assert_eq!((pipeline.shards, pipeline.running_shards), (LAST, 0), "nothing runs any more");
    let windows = rig.values("several-windows").await;
    assert_eq!(windows, rig.values("one-windows").await);
    assert!(windows.len() > 5_000, "{}", windows.len());
    let counts = table(&rig, "several-counts").await;
    assert_eq!(counts, table(&rig, "one-counts").await);
    assert_eq!(counts.values().map(|(n, _)| n).sum::<i64>(), counters.records_in);
    let told = rig.pipelines.events("several", 0).await.expect("events");
    assert!(told.iter().all(|event| event.kind != "failed"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_given_kept_and_told() {
    let rig = Rig::start_with(|config| config.pipelines.shards = Some(5)).await;
    rig.topic("in", 1).await;
    rig.run("p", &script("p")).await;
    until_split(&rig, "p", 5).await;
    produce_one(&rig).await;
    // Deployed again with another number it is rescaled; without one nothing changes.
    rig.pipelines.run_with("p", &script("p"), on(3)).await.expect("it goes on");
    until_split(&rig, "p", 3).await;
    assert_eq!(rig.run("p", &script("p")).await.shards, 3);
    let told = rig.pipelines.events("p", 0).await.expect("events");
    assert!(told.iter().any(|event| event.kind == "changed" && event.text.contains("3 shards")), "{told:?}");
    // The number of the broker is not what it was; its own stays.
    let rig = rig.restart_with(|config| config.pipelines.shards = Some(2)).await;
    assert_eq!(rig.describe("p").await.shards, 3);
    let pipeline = rig.pipelines.stop("p").await.expect("it stops");
    assert_eq!((pipeline.shards, pipeline.running_shards), (3, 0));
    rig.pipelines.run_with("p", &script("p"), on(4)).await.expect("it goes on");
    until_split(&rig, "p", 4).await;
    assert_eq!(rig.finish("p").await.counters.unwrap_or_default().records_in, 1);
}

async fn produce_one(rig: &Rig) {
    rig.produce("in", 0, ["{\"k\":\"a\",\"x\":1,\"ts\":\"2026-01-01T00:00:00Z\"}".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rescaled_says_why_and_what_to_do() {
    let rig = Rig::start_with(|config| {
        config.pipelines.spill = false;
        config.pipelines.memory = ByteSize::bytes(400);
    })
    .await;
    rig.topic("in", 1).await;
    refused(rig.pipelines.rescale("nobody", 2).await, RpcCode::NotFound);
    rig.run("p", &script("p")).await;
    for shards in [0, 257] {
        let said = refused(rig.pipelines.rescale("p", shards).await, RpcCode::InvalidArgument);
        assert!(said.contains("1 to 256 shards"), "{said}");
        refused(rig.pipelines.run_with("q", &script("q"), on(shards)).await, RpcCode::InvalidArgument);
    }
    refused(rig.pipelines.describe("q").await, RpcCode::NotFound);
    // It waits for memory.
    for x in 0..20 {
        let record = format!("{{\"k\":\"{x}\",\"x\":{x},\"ts\":\"2026-01-01T00:00:00Z\"}}");
        rig.produce("in", 0, [record]).await;
    }
    rig.until_state("p", PipelineState::Blocked).await;
    let said = refused(rig.pipelines.rescale("p", 2).await, RpcCode::FailedPrecondition);
    for part in ["cannot go on now", "may have 400", "--shards 2"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // It was stopped; a new number holds when it goes on.
    rig.pipelines.stop("p").await.expect("it stops");
    let said = refused(rig.pipelines.rescale("p", 2).await, RpcCode::FailedPrecondition);
    assert!(said.contains("logmill pipeline resume p --shards 2"), "{said}");
    rig.pipelines.set_memory("p", 1 << 20).await.expect("it is set");
    rig.pipelines.run_with("p", &script("p"), on(2)).await.expect("it goes on");
    until_split(&rig, "p", 2).await;
    // It has failed.
    rig.produce("in", 0, ["no JSON".to_owned()]).await;
    rig.until_state("p", PipelineState::Failed).await;
    let said = refused(rig.pipelines.rescale("p", 3).await, RpcCode::FailedPrecondition);
    for part in ["has failed", "offset 20", "logmill pipeline resume p --shards 3"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // It has finished.
    rig.topic("empty", 1).await;
    rig.run("done", &script("done").replace("'in'", "'empty'")).await;
    rig.finish("done").await;
    let said = refused(rig.pipelines.rescale("done", 3).await, RpcCode::FailedPrecondition);
    assert!(said.contains("nothing left to compute"), "{said}");
    rig.others_are_served().await;
}
