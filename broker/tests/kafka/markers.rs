//! WriteTxnMarkers: the administrator's way to end a transaction that hangs.

use std::time::{Duration, Instant};

use logmill_wire::ErrorCode;
use logmill_wire::messages::describe_producers::TopicRequest;
use logmill_wire::messages::offset_fetch::OffsetFetchRequestGroup;
use logmill_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use logmill_wire::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use logmill_wire::messages::{
    DescribeProducersRequest, OffsetFetchRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};

use crate::client::{Broker, Client, PATIENCE, values};
use crate::defects_of_others::init;
use crate::transactions::Producer;

fn abort(producer: &Producer, topic: &str, partition: i32) -> WritableTxnMarker {
    WritableTxnMarker {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: vec![WritableTxnMarkerTopic { name: topic.into(), partition_indexes: vec![partition] }],
        ..WritableTxnMarker::default()
    }
}

async fn write(client: &mut Client, marker: WritableTxnMarker, version: i16) -> ErrorCode {
    let response = client.ask(&WriteTxnMarkersRequest { markers: vec![marker] }, version).await;
    response.markers[0].topics[0].partitions[0].error_code
}

/// Where a producer's transaction in the first partition of a topic begins; -1 when none is open.
async fn open_since(client: &mut Client, topic: &str) -> i64 {
    let topics = vec![TopicRequest { name: topic.into(), partition_indexes: vec![0] }];
    let response = client.ask(&DescribeProducersRequest { topics }, 0).await;
    response.topics[0].partitions[0].active_producers[0].current_txn_start_offset
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_aborted_in_a_partition_and_readers_go_on() {
    for version in [1, 2] {
        let broker = Broker::start().await;
        let mut client = broker.connect().await;
        client.create("t", 1, &[]).await;
        let mut producer = Producer::init(&mut client, "x", 12).await;
        producer.send(&mut client, "t", "hangs").await;
        client.produce("t", &crate::client::batch(&["behind it"])).await;
        let stuck = client.fetch("t", 0, 1).await;
        assert_eq!((stuck.last_stable_offset, stuck.high_watermark), (0, 2));
        assert_eq!(open_since(&mut client, "t").await, 0);

        assert_eq!(write(&mut client, abort(&producer, "t", 0), version).await, ErrorCode::NONE);
        assert_eq!(open_since(&mut client, "t").await, -1);
        let free = client.fetch("t", 0, 1).await;
        assert_eq!((free.last_stable_offset, free.high_watermark), (3, 3));
        assert_eq!(free.aborted_transactions.as_ref().map(Vec::len), Some(1));
        assert_eq!(
            values(&free),
            ["hangs", "behind it"],
            "what was aborted is listed, and left out by the client"
        );

        // The marker survives, and the producer ends its transaction and begins another.
        let broker = broker.crash().await;
        let mut client = broker.connect().await;
        assert_eq!(client.fetch("t", 0, 1).await.last_stable_offset, 3);
        assert_eq!(producer.end(&mut client, false).await.error_code, ErrorCode::NONE);
        assert_eq!(producer.send(&mut client, "t", "next").await.error_code, ErrorCode::NONE);
        assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
        let after = client.fetch("t", 0, 1).await;
        assert_eq!(after.last_stable_offset, after.high_watermark);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_hang_with_a_transaction_are_dropped() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let producer = Producer::init(&mut client, "x", 12).await;
    let partition = TxnOffsetCommitRequestPartition { committed_offset: 5, ..Default::default() };
    let commit = TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        group_id: "g".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..TxnOffsetCommitRequest::default()
    };
    let committed = client.ask(&commit, 5).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, ErrorCode::NONE);
    let ask = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() }],
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let pending = client.ask(&ask, 8).await;
    assert_eq!(pending.groups[0].topics[0].partitions[0].error_code, ErrorCode::UNSTABLE_OFFSET_COMMIT);
    let home = logmill_coordinator::partition_for("g", 50);
    let marker = abort(&producer, "__consumer_offsets", home);
    assert_eq!(write(&mut client, marker, 1).await, ErrorCode::NONE);
    for broker in [broker.restart().await] {
        let mut client = broker.connect().await;
        assert!(client.ask(&ask, 8).await.groups[0].topics.is_empty(), "nothing is committed, nothing waits");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_that_no_coordinator_could_write_are_refused() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    producer.send(&mut client, "t", "one").await;
    producer.end(&mut client, true).await;
    producer.send(&mut client, "t", "two").await;
    let right = || abort(&producer, "t", 0);
    let state = || abort(&producer, "__transaction_state", logmill_coordinator::partition_for("x", 50));
    for (marker, expected) in [
        (WritableTxnMarker { transaction_result: true, ..right() }, ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
        (
            WritableTxnMarker { producer_epoch: producer.epoch - 1, ..right() },
            ErrorCode::INVALID_PRODUCER_EPOCH,
        ),
        (WritableTxnMarker { producer_epoch: i16::MAX, ..right() }, ErrorCode::INVALID_PRODUCER_EPOCH),
        (WritableTxnMarker { coordinator_epoch: 7, ..right() }, ErrorCode::TRANSACTION_COORDINATOR_FENCED),
        (WritableTxnMarker { coordinator_epoch: -1, ..right() }, ErrorCode::TRANSACTION_COORDINATOR_FENCED),
        (WritableTxnMarker { producer_id: 999_999, ..right() }, ErrorCode::UNKNOWN_PRODUCER_ID),
        (abort(&producer, "nobody", 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (abort(&producer, "t", 1), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (state(), ErrorCode::INVALID_TOPIC_EXCEPTION),
    ] {
        assert_eq!(write(&mut client, marker.clone(), 1).await, expected, "{marker:?}");
    }
    // Of the newest transactions a marker has an epoch of its own.
    let same_epoch = WritableTxnMarker { transaction_version: 2, ..right() };
    assert_eq!(write(&mut client, same_epoch, 2).await, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert!(open_since(&mut client, "t").await > 0, "nothing has happened");
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    let read = client.fetch("t", 0, 1).await;
    assert_eq!((values(&read), read.last_stable_offset), (vec!["one".to_owned(), "two".to_owned()], 4));
}

/// A marker may be one epoch ahead of an open transaction. Another step would lead past what the coordinator writes: then
/// no end of the transaction would be accepted any more, and its other partitions would never be read on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_do_not_shut_the_coordinator_out() {
    for version in [11, 12] {
        let broker = Broker::start().await;
        let mut client = broker.connect().await;
        client.create("t", 1, &[]).await;
        client.create("u", 1, &[]).await;
        let mut producer = Producer::init(&mut client, "x", version).await;
        for topic in ["t", "u"] {
            if version < 12 {
                assert_eq!(producer.add(&mut client, topic).await, ErrorCode::NONE);
            }
            producer.sequence = 0;
            assert_eq!(producer.send(&mut client, topic, "open").await.error_code, ErrorCode::NONE);
        }
        let ahead =
            |by: i16| WritableTxnMarker { producer_epoch: producer.epoch + by, ..abort(&producer, "t", 0) };
        let markers = [ahead(1), ahead(1), ahead(2)];
        let [first, again, further] = markers;
        assert_eq!(write(&mut client, first, 1).await, ErrorCode::NONE);
        assert_eq!(write(&mut client, again, 1).await, ErrorCode::NONE, "the same again changes nothing");
        assert_eq!(write(&mut client, further, 1).await, ErrorCode::INVALID_PRODUCER_EPOCH);

        assert_eq!(producer.end(&mut client, false).await.error_code, ErrorCode::NONE, "in {version}");
        for topic in ["t", "u"] {
            let read = client.fetch(topic, 0, 1).await;
            assert_eq!(read.last_stable_offset, read.high_watermark, "{topic} in {version}");
        }
        // A new instance goes on everywhere, also after a crash.
        let broker = broker.crash().await;
        let mut client = broker.connect().await;
        let mut producer = Producer::init(&mut client, "x", version).await;
        let mut next = 0;
        for topic in ["t", "u"] {
            if version < 12 {
                assert_eq!(producer.add(&mut client, topic).await, ErrorCode::NONE);
            }
            producer.sequence = 0;
            let sent = producer.send(&mut client, topic, "next").await;
            assert_eq!(sent.error_code, ErrorCode::NONE);
            next = sent.base_offset;
        }
        assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE, "in {version}");
        assert_eq!(values(&client.fetch("u", next, 1).await), ["next"]);
    }
}

/// The same when nobody but time ends the transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_with_a_marker_from_outside_times_out_all_the_same() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.create("u", 1, &[]).await;
    let (_, id, epoch) = init(&mut client, "slow", 400).await;
    let mut slow = Producer { transactional_id: "slow", id, epoch, sequence: 0, version: 12 };
    for topic in ["t", "u"] {
        slow.sequence = 0;
        assert_eq!(slow.send(&mut client, topic, "open").await.error_code, ErrorCode::NONE);
    }
    let marker = WritableTxnMarker { producer_epoch: epoch + 1, ..abort(&slow, "t", 0) };
    assert_eq!(write(&mut client, marker, 1).await, ErrorCode::NONE);
    let begin = Instant::now();
    loop {
        let read = client.fetch("u", 0, 1).await;
        if read.last_stable_offset == read.high_watermark {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "its time is over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
