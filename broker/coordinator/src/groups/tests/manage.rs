//! Describe, list, delete.

use logmill_wire::records::consumer_protocol::ConsumerProtocolSubscription;

use super::*;

fn delete(broker: &mut Broker, groups: &[&str]) -> Vec<ErrorCode> {
    let groups = groups.iter().map(|group| Str::from(*group)).collect();
    match broker.ask(Command::Delete(Delete { groups })) {
        Reply::Deleted(answers) => answers.into_iter().map(|(_, error)| error).collect(),
        other => panic!("not a delete's answer: {other:?}"),
    }
}

#[test]
fn an_unknown_group_is_dead() {
    let description = broker().describe();
    assert_eq!((description.error, description.state), (ErrorCode::GROUP_ID_NOT_FOUND, GroupState::Dead));
}

#[test]
fn members_are_described_fully_only_when_stable() {
    let mut broker = broker();
    let (ids, _) = broker.stable(1);
    let stable = broker.describe();
    let member = &stable.members[0];
    assert_eq!((&member.member_id, &*member.client_id, &*member.client_host), (&ids[0], "c", "/127.0.0.1"));
    assert_eq!((&member.metadata[..], &member.assignment[..]), (&b"metadata"[..], &b"part"[..]));
    broker.join_twice(2);
    let moving = broker.describe();
    assert_eq!((moving.state, &*moving.protocol), (GroupState::PreparingRebalance, ""));
    assert_eq!(moving.members.len(), 2);
    assert!(moving.members.iter().all(|member| member.metadata.is_empty() && member.assignment.is_empty()));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut broker = broker();
    broker.stable(1);
    let simple = CommitOffsets {
        version: 8,
        group: "a".into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_ms: -1,
        offsets: topic_offsets("t", &[(0, 1)]),
    };
    broker.commit_with(simple);
    let mut list = |states: &[&str], types: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| Str::from(*name)).collect();
        match broker.ask(Command::List(List { states: names(states), types: names(types) })) {
            Reply::Listed(groups) => groups
                .into_iter()
                .map(|listing| {
                    format!(
                        "{} {} {} {}",
                        listing.group,
                        listing.protocol_type,
                        listing.state.name(),
                        listing.group_type
                    )
                })
                .collect::<Vec<_>>(),
            other => panic!("not a list: {other:?}"),
        }
    };
    let (a, g) = ("a  Empty classic", "g consumer Stable classic");
    assert_eq!(list(&[], &[]), [a, g]);
    assert_eq!(list(&["stable"], &[]), [g]);
    assert_eq!(list(&["Empty", "Dead"], &["Classic"]), [a]);
    assert!(list(&[], &["consumer"]).is_empty());
}

#[test]
fn empty_groups_are_deleted_with_committed_and_pending_offsets() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(1);
    broker.commit(&ids[0], generation, &[(0, 1)]);
    broker.commit_in_transaction(1, &ids[0], generation, &[(1, 2)]);
    assert_eq!(delete(&mut broker, &["g"]), [ErrorCode::NON_EMPTY_GROUP]);
    broker.leave(&[(&ids[0], None)]);
    let unknown = ErrorCode::GROUP_ID_NOT_FOUND;
    assert_eq!(delete(&mut broker, &["g", "nobody", "g", ""]), [ErrorCode::NONE, unknown, unknown, unknown]);
    broker.machine.apply_marker(1, 0, true);
    assert_eq!(broker.state(), GroupState::Dead);
    assert_eq!((broker.fetch(0, true), broker.fetch(1, true)), (Ok(None), Ok(None)));
    assert_eq!(broker.machine.next_deadline(), None);
}

#[test]
fn deleting_a_group_forgets_who_was_expected() {
    let mut broker = broker();
    broker.commit("", -1, &[(0, 1)]);
    let first = broker.join(join("", 1));
    let id = broker.joined(first).unwrap().member_id;
    assert_eq!(delete(&mut broker, &["g"]), [ErrorCode::NONE]);
    assert_eq!(broker.machine.next_deadline(), None);
    let late = broker.join(join(&id, 0));
    assert_eq!(broker.joined(late).unwrap().error, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn offsets_are_deleted_except_in_topics_that_are_read() {
    let mut broker = broker();
    let ask = |broker: &mut Broker, group: &str| {
        let topics = vec![("t".into(), vec![0, 9]), ("u".into(), vec![0])];
        let delete = DeleteOffsets { group: group.into(), topics };
        match broker.ask(Command::DeleteOffsets(delete)) {
            Reply::OffsetsDeleted(deleted) => (
                deleted.error,
                deleted.topics.iter().flat_map(|(_, answers)| answers.iter().map(|(_, e)| *e)).collect(),
            ),
            other => panic!("not an answer: {other:?}"),
        }
    };
    assert_eq!(ask(&mut broker, "g"), (ErrorCode::GROUP_ID_NOT_FOUND, vec![]));
    broker.commit("", -1, &[(0, 1), (1, 2)]);
    assert_eq!(ask(&mut broker, "g"), (ErrorCode::NONE, vec![ErrorCode::NONE; 3]));
    assert_eq!((broker.fetch(0, true), broker.fetch(1, true)), (Ok(None), Ok(Some(2))));
    // A member that reads "u" protects it.
    let reads_u = ConsumerProtocolSubscription { topics: vec!["u".into()], ..Default::default() };
    let protocols = vec![("range".into(), reads_u.to_bytes().unwrap())];
    broker.join(Join { protocols, ..old_join(1) });
    let (none, subscribed) = (ErrorCode::NONE, ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(ask(&mut broker, "g"), (none, vec![none, none, subscribed]));
    // One whose metadata cannot be read protects everything.
    broker.join(Join { protocols: vec![("range".into(), Bytes::from_static(b"?"))], ..old_join(2) });
    assert_eq!(ask(&mut broker, "g"), (none, vec![subscribed; 3]));
    // Groups of another kind say nothing about topics.
    broker.join(Join { group: "connect".into(), protocol_type: "connect".into(), ..old_join(3) });
    assert_eq!(ask(&mut broker, "connect"), (ErrorCode::NON_EMPTY_GROUP, vec![]));
}
