//! Topics page by page, finalised features, log directories, and lists by pattern.

use logmill_wire::ErrorCode;
use logmill_wire::messages::describe_producers::TopicRequest as ProducersOfTopic;
use logmill_wire::messages::describe_topic_partitions::{Cursor, TopicRequest};
use logmill_wire::messages::update_features::FeatureUpdateKey;
use logmill_wire::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeProducersRequest, DescribeTopicPartitionsRequest,
    InitProducerIdRequest, ListTransactionsRequest, UpdateFeaturesRequest,
};

use crate::client::{Broker, Client};

async fn page(
    client: &mut Client,
    topics: &[&str],
    limit: i32,
    cursor: Option<Cursor>,
) -> (Vec<(String, Vec<i32>)>, Option<(String, i32)>) {
    let request = DescribeTopicPartitionsRequest {
        topics: topics.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
        response_partition_limit: limit,
        cursor,
    };
    let response = client.ask(&request, 0).await;
    let topics = response
        .topics
        .iter()
        .map(|topic| {
            assert_eq!(topic.error_code, ErrorCode::NONE);
            let indexes = topic.partitions.iter().map(|partition| partition.partition_index).collect();
            (topic.name.as_deref().unwrap().to_owned(), indexes)
        })
        .collect();
    (topics, response.next_cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index)))
}

fn cursor(topic: &str, partition_index: i32) -> Option<Cursor> {
    Some(Cursor { topic_name: topic.into(), partition_index })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_described_page_by_page() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("a", 3, &[]).await;
    client.create("b", 2, &[]).await;
    client.create("c", 1, &[]).await;
    let named = |name: &str, indexes: &[i32]| (name.to_owned(), indexes.to_vec());
    let next = |name: &str, index| Some((name.to_owned(), index));
    let all: &[&str] = &[];
    assert_eq!(
        page(&mut client, all, 4, None).await,
        (vec![named("a", &[0, 1, 2]), named("b", &[0])], next("b", 1))
    );
    assert_eq!(
        page(&mut client, all, 4, cursor("b", 1)).await,
        (vec![named("b", &[1]), named("c", &[0])], None)
    );
    // A page that ends with a topic goes on with the next one.
    assert_eq!(page(&mut client, all, 3, None).await, (vec![named("a", &[0, 1, 2])], next("b", 0)));
    // Named topics come in the order of their names; the cursor may stand at one that is gone.
    assert_eq!(page(&mut client, &["c", "a", "c"], 2, None).await, (vec![named("a", &[0, 1])], next("a", 2)));
    assert_eq!(page(&mut client, all, 9, cursor("bb", 7)).await, (vec![named("c", &[0])], None));
    assert_eq!(
        page(&mut client, all, -5, None).await,
        (vec![named("a", &[0])], next("a", 1)),
        "at least one"
    );
    let request = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "a".into() }],
        cursor: cursor("a", -1),
        ..Default::default()
    };
    let refused = client.ask(&request, 0).await;
    assert_eq!(refused.topics[0].error_code, ErrorCode::INVALID_REQUEST);
    // Who names topics goes on at one of them.
    let elsewhere = DescribeTopicPartitionsRequest { cursor: cursor("b", 0), ..request };
    let refused = client.ask(&elsewhere, 0).await;
    assert_eq!(refused.topics[0].error_code, ErrorCode::INVALID_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_nothing_is_refused_as_kafka_refuses_it() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    for (endpoint_type, code) in [
        (1, ErrorCode::NONE),
        (2, ErrorCode::MISMATCHED_ENDPOINT_TYPE),
        (3, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
    ] {
        let request = DescribeClusterRequest { endpoint_type, ..DescribeClusterRequest::default() };
        assert_eq!(client.ask(&request, 1).await.error_code, code, "endpoint type {endpoint_type}");
    }
    for (name, code) in
        [("nowhere", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), ("a/b", ErrorCode::INVALID_TOPIC_EXCEPTION)]
    {
        let topics = vec![ProducersOfTopic { name: name.into(), partition_indexes: vec![0] }];
        let described = client.ask(&DescribeProducersRequest { topics }, 0).await;
        assert_eq!(described.topics[0].partitions[0].error_code, code, "{name}");
    }
}

/// Level of `transaction.version` that a client is told, 0 when it is not finalised, and the epoch.
async fn told(client: &mut Client) -> (i16, i64) {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let response = client.ask(&request, 4).await;
    let finalized = response.finalized_features.iter().find(|feature| feature.name == "transaction.version");
    let supported = response.supported_features.iter().find(|feature| feature.name == "transaction.version");
    assert_eq!(supported.map(|feature| (feature.min_version, feature.max_version)), Some((0, 2)));
    (finalized.map_or(0, |feature| feature.max_version_level), response.finalized_features_epoch)
}

async fn lower(client: &mut Client, level: i16, upgrade_type: i8) -> ErrorCode {
    let request = UpdateFeaturesRequest {
        feature_updates: vec![FeatureUpdateKey {
            feature: "transaction.version".into(),
            max_version_level: level,
            upgrade_type,
            ..FeatureUpdateKey::default()
        }],
        ..UpdateFeaturesRequest::default()
    };
    client.ask(&request, 2).await.error_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_version_is_lowered_told_written_and_raised_again() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    assert_eq!(told(&mut client).await, (2, 0));
    assert_eq!(lower(&mut client, 0, 1).await, ErrorCode::INVALID_UPDATE_VERSION);
    assert_eq!(lower(&mut client, 0, 2).await, ErrorCode::NONE);
    assert_eq!(told(&mut client).await, (0, 1));
    let begin = InitProducerIdRequest {
        transactional_id: Some("x".into()),
        transaction_timeout_ms: 10_000,
        ..InitProducerIdRequest::default()
    };
    assert_eq!(client.ask(&begin, 4).await.error_code, ErrorCode::NONE);

    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    assert_eq!(told(&mut client).await, (0, 1), "it is durable");
    assert_eq!(client.ask(&begin, 4).await.producer_epoch, 1, "what was written at level 0 is read");
    assert_eq!(lower(&mut client, 2, 1).await, ErrorCode::NONE);
    assert_eq!(told(&mut client).await, (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_listed_by_pattern() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    for id in ["orders-1", "orders-22", "payments-1"] {
        let begin = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: 10_000,
            ..InitProducerIdRequest::default()
        };
        assert_eq!(client.ask(&begin, 5).await.error_code, ErrorCode::NONE);
    }
    for (pattern, expected) in [
        (None, Ok(3)),
        (Some(""), Ok(3)),
        (Some("orders-[0-9]+"), Ok(2)),
        (Some("orders"), Ok(0)),
        (Some("["), Err(ErrorCode::INVALID_REGULAR_EXPRESSION)),
    ] {
        let request = ListTransactionsRequest {
            transactional_id_pattern: pattern.map(Into::into),
            ..ListTransactionsRequest::default()
        };
        let response = client.ask(&request, 2).await;
        let found = match response.error_code {
            ErrorCode::NONE => Ok(response.transaction_states.len()),
            code => Err(code),
        };
        assert_eq!(found, expected, "{pattern:?}");
    }
}
