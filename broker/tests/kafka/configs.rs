//! Configs: described, changed while the broker runs, in force at once, and still there after a restart.

use logmill_record::Codec;
use logmill_wire::ErrorCode;
use logmill_wire::messages::alter_configs::{AlterConfigsResource as Replaced, AlterableConfig as Value};
use logmill_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use logmill_wire::messages::describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult};
use logmill_wire::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use logmill_wire::messages::{
    AlterConfigsRequest, CreateTopicsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};

use crate::client::{Broker, Client, batch, values};

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
const LOGGER: i8 = 8;
pub(crate) const SET: i8 = 0;
pub(crate) const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) fn change(kind: i8, name: &str, changes: &[(&str, i8, &str)]) -> AlterConfigsResource {
    let config = |(name, config_operation, value): &(&str, i8, &str)| AlterableConfig {
        name: (*name).into(),
        config_operation: *config_operation,
        value: (*config_operation != DELETE).then(|| (*value).into()),
    };
    AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: changes.iter().map(config).collect(),
    }
}

pub(crate) async fn alter(client: &mut Client, change: AlterConfigsResource) -> (ErrorCode, String) {
    let request = IncrementalAlterConfigsRequest { resources: vec![change], validate_only: false };
    let answer = client.ask(&request, 1).await.responses.remove(0);
    (answer.error_code, answer.error_message.as_deref().unwrap_or_default().to_owned())
}

pub(crate) async fn describe(
    client: &mut Client,
    kind: i8,
    name: &str,
) -> Vec<DescribeConfigsResourceResult> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let result = client.ask(&request, 4).await.results.remove(0);
    assert_eq!(result.error_code, ErrorCode::NONE, "{:?}", result.error_message);
    result.configs
}

