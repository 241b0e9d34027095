//! Topics: created, found, described, grown, deleted, and still there after a restart.

use logmill_wire::ErrorCode;
use logmill_wire::messages::create_partitions::CreatePartitionsTopic;
use logmill_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use logmill_wire::messages::delete_topics::DeleteTopicState;
use logmill_wire::messages::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use logmill_wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};

use crate::client::{Broker, Client, batch, values};

async fn metadata(client: &mut Client, topic: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: create,
        ..MetadataRequest::default()
    };
    client.ask(&request, 12).await.topics.remove(0)
}

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.into()), ..MetadataRequestTopic::default() }
}

/// Before the flexible versions a string has 32,767 bytes at most, also one that quotes what was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_quotes_a_very_long_name_can_be_written() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let name = "x".repeat(32_767);
    let config = CreatableTopicConfig { name: name.as_str().into(), value: Some("1".into()) };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    let response = client.ask(&request, 4).await;
    let refused = &response.topics[0];
    assert_eq!((refused.error_code, &*refused.name), (ErrorCode::INVALID_CONFIG, "t"));
    let message = refused.error_message.as_deref().expect("the reason");
    assert!(message.len() < 1000 && message.contains("xxx … xxx"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_found_by_name_and_by_id_until_it_is_deleted() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let id = client.create("t", 3, &[]).await;
    let by_name = metadata(&mut client, named("t"), false).await;
    assert_eq!((by_name.topic_id, by_name.partitions.len()), (id, 3));
    assert_eq!(by_name.partitions[2].isr_nodes, [by_name.partitions[2].leader_id]);
    assert!(by_name.partitions[0].leader_epoch >= 0);
    let with_id = || MetadataRequestTopic { topic_id: id, name: None };
    assert_eq!(metadata(&mut client, with_id(), false).await.name.as_deref(), Some("t"));
    // Kafka's Java client sends an empty name with the id.
    let with_both = MetadataRequestTopic { topic_id: id, name: Some("".into()) };
    assert_eq!(metadata(&mut client, with_both, false).await.name.as_deref(), Some("t"));

    let state = DeleteTopicState { name: None, topic_id: id };
    let delete =
        |topics| DeleteTopicsRequest { topics, timeout_ms: 10_000, ..DeleteTopicsRequest::default() };
    let twice = client.ask(&delete(vec![state.clone(), state.clone()]), 6).await;
    let codes: Vec<_> = twice.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST], "named twice, deleted not even once");
    let delete = delete(vec![state]);
    let deleted = client.ask(&delete, 6).await;
    assert_eq!(deleted.responses[0].error_code, ErrorCode::NONE);
    assert_eq!(deleted.responses[0].name.as_deref(), Some("t"));
    assert_eq!(metadata(&mut client, with_id(), false).await.error_code, ErrorCode::UNKNOWN_TOPIC_ID);
    assert_eq!(
        metadata(&mut client, named("t"), false).await.error_code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    let again = client.ask(&delete, 6).await;
    assert_eq!(again.responses[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);

    let new = client.create("t", 1, &[]).await;
    assert_ne!(new, id, "the next topic of the name is another one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_without_nameless_answers_does_not_ask_by_id() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let id = client.create("t", 1, &[]).await;
    let by_id = MetadataRequestTopic { topic_id: id, name: None };
    let request = MetadataRequest { topics: Some(vec![by_id]), ..MetadataRequest::default() };
    for version in [10, 11] {
        let response = client.ask(&request, version).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::INVALID_REQUEST, "version {version}");
    }
    assert_eq!(client.ask(&request, 12).await.topics[0].error_code, ErrorCode::NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_creates_where_both_sides_allow_it() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let refused = metadata(&mut client, named("auto"), false).await;
    assert_eq!(refused.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let created = metadata(&mut client, named("auto"), true).await;
    assert_eq!((created.error_code, created.partitions.len()), (ErrorCode::NONE, 1));
    for bad in ["", "..", "a/b", "../../etc/x", &"x".repeat(250)] {
        let answer = metadata(&mut client, named(bad), true).await;
        assert_eq!(answer.error_code, ErrorCode::INVALID_TOPIC_EXCEPTION, "{bad:?}");
    }
    client.create("by.metric", 1, &[]).await;
    let collides = metadata(&mut client, named("by_metric"), true).await;
    assert_eq!(collides.error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
    let internal = metadata(&mut client, named("__consumer_offsets"), true).await;
    assert_eq!(internal.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert!(internal.is_internal);
    broker.stop().await;

    let strict = Broker::start_with(|config| config.topics.auto_create = false).await;
    let answer = metadata(&mut strict.connect().await, named("auto"), true).await;
    assert_eq!(answer.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_answers_for_each_topic_and_validating_creates_none() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("there", 1, &[]).await;
    client.create("by.metric", 1, &[]).await;
    let topic = |name: &str, num_partitions| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: -1,
        ..CreatableTopic::default()
    };
    let many = |replication_factor| CreatableTopic { replication_factor, ..topic("many", 1) };
    let config = CreatableTopicConfig { name: "retention.ms".into(), value: None };
    for (topics, code) in [
        (vec![topic("there", 1)], ErrorCode::TOPIC_ALREADY_EXISTS),
        // Who makes sure that a topic is there asks for it with numbers of a larger cluster, and with anything else.
        (
            vec![CreatableTopic { replication_factor: 3, ..topic("there", 1) }],
            ErrorCode::TOPIC_ALREADY_EXISTS,
        ),
        (
            vec![CreatableTopic { configs: vec![config], ..topic("there", 0) }],
            ErrorCode::TOPIC_ALREADY_EXISTS,
        ),
        // It is not there, and never will be: not what such a client takes for success.
        (vec![topic("by_metric", 1)], ErrorCode::INVALID_TOPIC_EXCEPTION),
        (
            vec![CreatableTopic { replication_factor: 3, ..topic("a/b", 1) }],
            ErrorCode::INVALID_TOPIC_EXCEPTION,
        ),
        (vec![topic("zero", 0)], ErrorCode::INVALID_PARTITIONS),
        (vec![topic("negative", -2)], ErrorCode::INVALID_PARTITIONS),
        (vec![many(3)], ErrorCode::INVALID_REPLICATION_FACTOR),
        (vec![topic("twice", 1), topic("twice", 1)], ErrorCode::INVALID_REQUEST),
        (vec![topic("__logmill_x", 1)], ErrorCode::INVALID_TOPIC_EXCEPTION),
        (vec![topic("__cluster_metadata", 1)], ErrorCode::INVALID_REQUEST),
    ] {
        for validate_only in [true, false] {
            let request = CreateTopicsRequest {
                topics: topics.clone(),
                validate_only,
                ..CreateTopicsRequest::default()
            };
            let response = client.ask(&request, 7).await;
            assert_eq!(response.topics.len(), 1);
            assert_eq!(response.topics[0].error_code, code, "{:?}", response.topics[0]);
            assert!(response.topics[0].error_message.is_some());
            assert_eq!(response.topics[0].configs.as_deref(), Some(&[][..]), "none, but not null");
        }
    }
    let request = CreateTopicsRequest {
        topics: vec![topic("maybe", 4)],
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    let result = client.ask(&request, 7).await.topics.remove(0);
    assert_eq!((result.error_code, result.num_partitions), (ErrorCode::NONE, 4));
    let answer = metadata(&mut client, named("maybe"), false).await;
    assert_eq!(answer.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_and_records_are_there_after_a_restart() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let id = client.create("t", 2, &[("max.message.bytes", "5000")]).await;
    assert_eq!(client.produce("t", &batch(&["one", "two"])).await.error_code, ErrorCode::NONE);
    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    let found = metadata(&mut client, named("t"), false).await;
    assert_eq!((found.topic_id, found.partitions.len()), (id, 2));
    let data = client.fetch("t", 0, 0).await;
    assert_eq!(values(&data), ["one", "two"]);
    let large = client.produce("t", &batch(&[&"x".repeat(6000)])).await;
    assert_eq!(large.error_code, ErrorCode::MESSAGE_TOO_LARGE, "the config is there too");
    assert_eq!(client.produce("t", &batch(&["three"])).await.base_offset, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_named_twice_does_not_grow_at_all() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    for name in ["twice", "once"] {
        client.create(name, 1, &[]).await;
    }
    let grow = |name: &str, count| CreatePartitionsTopic { name: name.into(), count, assignments: None };
    let topics = vec![grow("twice", 2), grow("once", 2), grow("twice", 3)];
    let response = client.ask(&CreatePartitionsRequest { topics, ..Default::default() }, 3).await;
    let answers: Vec<_> = response.results.iter().map(|topic| (&*topic.name, topic.error_code)).collect();
    assert_eq!(answers, [("twice", ErrorCode::INVALID_REQUEST), ("once", ErrorCode::NONE)]);
    assert_eq!(metadata(&mut client, named("twice"), false).await.partitions.len(), 1);
    assert_eq!(metadata(&mut client, named("once"), false).await.partitions.len(), 2);
}
