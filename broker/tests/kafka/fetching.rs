//! Fetch and ListOffsets: limits, long polls, sessions, and what lies where.

use std::time::{Duration, Instant};

use logmill_wire::ErrorCode;
use logmill_wire::messages::fetch::ForgottenTopic;
use logmill_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use logmill_wire::messages::{FetchRequest, ListOffsetsRequest};

use crate::client::{Broker, Client, batch, fetch, values};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_inside_a_batch_gives_the_whole_batch_and_one_outside_is_refused() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.produce("t", &batch(&["a", "b", "c"])).await;
    assert_eq!(values(&client.fetch("t", 2, 0).await), ["a", "b", "c"]);
    let end = client.fetch("t", 3, 0).await;
    assert_eq!((end.error_code, values(&end).len(), end.high_watermark), (ErrorCode::NONE, 0, 3));
    for offset in [-1, 4, i64::MIN, i64::MAX] {
        assert_eq!(client.fetch("t", offset, 0).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE, "{offset}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_but_never_against_the_first_batch() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 2, &[]).await;
    let large = "x".repeat(10_000);
    for partition in [0, 1] {
        for _ in 0..4 {
            let request = crate::client::produce("t", partition, batch(&[&large]).bytes(), -1, None);
            client.ask(&request, 9).await;
        }
    }
    let counts = async |client: &mut Client, max_bytes, partition_max_bytes| {
        let mut request = FetchRequest { max_bytes, ..fetch("t", &[(0, 0), (1, 0)]) };
        for partition in &mut request.topics[0].partitions {
            partition.partition_max_bytes = partition_max_bytes;
        }
        let response = client.ask(&request, 12).await;
        let partitions = &response.responses[0].partitions;
        [values(&partitions[0]).len(), values(&partitions[1]).len()]
    };
    assert_eq!(counts(&mut client, 1 << 20, 1 << 20).await, [4, 4]);
    assert_eq!(counts(&mut client, 1, 1).await, [1, 0], "one batch, however small the limit");
    assert_eq!(counts(&mut client, 25_000, 1 << 20).await, [2, 0]);
    assert_eq!(counts(&mut client, 1 << 20, 25_000).await, [2, 2]);
    assert_eq!(counts(&mut client, 45_000, 25_000).await, [2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_is_ended_by_data_or_by_time() {
    let broker = Broker::start().await;
    let mut reader = broker.connect().await;
    let mut writer = broker.connect().await;
    writer.create("t", 1, &[]).await;
    let wait = |max_wait_ms| FetchRequest { max_wait_ms, ..fetch("t", &[(0, 0)]) };
    let began = Instant::now();
    let empty = reader.ask(&wait(200), 12).await;
    assert!(began.elapsed() >= Duration::from_millis(190), "an empty fetch waits its time out");
    assert!(values(&empty.responses[0].partitions[0]).is_empty());

    let began = Instant::now();
    let number = reader.send(&wait(15_000), 12).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    writer.produce("t", &batch(&["news"])).await;
    let (answered, response) = reader.receive::<FetchRequest>(12).await;
    assert_eq!(answered, number);
    assert_eq!(values(&response.responses[0].partitions[0]), ["news"]);
    assert!(began.elapsed() < Duration::from_secs(5), "woken by the data");

    let began = Instant::now();
    let more = FetchRequest { min_bytes: 1 << 20, ..wait(200) };
    let response = reader.ask(&more, 12).await;
    assert!(began.elapsed() >= Duration::from_millis(190), "too little is waited for");
    assert_eq!(values(&response.responses[0].partitions[0]), ["news"]);

    let began = Instant::now();
    let error = FetchRequest { max_wait_ms: 15_000, ..fetch("t", &[(0, 9)]) };
    reader.ask(&error, 12).await;
    let unknown = FetchRequest { max_wait_ms: 15_000, ..fetch("t", &[(9, 0)]) };
    reader.ask(&unknown, 12).await;
    assert!(began.elapsed() < Duration::from_secs(5), "errors are told at once");

    let began = Instant::now();
    let one_of_two = FetchRequest { max_wait_ms: 200, ..fetch("t", &[(0, 1), (9, 0)]) };
    let response = reader.ask(&one_of_two, 12).await;
    assert!(began.elapsed() >= Duration::from_millis(190), "but not while another partition may bring data");
    assert_eq!(response.responses.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 2);
}

/// Whether the client or the responses' memory limits it: what does not fit any more is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_has_no_room_for_the_next_batch_does_not_wait_for_more_bytes() {
    let of_memory = |bytes| move |config: &mut logmill_config::Config| config.limits.response_memory = bytes;
    // A response may take a quarter of what is free.
    for (memory, max_bytes) in [(256 << 20, 100_000), (400_000, 1 << 20)] {
        let broker = Broker::start_with(of_memory(logmill_config::ByteSize::bytes(memory))).await;
        let mut client = broker.connect().await;
        client.create("t", 1, &[]).await;
        let large = "x".repeat(40_000);
        for _ in 0..4 {
            client.produce("t", &batch(&[&large])).await;
        }
        let began = Instant::now();
        let request =
            FetchRequest { max_bytes, min_bytes: 95_000, max_wait_ms: 15_000, ..fetch("t", &[(0, 0)]) };
        let response = client.ask(&request, 12).await;
        assert_eq!(values(&response.responses[0].partitions[0]).len(), 2, "two of 40,000 bytes in 100,000");
        assert!(began.elapsed() < Duration::from_secs(5), "a third does not fit, however long it waits");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_told_only_what_is_new() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 2, &[]).await;
    client.produce("t", &batch(&["a"])).await;
    let first = client.ask(&FetchRequest { session_epoch: 0, ..fetch("t", &[(0, 0), (1, 0)]) }, 12).await;
    assert_ne!(first.session_id, 0);
    assert_eq!(first.responses[0].partitions.len(), 2);
    let next = |session_epoch, partitions: &[(i32, i64)]| FetchRequest {
        session_id: first.session_id,
        session_epoch,
        topics: if partitions.is_empty() { Vec::new() } else { fetch("t", partitions).topics },
        ..fetch("t", &[])
    };
    let nothing = client.ask(&next(1, &[(0, 1)]), 12).await;
    assert_eq!((nothing.session_id, nothing.responses.len()), (first.session_id, 0));
    client.produce("t", &batch(&["b"])).await;
    let news = client.ask(&next(2, &[]), 12).await;
    assert_eq!(news.responses[0].partitions.len(), 1);
    assert_eq!(values(&news.responses[0].partitions[0]), ["b"]);
    let wrong = client.ask(&next(7, &[]), 12).await;
    assert_eq!(wrong.error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    let forgotten = ForgottenTopic { topic: "t".into(), partitions: vec![0], ..ForgottenTopic::default() };
    let less = FetchRequest { forgotten_topics_data: vec![forgotten], ..next(3, &[]) };
    assert!(client.ask(&less, 12).await.responses.is_empty());
    let elsewhere = broker.connect().await.ask(&next(4, &[]), 12).await;
    assert_eq!(elsewhere.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_found_by_place_and_by_time() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 2, &[]).await;
    client.produce("t", &batch(&["a", "b", "c"])).await;
    client.produce("t", &batch(&["d"])).await;
    // Twice the same partition is no question; the beginning of an empty one is where the next epoch's records come.
    let wanted = |partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: -2,
        ..ListOffsetsPartition::default()
    };
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: [0, 1, 0].map(wanted).into() }];
    let response = client.ask(&ListOffsetsRequest { topics, ..ListOffsetsRequest::default() }, 9).await;
    let answers: Vec<_> = response.topics[0]
        .partitions
        .iter()
        .map(|answer| (answer.partition_index, answer.error_code, answer.offset, answer.leader_epoch))
        .collect();
    assert_eq!(answers, [(0, ErrorCode::INVALID_REQUEST, -1, -1), (1, ErrorCode::NONE, 0, 0)]);
    let base = 1_700_000_000_000;
    for (timestamp, offset, found) in [
        (-1, 4, -1),
        (-2, 0, -1),
        (-3, 2, base + 2),
        (-4, 0, -1),
        (-5, -1, -1),
        (0, 0, base),
        (base + 1, 1, base + 1),
        (base + 3, -1, -1),
    ] {
        let partitions = vec![ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() }];
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions }];
        let response = client.ask(&ListOffsetsRequest { topics, ..ListOffsetsRequest::default() }, 9).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!(partition.error_code, ErrorCode::NONE);
        assert_eq!((partition.offset, partition.timestamp), (offset, found), "asked for {timestamp}");
        assert_eq!(partition.leader_epoch >= 0, offset >= 0, "asked for {timestamp}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_believes_in_another_epoch_is_told_so() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.produce("t", &batch(&["a"])).await;
    let mut request = fetch("t", &[(0, 0)]);
    request.topics[0].partitions[0].current_leader_epoch = 1000;
    let response = client.ask(&request, 12).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_LEADER_EPOCH);
    request.topics[0].partitions[0].current_leader_epoch = -1;
    request.topics[0].partitions[0].last_fetched_epoch = 1000;
    let response = client.ask(&request, 12).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
}
