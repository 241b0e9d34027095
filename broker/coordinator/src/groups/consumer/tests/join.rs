//! Joining, heartbeats, what is refused, and leaving.

use super::*;

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut broker = broker();
    let answer = broker.beat(joins("a"));
    assert_eq!(answer.error, ErrorCode::NONE);
    assert_eq!(answer.member_id.as_deref(), Some("a"));
    assert_eq!((answer.member_epoch, answer.heartbeat_interval_ms), (1, 5_000));
    assert_eq!(answer.assignment, Some(t(&[0, 1, 2, 3])));
    assert_eq!(broker.state(), GroupState::Stable);
}

#[test]
fn a_heartbeat_without_news_records_nothing_and_says_nothing() {
    let mut broker = broker();
    broker.beat(joins("a"));
    let records = broker.log.len();
    let quiet = ConsumerHeartbeat { owned: None, ..beats("a", 1, &t(&[])) };
    let answer = broker.beat(quiet);
    assert_eq!((answer.error, answer.member_epoch, answer.assignment), (ErrorCode::NONE, 1, None));
    assert_eq!(broker.log.len(), records);
    // A full request is answered in full: its sender may have missed what it was told.
    let full = ConsumerHeartbeat { member_epoch: 1, owned: Some(t(&[0])), ..joins("a") };
    assert_eq!(broker.beat(full).assignment, Some(t(&[0, 1, 2, 3])));
}

#[test]
fn version_zero_is_given_a_member_id() {
    let mut broker = broker();
    let fresh = Uuid::from_u128(9);
    let answer = broker.beat(ConsumerHeartbeat { version: 0, fresh, ..joins("") });
    assert_eq!(answer.member_id.as_deref(), Some(&*fresh.to_string()));
    assert_eq!(broker.refusal(joins("")), ErrorCode::INVALID_REQUEST);
}

#[test]
fn what_a_first_heartbeat_must_say() {
    let mut broker = broker();
    let wrong = [
        ConsumerHeartbeat { group: "".into(), ..joins("a") },
        ConsumerHeartbeat { instance_id: Some("".into()), ..joins("a") },
        ConsumerHeartbeat { rack_id: Some("".into()), ..joins("a") },
        ConsumerHeartbeat { rebalance_timeout_ms: -1, ..joins("a") },
        ConsumerHeartbeat { topic_names: None, ..joins("a") },
        ConsumerHeartbeat { owned: None, ..joins("a") },
        ConsumerHeartbeat { owned: Some(t(&[0])), ..joins("a") },
        ConsumerHeartbeat { member_epoch: -3, ..joins("a") },
        ConsumerHeartbeat { member_epoch: -2, ..joins("a") },
        ConsumerHeartbeat { member_id: "x".repeat(40_000).into(), ..joins("a") },
        ConsumerHeartbeat { topic_names: Some(vec!["x".into(); 200_000]), ..joins("a") },
    ];
    for beat in wrong {
        assert_eq!(broker.refusal(beat.clone()), ErrorCode::INVALID_REQUEST, "{beat:?}");
    }
    let assignor = ConsumerHeartbeat { assignor: Some("sticky".into()), ..joins("a") };
    assert_eq!(broker.refusal(assignor), ErrorCode::UNSUPPORTED_ASSIGNOR);
    assert!(broker.log.is_empty());
}

#[test]
fn who_is_not_known_is_told_so() {
    let mut broker = broker();
    assert_eq!(broker.refusal(beats("a", 1, &t(&[]))), ErrorCode::GROUP_ID_NOT_FOUND);
    assert_eq!(broker.refusal(beats("a", -1, &t(&[]))), ErrorCode::GROUP_ID_NOT_FOUND);
    broker.beat(joins("a"));
    assert_eq!(broker.refusal(beats("b", 1, &t(&[]))), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.refusal(beats("b", -1, &t(&[]))), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_wrong_epoch_is_fenced_and_the_one_before_is_not() {
    let mut broker = broker();
    broker.two_members();
    assert_eq!(broker.refusal(beats("a", 3, &t(&[]))), ErrorCode::FENCED_MEMBER_EPOCH);
    // `a` was in epoch 1 before: an answer that was lost.
    assert_eq!(broker.refusal(beats("a", 1, &t(&[0]))), ErrorCode::NONE);
    // It holds what it may not.
    assert_eq!(broker.refusal(beats("a", 1, &t(&[0, 1, 2, 3]))), ErrorCode::FENCED_MEMBER_EPOCH);
    let silent = ConsumerHeartbeat { owned: None, ..beats("a", 1, &t(&[])) };
    assert_eq!(broker.refusal(silent), ErrorCode::FENCED_MEMBER_EPOCH);
}

/// KAFKA-19233: a member that lost its state joins again under its id, whatever its epoch was.
#[test]
fn a_known_member_joins_again_with_epoch_zero() {
    let mut broker = broker();
    broker.two_members();
    let records = broker.log.len();
    let again = broker.beat(joins("a"));
    assert_eq!((again.error, again.member_epoch), (ErrorCode::NONE, 2));
    assert_eq!(again.assignment.unwrap().len(), 2);
    assert_eq!(broker.log.len(), records, "nothing has changed");
}

#[test]
fn who_leaves_makes_room_for_the_others() {
    let mut broker = broker();
    broker.two_members();
    let left = broker.beat(beats("b", -1, &t(&[])));
    assert_eq!((left.error, left.member_epoch), (ErrorCode::NONE, -1));
    assert_eq!(broker.state(), GroupState::Assigning);
    let all = broker.beat(beats("a", 2, &t(&[0, 1])));
    assert_eq!((all.member_epoch, all.assignment), (3, Some(t(&[0, 1, 2, 3]))));
    broker.beat(beats("a", -1, &t(&[])));
    assert_eq!(broker.state(), GroupState::Empty);
    // The epochs of a group go on when it is joined anew.
    assert_eq!(broker.beat(joins("c")).member_epoch, 5);
}

#[test]
fn a_full_group_takes_nobody_else() {
    let consumer = ConsumerSettings { max_members: 1, ..ConsumerSettings::default() };
    let mut broker = with(Settings { consumer, ..Settings::default() });
    broker.beat(joins("a"));
    assert_eq!(broker.refusal(joins("b")), ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!(broker.refusal(beats("a", 1, &t(&[0, 1, 2, 3]))), ErrorCode::NONE);
}

#[test]
fn everything_is_the_same_after_a_restart() {
    let mut broker = broker();
    broker.two_members();
    let before = broker.describe();
    broker.restart(&[("t", 4), ("u", 2)]);
    assert_eq!(broker.describe(), before);
    let records = broker.log.len();
    let held = before.members[0].assigned.clone();
    assert_eq!(broker.refusal(beats("a", 2, &held)), ErrorCode::NONE);
    assert_eq!(broker.log.len(), records, "a restart is no reason for a rebalance");
}
