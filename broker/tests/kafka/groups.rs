//! A group of the classic protocol: two members, a rebalance between them, and their offsets.

use bytes::Bytes;
use logmill_wire::messages::join_group::JoinGroupRequestProtocol;
use logmill_wire::messages::leave_group::MemberIdentity;
use logmill_wire::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logmill_wire::messages::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use logmill_wire::messages::offset_fetch::OffsetFetchRequestGroup;
use logmill_wire::messages::sync_group::SyncGroupRequestAssignment;
use logmill_wire::messages::{
    DeleteGroupsRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use logmill_wire::{ErrorCode, Str};

use crate::client::{Broker, Client};

const JOIN: i16 = 7;

fn join(member_id: &Str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"topics") };
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    }
}

/// The round trip that gives a member its id (KIP-394).
async fn member_id(client: &mut Client) -> Str {
    let response = client.ask(&join(&Str::default()), JOIN).await;
    assert_eq!(response.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    assert!(!response.member_id.is_empty());
    response.member_id
}

fn sync(joined: &JoinGroupResponse, assignments: &[(&Str, &'static [u8])]) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments
            .iter()
            .map(|(member_id, assignment)| SyncGroupRequestAssignment {
                member_id: (*member_id).clone(),
                assignment: Bytes::from_static(assignment),
            })
            .collect(),
        ..SyncGroupRequest::default()
    }
}

async fn heartbeat(client: &mut Client, joined: &JoinGroupResponse) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..HeartbeatRequest::default()
    };
    client.ask(&request, 4).await.error_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_a_group_and_its_offsets_survive_them() {
    let broker = Broker::start().await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);
    first.create("t", 1, &[]).await;

    let one = member_id(&mut first).await;
    let alone = first.ask(&join(&one), JOIN).await;
    assert_eq!((alone.error_code, &alone.leader, alone.members.len()), (ErrorCode::NONE, &one, 1));
    let synced = first.ask(&sync(&alone, &[(&one, b"everything")]), 5).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"everything"[..]));
    assert_eq!(heartbeat(&mut first, &alone).await, ErrorCode::NONE);

    // The second one's join is parked until the first has joined again.
    let two = member_id(&mut second).await;
    second.send(&join(&two), JOIN).await;
    let mut told = heartbeat(&mut first, &alone).await;
    for _ in 0..100 {
        if told != ErrorCode::NONE {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        told = heartbeat(&mut first, &alone).await;
    }
    assert_eq!(told, ErrorCode::REBALANCE_IN_PROGRESS);
    let leader = first.ask(&join(&one), JOIN).await;
    let (_, follower) = second.receive::<JoinGroupRequest>(JOIN).await;
    assert_eq!((leader.error_code, follower.error_code), (ErrorCode::NONE, ErrorCode::NONE));
    assert_eq!((leader.generation_id, leader.members.len()), (follower.generation_id, 2));
    assert!(leader.generation_id > alone.generation_id && follower.members.is_empty());

    // The follower's sync is parked until the leader brings the assignment.
    second.send(&sync(&follower, &[]), 5).await;
    let synced = first.ask(&sync(&leader, &[(&one, b"left"), (&two, b"right")]), 5).await;
    assert_eq!(&synced.assignment[..], b"left");
    let (_, synced) = second.receive::<SyncGroupRequest>(5).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"right"[..]));

    let commit = |joined: &JoinGroupResponse, generation: i32, committed_offset| OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: generation,
        member_id: joined.member_id.clone(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset,
                committed_metadata: Some("a note".into()),
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let code =
        |response: logmill_wire::messages::OffsetCommitResponse| response.topics[0].partitions[0].error_code;
    let current = follower.generation_id;
    assert_eq!(code(second.ask(&commit(&follower, current, 5), 8).await), ErrorCode::NONE);
    let stale = second.ask(&commit(&follower, current - 1, 1), 8).await;
    assert_eq!(code(stale), ErrorCode::ILLEGAL_GENERATION);

    let leaving =
        |member_id: &Str| MemberIdentity { member_id: member_id.clone(), ..MemberIdentity::default() };
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![leaving(&one), leaving(&two)],
        ..LeaveGroupRequest::default()
    };
    let left = first.ask(&leave, 4).await;
    assert!(left.members.iter().all(|member| member.error_code == ErrorCode::NONE));
    assert_eq!(heartbeat(&mut first, &leader).await, ErrorCode::UNKNOWN_MEMBER_ID);

    let broker = broker.restart().await;
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let response = broker.connect().await.ask(&request, 8).await;
    let partition = &response.groups[0].topics[0].partitions[0];
    assert_eq!((partition.committed_offset, partition.metadata.as_deref()), (5, Some("a note")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_join_delays_nobody_and_ends_with_the_broker() {
    let broker = Broker::start().await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);
    let one = member_id(&mut first).await;
    let alone = first.ask(&join(&one), JOIN).await;
    first.ask(&sync(&alone, &[(&one, b"everything")]), 5).await;
    let two = member_id(&mut second).await;
    second.send(&join(&two), JOIN).await;
    let began = std::time::Instant::now();
    assert_ne!(heartbeat(&mut first, &alone).await, ErrorCode::UNKNOWN_MEMBER_ID);
    broker.stop().await;
    second.expect_closed().await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_deleted_where_there_is_a_topic() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 2, &[]).await;
    let commit = OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition { committed_offset: 3, ..Default::default() }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    assert_eq!(client.ask(&commit, 8).await.topics[0].partitions[0].error_code, ErrorCode::NONE);
    let topic = |name: &str, indexes: &[i32]| OffsetDeleteRequestTopic {
        name: name.into(),
        partitions: indexes
            .iter()
            .map(|partition_index| OffsetDeleteRequestPartition { partition_index: *partition_index })
            .collect(),
    };
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    for (group, topics, error, expected) in [
        // As in Kafka the group is not even looked at.
        ("nobody", vec![topic("gone", &[0])], ErrorCode::NONE, vec![("gone", 0, unknown)]),
        ("nobody", vec![topic("t", &[0])], ErrorCode::GROUP_ID_NOT_FOUND, vec![]),
        (
            "g",
            vec![topic("t", &[0, 2]), topic("gone", &[0])],
            ErrorCode::NONE,
            vec![("t", 2, unknown), ("t", 0, ErrorCode::NONE), ("gone", 0, unknown)],
        ),
    ] {
        let request = OffsetDeleteRequest { group_id: group.into(), topics };
        let response = client.ask(&request, 0).await;
        let answers: Vec<_> = response
            .topics
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partitions.iter();
                partitions.map(|partition| (&*topic.name, partition.partition_index, partition.error_code))
            })
            .collect();
        assert_eq!((response.error_code, answers), (error, expected), "{group}");
    }
    client.ask(&commit, 8).await;
    let names = vec!["g".into(), "g".into(), "nobody".into()];
    let deleted = client.ask(&DeleteGroupsRequest { groups_names: names }, 2).await;
    let answers: Vec<_> =
        deleted.results.iter().map(|result| (&*result.group_id, result.error_code)).collect();
    assert_eq!(answers, [("g", ErrorCode::NONE), ("nobody", ErrorCode::GROUP_ID_NOT_FOUND)], "each once");
    assert!(client.ask(&ListGroupsRequest::default(), 4).await.groups.is_empty());
}
