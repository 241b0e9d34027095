//! Records that are deleted: by request, by age, by size.

use std::time::{Duration, Instant};

use logmill_config::Config;
use logmill_wire::ErrorCode;
use logmill_wire::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use logmill_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use logmill_wire::messages::{DeleteRecordsRequest, ListOffsetsRequest};

use crate::client::{Broker, Client, PATIENCE, batch, values};

pub(crate) async fn delete(client: &mut Client, topic: &str, offset: i64) -> (ErrorCode, i64) {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
    let topics = vec![DeleteRecordsTopic { name: topic.into(), partitions }];
    let mut response = client.ask(&DeleteRecordsRequest { topics, timeout_ms: 10_000 }, 2).await;
    let result = response.topics.remove(0).partitions.remove(0);
    (result.error_code, result.low_watermark)
}

async fn earliest(client: &mut Client, topic: &str) -> i64 {
    let partitions = vec![ListOffsetsPartition { timestamp: -2, ..ListOffsetsPartition::default() }];
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions }];
    let mut response = client.ask(&ListOffsetsRequest { topics, ..ListOffsetsRequest::default() }, 7).await;
    response.topics.remove(0).partitions.remove(0).offset
}

/// A broker that looks for old segments all the time.
fn eager(config: &mut Config) {
    config.cleaning.interval = Duration::from_millis(20);
}

async fn until_earliest(client: &mut Client, topic: &str, wanted: i64) {
    let begin = Instant::now();
    while earliest(client, topic).await != wanted {
        assert!(begin.elapsed() < PATIENCE, "{topic} begins at {}", earliest(client, topic).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_records_stay_deleted() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.create("compacted", 1, &[("cleanup.policy", "compact")]).await;
    for _ in 0..3 {
        client.produce("t", &batch(&["a", "b"])).await;
    }
    client.produce("compacted", &batch(&["a"])).await;
    assert_eq!(delete(&mut client, "t", 3).await, (ErrorCode::NONE, 3));
    assert_eq!(earliest(&mut client, "t").await, 3);
    assert_eq!(client.fetch("t", 2, 0).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    let fetched = client.fetch("t", 3, 0).await;
    assert_eq!((fetched.error_code, fetched.log_start_offset), (ErrorCode::NONE, 3));
    assert_eq!(client.produce("t", &batch(&["c"])).await.log_start_offset, 3);
    assert_eq!(delete(&mut client, "t", 1).await, (ErrorCode::NONE, 3), "never back");
    assert_eq!(delete(&mut client, "t", 8).await, (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete(&mut client, "t", -2).await, (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete(&mut client, "compacted", 1).await, (ErrorCode::POLICY_VIOLATION, -1));
    assert_eq!(delete(&mut client, "none", 0).await, (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1));

    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    assert_eq!(earliest(&mut client, "t").await, 3);
    assert_eq!(delete(&mut client, "t", -1).await, (ErrorCode::NONE, 7), "all that is there");
    assert_eq!(values(&client.fetch("t", 7, 0).await).len(), 0);
    client.produce("t", &batch(&["d"])).await;
    assert_eq!(values(&client.fetch("t", 7, 0).await), ["d"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_records_go_by_themselves_where_they_may() {
    let broker = Broker::start_with(eager).await;
    let mut client = broker.connect().await;
    // The records are of 2023.
    client.create("kept", 1, &[("retention.ms", "-1")]).await;
    client.create("compacted", 1, &[("cleanup.policy", "compact")]).await;
    client.create("week", 1, &[]).await;
    client
        .create(
            "small",
            1,
            &[("retention.ms", "-1"), ("retention.bytes", "300"), ("internal.segment.bytes", "200")],
        )
        .await;
    for topic in ["kept", "compacted", "week", "small"] {
        for _ in 0..10 {
            client.produce(topic, &batch(&["some value", "another"])).await;
        }
    }
    until_earliest(&mut client, "week", 20).await;
    assert_eq!(client.fetch("week", 0, 0).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    client.produce("week", &batch(&["x"])).await;
    let begin = Instant::now();
    while earliest(&mut client, "small").await == 0 {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(earliest(&mut client, "small").await < 20);
    for topic in ["kept", "compacted"] {
        assert_eq!(earliest(&mut client, topic).await, 0);
    }
    // The files go a little later: when a checkpoint has made the new start durable.
    let gone = broker.data_dir().join("week-0/00000000000000000000.log");
    while gone.exists() {
        assert!(begin.elapsed() < PATIENCE, "{} is still there", gone.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_topic_keeps_the_last_record_of_each_key() {
    let broker = Broker::start_with(eager).await;
    let mut client = broker.connect().await;
    let configs = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "400"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    client.create("t", 1, &configs).await;
    for number in 0..40 {
        client.produce("t", &batch(&[&format!("value {number}")])).await;
    }
    let begin = Instant::now();
    loop {
        let mut records = Vec::new();
        let mut offset = 0;
        while offset < 40 {
            let fetched = client.fetch("t", offset, 1).await;
            assert_eq!(fetched.error_code, ErrorCode::NONE);
            let bytes = fetched.records.clone().unwrap_or_default().into_bytes();
            let last = logmill_record::batches(bytes).last().expect("a batch").unwrap();
            offset = last.header().next_offset();
            records.extend(values(&fetched));
        }
        assert_eq!(records.last().map(String::as_str), Some("value 39"));
        let files = std::fs::read_dir(broker.data_dir().join("t-0")).unwrap();
        let bytes: u64 = files
            .filter_map(Result::ok)
            .filter(|file| file.path().extension().is_some_and(|extension| extension == "log"))
            .map(|file| file.metadata().map_or(0, |data| data.len()))
            .sum();
        // What is durable is written to segments a moment later, and compacted then.
        if records.len() < 10 && (1..700).contains(&bytes) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{bytes} bytes are left, {records:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    let fetched = client.fetch("t", 0, 1).await;
    let left = values(&fetched);
    assert!(left.len() < 10 && left.last().map(String::as_str) == Some("value 39"), "{left:?}");
    broker.stop().await;
}
