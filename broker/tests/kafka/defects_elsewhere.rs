//! What other implementations of Kafka's protocol got wrong outside of transactions.

use std::time::{Duration, Instant};

use bytes::Bytes;
use logmill_wire::ErrorCode;
use logmill_wire::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logmill_wire::messages::sync_group::SyncGroupRequestAssignment;
use logmill_wire::messages::{FetchRequest, HeartbeatRequest, OffsetCommitRequest, SyncGroupRequest};

use crate::client::{Broker, batch, fetch, values};
use crate::defects_of_others::{committed, joining, list_offset};

/// 19: the leader epoch that is told is the record's, not the leader's of today.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_are_those_of_the_records() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[("logmill.durability", "page-cache")]).await;
    client.produce("t", &batch(&["old", "old too"])).await;
    let (_, old) = list_offset(&mut client, -1, 0).await;
    let commit = OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 1,
                committed_leader_epoch: old,
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    client.ask(&commit, 8).await;

    // A partition that the page cache alone may have held is of a new epoch after a crash (KIP-320).
    let broker = broker.crash().await;
    let mut client = broker.connect().await;
    client.produce("t", &batch(&["new"])).await;
    let (_, new) = list_offset(&mut client, -1, 0).await;
    assert!(new > old, "{new} after {old}");
    assert_eq!(list_offset(&mut client, -2, 0).await, (0, old));
    assert_eq!(list_offset(&mut client, 1_700_000_000_001, 0).await, (1, old));
    let stored = committed(&mut client, true).await;
    assert_eq!((stored.committed_offset, stored.committed_leader_epoch), (1, old));
    for (offset, epoch) in [(0, old), (2, new)] {
        let data = client.fetch("t", offset, 0).await;
        let batch = logmill_record::batches(data.records.unwrap().into_bytes()).next().unwrap().unwrap();
        assert_eq!((batch.header().base_offset, batch.header().leader_epoch), (offset, epoch));
    }
    let mut request = fetch("t", &[(0, 0)]);
    request.topics[0].partitions[0].current_leader_epoch = old;
    let fenced = client.ask(&request, 12).await;
    assert_eq!(fenced.responses[0].partitions[0].error_code, ErrorCode::FENCED_LEADER_EPOCH);
}

/// Members that come at the same time find one another: nobody is told that it is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_join_at_once_all_become_one_generation() {
    const MEMBERS: usize = 8;
    let broker = Broker::start().await;
    let mut tasks = Vec::new();
    for _ in 0..MEMBERS {
        let mut client = broker.connect().await;
        tasks.push(tokio::spawn(async move {
            let first = client.ask(&joining(""), 7).await;
            assert_eq!(first.error_code, ErrorCode::MEMBER_ID_REQUIRED);
            let id = first.member_id;
            loop {
                let joined = client.ask(&joining(&id), 7).await;
                assert_eq!(joined.error_code, ErrorCode::NONE);
                let assignments = joined
                    .members
                    .iter()
                    .map(|member| SyncGroupRequestAssignment {
                        member_id: member.member_id.clone(),
                        assignment: Bytes::from(format!("{} members", joined.members.len())),
                    })
                    .collect();
                let sync = SyncGroupRequest {
                    group_id: "g".into(),
                    generation_id: joined.generation_id,
                    member_id: id.clone(),
                    protocol_type: Some("consumer".into()),
                    protocol_name: Some("range".into()),
                    assignments,
                    ..SyncGroupRequest::default()
                };
                let synced = client.ask(&sync, 5).await;
                match synced.error_code {
                    ErrorCode::NONE if synced.assignment == format!("{MEMBERS} members") => return,
                    ErrorCode::NONE | ErrorCode::REBALANCE_IN_PROGRESS => {}
                    other => panic!("{other}"),
                }
                let beat = HeartbeatRequest {
                    group_id: "g".into(),
                    generation_id: joined.generation_id,
                    member_id: id.clone(),
                    ..Default::default()
                };
                loop {
                    match client.ask(&beat, 4).await.error_code {
                        ErrorCode::NONE => tokio::time::sleep(Duration::from_millis(10)).await,
                        ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => break,
                        other => panic!("{other}"),
                    }
                }
            }
        }));
    }
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(20), task).await.expect("the group settles").unwrap();
    }
}

/// An incremental fetch with nothing to tell waits as long as it may; nothing names another replica to read from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_incremental_fetch_waits() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.produce("t", &batch(&["a"])).await;
    let first = client.ask(&FetchRequest { session_epoch: 0, ..fetch("t", &[(0, 0)]) }, 12).await;
    assert_eq!(first.responses[0].partitions[0].preferred_read_replica, -1);
    let next = |session_epoch, max_wait_ms, offset: Option<i64>| FetchRequest {
        session_id: first.session_id,
        session_epoch,
        max_wait_ms,
        topics: offset.map_or_else(Vec::new, |offset| fetch("t", &[(0, offset)]).topics),
        ..fetch("t", &[])
    };
    let began = Instant::now();
    let empty = client.ask(&next(1, 300, Some(1)), 12).await;
    assert!(began.elapsed() >= Duration::from_millis(290) && empty.responses.is_empty());
    let began = Instant::now();
    let empty = client.ask(&next(2, 300, None), 12).await;
    assert!(began.elapsed() >= Duration::from_millis(290) && empty.responses.is_empty());
    client.produce("t", &batch(&["b"])).await;
    let news = client.ask(&next(3, 10_000, None), 12).await;
    assert_eq!(values(&news.responses[0].partitions[0]), ["b"]);
    assert_eq!(news.responses[0].partitions[0].preferred_read_replica, -1);
}
