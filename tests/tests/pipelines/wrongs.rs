//! Input that a pipeline cannot take: the status says what, where, and what to do, and others are served meanwhile.

use logmill_client::{InputEnd, Pipeline, PipelineState, RunOptions};

use crate::rig::Rig;

const OPTIONS: &str = "'topic' = 'in', 'format' = 'json'";

/// Doubles a number; what is wrong with a record is found when it is decoded, or when `expression` is computed.
fn script(options: &str, expression: &str) -> String {
    format!(
        "CREATE TABLE a (id BIGINT NOT NULL, x BIGINT) WITH ({OPTIONS}{options});
        CREATE TABLE b (id BIGINT, y STRING) WITH ('topic' = 'out', 'format' = 'json');
        INSERT INTO b SELECT id, {expression} FROM a;"
    )
}

fn row(id: i64, x: &str) -> String {
    format!("{{\"id\":{id},\"x\":{x}}}")
}

/// A pipeline over good records and one bad one at offset 2 of partition 1.
async fn with_a_bad_record(rig: &Rig, bad: &str, script: &str) {
    rig.topic("in", 2).await;
    rig.produce("in", 1, [row(0, "1"), row(1, "2")]).await;
    rig.produce("in", 1, [bad.to_owned()]).await;
    rig.produce("in", 1, [row(3, "4")]).await;
    rig.run("p", script).await;
}

