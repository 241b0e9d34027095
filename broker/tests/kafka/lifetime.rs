//! Starting and stopping: what is there at once, what a damaged log costs, and who cannot hold up the end.

use std::time::{Duration, Instant};

use logmill_wire::ErrorCode;
use logmill_wire::messages::delete_topics::DeleteTopicState;
use logmill_wire::messages::init_producer_id::InitProducerIdRequest;
use logmill_wire::messages::metadata::MetadataRequestTopic;
use logmill_wire::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logmill_wire::messages::offset_fetch::OffsetFetchRequestGroup;
use logmill_wire::messages::{
    DeleteTopicsRequest, DescribeTransactionsRequest, FetchRequest, ListGroupsRequest,
    ListTransactionsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Broker, Client, fetch};
use crate::transactions::Producer;

async fn commit(client: &mut Client, group: &str) {
    let partitions =
        vec![OffsetCommitRequestPartition { committed_offset: 7, ..OffsetCommitRequestPartition::default() }];
    let topics = vec![OffsetCommitRequestTopic {
        name: "t".into(),
        partitions,
        ..OffsetCommitRequestTopic::default()
    }];
    let request = OffsetCommitRequest { group_id: group.into(), topics, ..OffsetCommitRequest::default() };
    let response = client.ask(&request, 8).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
}

async fn group_error(client: &mut Client, group: &str) -> ErrorCode {
    let group = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    client.ask(&request, 8).await.groups[0].error_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_is_silent_holds_up_the_end() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    // A long poll, half a request, nothing at all, and HTTP/2 peers that go no further than their first words.
    let wait = FetchRequest { max_wait_ms: 30_000, ..fetch("t", &[(0, 0)]) };
    client.send(&wait, 12).await;
    let mut half = TcpStream::connect(broker.address).await.unwrap();
    half.write_all(&[0, 0, 1, 0, 0]).await.unwrap();
    let _silent = TcpStream::connect(broker.address).await.unwrap();
    let mut preface = TcpStream::connect(broker.address).await.unwrap();
    preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut settings = TcpStream::connect(broker.address).await.unwrap();
    settings.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    broker.stop().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "the drain time is 2 s, this took {took:?}");
}

/// One byte rots in the log of whom `harmed` names, which is not that of `other`.
fn damage(directory: &TempDir, topic: &str, harmed: &str, other: &str) {
    let partition = logmill_coordinator::partition_for(harmed, 50);
    assert_ne!(partition, logmill_coordinator::partition_for(other, 50));
    let log = directory.path().join(format!("{topic}-{partition}/00000000000000000000.log"));
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&log, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_of_offsets_costs_its_own_groups_and_nobody_else() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    for group in ["harmed", "other"] {
        commit(&mut client, group).await;
    }
    let directory = broker.stop().await;
    damage(&directory, "__consumer_offsets", "harmed", "other");
    let broker = Broker::start_in(directory).await;
    let mut client = broker.connect().await;
    for _ in 0..5 {
        assert_eq!(group_error(&mut client, "harmed").await, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        assert_eq!(group_error(&mut client, "other").await, ErrorCode::NONE);
        let listed = client.ask(&ListGroupsRequest::default(), 5).await;
        let names: Vec<_> = listed.groups.iter().map(|group| &*group.group_id).collect();
        assert_eq!((listed.error_code, names), (ErrorCode::NONE, vec!["other"]));
    }
    commit(&mut client, "other").await;
    // One partition that cannot be asked is no reason to keep offsets in all the others.
    let state = DeleteTopicState { name: Some("t".into()), ..DeleteTopicState::default() };
    let delete =
        DeleteTopicsRequest { topics: vec![state], timeout_ms: 10_000, ..DeleteTopicsRequest::default() };
    assert_eq!(client.ask(&delete, 6).await.responses[0].error_code, ErrorCode::NONE);
    let listed = client.ask(&ListGroupsRequest::default(), 5).await;
    assert!(listed.groups.is_empty(), "the group had nothing but offsets in it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_of_transactions_costs_its_own_ids_and_nobody_else() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    for id in ["harmed", "other"] {
        Producer::init(&mut client, id, 12).await;
    }
    let directory = broker.stop().await;
    damage(&directory, "__transaction_state", "harmed", "other");
    let broker = Broker::start_in(directory).await;
    let mut client = broker.connect().await;
    for _ in 0..5 {
        let request = DescribeTransactionsRequest { transactional_ids: vec!["harmed".into()] };
        let described = client.ask(&request, 0).await;
        assert_eq!(described.transaction_states[0].error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        let listed = client.ask(&ListTransactionsRequest::default(), 1).await;
        let ids: Vec<_> = listed.transaction_states.iter().map(|state| &*state.transactional_id).collect();
        assert_eq!((listed.error_code, ids), (ErrorCode::NONE, vec!["other"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_transactions_use_up_no_producer_ids() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let idempotent = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    let first = client.ask(&idempotent, 4).await.producer_id;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    for _ in 0..5 {
        producer.send(&mut client, "t", "a").await;
        assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    }
    Producer::init(&mut client, "x", 12).await;
    assert_eq!(client.ask(&idempotent, 4).await.producer_id, first + 2, "one for the transactional producer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_of_internal_topics_are_made_when_they_are_first_used() {
    let made = |directory: &std::path::Path, topic: &str| {
        let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let prefix = format!("{topic}-");
        names.filter(|name| name.to_str().is_some_and(|name| name.starts_with(&prefix))).count()
    };
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    commit(&mut client, "g").await;
    Producer::init(&mut client, "x", 12).await;
    let named = |name: &str| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let topics = Some(vec![named("__consumer_offsets"), named("__transaction_state")]);
    let described = client.ask(&MetadataRequest { topics, ..MetadataRequest::default() }, 12).await;
    assert!(described.topics.iter().all(|topic| topic.partitions.len() == 50), "clients see all of them");
    let directory = broker.stop().await;
    assert_eq!(made(directory.path(), "__consumer_offsets"), 1);
    assert_eq!(made(directory.path(), "__transaction_state"), 1);

    // They are known after a restart, more are made, and a reader sees empty ones where there are none.
    let broker = Broker::start_in(directory).await;
    let mut client = broker.connect().await;
    assert_eq!(group_error(&mut client, "g").await, ErrorCode::NONE);
    for group in 0..20 {
        commit(&mut client, &format!("group {group}")).await;
    }
    let mine = logmill_coordinator::partition_for("g", 50);
    let other = (0..50)
        .find(|index| {
            (0..20).all(|group| logmill_coordinator::partition_for(&format!("group {group}"), 50) != *index)
                && *index != mine
        })
        .unwrap();
    let response = client.ask(&fetch("__consumer_offsets", &[(mine, 0), (other, 0), (50, 0)]), 12).await;
    let partitions = &response.responses[0].partitions;
    assert!(partitions[0].high_watermark > 0);
    assert_eq!((partitions[1].error_code, partitions[1].high_watermark), (ErrorCode::NONE, 0));
    assert_eq!(partitions[2].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let broker = broker.crash().await;
    let mut client = broker.connect().await;
    for group in 0..20 {
        let group = OffsetFetchRequestGroup {
            group_id: format!("group {group}").into(),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let response = client.ask(&request, 8).await;
        assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 7);
    }
}
