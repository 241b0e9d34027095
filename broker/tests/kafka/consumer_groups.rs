//! Groups of the new protocol (KIP-848) over a socket: two members share a topic, partitions are added, the
//! broker restarts.

use std::time::{Duration, Instant};

use logmill_wire::messages::consumer_group_heartbeat::TopicPartitions;
use logmill_wire::messages::create_partitions::CreatePartitionsTopic;
use logmill_wire::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logmill_wire::messages::{
    ApiVersionsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
    ListGroupsRequest, OffsetCommitRequest,
};
use logmill_wire::{ErrorCode, Str};
use uuid::Uuid;

use crate::client::{Broker, Client};

/// One member, as its client sees it.
struct Member {
    id: Str,
    epoch: i32,
    held: Vec<(Uuid, Vec<i32>)>,
}

impl Member {
    fn new(id: &str) -> Self {
        Self { id: id.into(), epoch: 0, held: Vec::new() }
    }

    fn partitions(&self) -> Vec<i32> {
        self.held.iter().flat_map(|(_, partitions)| partitions.clone()).collect()
    }

    async fn beat(&mut self, client: &mut Client) -> ErrorCode {
        let held = self.held.iter().map(|(topic_id, partitions)| TopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.clone(),
        });
        let joins = self.epoch == 0;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if joins { 10_000 } else { -1 },
            subscribed_topic_regex: joins.then(|| "t.*".into()),
            topic_partitions: Some(held.collect()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let response = client.ask(&request, 1).await;
        if response.error_code == ErrorCode::NONE {
            self.epoch = response.member_epoch;
        }
        if let Some(assignment) = response.assignment {
            let topics = assignment.topic_partitions.into_iter();
            self.held = topics.map(|topic| (topic.topic_id, topic.partitions)).collect();
        }
        response.error_code
    }
}

/// Until the members hold this many partitions each and the group is stable; what patterns stand for is looked at again
/// ten seconds after the last time.
async fn settle(client: &mut Client, members: &mut [Member], held: &[usize]) {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        for member in &mut *members {
            assert_eq!(member.beat(client).await, ErrorCode::NONE, "{}", member.id);
        }
        let holds: Vec<usize> = members.iter().map(|member| member.partitions().len()).collect();
        if holds == held && &*state(client).await.0 == "Stable" {
            return;
        }
        assert!(Instant::now() < give_up, "they hold {holds:?}, not {held:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn state(client: &mut Client) -> (Str, i32, usize) {
    let request = ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
    let group = client.ask(&request, 1).await.groups.remove(0);
    assert_eq!(group.error_code, ErrorCode::NONE);
    (group.group_state, group.group_epoch, group.members.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_a_topic_that_grows_and_survive_a_restart() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 4, &[]).await;
    let mut members = [Member::new("a"), Member::new("b")];
    settle(&mut client, &mut members, &[2, 2]).await;
    let mut all = [members[0].partitions(), members[1].partitions()].concat();
    all.sort_unstable();
    assert_eq!(all, vec![0, 1, 2, 3]);
    // Two joins, and the pattern that was found between or after them.
    assert_eq!(state(&mut client).await, ("Stable".into(), 3, 2));

    let topics = vec![CreatePartitionsTopic { name: "t".into(), count: 6, assignments: None }];
    let grown = client.ask(&CreatePartitionsRequest { topics, ..Default::default() }, 3).await;
    assert_eq!(grown.results[0].error_code, ErrorCode::NONE);
    settle(&mut client, &mut members, &[3, 3]).await;
    assert_eq!(state(&mut client).await, ("Stable".into(), 4, 2));

    // The patterns that members read are looked up again when a topic comes.
    client.create("t2", 2, &[]).await;
    settle(&mut client, &mut members, &[4, 4]).await;
    assert_eq!(state(&mut client).await, ("Stable".into(), 5, 2));

    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    assert_eq!(state(&mut client).await, ("Stable".into(), 5, 2));
    settle(&mut client, &mut members, &[4, 4]).await;
    assert_eq!(state(&mut client).await, ("Stable".into(), 5, 2), "a restart is no reason for a rebalance");

    let commit = |epoch: i32| OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: epoch,
        member_id: "a".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition { committed_offset: 3, ..Default::default() }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    // In an epoch that it has not got to, and in one before it had anything, nothing is taken.
    let stale = ErrorCode::STALE_MEMBER_EPOCH;
    for (epoch, error) in [(5, ErrorCode::NONE), (6, stale), (0, stale)] {
        let committed = client.ask(&commit(epoch), 9).await;
        assert_eq!(committed.topics[0].partitions[0].error_code, error);
    }
    let types = ListGroupsRequest { types_filter: vec!["consumer".into()], ..Default::default() };
    let listed = client.ask(&types, 5).await;
    assert_eq!((&*listed.groups[0].group_id, &*listed.groups[0].group_type), ("g", "consumer"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feature_that_lets_clients_use_the_new_protocol_is_finalised() {
    let broker = Broker::start().await;
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let response = broker.connect().await.ask(&request, 4).await;
    let finalised = response.finalized_features.iter().find(|feature| feature.name == "group.version");
    assert_eq!(finalised.map(|feature| feature.max_version_level), Some(1));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_gets_the_partitions_that_are_still_to_be_made_too() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let beat = |group: &str, epoch| ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: "a".into(),
        member_epoch: epoch,
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["__consumer_offsets".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    // The group itself is what makes the topic.
    client.ask(&beat("first", 0), 1).await;
    let joined = client.ask(&beat("g", 0), 1).await;
    let partitions = &joined.assignment.unwrap().topic_partitions[0].partitions;
    assert!(partitions.iter().copied().eq(0..50), "{partitions:?}");
    let epoch = state(&mut client).await.1;
    for group in 0..10 {
        client.ask(&beat(&format!("other {group}"), 0), 1).await;
    }
    client.ask(&beat("g", joined.member_epoch), 1).await;
    assert_eq!(state(&mut client).await.1, epoch, "nothing has changed for who reads all of them");
}