/// That it failed at the bad record, with everything before it written, and says what to do.
async fn fails_at_it(rig: &Rig, reason: &str) -> Pipeline {
    let pipeline = rig.until_state("p", PipelineState::Failed).await;
    let failure = pipeline.last_error.clone().expect("an error");
    let position = failure.position.expect("a position");
    assert_eq!((position.topic.as_str(), position.partition, position.offset), ("in", 1, 2));
    assert!(failure.what.contains(reason), "{reason:?}: {}", failure.what);
    assert!(failure.remedy.contains("'on-error' = 'skip'"), "{}", failure.remedy);
    assert!(failure.at_ms > 1_700_000_000_000, "{}", failure.at_ms);
    assert!(
        pipeline.error.contains("in-1, offset 2") && pipeline.error.contains(reason),
        "{}",
        pipeline.error
    );
    assert_eq!(pipeline.counters.unwrap_or_default().records_out, 2);
    assert_eq!(rig.events("p").await.last().map(String::as_str), Some("failed"));
    rig.others_are_served().await;
    pipeline
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_stops_its_pipeline_and_names_its_place() {
    let rig = Rig::start().await;
    with_a_bad_record(&rig, "no JSON", &script("", "CAST(x * 2 AS STRING)")).await;
    fails_at_it(&rig, "cannot be decoded").await;
    // Running it again meets it again, and stopping it is no news.
    rig.run("p", &script("", "CAST(x * 2 AS STRING)")).await;
    let pipeline = fails_at_it(&rig, "cannot be decoded").await;
    assert_eq!(pipeline.generation, 2);
    // It is shown after a restart, too, which tries again.
    let rig = rig.restart_with(|_| {}).await;
    fails_at_it(&rig, "cannot be decoded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_is_skipped_and_shown() {
    let rig = Rig::start().await;
    with_a_bad_record(&rig, "no JSON", &script(", 'on-error' = 'skip'", "CAST(x * 2 AS STRING)")).await;
    let pipeline = rig.finish("p").await;
    let counters = pipeline.counters.unwrap_or_default();
    assert_eq!((counters.skipped, counters.dead_lettered, counters.records_out), (1, 0, 3));
    let rejected = pipeline.last_rejected.expect("it is shown");
    let position = rejected.position.expect("a position");
    assert_eq!((position.topic.as_str(), position.partition, position.offset), ("in", 1, 2));
    assert!(rejected.error.contains("cannot be decoded") && rejected.dead_letter_topic.is_empty());
    let events = rig.pipelines.events("p", 0).await.expect("events");
    let told = events.iter().find(|event| event.kind == "rejecting").expect("it is told");
    assert!(told.text.contains("in-1, offset 2"), "{}", told.text);
    rig.others_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_becomes_a_dead_letter_and_is_shown() {
    let rig = Rig::start().await;
    let script = script(", 'on-error' = 'dlq', 'dlq-topic' = 'dead'", "CAST(x * 2 AS STRING)");
    with_a_bad_record(&rig, "no JSON", &script).await;
    let pipeline = rig.finish("p").await;
    let counters = pipeline.counters.unwrap_or_default();
    assert_eq!((counters.skipped, counters.dead_lettered, counters.records_out), (0, 1, 3));
    let rejected = pipeline.last_rejected.expect("it is shown");
    assert_eq!(
        (rejected.position.expect("a position").offset, rejected.dead_letter_topic.as_str()),
        (2, "dead")
    );
    let dead = rig.records("dead").await;
    assert_eq!((dead.len(), dead[0].0.as_str()), (1, "no JSON"));
    assert_eq!(dead[0].1["logmill.offset"], "2");
    rig.others_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_column_stops_its_pipeline_and_is_named() {
    let rig = Rig::start().await;
    with_a_bad_record(&rig, "{\"x\":3}", &script("", "CAST(x * 2 AS STRING)")).await;
    fails_at_it(&rig, "`id` is null or missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_changes_in_the_middle_of_a_topic_is_named() {
    let rig = Rig::start().await;
    with_a_bad_record(&rig, &row(2, "\"three\""), &script("", "CAST(x * 2 AS STRING)")).await;
    fails_at_it(&rig, "`x`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_stops_its_pipeline_and_no_other() {
    let rig = Rig::start().await;
    let expression = "REPEAT('0123456789', CAST(x AS INT))";
    with_a_bad_record(&rig, &row(2, "100000000"), &script("", expression)).await;
    fails_at_it(&rig, "MiB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_overtakes_a_stopped_pipeline_is_never_passed_over() {
    let rig = Rig::start().await;
    let script = script("", "CAST(x * 2 AS STRING)");
    rig.topic("in", 2).await;
    rig.produce("in", 1, (0..5).map(|id| row(id, "1"))).await;
    rig.run("p", &script).await;
    rig.until("p", |pipeline| pipeline.counters.unwrap_or_default().records_out == 5).await;
    rig.pipelines.stop("p").await.expect("it stops");
    rig.produce("in", 1, (5..15).map(|id| row(id, "1"))).await;
    rig.client.admin().delete_records("in", 1, Some(8)).await.expect("they go");
    rig.run("p", &script).await;
    let pipeline = rig.until_state("p", PipelineState::Failed).await;
    let failure = pipeline.last_error.expect("an error");
    let position = failure.position.expect("a position");
    assert_eq!((position.topic.as_str(), position.partition, position.offset), ("in", 1, 5));
    assert!(failure.what.contains("begins at offset 8"), "{}", failure.what);
    assert!(failure.remedy.contains("another name"), "{}", failure.remedy);
    assert_eq!(pipeline.counters.unwrap_or_default().records_out, 5);
    rig.others_are_served().await;
    // The remedy is one.
    rig.pipelines.delete("p").await.expect("it goes");
    rig.run("p", &script).await;
    assert_eq!(rig.finish("p").await.counters.unwrap_or_default().records_in, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_is_accepted_is_gone_on_without_and_named() {
    let rig = Rig::start().await;
    let script = script("", "CAST(x * 2 AS STRING)");
    let produce = async |ids: std::ops::Range<i64>| rig.produce("in", 1, ids.map(|id| row(id, "1"))).await;
    let delete = async |to| rig.client.admin().delete_records("in", 1, Some(to)).await.expect("they go");
    let accepting = RunOptions { accept_gap: true, ..RunOptions::default() };
    let written = async |count| {
        let pipeline =
            rig.until("p", |pipeline| pipeline.counters.unwrap_or_default().records_out == count).await;
        let source = pipeline.sources.into_iter().find(|source| source.partition == 1).expect("it is read");
        source.gap.map(|gap| (gap.from, gap.to, gap.total))
    };
    let told = async || {
        let events = rig.pipelines.events("p", 0).await.expect("events");
        events.into_iter().filter(|event| event.kind == "gap").map(|event| event.text).collect::<Vec<_>>()
    };
    rig.topic("in", 2).await;
    produce(0..5).await;
    rig.run("p", &script).await;
    assert_eq!(written(5).await, None);
    rig.pipelines.stop("p").await.expect("it stops");
    produce(5..15).await;
    delete(8).await;
    rig.run("p", &script).await;
    let failed = rig.until_state("p", PipelineState::Failed).await;
    assert!(failed.error.contains("`logmill pipeline resume p --accept-gap`"), "{}", failed.error);
    rig.pipelines.run_with("p", &script, accepting.clone()).await.expect("it goes on");
    assert_eq!(written(12).await, Some((5, 8, 3)));
    let [event]: [String; 1] = told().await.try_into().expect("one event");
    assert!(event.contains("in-1 from offset 5 up to 8 (3 offsets)"), "{event}");
    // It holds for what was gone then, and for nothing that goes later.
    rig.pipelines.stop("p").await.expect("it stops");
    produce(15..20).await;
    delete(17).await;
    rig.run("p", &script).await;
    rig.until_state("p", PipelineState::Failed).await;
    rig.pipelines.run_with("p", &script, accepting.clone()).await.expect("it goes on");
    assert_eq!(written(15).await, Some((15, 17, 5)));
    // Where nothing is missing it changes nothing.
    rig.pipelines.stop("p").await.expect("it stops");
    rig.pipelines.run_with("p", &script, accepting).await.expect("it goes on");
    produce(20..21).await;
    assert_eq!(written(16).await, Some((15, 17, 5)));
    assert_eq!(told().await.len(), 2);
    // The gaps are in no counter of records, and the input has an end as ever.
    let finished = rig.finish("p").await;
    assert_eq!(finished.counters.unwrap_or_default().records_in, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_of_a_partition_that_was_added_is_never_passed_over() {
    let rig = Rig::start().await;
    let script = script("", "CAST(x * 2 AS STRING)");
    rig.topic("in", 1).await;
    rig.produce("in", 0, (0..5).map(|id| row(id, "1"))).await;
    rig.run("p", &script).await;
    rig.until("p", |pipeline| pipeline.counters.unwrap_or_default().records_out == 5).await;
    rig.pipelines.stop("p").await.expect("it stops");
    rig.pipelines.make_savepoint("p", Some("before")).await.expect("a savepoint");
    rig.client.admin().create_partitions("in", 2).await.expect("another one");
    rig.produce("in", 1, (5..10).map(|id| row(id, "1"))).await;
    rig.client.admin().delete_records("in", 1, Some(3)).await.expect("they go");
    rig.run("p", &script).await;
    let failed = rig.until_state("p", PipelineState::Failed).await;
    let position = failed.last_error.expect("an error").position.expect("a position");
    assert_eq!((position.topic.as_str(), position.partition, position.offset), ("in", 1, 0));
    let restored = rig.pipelines.restore_savepoint("p", "before", None, None).await;
    let refused = restored.expect_err("what it would read is gone").to_string();
    assert!(refused.contains("in-1") || refused.contains("partition 1"), "{refused}");
    let accepting = RunOptions { accept_gap: true, ..RunOptions::default() };
    rig.pipelines.run_with("p", &script, accepting).await.expect("it goes on");
    let pipeline = rig.until("p", |pipeline| pipeline.counters.unwrap_or_default().records_out == 7).await;
    let source = pipeline.sources.into_iter().find(|source| source.partition == 1).expect("it is read");
    assert_eq!(source.gap.map(|gap| (gap.from, gap.to, gap.total)), Some((0, 3, 3)));
    let events = rig.pipelines.events("p", 0).await.expect("events");
    let told = events.into_iter().find(|event| event.kind == "gap").expect("it is told").text;
    assert!(told.contains("in-1 from offset 0 up to 3 (3 offsets)"), "{told}");
    assert_eq!(rig.finish("p").await.counters.unwrap_or_default().records_in, 7);
}

/// What came behind a declared end is not read, and is in no record.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_accepted_before_an_end_that_a_partition_came_behind() {
    let rig = Rig::start().await;
    let script = script("", "CAST(x * 2 AS STRING)");
    rig.topic("in", 1).await;
    rig.produce("in", 0, (0..5).map(|id| row(id, "1"))).await;
    rig.run("p", &script).await;
    rig.until("p", |pipeline| pipeline.counters.unwrap_or_default().records_out == 5).await;
    rig.pipelines.stop("p").await.expect("it stops");
    rig.produce("in", 0, (5..10).map(|id| row(id, "1"))).await;
    rig.client.admin().delete_records("in", 0, Some(8)).await.expect("they go");
    rig.pipelines.run("p", &script, Some(InputEnd::Now)).await.expect("it is run");
    rig.until_state("p", PipelineState::Failed).await;
    rig.client.admin().create_partitions("in", 2).await.expect("another one");
    rig.produce("in", 1, (20..25).map(|id| row(id, "1"))).await;
    let accepting = RunOptions { accept_gap: true, ..RunOptions::default() };
    rig.pipelines.run_with("p", &script, accepting).await.expect("it goes on");
    let done =
        |pipeline: &Pipeline| matches!(pipeline.state(), PipelineState::Finished | PipelineState::Failed);
    let finished = rig.until("p", done).await;
    assert_eq!(finished.state(), PipelineState::Finished, "{}", finished.error);
    assert_eq!(finished.counters.unwrap_or_default().records_in, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_gone_is_named() {
    let rig = Rig::start().await;
    let script = script("", "CAST(x * 2 AS STRING)");
    rig.topic("in", 1).await;
    rig.run("p", &script).await;
    rig.until_state("p", PipelineState::Running).await;
    rig.client.admin().delete_topic("in").await.expect("it goes");
    rig.produce("other", 0, ["x".to_owned()]).await;
    let pipeline = rig.until_state("p", PipelineState::Failed).await;
    assert!(pipeline.error.contains("in-0 does not exist"), "{}", pipeline.error);
    assert!(pipeline.last_error.expect("an error").remedy.contains("Delete the pipeline"));
    rig.others_are_served().await;
}
