use super::*;

#[test]
fn the_last_to_leave_empties_the_group_and_its_record_says_so() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(1);
    assert_eq!(broker.leave(&[(&ids[0], None)]), [ErrorCode::NONE]);
    assert_eq!(broker.state(), GroupState::Empty);
    let Some(Record::Group { value: Some(stored), .. }) = broker.log.last() else { panic!("no record") };
    assert_eq!((stored.members.len(), stored.generation), (0, generation + 1));
    assert_eq!((&stored.protocol, &stored.leader, &*stored.protocol_type), (&None, &None, "consumer"));
    assert_eq!(broker.leave(&[(&ids[0], None)]), [ErrorCode::UNKNOWN_MEMBER_ID]);
    // The next generation goes on counting.
    let (_, request) = broker.join_twice(5);
    assert_eq!(broker.joined(request).unwrap().generation, generation + 2);
}

#[test]
fn several_leave_at_once_each_with_an_answer_of_its_own() {
    let mut broker = broker();
    let (ids, _) = broker.stable(3);
    let answers = broker.leave(&[(&ids[1], None), ("stranger", None), (&ids[2], None), ("", None)]);
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
    assert_eq!(answers, [ErrorCode::NONE, unknown, ErrorCode::NONE, unknown]);
    assert_eq!(broker.state(), GroupState::PreparingRebalance);
    let leader = broker.join(join(&ids[0], 0));
    assert_eq!(broker.joined(leader).unwrap().members.len(), 1);
}

#[test]
fn who_leaves_has_its_parked_requests_answered() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(2);
    let (third, joining) = broker.join_twice(3);
    broker.leave(&[(&third, None)]);
    assert_eq!(broker.joined(joining).unwrap().error, ErrorCode::UNKNOWN_MEMBER_ID);
    broker.join(join(&ids[0], 0));
    broker.join(join(&ids[1], 0));
    let syncing = broker.sync(sync(&ids[1], generation + 1, &[]));
    broker.leave(&[(&ids[1], None)]);
    assert_eq!(broker.synced(syncing).unwrap().error, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_leave_can_be_what_ends_the_rebalance() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(2);
    let leader = broker.join(join(&ids[0], 0));
    assert_eq!(broker.joined(leader), None);
    broker.leave(&[(&ids[1], None)]);
    assert_eq!(broker.joined(leader).unwrap().generation, generation + 1);
}

#[test]
fn an_expected_member_can_leave() {
    let mut broker = broker();
    let first = broker.join(join("", 1));
    let id = broker.joined(first).unwrap().member_id;
    assert_eq!(broker.leave(&[(&id, None)]), [ErrorCode::NONE]);
    assert_eq!(broker.state(), GroupState::Dead);
    assert_eq!(broker.machine.next_deadline(), None);
}
