//! Offsets by member epoch.

use super::*;
use crate::groups::{
    CommitOffsets, CommitTransactionalOffsets, DeleteOffsets, FetchOffsets, PartitionOffset, TopicOffsets,
};

fn offsets() -> Vec<TopicOffsets> {
    offsets_of(&[0])
}

fn offsets_of(partitions: &[i32]) -> Vec<TopicOffsets> {
    let of = |partition: &i32| PartitionOffset {
        partition: *partition,
        offset: 7,
        leader_epoch: -1,
        metadata: None,
        refused: None,
    };
    let partitions = partitions.iter().map(of).collect();
    vec![TopicOffsets { topic: "t".into(), topic_id: None, partitions }]
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

    /// What becomes of offsets in each of the four partitions of `t`.
    fn commit_all(&mut self, member_id: &str, epoch: i32) -> Vec<ErrorCode> {
        let commit = CommitOffsets {
            version: 9,
            group: "g".into(),
            generation: epoch,
            member_id: member_id.into(),
            instance_id: None,
            retention_ms: -1,
            offsets: offsets_of(&[0, 1, 2, 3]),
        };
        let Reply::Committed(committed) = self.ask(Command::CommitOffsets(commit)) else { panic!() };
        committed.topics[0].1.iter().map(|(_, error)| *error).collect()
    }

    fn commit_in_transaction(&mut self, version: i16, member_id: &str, epoch: i32) -> ErrorCode {
        let commit = CommitTransactionalOffsets {
            version,
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
    assert_eq!(broker.commit_in_transaction(5, "a", 1), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(broker.commit_in_transaction(6, "a", 1), ErrorCode::GROUP_ID_NOT_FOUND);
    broker.beat(joins("a"));
    for (version, stale) in [(5, ErrorCode::ILLEGAL_GENERATION), (6, ErrorCode::STALE_MEMBER_EPOCH)] {
        assert_eq!(broker.commit_in_transaction(version, "a", 1), ErrorCode::NONE);
        assert_eq!(broker.commit_in_transaction(version, "a", 2), stale);
        assert_eq!(broker.commit_in_transaction(version, "b", 1), ErrorCode::UNKNOWN_MEMBER_ID);
    }
}

#[test]
fn an_admin_commits_to_an_empty_group_only() {
    let mut broker = broker();
    broker.beat(joins("a"));
    assert_eq!(broker.commit(9, "", -1), ErrorCode::UNKNOWN_MEMBER_ID);
    broker.beat(beats("a", -1, &t(&[])));
    assert_eq!(broker.commit(9, "", -1), ErrorCode::NONE);
    assert_eq!(broker.commit_in_transaction(5, "", -1), ErrorCode::NONE);
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
    broker.search();
    broker.commit(9, "a", 1);
    let delete =
        DeleteOffsets { group: "g".into(), topics: vec![("t".into(), vec![0]), ("u".into(), vec![0])] };
    let Reply::OffsetsDeleted(deleted) = broker.ask(Command::DeleteOffsets(delete)) else { panic!() };
    assert_eq!(deleted.error, ErrorCode::NONE);
    assert_eq!(deleted.topics[0].1, [(0, ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC)]);
    assert_eq!(deleted.topics[1].1, [(0, ErrorCode::NONE)]);
}

/// KIP-1251: `a` has all four partitions in epoch 1, keeps two in epoch 2, and gets one of the others back in epoch 3
/// or later.
#[test]
fn a_member_whose_epoch_is_over_commits_what_it_had_by_then() {
    const OK: ErrorCode = ErrorCode::NONE;
    const STALE: ErrorCode = ErrorCode::STALE_MEMBER_EPOCH;
    let mut broker = broker();
    let all = t(&[0, 1, 2, 3]);
    broker.beat(joins("a"));
    broker.beat(joins("b"));
    // It is told to give up two, and has not yet: they are its own to commit.
    let told = broker.beat(beats("a", 1, &all)).assignment.unwrap();
    assert_eq!(broker.commit_all("a", 1), [OK; 4]);
    assert_eq!(broker.beat(beats("a", 1, &told)).member_epoch, 2);
    // The answer that says epoch 2 may be on its way: what it keeps it may commit in epoch 1, the others no more.
    let kept = |partition: &i32| told.contains(topic_id("t"), *partition);
    let expected: Vec<ErrorCode> = [0, 1, 2, 3].iter().map(|p| if kept(p) { OK } else { STALE }).collect();
    assert_eq!(broker.commit_all("a", 1), expected);
    assert_eq!(broker.commit_all("a", 0), [STALE; 4], "before it had any");
    assert_eq!(broker.commit_all("a", 3), [STALE; 4], "not yet");
    assert_eq!(broker.commit_all("a", 2), [OK; 4], "in its epoch it may as ever");
    let got = broker.beat(beats("b", 2, &t(&[]))).assignment.unwrap();
    assert_eq!(broker.commit_all("b", 1), [STALE; 4], "got in epoch 2");

    // After a restart too: in which epoch it got them is written down.
    broker.restart(&[("t", 4), ("u", 2)]);
    assert_eq!(broker.commit_all("a", 1), expected);

    // What it gave up and gets again is its own from then on.
    broker.beat(beats("b", -1, &got));
    let again = broker.beat(beats("a", 2, &told));
    assert_eq!((again.member_epoch, again.assignment), (3, Some(all)));
    assert_eq!(broker.commit_all("a", 1), expected);
    assert_eq!(broker.commit_all("a", 2), expected);
    assert_eq!(broker.commit_all("a", 3), [OK; 4]);
}

#[test]
fn a_transaction_of_an_epoch_that_is_over_commits_what_its_member_had_by_then() {
    let mut broker = broker();
    broker.two_members();
    let held = broker.describe().members.remove(0).assigned;
    let expected = match held.contains(topic_id("t"), 0) {
        true => ErrorCode::NONE,
        false => ErrorCode::ILLEGAL_GENERATION,
    };
    assert_eq!(broker.commit_in_transaction(5, "a", 1), expected);
    assert_eq!(broker.commit_in_transaction(5, "b", 1), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(broker.commit_in_transaction(5, "", -1), ErrorCode::NONE, "it does not say whose");
}

#[test]
fn with_a_retention_offsets_expire_when_the_group_is_empty() {
    const DAY: i64 = 24 * 3_600_000;
    let mut broker = with(Settings { offsets_retention_ms: Some(DAY), ..Settings::default() });
    broker.beat(joins("a"));
    assert_eq!(broker.commit(9, "a", 1), ErrorCode::NONE);
    for _ in 0..2 * DAY / (SESSION - 1) {
        broker.wait(SESSION - 1);
        assert_eq!(broker.refusal(beats("a", 1, &t(&[0, 1, 2, 3]))), ErrorCode::NONE);
    }
    let offset =
        |broker: &Broker| broker.machine.groups.get("g").and_then(|group| group.offset("t", 0).cloned());
    assert!(offset(&broker).is_some(), "a group with members keeps all of them");
    // As in Kafka the time counts from the commit, not from when the last member left.
    broker.restart(&[("t", 4)]);
    broker.beat(beats("a", -1, &t(&[])));
    assert!(offset(&broker).is_some());
    broker.wait(Settings::default().expiry_check_interval_ms);
    assert_eq!(offset(&broker), None);
    assert_eq!(broker.describe().error, ErrorCode::GROUP_ID_NOT_FOUND, "nothing is left of it");
}
