//! Groups that change their protocol while they have members.

use bytes::Bytes;
use logmill_wire::records::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};

use super::*;
use crate::RequestId;
use crate::groups::{Heartbeat, Join, Joined, Leave, LeavingMember, Sync, Synced};

fn subscription(owned: &[i32]) -> Bytes {
    let owned_partitions = match owned {
        [] => Vec::new(),
        partitions => vec![TopicPartition { topic: "t".into(), partitions: partitions.to_vec() }],
    };
    let subscription =
        ConsumerProtocolSubscription { topics: vec!["t".into()], owned_partitions, ..Default::default() };
    subscription.to_bytes().unwrap()
}

fn classic_join(member_id: &str, fresh: u128, owned: &[i32]) -> Join {
    Join {
        version: 9,
        group: "g".into(),
        member_id: member_id.into(),
        instance_id: None,
        client_id: "classic".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: REBALANCE as i32,
        protocol_type: "consumer".into(),
        protocols: vec![("cooperative-sticky".into(), subscription(owned))],
        fresh: Uuid::from_u128(fresh),
    }
}

fn partitions(bytes: &Bytes) -> Vec<i32> {
    let assignment = ConsumerProtocolAssignment::from_bytes(bytes.clone()).unwrap();
    assignment.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
}

impl Broker {
    fn joined(&self, request: RequestId) -> Joined {
        match self.answer(request) {
            Some(Reply::Joined(joined)) => joined,
            other => panic!("not a join's answer: {other:?}"),
        }
    }

    fn classic_join(&mut self, member_id: &str, owned: &[i32]) -> Joined {
        let request = self.send(Command::Join(classic_join(member_id, 1, owned)));
        self.joined(request)
    }

    fn classic_sync(&mut self, member_id: &str, generation: i32, assignments: Vec<(Str, Bytes)>) -> Synced {
        let sync = Sync {
            group: "g".into(),
            generation,
            member_id: member_id.into(),
            instance_id: None,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("cooperative-sticky".into()),
            assignments,
        };
        match self.ask(Command::Sync(sync)) {
            Reply::Synced(synced) => synced,
            other => panic!("not a sync's answer: {other:?}"),
        }
    }

    fn classic_beat(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        let beat =
            Heartbeat { group: "g".into(), generation, member_id: member_id.into(), instance_id: None };
        match self.ask(Command::Heartbeat(beat)) {
            Reply::Heartbeat(error) => error,
            other => panic!("not a heartbeat's answer: {other:?}"),
        }
    }

    /// A classic group with one member, which holds all of `t` in generation 1.
    fn classic_group(&mut self) -> Str {
        let told = self.classic_join("", &[]);
        assert_eq!(told.error, ErrorCode::MEMBER_ID_REQUIRED);
        let joined = self.classic_join(&told.member_id, &[]);
        assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 1));
        let topics = vec![TopicPartition { topic: "t".into(), partitions: vec![0, 1, 2, 3] }];
        let all = ConsumerProtocolAssignment { assigned_partitions: topics, user_data: None };
        let assignments = vec![(told.member_id.clone(), all.to_bytes().unwrap())];
        assert_eq!(self.classic_sync(&told.member_id, 1, assignments).error, ErrorCode::NONE);
        told.member_id
    }
}

fn policy(migration: MigrationPolicy) -> Settings {
    let consumer = ConsumerSettings { migration, ..ConsumerSettings::default() };
    Settings { consumer, ..Settings::default() }
}

