//! Pipelines come, go, and go on.

use logmill_client::{Error, InputEnd, PipelineState, RpcCode};

use crate::rig::Rig;

const COPY: &str = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
    INSERT INTO b SELECT x FROM a;";

fn rows(numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers.map(|x| format!("{{\"x\":{x}}}")).collect()
}

fn refused_with<T: std::fmt::Debug>(result: logmill_client::Result<T>, code: RpcCode) -> String {
    match result.expect_err("it is refused") {
        Error::Rpc { code: found, message, .. } => {
            assert_eq!(found, code, "{message}");
            message
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_pipeline_takes_no_topic() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.topic("first", 1).await;
    rig.run("owner", &COPY.replace("'out'", "'second'")).await;
    // `second` belongs to somebody else; `first` comes before it.
    let both = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
        CREATE TABLE b (x BIGINT) WITH ('topic' = 'first', 'format' = 'json');
        CREATE TABLE c (x BIGINT) WITH ('topic' = 'second', 'format' = 'json');
        CREATE TABLE d (x BIGINT) WITH ('topic' = 'third', 'format' = 'json');
        INSERT INTO b SELECT x FROM a; INSERT INTO c SELECT x FROM a; INSERT INTO d SELECT x FROM a;";
    let refused = refused_with(rig.pipelines.run("greedy", both, None).await, RpcCode::FailedPrecondition);
    assert!(refused.contains("second") && refused.contains("owner"), "{refused}");
    rig.produce("first", 0, ["mine".to_owned()]).await;
    assert!(rig.client.admin().describe_topic("third").await.is_err(), "nothing was made either");
    refused_with(rig.pipelines.describe("greedy").await, RpcCode::NotFound);
    // Another one may have it.
    rig.run("modest", &COPY.replace("'out'", "'first'")).await;
    assert!(rig.try_produce("first", 0, ["x".to_owned()], logmill_client::Codec::None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pipeline_leaves_its_topics_to_others_and_its_name_too() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, rows(0..3)).await;
    rig.run("copy", COPY).await;
    refused_with(rig.pipelines.delete("nobody").await, RpcCode::NotFound);
    let refused = refused_with(rig.pipelines.delete("copy").await, RpcCode::FailedPrecondition);
    assert!(refused.contains("logmill pipeline stop copy"), "{refused}");
    assert!(rig.client.admin().delete_topic("out").await.is_err(), "it is the pipeline's");
    rig.until("copy", |pipeline| pipeline.counters.unwrap_or_default().records_in == 3).await;
    rig.pipelines.stop("copy").await.expect("it stops");
    rig.pipelines.delete("copy").await.expect("it goes");
    refused_with(rig.pipelines.describe("copy").await, RpcCode::NotFound);
    let topics = rig.client.admin().list_topics().await.expect("topics");
    assert!(!topics.iter().any(|topic| topic.name.contains("copy")), "{topics:?}");
    let groups = rig.client.admin().list_groups().await.expect("groups");
    assert!(!groups.iter().any(|group| group.group.contains("copy")), "{groups:?}");
    rig.produce("out", 0, ["mine".to_owned()]).await;
    assert_eq!(rig.values("out").await.len(), 4);
    // Another script under its name begins at the beginning, also after a restart.
    let rig = rig.restart_with(|_| {}).await;
    refused_with(rig.pipelines.describe("copy").await, RpcCode::NotFound);
    let (pipeline, created) =
        rig.pipelines.run("copy", &COPY.replace("SELECT x", "SELECT x + 10"), None).await.expect("it runs");
    assert!(created && pipeline.generation == 1, "{pipeline:?}");
    assert_eq!(rig.finish("copy").await.counters.unwrap_or_default().records_in, 3);
    assert!(rig.values("out").await.contains(&"{\"x\":12}".to_owned()));
    // A finished one can go, too.
    rig.pipelines.delete("copy").await.expect("it goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_for_the_last_row_of_each_key_is_compacted_and_no_other_is() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.topic("there", 1).await;
    let table = |name: &str, mode: &str| {
        format!(
            "CREATE TABLE {name} (x BIGINT, n BIGINT, PRIMARY KEY (x) NOT ENFORCED)
             WITH ('topic' = '{name}', 'format' = 'json', 'output' = '{mode}');
             INSERT INTO {name} SELECT x, COUNT(*) FROM a GROUP BY x UNBOUNDED;"
        )
    };
    let script = format!(
        "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json'); {} {} {}",
        table("rows", "upsert"),
        table("changes", "changes"),
        table("there", "upsert")
    );
    rig.run("counts", &script).await;
    for (topic, policy) in [("rows", "compact"), ("changes", "delete"), ("there", "delete")] {
        let configs = rig.client.admin().topic_configs(topic).await.expect("its configs");
        let found = configs.into_iter().find(|config| config.name == "cleanup.policy").expect("there is one");
        assert_eq!(found.value.as_deref(), Some(policy), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_a_source_gets_are_read() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, rows(0..3)).await;
    rig.run("copy", COPY).await;
    rig.until("copy", |pipeline| pipeline.counters.unwrap_or_default().records_in == 3).await;
    rig.client.admin().create_partitions("in", 3).await.expect("it grows");
    rig.produce("in", 2, rows(3..5)).await;
    let pipeline = rig.until("copy", |pipeline| pipeline.counters.unwrap_or_default().records_in == 5).await;
    assert_eq!(pipeline.sources.len(), 3);
    assert!(rig.events("copy").await.contains(&"changed".to_owned()));
    // Those that come when the end is declared are behind it.
    rig.finish("copy").await;
    assert_eq!(rig.values("out").await, rows(0..5));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_behind_a_declared_end_are_not_read() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, rows(0..3)).await;
    let end = Some(InputEnd::Offsets(vec![("in".to_owned(), 0, 5)]));
    rig.pipelines.run("copy", COPY, end).await.expect("it runs");
    rig.client.admin().create_partitions("in", 2).await.expect("it grows");
    rig.produce("in", 1, rows(100..102)).await;
    rig.produce("in", 0, rows(3..6)).await;
    rig.until_state("copy", PipelineState::Finished).await;
    assert_eq!(rig.values("out").await, rows(0..5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_resumes_is_never_shown_as_stopped() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.run("copy", COPY).await;
    let rig = rig.restart_with(|_| {}).await;
    loop {
        match rig.describe("copy").await.state() {
            PipelineState::Starting => {}
            PipelineState::Running => break,
            state => panic!("{state:?}"),
        }
    }
    rig.pipelines.stop("copy").await.expect("it stops");
    let rig = rig.restart_with(|_| {}).await;
    assert_eq!(rig.describe("copy").await.state(), PipelineState::Stopped);
    rig.run("copy", COPY).await;
    let pipeline = rig.until_state("copy", PipelineState::Running).await;
    assert_eq!(pipeline.generation, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_pipeline_is_shown_after_a_restart_where_it_stands() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, rows(0..3)).await;
    rig.run("copy", COPY).await;
    rig.until("copy", |pipeline| pipeline.counters.unwrap_or_default().records_in == 3).await;
    let stopped = rig.pipelines.stop("copy").await.expect("it stops");
    let rig = rig.restart_with(|_| {}).await;
    let pipeline = rig.describe("copy").await;
    assert_eq!(pipeline.state(), PipelineState::Stopped);
    assert_eq!((pipeline.epoch, pipeline.counters), (stopped.epoch, stopped.counters));
    assert_eq!((pipeline.sources[0].position, pipeline.sources[0].lag), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_described_with_lag_times_state_and_what_limits_it() {
    let rig = Rig::start().await;
    rig.topic("in", 2).await;
    let script = "CREATE TABLE a (x BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
        WITH ('topic' = 'in', 'format' = 'json');
        CREATE TABLE b (x BIGINT, n BIGINT, PRIMARY KEY (x) NOT ENFORCED)
        WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
        INSERT INTO b SELECT x, COUNT(*) FROM a GROUP BY x UNBOUNDED;";
    rig.run("counts", script).await;
    for partition in 0..2 {
        let rows = (0..50).map(|x| format!("{{\"x\":{x},\"ts\":\"2026-01-01T00:00:0{partition}Z\"}}"));
        rig.produce("in", partition, rows).await;
    }
    let waits = |pipeline: &logmill_client::Pipeline| {
        pipeline.counters.unwrap_or_default().records_in == 100
            && pipeline.limiting() == logmill_client::Limiting::WaitingForInput
            && pipeline.operators.first().is_some_and(|operator| operator.entries == 50)
    };
    let pipeline = rig.until("counts", waits).await;
    for source in &pipeline.sources {
        assert_eq!((source.position, source.end, source.lag), (50, 50, 0));
        assert_eq!(source.watermark_ms, Some(1_767_225_600_000 + i64::from(source.partition) * 1_000));
        assert!(source.event_lag_ms.is_some_and(|lag| lag > 0), "{source:?}");
    }
    assert_eq!(pipeline.watermark_ms, Some(1_767_225_600_000));
    let epochs = pipeline.epochs.expect("epochs");
    assert!(epochs.count > 0 && epochs.count == pipeline.epoch as u64, "{epochs:?}");
    assert!(epochs.p50_ms > 0.0 && epochs.p50_ms <= epochs.p99_ms, "{epochs:?}");
    let shares = pipeline.shares.expect("shares");
    assert!(shares.waiting_for_input > 0.3 && shares.computing < 0.7, "{shares:?}");
    let operator = &pipeline.operators[0];
    assert_eq!((operator.operator.as_str(), pipeline.operators.len()), ("GroupAggregate", 1));
    assert!((50 * 64..50 * 200).contains(&operator.bytes), "{operator:?}");
    assert_eq!(pipeline.memory_bytes, 1 << 30);
    let metrics = rig.pipelines.node_metrics("logmill_pipeline").await.expect("metrics");
    let series = |name: &str| {
        let metric = metrics.iter().find(|metric| metric.name == name);
        metric.unwrap_or_else(|| panic!("no {name}")).samples.len()
    };
    for name in ["running", "blocked", "failed", "busy_ratio", "backpressure_ratio", "watermark_lag_seconds"]
    {
        assert_eq!(series(&format!("logmill_pipeline_{name}")), 1, "{name}");
    }
    assert_eq!(series("logmill_pipeline_epoch_duration_seconds"), 2);
    assert_eq!(series("logmill_pipeline_state_bytes"), pipeline.operators.len());
    // What it keeps is known after a restart, too.
    let bytes = operator.bytes;
    let rig = rig.restart_with(|_| {}).await;
    let pipeline = rig.until_state("counts", PipelineState::Running).await;
    assert_eq!(pipeline.operators[0].bytes, bytes);
    // What is stopped is behind.
    rig.pipelines.stop("counts").await.expect("it stops");
    rig.produce("in", 1, (0..7).map(|x| format!("{{\"x\":{x},\"ts\":\"2026-01-01T00:00:05Z\"}}"))).await;
    let pipeline = rig.describe("counts").await;
    assert_eq!(pipeline.sources.iter().map(|source| source.lag).sum::<u64>(), 7);
    assert_eq!(pipeline.limiting(), logmill_client::Limiting::Unspecified);
    // Those of before the restart are kept.
    assert_eq!(rig.events("counts").await, ["started", "stopped", "started", "restored", "stopped"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_of_a_long_script_are_listed_without_it() {
    let rig = Rig::start().await;
    rig.topic("in", 1).await;
    rig.produce("in", 0, rows(0..3)).await;
    let long = format!("-- {}\n{COPY}", "x".repeat(1_900_000));
    rig.run("copy", &long).await;
    rig.until("copy", |pipeline| pipeline.counters.unwrap_or_default().records_in == 3).await;
    for name in ["a", "b", "c"] {
        let made = rig.pipelines.make_savepoint("copy", Some(name)).await.expect("a savepoint");
        assert_eq!(made.script, long);
    }
    let savepoints = rig.pipelines.savepoints("copy").await.expect("a list");
    let listed: Vec<(&str, usize, &str)> = savepoints
        .iter()
        .map(|savepoint| (savepoint.name.as_str(), savepoint.positions.len(), savepoint.script.as_str()))
        .collect();
    assert_eq!(listed, [("a", 1, ""), ("b", 1, ""), ("c", 1, "")]);
}
