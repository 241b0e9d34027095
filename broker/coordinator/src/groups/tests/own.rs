use logmill_wire::records::consumer_protocol::ConsumerProtocolAssignment;

use super::*;

fn own(broker: &mut Broker, owner: &str, partitions: &[i32]) -> ErrorCode {
    let assignment = vec![("t".into(), partitions.to_vec())];
    match broker.ask(Command::Own(Own { group: "g".into(), owner: owner.into(), assignment })) {
        Reply::Owned(error) => error,
        other => panic!("not an answer: {other:?}"),
    }
}

fn disown(broker: &mut Broker, owner: &str) -> ErrorCode {
    match broker.ask(Command::Disown(Disown { group: "g".into(), owner: owner.into() })) {
        Reply::Owned(error) => error,
        other => panic!("not an answer: {other:?}"),
    }
}

/// The owner's offsets come as records of its own frames.
fn mirror(broker: &mut Broker, offset: i64) {
    let value = StoredOffset {
        offset,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp: broker.now,
        expire_timestamp: None,
        topic_id: None,
    };
    let record = Record::Offset {
        group: "g".into(),
        topic: "t".into(),
        partition: 0,
        value: Some(value),
        producer: None,
    };
    broker.machine.apply(&record);
    broker.log.push(record);
}

#[test]
fn an_owned_group_shows_as_stable_with_one_member_that_has_its_partitions() {
    let mut broker = broker();
    assert_eq!(own(&mut broker, "hourly", &[0, 1]), ErrorCode::NONE);
    mirror(&mut broker, 5);
    broker.restart();
    let description = broker.describe();
    assert_eq!((description.state, &*description.protocol_type), (GroupState::Stable, "consumer"));
    let [member] = &description.members[..] else { panic!("one member") };
    assert_eq!((&*member.member_id, &*member.client_host), ("hourly", "(logmill)"));
    let assigned = ConsumerProtocolAssignment::from_bytes(member.assignment.clone()).unwrap();
    assert_eq!(assigned.assigned_partitions[0].partitions, [0, 1]);
    assert_eq!(broker.fetch(0, true), Ok(Some(5)));
    broker.wait(1 << 40);
    assert_eq!(broker.state(), GroupState::Stable);
}

#[test]
fn it_refuses_everybody_else() {
    let mut broker = broker();
    own(&mut broker, "hourly", &[0]);
    mirror(&mut broker, 5);
    let records = broker.log.len();
    let request = broker.join(old_join(1));
    assert_eq!(broker.joined(request).unwrap().error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let request = broker.join(join("hourly", 1));
    assert_eq!(broker.joined(request).unwrap().error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let request = broker.sync(sync("hourly", 1, &[]));
    assert_eq!(broker.synced(request).unwrap().error, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.heartbeat("hourly", 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.leave(&[("hourly", None)]), [ErrorCode::UNKNOWN_MEMBER_ID]);
    assert_eq!(broker.commit("", -1, &[(0, 9)]), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.commit("hourly", 1, &[(0, 9)]), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.commit_in_transaction(1, "", -1, &[(0, 9)]), ErrorCode::UNKNOWN_MEMBER_ID);
    let delete = broker.ask(Command::Delete(Delete { groups: vec!["g".into()] }));
    assert_eq!(delete, Reply::Deleted(vec![("g".into(), ErrorCode::NON_EMPTY_GROUP)]));
    let delete = DeleteOffsets { group: "g".into(), topics: vec![("t".into(), vec![0])] };
    let Reply::OffsetsDeleted(deleted) = broker.ask(Command::DeleteOffsets(delete)) else { panic!() };
    assert_eq!(deleted.error, ErrorCode::NON_EMPTY_GROUP);
    assert_eq!(own(&mut broker, "other", &[0]), ErrorCode::NON_EMPTY_GROUP);
    assert_eq!(disown(&mut broker, "other"), ErrorCode::NON_EMPTY_GROUP);
    assert_eq!(broker.log.len(), records);
    assert_eq!(broker.fetch(0, true), Ok(Some(5)));
}

#[test]
fn owning_again_only_records_what_changed() {
    let mut broker = broker();
    own(&mut broker, "hourly", &[0]);
    let records = broker.log.len();
    assert_eq!(own(&mut broker, "hourly", &[0]), ErrorCode::NONE);
    assert_eq!(broker.log.len(), records);
    assert_eq!(own(&mut broker, "hourly", &[0, 1]), ErrorCode::NONE);
    assert_eq!(broker.log.len(), records + 1);
}

#[test]
fn a_group_with_members_cannot_be_owned_and_one_given_back_is_open_to_all() {
    let mut broker = broker();
    let (ids, _) = broker.stable(1);
    assert_eq!(own(&mut broker, "hourly", &[0]), ErrorCode::NON_EMPTY_GROUP);
    broker.leave(&[(&ids[0], None)]);
    assert_eq!(own(&mut broker, "hourly", &[0]), ErrorCode::NONE);
    mirror(&mut broker, 5);
    assert_eq!(disown(&mut broker, "hourly"), ErrorCode::NONE);
    assert_eq!(disown(&mut broker, "hourly"), ErrorCode::GROUP_ID_NOT_FOUND);
    assert_eq!((broker.state(), broker.fetch(0, true)), (GroupState::Empty, Ok(Some(5))));
    let request = broker.join(old_join(1));
    assert_eq!(broker.joined(request).unwrap().error, ErrorCode::NONE);
}
