//! Offsets by member epoch.

use super::*;
use crate::groups::{
    CommitOffsets, CommitTransactionalOffsets, DeleteOffsets, FetchOffsets, PartitionOffset, TopicOffsets,
};

fn offsets() -> Vec<TopicOffsets> {
    let partition =
        PartitionOffset { partition: 0, offset: 7, leader_epoch: -1, metadata: None, refused: None };
    vec![TopicOffsets { topic: "t".into(), topic_id: None, partitions: vec![partition] }]
}

impl Broker {
    fn commit(&mut self, version: i16, member_id: &str, epoch: i32) -> ErrorCode {
        let commit = CommitOffsets {
            version,
            group: "g".into(),
            generation: epoch,
            member_id: member_id.into(),
            instance_id: None,
            retention_ms: -1,
            offsets: offsets(),
        };
        let Reply::Committed(committed) = self.ask(Command::CommitOffsets(commit)) else { panic!() };
        committed.topics[0].1[0].1
    }

    fn commit_in_transaction(&mut self, member_id: &str, epoch: i32) -> ErrorCode {
        let commit = CommitTransactionalOffsets {
            group: "g".into(),
            producer_id: 1,
            producer_epoch: 0,
            generation: epoch,
            member_id: member_id.into(),
            instance_id: None,
            offsets: offsets(),
        };
        let Reply::Committed(committed) = self.ask(Command::CommitTransactionalOffsets(commit)) else {
            panic!()
        };
        committed.topics[0].1[0].1
    }

    fn fetch(&mut self, member_id: Option<&str>, epoch: i32) -> ErrorCode {
        let fetch = FetchOffsets {
            group: "g".into(),
            member_id: member_id.map(Str::from),
            member_epoch: epoch,
            topics: None,
            require_stable: false,
        };
        let Reply::Fetched(fetched) = self.ask(Command::FetchOffsets(fetch)) else { panic!() };
        fetched.error
    }
}

#[test]
fn a_member_commits_in_its_epoch() {
    let mut broker = broker();
    assert_eq!(broker.commit(9, "a", 1), ErrorCode::GROUP_ID_NOT_FOUND);
    broker.beat(joins("a"));
    assert_eq!(broker.commit(9, "a", 1), ErrorCode::NONE);
    assert_eq!(broker.commit(9, "a", 2), ErrorCode::STALE_MEMBER_EPOCH);
    assert_eq!(broker.commit(9, "a", 0), ErrorCode::STALE_MEMBER_EPOCH);
    assert_eq!(broker.commit(9, "b", 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.commit(9, "", -1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.commit(8, "a", 1), ErrorCode::UNSUPPORTED_VERSION);
}

#[test]
fn a_transaction_commits_in_its_members_epoch() {
    let mut broker = broker();
    broker.beat(joins("a"));
    assert_eq!(broker.commit_in_transaction("a", 1), ErrorCode::NONE);
    assert_eq!(broker.commit_in_transaction("a", 2), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(broker.commit_in_transaction("b", 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn an_admin_commits_to_an_empty_group_only() {
    let mut broker = broker();
    broker.beat(joins("a"));
    assert_eq!(broker.commit(9, "", -1), ErrorCode::UNKNOWN_MEMBER_ID);
    broker.beat(beats("a", -1, &t(&[])));
    assert_eq!(broker.commit(9, "", -1), ErrorCode::NONE);
    assert_eq!(broker.commit_in_transaction("", -1), ErrorCode::NONE);
    assert_eq!(broker.commit(9, "a", 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_member_fetches_in_its_epoch_and_others_without_one() {
    let mut broker = broker();
    broker.beat(joins("a"));
    for (member_id, epoch, error) in [
        (None, -1, ErrorCode::NONE),
        (None, 1, ErrorCode::UNKNOWN_MEMBER_ID),
        (Some("a"), 1, ErrorCode::NONE),
        (Some("a"), 2, ErrorCode::STALE_MEMBER_EPOCH),
        (Some("a"), -1, ErrorCode::STALE_MEMBER_EPOCH),
        (Some("b"), 1, ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        assert_eq!(broker.fetch(member_id, epoch), error, "{member_id:?} {epoch}");
    }
}

#[test]
fn offsets_of_topics_that_members_read_are_not_deleted() {
    let mut broker = broker();
    broker.beat(ConsumerHeartbeat { topic_names: None, topic_regex: Some("t.*".into()), ..joins("a") });
    broker.commit(9, "a", 1);
    let delete =
        DeleteOffsets { group: "g".into(), topics: vec![("t".into(), vec![0]), ("u".into(), vec![0])] };
    let Reply::OffsetsDeleted(deleted) = broker.ask(Command::DeleteOffsets(delete)) else { panic!() };
    assert_eq!(deleted.error, ErrorCode::NONE);
    assert_eq!(deleted.topics[0].1, [(0, ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC)]);
    assert_eq!(deleted.topics[1].1, [(0, ErrorCode::NONE)]);
}
