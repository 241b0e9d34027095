//! Lists, descriptions, deletion.

use super::*;
use crate::groups::{Delete, Describe, List, Own};

#[test]
fn groups_are_listed_by_type_and_state() {
    let mut broker = broker();
    broker.beat(joins("a"));
    let list = |broker: &mut Broker, states: &[&str], types: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| Str::from(*name)).collect();
        let list = List { states: names(states), types: names(types) };
        let Reply::Listed(listed) = broker.ask(Command::List(list)) else { panic!() };
        listed
    };
    let listed = list(&mut broker, &[], &[]);
    assert_eq!(
        (&*listed[0].group, &*listed[0].protocol_type, &*listed[0].group_type),
        ("g", "consumer", "consumer")
    );
    assert_eq!(list(&mut broker, &["STABLE"], &["Consumer"]).len(), 1);
    assert!(list(&mut broker, &[], &["classic"]).is_empty());
    assert!(list(&mut broker, &["Empty"], &[]).is_empty());
    broker.beat(beats("a", -1, &t(&[])));
    assert_eq!(list(&mut broker, &["empty"], &[]).len(), 1);
}

#[test]
fn a_description_says_what_is_held_and_what_is_to_be() {
    let mut broker = broker();
    broker.beat(joins("a"));
    broker.beat(joins("b"));
    let described = broker.describe();
    assert_eq!((described.epoch, described.assignment_epoch), (2, 2));
    assert_eq!(described.state, GroupState::Reconciling);
    let [a, b] = &described.members[..] else { panic!("{described:?}") };
    assert_eq!((a.epoch, a.assigned.len(), a.target.len()), (1, 4, 2));
    assert_eq!((b.epoch, b.assigned.len(), b.target.len()), (2, 0, 2));
    assert_eq!((&*b.member.client_id, &*b.member.client_host), ("c", "/127.0.0.1"));
}

#[test]
fn the_classic_description_knows_no_such_group() {
    let mut broker = broker();
    broker.beat(joins("a"));
    let Reply::Described(described) = broker.ask(Command::Describe(Describe { groups: vec!["g".into()] }))
    else {
        panic!()
    };
    assert_eq!(described[0].error, ErrorCode::GROUP_ID_NOT_FOUND);
    assert_eq!((described[0].state, described[0].members.len()), (GroupState::Dead, 0));
}

#[test]
fn only_an_empty_group_is_deleted() {
    let mut broker = broker();
    broker.two_members();
    let delete = |broker: &mut Broker| {
        let Reply::Deleted(deleted) = broker.ask(Command::Delete(Delete { groups: vec!["g".into()] })) else {
            panic!()
        };
        deleted[0].1
    };
    assert_eq!(delete(&mut broker), ErrorCode::NON_EMPTY_GROUP);
    broker.beat(beats("a", -1, &t(&[])));
    broker.beat(beats("b", -1, &t(&[])));
    assert_eq!(delete(&mut broker), ErrorCode::NONE);
    assert_eq!(delete(&mut broker), ErrorCode::GROUP_ID_NOT_FOUND);
    broker.restart(&[("t", 4)]);
    assert!(broker.machine.groups.get("g").is_none());
}

#[test]
fn a_pipelines_group_is_not_joined() {
    let mut broker = broker();
    let own = Own { group: "g".into(), owner: "p".into(), assignment: vec![("t".into(), vec![0])] };
    broker.ask(Command::Own(own));
    assert_eq!(broker.refusal(joins("a")), ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn a_pipeline_takes_an_empty_group_and_none_with_members() {
    let mut broker = broker();
    broker.beat(joins("a"));
    let own = Own { group: "g".into(), owner: "p".into(), assignment: vec![("t".into(), vec![0])] };
    assert_eq!(broker.ask(Command::Own(own.clone())), Reply::Owned(ErrorCode::NON_EMPTY_GROUP));
    broker.beat(beats("a", -1, &t(&[])));
    assert_eq!(broker.ask(Command::Own(own)), Reply::Owned(ErrorCode::NONE));
    assert_eq!(broker.describe().error, ErrorCode::GROUP_ID_NOT_FOUND);
}
