use super::*;

const DAY: i64 = 24 * 3_600_000;

#[test]
fn offsets_do_not_expire_unless_asked() {
    let mut broker = broker();
    broker.commit("", -1, &[(0, 1)]);
    let (ids, _) = broker.stable(1);
    broker.leave(&[(&ids[0], None)]);
    broker.wait(1_000 * DAY);
    assert_eq!(broker.fetch(0, true), Ok(Some(1)));
}

#[test]
fn an_empty_group_without_offsets_goes() {
    let mut broker = broker();
    let (ids, _) = broker.stable(1);
    broker.wait(SESSION);
    assert_eq!(broker.state(), GroupState::Empty);
    broker.wait(600_000);
    assert_eq!(broker.state(), GroupState::Dead);
    assert!(matches!(broker.log.last(), Some(Record::Group { value: None, .. })));
    assert_eq!(broker.heartbeat(&ids[0], 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.machine.next_deadline(), None);
}

#[test]
fn it_goes_after_a_restart_too() {
    let mut broker = broker();
    broker.stable(1);
    broker.wait(SESSION);
    broker.restart();
    assert_eq!(broker.state(), GroupState::Empty);
    broker.wait(600_000);
    assert_eq!(broker.state(), GroupState::Dead);
}

#[test]
fn with_a_retention_offsets_expire_so_long_after_the_group_became_empty() {
    let mut broker = with(Settings { offsets_retention_ms: Some(DAY), ..Settings::default() });
    let (ids, generation) = broker.stable(1);
    broker.commit(&ids[0], generation, &[(0, 1)]);
    for _ in 0..2 * DAY / 9_000 {
        broker.wait(9_000);
        assert_eq!(broker.heartbeat(&ids[0], generation), ErrorCode::NONE);
    }
    assert_eq!(broker.fetch(0, true), Ok(Some(1)));
    broker.leave(&[(&ids[0], None)]);
    broker.wait(DAY - 1);
    assert_eq!(broker.fetch(0, true), Ok(Some(1)));
    broker.wait(600_001);
    assert_eq!(broker.fetch(0, true), Ok(None));
    assert_eq!(broker.state(), GroupState::Dead);
}

#[test]
fn a_commit_can_ask_for_its_own_retention() {
    let mut broker = broker();
    let commit = |retention_ms, partition| CommitOffsets {
        version: 4,
        group: "g".into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_ms,
        offsets: topic_offsets("t", &[(partition, 1)]),
    };
    broker.commit_with(commit(DAY, 0));
    broker.commit_with(commit(-1, 1));
    broker.wait(DAY - 1);
    assert_eq!(broker.fetch(0, true), Ok(Some(1)));
    broker.wait(600_001);
    assert_eq!((broker.fetch(0, true), broker.fetch(1, true)), (Ok(None), Ok(Some(1))));
    assert_eq!(broker.machine.next_deadline(), None);
}

#[test]
fn a_pending_offset_keeps_its_group() {
    let mut broker = with(Settings { offsets_retention_ms: Some(DAY), ..Settings::default() });
    broker.commit("", -1, &[(0, 1)]);
    broker.commit_in_transaction(1, "", -1, &[(0, 2)]);
    broker.wait(2 * DAY);
    assert_eq!(broker.fetch(0, false), Ok(Some(1)));
    broker.machine.apply_marker(1, 0, true);
    broker.wait(600_000);
    // By now the commit's own time is up.
    assert_eq!(broker.state(), GroupState::Dead);
}

#[test]
fn a_deleted_topic_takes_its_offsets_from_every_group() {
    let mut broker = broker();
    broker.commit("", -1, &[(0, 1), (1, 2)]);
    broker.commit_in_transaction(1, "", -1, &[(2, 3)]);
    let other = CommitOffsets {
        version: 8,
        group: "h".into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_ms: -1,
        offsets: [topic_offsets("t", &[(0, 1)]), topic_offsets("u", &[(0, 1)])].concat(),
    };
    broker.commit_with(other);
    assert_eq!(broker.ask(Command::ForgetTopic(ForgetTopic { topic: "t".into() })), Reply::Forgotten);
    broker.machine.apply_marker(1, 0, true);
    assert_eq!((broker.fetch(0, true), broker.fetch(2, true)), (Ok(None), Ok(None)));
    let fetch = FetchOffsets {
        group: "h".into(),
        member_id: None,
        member_epoch: -1,
        topics: None,
        require_stable: true,
    };
    let Reply::Fetched(fetched) = broker.ask(Command::FetchOffsets(fetch)) else { panic!() };
    assert_eq!(fetched.topics.iter().map(|(topic, _)| &**topic).collect::<Vec<_>>(), ["u"]);
}
