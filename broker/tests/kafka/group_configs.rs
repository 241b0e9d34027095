//! Configs of groups, and what the configuration file says of consumer groups: in force with the next heartbeat.

use std::time::Duration;

use logmill_config::{Assignor, Assignors, GroupMigration};
use logmill_wire::ErrorCode;
use logmill_wire::messages::consumer_group_heartbeat::TopicPartitions;
use logmill_wire::messages::join_group::JoinGroupRequestProtocol;
use logmill_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    JoinGroupRequest,
};

use crate::client::{Broker, Client};
use crate::configs::{BROKER, DELETE, SET, alter, change, describe, value};

const GROUP: i8 = 32;

fn joins(group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

async fn join(client: &mut Client, group: &str, member: &str) -> ConsumerGroupHeartbeatResponse {
    client.ask(&joins(group, member), 1).await
}

/// Stays, and says that it holds what it was given.
async fn beat(
    client: &mut Client,
    group: &str,
    before: &ConsumerGroupHeartbeatResponse,
) -> ConsumerGroupHeartbeatResponse {
    let held = before.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
    let request = ConsumerGroupHeartbeatRequest {
        member_epoch: before.member_epoch,
        rebalance_timeout_ms: -1,
        subscribed_topic_names: None,
        topic_partitions: Some(
            held.map(|topic| TopicPartitions {
                topic_id: topic.topic_id,
                partitions: topic.partitions.clone(),
            })
            .collect(),
        ),
        ..joins(group, before.member_id.as_deref().unwrap_or_default())
    };
    client.ask(&request, 1).await
}

async fn members(client: &mut Client, group: &str) -> usize {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
    client.ask(&request, 1).await.groups.remove(0).members.len()
}

async fn classic(client: &mut Client, group: &str) -> ErrorCode {
    let protocols = vec![JoinGroupRequestProtocol { name: "range".into(), metadata: vec![0].into() }];
    let request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols,
        ..JoinGroupRequest::default()
    };
    // Before version 4 nobody has to ask for an id first.
    client.ask(&request, 3).await.error_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_groups_configs_are_kept_within_the_brokers_bounds() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let timeout = |value: &str| change(GROUP, "g", &[("consumer.session.timeout.ms", SET, value)]);
    assert_eq!(describe(&mut client, GROUP, "g").await.len(), 21);
    for (bad, why) in [
        ("44999", "must be in the range 45000 to 60000 inclusive."),
        ("60001", "must be in the range 45000 to 60000 inclusive."),
        ("x", "type INT"),
    ] {
        let (code, message) = alter(&mut client, timeout(bad)).await;
        assert_eq!(code, ErrorCode::INVALID_CONFIG);
        assert!(message.contains(why), "{message}");
    }
    assert_eq!(alter(&mut client, change(GROUP, "", &[])).await.0, ErrorCode::INVALID_REQUEST);
    assert_eq!(alter(&mut client, timeout("50000")).await.0, ErrorCode::NONE);
    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    let shown = value(&mut client, GROUP, "g", "consumer.session.timeout.ms").await;
    assert_eq!((shown.0.as_deref(), shown.1), (Some("50000"), 8));
    assert_eq!(
        value(&mut client, GROUP, "h", "consumer.session.timeout.ms").await.0.as_deref(),
        Some("45000")
    );
    let unset = change(GROUP, "g", &[("consumer.session.timeout.ms", DELETE, "")]);
    assert_eq!(alter(&mut client, unset).await.0, ErrorCode::NONE);
    assert_eq!(value(&mut client, GROUP, "g", "consumer.session.timeout.ms").await.1, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_groups_times_act_from_the_next_heartbeat_on_and_after_a_restart() {
    let broker = Broker::start_with(|config| {
        config.consumer_groups.min_session_timeout = Duration::from_millis(300);
        config.consumer_groups.min_heartbeat_interval = Duration::from_millis(100);
    })
    .await;
    let mut client = broker.connect().await;
    client.create("t", 2, &[]).await;
    let a = join(&mut client, "g", "a").await;
    let other = join(&mut client, "other", "a").await;
    assert_eq!((a.heartbeat_interval_ms, other.heartbeat_interval_ms), (5000, 5000));
    let times = |session: &str, heartbeat: &str| {
        let times = [
            ("consumer.session.timeout.ms", SET, session),
            ("consumer.heartbeat.interval.ms", SET, heartbeat),
        ];
        change(GROUP, "g", &times)
    };
    let (code, why) = alter(&mut client, times("500", "500")).await;
    assert_eq!(code, ErrorCode::INVALID_CONFIG);
    assert_eq!(why, "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms");
    assert_eq!(alter(&mut client, times("500", "200")).await, (ErrorCode::NONE, String::new()));
    let told = beat(&mut client, "g", &a).await;
    assert_eq!((told.error_code, told.heartbeat_interval_ms), (ErrorCode::NONE, 200));
    assert_eq!(beat(&mut client, "other", &other).await.heartbeat_interval_ms, 5000);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(members(&mut client, "g").await, 0, "half a second without a heartbeat");
    assert_eq!(members(&mut client, "other").await, 1);

    // The broker that comes back allows no such times: what was set is kept, and held within the bounds.
    let broker = broker.restart().await;
    let mut client = broker.connect().await;
    let a = join(&mut client, "g", "a").await;
    assert_eq!(a.heartbeat_interval_ms, 5000);
    let shown = value(&mut client, GROUP, "g", "consumer.heartbeat.interval.ms").await;
    assert_eq!((shown.0.as_deref(), shown.1), (Some("200"), 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_assignment_interval_is_the_groups_else_the_brokers_else_none() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 4, &[]).await;
    let waits = change(BROKER, "", &[("group.consumer.assignment.interval.ms", SET, "15000")]);
    assert_eq!(alter(&mut client, waits).await.0, ErrorCode::NONE);
    let at_once = change(GROUP, "own", &[("consumer.assignment.interval.ms", SET, "0")]);
    assert_eq!(alter(&mut client, at_once).await.0, ErrorCode::NONE);
    for (group, epoch) in [("everybody", 1), ("own", 2)] {
        assert_eq!(join(&mut client, group, "a").await.member_epoch, 1);
        assert_eq!(join(&mut client, group, "b").await.member_epoch, epoch, "{group}");
    }
    let shown = value(&mut client, BROKER, "1", "group.consumer.assignment.interval.ms").await;
    assert_eq!((shown.0.as_deref(), shown.1), (Some("15000"), 3));
    let unset = change(BROKER, "", &[("group.consumer.assignment.interval.ms", DELETE, "")]);
    assert_eq!(alter(&mut client, unset).await.0, ErrorCode::NONE);
    assert_eq!(join(&mut client, "everybody", "c").await.member_epoch, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_assignors_and_migration_are_as_configured() {
    let broker = Broker::start_with(|config| {
        config.groups.max_members = 1;
        config.consumer_groups.max_members = 2;
        config.consumer_groups.assignors = Assignors(vec![Assignor::Range]);
        config.consumer_groups.migration = GroupMigration::Disabled;
    })
    .await;
    let mut client = broker.connect().await;
    client.create("t", 4, &[]).await;
    for (member, code) in
        [("a", ErrorCode::NONE), ("b", ErrorCode::NONE), ("c", ErrorCode::GROUP_MAX_SIZE_REACHED)]
    {
        assert_eq!(join(&mut client, "g", member).await.error_code, code, "{member}");
    }
    let request = ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
    assert_eq!(client.ask(&request, 1).await.groups[0].assignor_name, "range", "the first one configured");
    let uniform =
        ConsumerGroupHeartbeatRequest { server_assignor: Some("uniform".into()), ..joins("h", "a") };
    let refused = client.ask(&uniform, 1).await;
    assert_eq!(refused.error_code, ErrorCode::UNSUPPORTED_ASSIGNOR);
    let message = refused.error_message.unwrap();
    assert!(message.ends_with("Supported assignors: range."), "{}", &*message);

    assert_eq!(classic(&mut client, "classic").await, ErrorCode::NONE);
    assert_eq!(join(&mut client, "classic", "a").await.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
    for (config, expected) in [
        ("group.max.size", "1"),
        ("group.consumer.max.size", "2"),
        ("group.consumer.assignors", "range"),
        ("group.consumer.migration.policy", "disabled"),
    ] {
        let shown = value(&mut client, BROKER, "1", config).await;
        assert_eq!((shown.0.as_deref(), shown.1), (Some(expected), 4), "{config}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_classic_group_is_as_large_as_it_may_be() {
    let broker = Broker::start_with(|config| config.groups.max_members = 1).await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);
    assert_eq!(classic(&mut first, "g").await, ErrorCode::NONE);
    assert_eq!(classic(&mut second, "g").await, ErrorCode::GROUP_MAX_SIZE_REACHED);
}
