//! What a transaction costs in frames, state records and journal writes: the same for any number of partitions.

use std::collections::BTreeMap;

use logmill_config::ByteSize;
use logmill_coordinator::partition_for;
use logmill_wire::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use logmill_wire::messages::fetch::PartitionData;
use logmill_wire::messages::produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use logmill_wire::messages::{AddPartitionsToTxnRequest, FetchRequest, ProduceRequest};
use logmill_wire::{ErrorCode, Str};

use crate::client::{Broker, Client, fetch, stamped, values};
use crate::metrics::{Moved, scrape, settled, start};
use crate::transactions::Producer;

const STATES: &str = "__transaction_state";

/// One request with a batch for each of these partitions; `sequence` says from where each counts.
async fn send(
    client: &mut Client,
    producer: &Producer,
    partitions: &[i32],
    value: &str,
    sequence: impl Fn(i32) -> i32,
) -> Vec<PartitionProduceResponse> {
    let batch = |index| PartitionProduceData {
        index,
        records: Some(stamped(&[value], producer.id, producer.epoch, sequence(index), true).bytes().clone()),
    };
    let partition_data = partitions.iter().map(|&index| batch(index)).collect();
    let request = ProduceRequest {
        transactional_id: Some(Str::from_static(producer.transactional_id)),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data,
            ..TopicProduceData::default()
        }],
    };
    let answered = client.ask(&request, producer.version).await.responses.remove(0).partition_responses;
    assert_eq!(answered.iter().map(|one| one.index).collect::<Vec<_>>(), partitions, "in the order asked");
    answered
}

async fn add(client: &mut Client, producer: &Producer, partitions: &[i32]) {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: Str::from_static(producer.transactional_id),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: "t".into(),
            partitions: partitions.to_vec(),
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    let response = client.ask(&request, 3).await;
    for result in &response.results_by_topic_v3_and_below[0].results_by_partition {
        assert_eq!(result.partition_error_code, ErrorCode::NONE);
    }
}

async fn read(client: &mut Client, topic: &str, partition: i32, isolation_level: i8) -> PartitionData {
    let request = FetchRequest { isolation_level, ..fetch(topic, &[(partition, 0)]) };
    client.ask(&request, 12).await.responses.remove(0).partitions.remove(0)
}

/// How many records the log of a transactional id's partition has, and in how many bytes.
async fn states(client: &mut Client, id: &str) -> (i64, usize) {
    let data = read(client, STATES, partition_for(id, 50), 0).await;
    assert_eq!(data.error_code, ErrorCode::NONE);
    (data.high_watermark, data.records.map_or(0, |records| records.into_bytes().len()))
}

/// What has moved since everything before was counted.
async fn rested(broker: &Broker) -> BTreeMap<String, f64> {
    let counted = scrape(broker).await["logmill_journal_frames_total"];
    settled(broker, BTreeMap::new(), counted).await.after
}