/// Value, source, and the synonyms as `name=value:source`.
pub(crate) async fn value(
    client: &mut Client,
    kind: i8,
    name: &str,
    config: &str,
) -> (Option<String>, i8, String) {
    let configs = describe(client, kind, name).await;
    let found = configs.into_iter().find(|found| found.name == config).unwrap();
    let synonyms: Vec<_> = found
        .synonyms
        .iter()
        .map(|s| format!("{}={}:{}", &*s.name, s.value.as_deref().unwrap_or("-"), s.source))
        .collect();
    (found.value.as_deref().map(str::to_owned), found.config_source, synonyms.join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_name_of_kafka_is_listed_with_its_type_and_what_it_does_here() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let topic = describe(&mut client, TOPIC, "t").await;
    assert_eq!(topic.len(), 38, "Kafka 4.4's 37 without the hidden one, and logmill.durability");
    assert!(topic.iter().all(|config| !config.read_only && config.config_source == 5));
    let all = describe(&mut client, BROKER, "1").await;
    assert!(all.len() > 340, "{}", all.len());
    let find = |name: &str| all.iter().find(|config| config.name == name).unwrap();
    assert_eq!(find("node.id").value.as_deref(), Some("1"));
    assert!(find("advertised.listeners").value.as_deref().unwrap().starts_with("PLAINTEXT://127.0.0.1:"));
    assert!(find("num.partitions").read_only && !find("log.retention.ms").read_only);
    let password = find("ssl.keystore.password");
    assert!(password.is_sensitive && password.value.is_none());
    let says = |name: &str, what: &str| find(name).documentation.as_deref().unwrap().ends_with(what);
    assert!(says("ssl.protocol", "Not used by this broker.") && find("ssl.protocol").read_only);
    assert!(says("num.io.threads", "without effect in this broker.") && !find("num.io.threads").read_only);
    assert!(says("message.max.bytes", "The largest record batch."));
    assert!(topic.iter().all(|config| config.documentation.as_deref().is_some_and(|doc| doc.len() > 10)));
    assert_eq!(describe(&mut client, BROKER, "").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topics_configs_change_one_by_one_and_act_at_once() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[("retention.bytes", "5")]).await;
    assert_eq!(client.produce("t", &batch(&[&"x".repeat(2000)])).await.error_code, ErrorCode::NONE);
    let smaller =
        change(TOPIC, "t", &[("max.message.bytes", SET, "1000"), ("cleanup.policy", APPEND, "compact")]);
    assert_eq!(alter(&mut client, smaller).await.0, ErrorCode::NONE);
    let large = client.produce("t", &batch(&[&"x".repeat(2000)])).await;
    assert_eq!(large.error_code, ErrorCode::MESSAGE_TOO_LARGE);
    let policy = value(&mut client, TOPIC, "t", "cleanup.policy").await;
    let synonyms = "cleanup.policy=delete,compact:1 log.cleanup.policy=delete:5".to_owned();
    assert_eq!(policy, (Some("delete,compact".to_owned()), 1, synonyms));
    let only =
        change(TOPIC, "t", &[("cleanup.policy", SUBTRACT, "delete"), ("max.message.bytes", DELETE, "")]);
    assert_eq!(alter(&mut client, only).await.0, ErrorCode::NONE);
    assert_eq!(value(&mut client, TOPIC, "t", "cleanup.policy").await.0.as_deref(), Some("compact"));
    let again = client.produce("t", &batch(&[&"x".repeat(2000)])).await;
    assert_eq!((again.error_code, again.base_offset), (ErrorCode::NONE, 1));
    assert_eq!(value(&mut client, TOPIC, "t", "retention.bytes").await.0.as_deref(), Some("5"), "left alone");

    // One bad change and none is made.
    let half = change(TOPIC, "t", &[("retention.bytes", SET, "6"), ("retention.ms", SET, "x")]);
    let (code, message) = alter(&mut client, half).await;
    assert_eq!(code, ErrorCode::INVALID_CONFIG);
    assert_eq!(message, "Invalid value x for configuration retention.ms: Not a number of type LONG");
    assert_eq!(value(&mut client, TOPIC, "t", "retention.bytes").await.0.as_deref(), Some("5"));

    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    assert_eq!(value(&mut client, TOPIC, "t", "cleanup.policy").await.0.as_deref(), Some("compact"));
    assert_eq!(value(&mut client, TOPIC, "t", "max.message.bytes").await.1, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_changed_says_why_resource_by_resource() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let set = |kind, name: &str, config: &str, value: &str| change(kind, name, &[(config, SET, value)]);
    for (change, code, message) in [
        (set(TOPIC, "nobody", "retention.ms", "1"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "does not exist"),
        (set(TOPIC, "a/b", "retention.ms", "1"), ErrorCode::INVALID_TOPIC_EXCEPTION, "letters, digits"),
        (set(TOPIC, "t", "nope", "1"), ErrorCode::INVALID_CONFIG, "Unknown topic config name: nope"),
        (set(TOPIC, "t", "segment.bytes", "13"), ErrorCode::INVALID_CONFIG, "at least 1048576"),
        (
            change(TOPIC, "t", &[("retention.ms", APPEND, "1")]),
            ErrorCode::INVALID_CONFIG,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            change(TOPIC, "t", &[("retention.ms", SET, "1"), ("retention.ms", SET, "2")]),
            ErrorCode::INVALID_REQUEST,
            "duplicate config keys",
        ),
        (change(TOPIC, "t", &[("retention.ms", 9, "1")]), ErrorCode::INVALID_REQUEST, "operation type 9"),
        (set(BROKER, "1", "num.partitions", "2"), ErrorCode::INVALID_REQUEST, "Cannot update these configs"),
        (set(BROKER, "", "log.segment.bytes", "1"), ErrorCode::INVALID_REQUEST, "at least 1048576"),
        (set(BROKER, "2", "log.retention.ms", "1"), ErrorCode::INVALID_REQUEST, "Unexpected broker id"),
        (set(BROKER, "x", "log.retention.ms", "1"), ErrorCode::INVALID_REQUEST, "Unexpected broker id"),
        (set(16, "m", "interval.ms", "1"), ErrorCode::INVALID_REQUEST, "have no configs here"),
        (set(LOGGER, "1", "nope", "DEBUG"), ErrorCode::INVALID_CONFIG, "Logger nope does not exist!"),
        (set(LOGGER, "1", "root", "LOUD"), ErrorCode::INVALID_CONFIG, "not a supported log level"),
    ] {
        let (answered, why) = alter(&mut client, change.clone()).await;
        assert_eq!(answered, code, "{change:?}: {why}");
        assert!(why.contains(message), "{change:?}: {why}");
    }
    let twice = vec![set(TOPIC, "t", "retention.ms", "1"), set(TOPIC, "t", "retention.bytes", "1")];
    let request = IncrementalAlterConfigsRequest { resources: twice, validate_only: false };
    let response = client.ask(&request, 1).await;
    assert!(response.responses.iter().all(|answer| answer.error_code == ErrorCode::INVALID_REQUEST));
    let mixed = vec![set(TOPIC, "t", "retention.ms", "9"), set(TOPIC, "nobody", "retention.ms", "9")];
    let checked = IncrementalAlterConfigsRequest { resources: mixed.clone(), validate_only: true };
    client.ask(&checked, 1).await;
    assert_eq!(value(&mut client, TOPIC, "t", "retention.ms").await.1, 5, "only checked");
    let request = IncrementalAlterConfigsRequest { resources: mixed, validate_only: false };
    let codes: Vec<_> =
        client.ask(&request, 1).await.responses.iter().map(|answer| answer.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(value(&mut client, TOPIC, "t", "retention.ms").await.0.as_deref(), Some("9"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_alter_replaces_everything_that_was_set() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[("retention.ms", "77"), ("segment.ms", "88")]).await;
    let replace = |configs: &[(&str, Option<&str>)]| AlterConfigsRequest {
        resources: vec![Replaced {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs: configs
                .iter()
                .map(|(name, value)| Value { name: (*name).into(), value: value.map(Into::into) })
                .collect(),
        }],
        validate_only: false,
    };
    let without_value = client.ask(&replace(&[("retention.ms", None)]), 2).await;
    assert_eq!(without_value.responses[0].error_code, ErrorCode::INVALID_REQUEST);
    let bad = client.ask(&replace(&[("retention.ms", Some("5")), ("nope", Some("1"))]), 2).await;
    assert_eq!(bad.responses[0].error_code, ErrorCode::INVALID_CONFIG);
    assert_eq!(value(&mut client, TOPIC, "t", "segment.ms").await.0.as_deref(), Some("88"));
    let done = client.ask(&replace(&[("retention.ms", Some("5"))]), 2).await;
    assert_eq!(done.responses[0].error_code, ErrorCode::NONE);
    assert_eq!(value(&mut client, TOPIC, "t", "retention.ms").await.0.as_deref(), Some("5"));
    assert_eq!(value(&mut client, TOPIC, "t", "segment.ms").await.1, 5, "back at its default");
}

/// The values, sources and synonyms are what Apache Kafka 4.4.0 answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_follow_the_brokers_configs_until_they_have_their_own() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("follows", 1, &[]).await;
    client.create("own", 1, &[("max.message.bytes", "900000")]).await;
    let limit = |scope: &str, value: &str| change(BROKER, scope, &[("message.max.bytes", SET, value)]);
    assert_eq!(alter(&mut client, limit("", "300")).await.0, ErrorCode::NONE);
    let large = batch(&[&"x".repeat(500)]);
    assert_eq!(client.produce("follows", &large).await.error_code, ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(client.produce("own", &large).await.error_code, ErrorCode::NONE);
    assert_eq!(alter(&mut client, limit("1", "800")).await.0, ErrorCode::NONE);
    assert_eq!(client.produce("follows", &large).await.error_code, ErrorCode::NONE);
    let shown = "message.max.bytes=800:2 message.max.bytes=300:3 message.max.bytes=1048588:5";
    assert_eq!(
        value(&mut client, TOPIC, "follows", "max.message.bytes").await,
        (Some("800".to_owned()), 2, shown.to_owned())
    );
    assert_eq!(
        value(&mut client, BROKER, "1", "message.max.bytes").await,
        (Some("800".to_owned()), 2, shown.to_owned())
    );
    assert_eq!(value(&mut client, BROKER, "", "message.max.bytes").await.0.as_deref(), Some("300"));
    assert_eq!(value(&mut client, TOPIC, "own", "max.message.bytes").await.1, 1);

    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    assert_eq!(value(&mut client, BROKER, "1", "message.max.bytes").await.2, shown);
    client.create("later", 1, &[]).await;
    let refused = client.produce("later", &batch(&[&"x".repeat(1000)])).await;
    assert_eq!(refused.error_code, ErrorCode::MESSAGE_TOO_LARGE, "new topics follow too");
    let unset = change(BROKER, "1", &[("message.max.bytes", DELETE, "")]);
    assert_eq!(alter(&mut client, unset).await.0, ErrorCode::NONE);
    assert_eq!(value(&mut client, TOPIC, "follows", "max.message.bytes").await.0.as_deref(), Some("300"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topics_codec_is_the_one_on_disk() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[("compression.type", "zstd")]).await;
    let plain = batch(&["one", "two"]);
    assert_eq!(client.produce("t", &plain).await.base_offset, 0);
    let to = |codec: &str| change(TOPIC, "t", &[("compression.type", SET, codec)]);
    for codec in ["gzip", "snappy", "lz4", "uncompressed", "producer"] {
        assert_eq!(alter(&mut client, to(codec)).await.0, ErrorCode::NONE);
        assert_eq!(client.produce("t", &plain).await.error_code, ErrorCode::NONE, "{codec}");
    }
    let data = client.fetch("t", 0, 0).await;
    assert_eq!(values(&data), ["one", "two"].repeat(6));
    let codecs: Vec<_> = logmill_record::batches(data.records.unwrap().into_bytes())
        .map(|batch| batch.unwrap().header().codec().unwrap())
        .collect();
    assert_eq!(codecs, [Codec::Zstd, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::None, Codec::None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_a_topic_checks_its_configs_in_kafkas_words() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    for (config, value, why) in [
        ("segment.bytes", Some("13"), "Value must be at least 1048576"),
        ("nope", Some("1"), "Unknown topic config name: nope"),
        ("cleanup.policy", Some("shred"), "String must be one of: compact, delete"),
        ("retention.ms", None, "Null value not supported for topic configs: retention.ms"),
        ("remote.storage.enable", Some("true"), "Tiered Storage functionality is disabled"),
    ] {
        let config = CreatableTopicConfig { name: config.into(), value: value.map(Into::into) };
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![config.clone()],
            ..CreatableTopic::default()
        };
        for validate_only in [true, false] {
            let topics = vec![topic.clone()];
            let request = CreateTopicsRequest { topics, validate_only, ..CreateTopicsRequest::default() };
            let result = client.ask(&request, 7).await.topics.remove(0);
            assert_eq!(result.error_code, ErrorCode::INVALID_CONFIG, "{config:?}");
            let message = result.error_message.unwrap();
            assert!(message.contains(why), "{config:?}: {}", &*message);
        }
    }
    client
        .create("fine", 1, &[("cleanup.policy", ""), ("retention.bytes", "-7"), ("preallocate", "TRUE")])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loggers_are_listed_and_a_broker_that_was_given_none_to_change_says_so() {
    let broker =
        Broker::start_with(|config| config.telemetry.level = "warn,logmill_storage=debug".into()).await;
    let mut client = broker.connect().await;
    let loggers = describe(&mut client, LOGGER, "1").await;
    let level = |name: &str| {
        let found = loggers.iter().find(|logger| logger.name == name).unwrap();
        assert_eq!(found.config_source, 6);
        found.value.as_deref().unwrap().to_owned()
    };
    assert_eq!((level("root"), level("logmill_storage")), ("WARN".to_owned(), "DEBUG".to_owned()));
    let (code, why) = alter(&mut client, change(LOGGER, "1", &[("root", SET, "INFO")])).await;
    assert_eq!(code, ErrorCode::INVALID_REQUEST, "{why}");
}
