//! A function of the user's own that never ends: its record is at fault, and nobody else waits for it.

use logmill_client::{Pipeline, PipelineState};
use logmill_config::ByteSize;

use crate::rig::Rig;

/// Ends for all numbers but 0: `(module (func (export "spin") (param i64) (result i64) (loop (br_if 0 (i64.eqz
/// (local.get 0)))) (local.get 0)))`, in base64.
const SPIN: &str = "AGFzbQEAAAABBgFgAX4BfgMCAQAHCAEEc3BpbgAACg4BDAADQCAAUA0ACyAACw==";

fn script(options: &str, fuel: &str) -> String {
    format!(
        "CREATE FUNCTION spin(a BIGINT) RETURNS BIGINT LANGUAGE wasm {fuel} AS '{SPIN}';
        CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json'{options});
        CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
        INSERT INTO b SELECT spin(x) FROM a;"
    )
}

fn rows(numbers: impl IntoIterator<Item = i64>) -> Vec<String> {
    numbers.into_iter().map(|x| format!("{{\"x\":{x}}}")).collect()
}

fn written(pipeline: &Pipeline) -> i64 {
    pipeline.counters.unwrap_or_default().records_out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_never_ends_stops_its_pipeline_at_its_record() {
    let rig = Rig::start().await;
    rig.topic("in", 2).await;
    rig.produce("in", 1, rows([1, 2, 0, 3])).await;
    rig.run("p", &script("", "")).await;
    let pipeline = rig.until_state("p", PipelineState::Failed).await;
    let failure = pipeline.last_error.clone().expect("an error");
    let position = failure.position.expect("a position");
    assert_eq!((position.topic.as_str(), position.partition, position.offset), ("in", 1, 2));
    for part in ["spin", "fuel, 2000000 units", "may run for ever", "'fuel'"] {
        assert!(failure.what.contains(part), "{part:?} in {}", failure.what);
    }
    assert!(failure.remedy.contains("'on-error' = 'skip'"), "{}", failure.remedy);
    assert_eq!(written(&pipeline), 2, "what came before it");
    assert_eq!(rig.events("p").await.last().map(String::as_str), Some("failed"));
    rig.others_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_never_ends_costs_its_record_and_no_other() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, rows([1, 0, 2, 0, 3])).await;
    rig.run("p", &script(", 'on-error' = 'dlq', 'dlq-topic' = 'dead'", "")).await;
    let pipeline = rig.finish("p").await;
    assert_eq!(rig.values("out").await, rows([1, 2, 3]));
    let counters = pipeline.counters.unwrap_or_default();
    assert_eq!((counters.records_out, counters.dead_lettered), (3, 2));
    let rejected = pipeline.last_rejected.expect("it is shown");
    assert!(rejected.error.contains("fuel"), "{}", rejected.error);
    let dead = rig.records("dead").await;
    assert_eq!(
        dead.iter().map(|(_, headers)| headers["logmill.offset"].as_str()).collect::<Vec<_>>(),
        ["1", "3"]
    );
}

/// With much fuel each record takes its time. Others have theirs, and the pipeline is shown at work.
#[tokio::test(flavor = "multi_thread")]
async fn others_are_served_while_a_function_runs_on() {
    const RECORDS: i64 = 20;
    let rig = Rig::start_with(|config| {
        config.pipelines.epoch_bytes = ByteSize::kib(1);
        config.pipelines.epoch_records = 1;
    })
    .await;
    rig.topic("in", 1).await;
    rig.run("p", &script(", 'on-error' = 'skip'", "WITH ('fuel' = '5000000')")).await;
    rig.until_state("p", PipelineState::Running).await;
    for _ in 0..RECORDS {
        rig.produce("in", 0, rows([0])).await;
    }
    rig.until("p", |pipeline| pipeline.limiting() == logmill_client::Limiting::Computing).await;
    for _ in 0..5 {
        rig.others_are_served().await;
    }
    let pipeline = rig.describe("p").await;
    assert_eq!(pipeline.state(), PipelineState::Running);
    assert!(pipeline.counters.unwrap_or_default().skipped < RECORDS, "all of that while it computes");
    let pipeline = rig.until("p", |pipeline| pipeline.counters.unwrap_or_default().skipped > 0).await;
    assert!(pipeline.last_rejected.expect("it is shown").error.contains("5000000 units"));
}