fn assert_one_write(moved: &Moved) {
    for series in ["logmill_frames_total", "logmill_journal_frames_total", "logmill_journal_writes_total"] {
        assert_eq!(moved.by(series), 1.0, "{series}");
    }
    assert_eq!(moved.by("logmill_frames_rejected_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beginning_and_ending_are_one_write_each_whatever_the_number_of_partitions() {
    for (version, count) in [(12, 1), (12, 10), (12, 100), (11, 100)] {
        let broker = start().await;
        let mut client = broker.connect().await;
        client.create("t", 100, &[]).await;
        let all: Vec<i32> = (0..count).collect();
        let mut producer = Producer::init(&mut client, "x", version).await;
        for round in 0..3 {
            let before = states(&mut client, "x").await;
            if version < 12 {
                add(&mut client, &producer, &all).await;
            }
            let counters = rested(&broker).await;
            let first_sequence = if version < 12 { round } else { 0 };
            for answer in send(&mut client, &producer, &all, "v", |_| first_sequence).await {
                assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, i64::from(2 * round)));
            }
            let moved = settled(&broker, counters, 1.0).await;
            if version < 12 {
                // The batches of the transaction before had the same epoch: whether these are the same, the partition is
                // asked first.
                assert_eq!(moved.by("logmill_frames_total"), 1.0);
                assert_eq!(moved.by("logmill_journal_writes_total"), 1.0);
            } else {
                assert_one_write(&moved);
            }
            let begun = states(&mut client, "x").await;
            assert_eq!(begun.0 - before.0, 1, "one record has the whole list");
            let bytes = begun.1 - before.1;
            assert!(bytes < 200 + 4 * all.len(), "{bytes} bytes for {count} partitions");

            let counters = rested(&broker).await;
            assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
            assert_one_write(&settled(&broker, counters, 1.0).await);
            assert_eq!(states(&mut client, "x").await.0 - begun.0, 1);
        }
        for &partition in &all {
            let data = read(&mut client, "t", partition, 1).await;
            assert_eq!((values(&data), data.last_stable_offset), (vec!["v".to_owned(); 3], 6));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_refused_takes_no_other_with_it() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 9, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    let all: Vec<i32> = (0..9).collect();
    // A transaction's first batch in a partition has sequence 0.
    let wrong = |partition: i32| partition == 2 || partition == 7;
    let answers =
        send(&mut client, &producer, &all, "v", |partition| if wrong(partition) { 5 } else { 0 }).await;
    for answer in &answers {
        let (code, offset) = match wrong(answer.index) {
            true => (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
            false => (ErrorCode::NONE, 0),
        };
        assert_eq!((answer.error_code, answer.base_offset), (code, offset), "partition {}", answer.index);
    }
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    for partition in all {
        let data = read(&mut client, "t", partition, 1).await;
        // No marker either where the transaction never was.
        let expected = if wrong(partition) { (0, 0) } else { (1, 2) };
        assert_eq!((values(&data).len(), data.high_watermark), expected, "partition {partition}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_were_not_added_are_refused_and_the_others_are_not() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 4, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 11).await;
    add(&mut client, &producer, &[0, 3]).await;
    let codes = |answers: Vec<PartitionProduceResponse>| -> Vec<ErrorCode> {
        answers.into_iter().map(|answer| answer.error_code).collect()
    };
    let answers = send(&mut client, &producer, &[0, 1, 2, 3], "v", |_| 0).await;
    let (yes, no) = (ErrorCode::NONE, ErrorCode::TRANSACTION_ABORTABLE);
    assert_eq!(codes(answers), [yes, no, no, yes]);
    // Sent again they are what they were before, and what was not added is not there now.
    let again = send(&mut client, &producer, &[0, 1, 2, 3], "v", |_| 0).await;
    assert_eq!(codes(again), [yes, no, no, yes]);
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    for (partition, count) in [(0, 1), (1, 0), (2, 0), (3, 1)] {
        assert_eq!(values(&read(&mut client, "t", partition, 1).await).len(), count, "partition {partition}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_one_frame_becomes_several() {
    let broker = Broker::start_with(|config| {
        config.journal.file_size = ByteSize::mib(1);
        config.journal.max_size = ByteSize::mib(4);
    })
    .await;
    let mut client = broker.connect().await;
    client.create("t", 5, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    let value = "x".repeat(700_000);
    let all: Vec<i32> = (0..5).collect();
    for answer in send(&mut client, &producer, &all, &value, |_| 0).await {
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, 0));
    }
    assert!(states(&mut client, "x").await.0 > 2, "more than one record adds them");
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    for partition in all {
        let data = read(&mut client, "t", partition, 1).await;
        assert_eq!((values(&data).len(), data.last_stable_offset), (1, 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_no_frame_can_hold_is_refused_alone_or_beside_others() {
    let broker = Broker::start_with(|config| {
        config.journal.file_size = ByteSize::kib(256);
        config.journal.max_size = ByteSize::kib(512);
    })
    .await;
    let mut client = broker.connect().await;
    client.create("t", 2, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    let large = "x".repeat(900_000);
    let expected = [(ErrorCode::MESSAGE_TOO_LARGE, -1)];
    let answers = send(&mut client, &producer, &[0], &large, |_| 0).await;
    assert_eq!(answers.iter().map(|one| (one.error_code, one.base_offset)).collect::<Vec<_>>(), expected);

    let batch = |index: i32, value: &str| PartitionProduceData {
        index,
        records: Some(stamped(&[value], producer.id, producer.epoch, 0, true).bytes().clone()),
    };
    let request = ProduceRequest {
        transactional_id: Some(Str::from_static(producer.transactional_id)),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![batch(0, &large), batch(1, "small")],
            ..TopicProduceData::default()
        }],
    };
    let answers = client.ask(&request, producer.version).await.responses.remove(0).partition_responses;
    let codes: Vec<_> = answers.iter().map(|one| (one.error_code, one.base_offset)).collect();
    assert_eq!(codes, [(ErrorCode::MESSAGE_TOO_LARGE, -1), (ErrorCode::NONE, 0)]);
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    let data = [read(&mut client, "t", 0, 1).await, read(&mut client, "t", 1, 1).await];
    assert_eq!(data.map(|data| values(&data).len()), [0, 1]);
}
