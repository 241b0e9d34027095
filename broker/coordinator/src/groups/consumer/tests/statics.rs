//! Static members: they come back and find their partitions.

use super::*;
use crate::groups::{Leave, LeavingMember};

fn static_joins(instance: &str, member_id: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat { instance_id: Some(instance.into()), ..joins(member_id) }
}

fn static_beats(instance: &str, member_id: &str, epoch: i32, owned: &Partitions) -> ConsumerHeartbeat {
    ConsumerHeartbeat { instance_id: Some(instance.into()), ..beats(member_id, epoch, owned) }
}

#[test]
fn one_that_left_for_a_while_gets_its_partitions_back() {
    let mut broker = broker();
    broker.beat(static_joins("i", "a"));
    broker.beat(joins("b"));
    let keeps = broker.beat(static_beats("i", "a", 1, &t(&[0, 1, 2, 3]))).assignment.unwrap();
    broker.beat(static_beats("i", "a", 1, &keeps));
    broker.beat(beats("b", 2, &t(&[])));
    let left = broker.beat(static_beats("i", "a", -2, &keeps));
    assert_eq!((left.error, left.member_epoch), (ErrorCode::NONE, -2));
    assert_eq!(broker.describe().members.iter().map(|member| member.epoch).collect::<Vec<_>>(), [-2, 2]);

    let epoch = broker.describe().epoch;
    let back = broker.beat(static_joins("i", "c"));
    assert_eq!((back.member_epoch, back.assignment), (epoch, Some(keeps)));
    assert_eq!(broker.describe().epoch, epoch, "nobody else notices");
    assert_eq!(broker.refusal(static_beats("i", "a", 2, &t(&[]))), ErrorCode::FENCED_INSTANCE_ID);
}

#[test]
fn it_may_come_back_under_its_old_id() {
    let mut broker = broker();
    broker.beat(static_joins("i", "a"));
    broker.beat(static_beats("i", "a", -2, &t(&[0, 1, 2, 3])));
    let back = broker.beat(static_joins("i", "a"));
    assert_eq!((back.member_epoch, back.assignment), (1, Some(t(&[0, 1, 2, 3]))));
}

#[test]
fn nobody_takes_the_place_of_one_that_has_not_left() {
    let mut broker = broker();
    broker.beat(static_joins("i", "a"));
    assert_eq!(broker.refusal(static_joins("i", "b")), ErrorCode::UNRELEASED_INSTANCE_ID);
    assert_eq!(broker.refusal(static_beats("i", "b", 1, &t(&[]))), ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(broker.refusal(static_beats("j", "a", 1, &t(&[]))), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.refusal(static_beats("i", "b", -1, &t(&[]))), ErrorCode::FENCED_INSTANCE_ID);
}

#[test]
fn one_that_does_not_come_back_loses_its_place() {
    let mut broker = broker();
    broker.beat(static_joins("i", "a"));
    broker.beat(static_beats("i", "a", -2, &t(&[0, 1, 2, 3])));
    broker.wait(SESSION);
    assert_eq!(broker.state(), GroupState::Empty);
    let new = broker.beat(static_joins("i", "b"));
    assert_eq!((new.error, new.assignment), (ErrorCode::NONE, Some(t(&[0, 1, 2, 3]))));
}

#[test]
fn an_administrator_removes_one_by_its_instance_id() {
    let mut broker = broker();
    broker.beat(static_joins("i", "a"));
    broker.beat(joins("b"));
    let leaves = |member_id: &str, instance_id: Option<&str>| LeavingMember {
        member_id: member_id.into(),
        instance_id: instance_id.map(Str::from),
    };
    let mut remove = |members: Vec<LeavingMember>| {
        let Reply::Left(left) = broker.ask(Command::Leave(Leave { group: "g".into(), members })) else {
            panic!()
        };
        left.members.iter().map(|member| member.error).collect::<Vec<_>>()
    };
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
    assert_eq!(remove(vec![leaves("", Some("j")), leaves("c", None)]), [unknown, unknown]);
    assert_eq!(remove(vec![leaves("b", Some("i"))]), [ErrorCode::FENCED_INSTANCE_ID]);
    // As the admin client names it, and once more.
    assert_eq!(remove(vec![leaves("", Some("i")), leaves("a", None)]), [ErrorCode::NONE, unknown]);
    assert_eq!(broker.beat(beats("b", 2, &t(&[]))).assignment, Some(t(&[0, 1, 2, 3])));
    assert_eq!(broker.refusal(static_beats("i", "a", 1, &t(&[]))), unknown);
    let Reply::Left(left) =
        broker.ask(Command::Leave(Leave { group: "g".into(), members: vec![leaves("b", None)] }))
    else {
        panic!()
    };
    assert_eq!(left.members[0].error, ErrorCode::NONE, "also one that has no instance id");
    assert_eq!(broker.state(), GroupState::Empty);
}
