//! Produce: offsets, order, refusals, idempotence, and the three kinds of acknowledgement.

use bytes::Bytes;
use logmill_wire::ErrorCode;
use logmill_wire::messages::ProduceRequest;
use logmill_wire::messages::metadata::MetadataRequestTopic;
use logmill_wire::messages::{MetadataRequest, ProduceResponse};

use crate::client::{Broker, batch, produce, stamped, values};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_batches_get_their_offsets_in_order() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let mut numbers = Vec::new();
    for index in 0..50 {
        let value = index.to_string();
        let request = produce("t", 0, batch(&[&value, "x"]).bytes(), -1, None);
        numbers.push(client.send(&request, 9).await);
    }
    for (index, number) in numbers.into_iter().enumerate() {
        let (answered, response) = client.receive::<ProduceRequest>(9).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((answered, partition.error_code), (number, ErrorCode::NONE));
        assert_eq!(partition.base_offset, 2 * index as i64);
    }
    let data = client.fetch("t", 0, 0).await;
    let expected: Vec<String> = (0..50).flat_map(|index| [index.to_string(), "x".to_owned()]).collect();
    assert_eq!(values(&data), expected);
    assert_eq!(data.high_watermark, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_sent_before_gets_its_first_offset_again() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let code = |response: &logmill_wire::messages::produce::PartitionProduceResponse| response.error_code;
    let first = client.produce("t", &stamped(&["a", "b"], 7, 0, 0, false)).await;
    let second = client.produce("t", &stamped(&["c"], 7, 0, 2, false)).await;
    assert_eq!((first.base_offset, second.base_offset), (0, 2));
    let again = client.produce("t", &stamped(&["a", "b"], 7, 0, 0, false)).await;
    assert_eq!((code(&again), again.base_offset), (ErrorCode::NONE, 0));
    let gap = client.produce("t", &stamped(&["d"], 7, 0, 9, false)).await;
    assert_eq!(code(&gap), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let bumped = client.produce("t", &stamped(&["d"], 7, 1, 0, false)).await;
    assert_eq!((code(&bumped), bumped.base_offset), (ErrorCode::NONE, 3));
    let fenced = client.produce("t", &stamped(&["e"], 7, 0, 3, false)).await;
    assert_eq!(code(&fenced), ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(values(&client.fetch("t", 0, 0).await), ["a", "b", "c", "d"]);

    // And over a restart: the duplicate is still known.
    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    let again = client.produce("t", &stamped(&["d"], 7, 1, 0, false)).await;
    assert_eq!((code(&again), again.base_offset), (ErrorCode::NONE, 3));

    // Behind five more it is not: whether it is the same batch cannot be said.
    for sequence in 1..=5 {
        let sent = client.produce("t", &stamped(&["e"], 7, 1, sequence, false)).await;
        assert_eq!(code(&sent), ErrorCode::NONE);
    }
    let old = client.produce("t", &stamped(&["something else"], 7, 1, 0, false)).await;
    assert_eq!(code(&old), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_partition_is_answered_for_itself() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 2, &[]).await;
    let good = batch(&["a"]);
    let mut rotten = good.bytes().to_vec();
    *rotten.last_mut().unwrap() ^= 1;
    let mut request = produce("t", 0, good.bytes(), -1, None);
    for (index, records) in [(1, Bytes::from(rotten)), (7, good.bytes().clone()), (1, good.bytes().clone())] {
        let mut partition = request.topic_data[0].partition_data[0].clone();
        (partition.index, partition.records) = (index, Some(records));
        request.topic_data[0].partition_data.push(partition);
    }
    request.topic_data.extend(produce("nowhere", 0, good.bytes(), -1, None).topic_data);
    request.topic_data.extend(produce("__consumer_offsets", 0, good.bytes(), -1, None).topic_data);
    let response: ProduceResponse = client.ask(&request, 11).await;
    let codes: Vec<Vec<ErrorCode>> = response
        .responses
        .iter()
        .map(|topic| topic.partition_responses.iter().map(|partition| partition.error_code).collect())
        .collect();
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(codes[0], [ErrorCode::NONE, ErrorCode::CORRUPT_MESSAGE, unknown, ErrorCode::NONE]);
    assert_eq!((&codes[1], &codes[2]), (&vec![unknown], &vec![unknown]));

    let numbered = good.clone().stamped(5, 0);
    let refused = client.produce("t", &numbered).await;
    assert_eq!(refused.error_code, ErrorCode::INVALID_RECORD, "offsets are the broker's to give");
    let acks = client.ask(&produce("t", 0, good.bytes(), 2, None), 11).await;
    let code = acks.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::INVALID_REQUIRED_ACKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acks_there_is_no_answer_and_a_failure_closes() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.send(&produce("t", 0, batch(&["silent"]).bytes(), 0, None), 9).await;
    // The next answer is the next request's.
    let request = produce("t", 0, batch(&["heard"]).bytes(), 1, None);
    assert_eq!(client.ask(&request, 9).await.responses[0].partition_responses[0].base_offset, 1);
    client.send(&produce("nowhere", 0, batch(&["lost"]).bytes(), 0, None), 9).await;
    client.expect_closed().await;
}

/// On one node there is nobody else to wait for: `acks=1` promises what `acks=all` does. In Kafka, too, such a record is
/// visible when it is acknowledged, and outlives the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_record_is_visible_and_stays_whichever_acks_were_asked_for() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.create("cached", 1, &[("logmill.durability", "page-cache")]).await;
    for round in 0..100 {
        for topic in ["t", "cached"] {
            let request = produce(topic, 0, batch(&["a", "b"]).bytes(), 1, None);
            let answer = client.ask(&request, 9).await.responses.remove(0).partition_responses.remove(0);
            assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, 2 * round));
            let seen = client.fetch(topic, 2 * round, 0).await;
            assert_eq!(values(&seen), ["a", "b"], "{topic}, round {round}");
        }
    }
    let broker = broker.crash().await;
    assert_eq!(broker.connect().await.fetch("t", 0, 0).await.high_watermark, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brokers_clock_stamps_where_the_topic_says_so() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let answer = client.produce("t", &batch(&["a"])).await;
    assert!(answer.log_append_time_ms > 1_700_000_000_000);
    let data = client.fetch("t", 0, 0).await;
    let bytes = data.records.unwrap().into_bytes();
    let stored = logmill_record::batches(bytes).next().unwrap().unwrap();
    assert_eq!(stored.header().max_timestamp, answer.log_append_time_ms);
    assert_eq!(stored.records(1 << 20).unwrap()[0].timestamp, answer.log_append_time_ms);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_id_from_version_13() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let id = client.create("t", 1, &[]).await;
    let mut request = produce("", 0, batch(&["a"]).bytes(), -1, None);
    request.topic_data[0].topic_id = id;
    let mut stranger = request.topic_data[0].clone();
    stranger.topic_id = uuid::Uuid::from_u128(7);
    request.topic_data.push(stranger);
    let response = client.ask(&request, 13).await;
    assert_eq!(response.responses[0].topic_id, id);
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    assert_eq!(response.responses[1].partition_responses[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
    let by_id = MetadataRequestTopic { topic_id: id, name: None };
    let metadata =
        client.ask(&MetadataRequest { topics: Some(vec![by_id]), ..MetadataRequest::default() }, 12).await;
    assert_eq!(metadata.topics[0].name.as_deref(), Some("t"));
}