/// The way there and back: a member of the new protocol joins a classic group, they share, it leaves.
#[test]
fn a_group_goes_over_and_back_without_two_holding_one_partition() {
    let mut broker = broker();
    let classic = broker.classic_group();
    let new = broker.beat(joins("n"));
    assert_eq!((new.error, new.member_epoch, new.assignment), (ErrorCode::NONE, 2, Some(t(&[]))));
    let described = broker.describe();
    assert_eq!(described.members.len(), 2);
    assert!(described.members.iter().any(|member| member.member.classic.is_some()));

    // The classic member is told to join again, and what to keep.
    assert_eq!(broker.classic_beat(&classic, 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let joined = broker.classic_join(&classic, &[0, 1, 2, 3]);
    assert_eq!((joined.error, joined.generation, &*joined.leader), (ErrorCode::NONE, 1, ""));
    let synced = broker.classic_sync(&classic, 1, Vec::new());
    let keeps = partitions(&synced.assignment);
    assert_eq!((synced.error, keeps.len()), (ErrorCode::NONE, 2));
    assert_eq!(broker.beat(beats("n", 2, &t(&[]))).assignment, None);
    // It gives up what it does not keep, by joining with what it has left.
    assert_eq!(broker.classic_beat(&classic, 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let joined = broker.classic_join(&classic, &keeps);
    assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 2));
    assert_eq!(partitions(&broker.classic_sync(&classic, 2, Vec::new()).assignment), keeps);
    let gets = broker.beat(beats("n", 2, &t(&[]))).assignment.unwrap();
    assert!(!gets.meets(&t(&keeps)) && gets.len() == 2);
    assert_eq!(broker.classic_beat(&classic, 2), ErrorCode::NONE);
    broker.restart(&[("t", 4), ("u", 2)]);
    assert_eq!(broker.classic_beat(&classic, 2), ErrorCode::NONE);

    // Back: the classic group rebalances in its own way.
    assert_eq!(broker.beat(beats("n", -1, &t(&[]))).error, ErrorCode::NONE);
    assert_eq!(broker.describe().error, ErrorCode::GROUP_ID_NOT_FOUND);
    assert_eq!(broker.classic_beat(&classic, 3), ErrorCode::REBALANCE_IN_PROGRESS);
    let joined = broker.classic_join(&classic, &keeps);
    assert_eq!((joined.error, joined.generation, joined.leader), (ErrorCode::NONE, 4, classic));
}

#[test]
fn who_waits_in_a_classic_group_that_goes_over_joins_again() {
    let mut broker = broker();
    let classic = broker.classic_group();
    let parked = broker.send(Command::Join(Join { version: 3, ..classic_join("", 2, &[]) }));
    assert_eq!(broker.answer(parked), None);
    assert_eq!(broker.beat(joins("n")).error, ErrorCode::NONE);
    assert_eq!(broker.joined(parked).error, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(broker.classic_beat(&classic, 1), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(broker.describe().members.len(), 3);
}

#[test]
fn the_policy_may_forbid_either_way() {
    for migration in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let mut broker = with(policy(migration));
        broker.classic_group();
        assert_eq!(broker.refusal(joins("n")), ErrorCode::GROUP_ID_NOT_FOUND);
    }
    let mut broker = with(policy(MigrationPolicy::Upgrade));
    broker.classic_group();
    broker.beat(joins("n"));
    broker.beat(beats("n", -1, &t(&[])));
    let described = broker.describe();
    assert_eq!((described.error, described.members.len()), (ErrorCode::NONE, 1));
}

#[test]
fn a_group_that_does_not_speak_as_consumers_stays_what_it_is() {
    let mut broker = broker();
    let connect = Join { version: 3, protocol_type: "connect".into(), ..classic_join("", 1, &[]) };
    broker.send(Command::Join(connect));
    assert_eq!(broker.refusal(joins("n")), ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn an_empty_group_changes_whatever_the_policy() {
    let mut broker = with(policy(MigrationPolicy::Disabled));
    let classic = broker.classic_group();
    let member = LeavingMember { member_id: classic, instance_id: None };
    broker.ask(Command::Leave(Leave { group: "g".into(), members: vec![member] }));
    assert_eq!(broker.beat(joins("n")).member_epoch, 1);
    broker.beat(beats("n", -1, &t(&[])));
    broker.classic_group();
    assert_eq!(broker.describe().error, ErrorCode::GROUP_ID_NOT_FOUND);
    broker.restart(&[("t", 4)]);
}

#[test]
fn a_classic_member_leaves_a_consumer_group() {
    let mut broker = broker();
    let classic = broker.classic_group();
    broker.beat(joins("n"));
    let leave = |member_id: &Str| {
        let member = LeavingMember { member_id: member_id.clone(), instance_id: None };
        Command::Leave(Leave { group: "g".into(), members: vec![member] })
    };
    let Reply::Left(left) = broker.ask(leave(&"nobody".into())) else { panic!() };
    assert_eq!(left.members[0].error, ErrorCode::UNKNOWN_MEMBER_ID);
    let Reply::Left(left) = broker.ask(leave(&classic)) else { panic!() };
    assert_eq!(left.members[0].error, ErrorCode::NONE);
    assert_eq!(broker.beat(beats("n", 2, &t(&[]))).assignment, Some(t(&[0, 1, 2, 3])));
}

#[test]
fn a_classic_member_that_does_not_join_again_in_time_is_fenced() {
    let mut broker = broker();
    let classic = broker.classic_group();
    broker.beat(joins("n"));
    for _ in 0..REBALANCE / 5_000 {
        assert_eq!(broker.classic_beat(&classic, 1), ErrorCode::REBALANCE_IN_PROGRESS);
        assert_eq!(broker.refusal(beats("n", 2, &t(&[]))), ErrorCode::NONE);
        broker.wait(5_000);
    }
    assert_eq!(broker.classic_beat(&classic, 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_classic_member_joins_a_consumer_group_and_makes_it_classic_when_left_alone() {
    let mut broker = broker();
    broker.beat(joins("n"));
    let told = broker.classic_join("", &[]);
    assert_eq!(told.error, ErrorCode::MEMBER_ID_REQUIRED);
    let joined = broker.classic_join(&told.member_id, &[]);
    assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 2));
    assert_eq!(partitions(&broker.classic_sync(&joined.member_id, 2, Vec::new()).assignment), [0; 0]);
    let other = Join { protocol_type: "connect".into(), ..classic_join("", 3, &[]) };
    let request = broker.send(Command::Join(other));
    assert_eq!(broker.joined(request).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    broker.wait(SESSION - 9_000);
    assert_eq!(broker.describe().members.len(), 1, "the classic member asked for a shorter session");
}
