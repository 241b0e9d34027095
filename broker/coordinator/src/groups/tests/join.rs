use super::*;

#[test]
fn a_member_is_first_told_its_id_and_then_joins_alone() {
    let mut broker = broker();
    let (id, request) = broker.join_twice(7);
    assert_eq!(&*id, format!("c-{}", Uuid::from_u128(7)));
    let joined = broker.joined(request).unwrap();
    assert_eq!((joined.error, joined.generation, &joined.leader), (ErrorCode::NONE, 1, &id));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(&joined.members[0].metadata[..], b"metadata");
    assert_eq!(broker.state(), GroupState::CompletingRebalance);
}

#[test]
fn old_clients_join_in_one_trip() {
    let mut broker = broker();
    let request = broker.join(old_join(1));
    assert_eq!(broker.joined(request).unwrap().generation, 1);
}

#[test]
fn a_member_that_was_told_its_id_and_never_comes_is_forgotten() {
    let mut broker = broker();
    let first = broker.join(join("", 1));
    let id = broker.joined(first).unwrap().member_id;
    assert_eq!(broker.state(), GroupState::Empty);
    broker.wait(SESSION);
    assert_eq!(broker.state(), GroupState::Dead);
    let late = broker.join(join(&id, 0));
    assert_eq!(broker.joined(late).unwrap().error, ErrorCode::UNKNOWN_MEMBER_ID);
    assert!(broker.log.is_empty());
}

#[test]
fn bad_joins_are_refused() {
    let mut broker = broker();
    let refused = [
        (Join { group: "".into(), ..join("", 1) }, ErrorCode::INVALID_GROUP_ID),
        (Join { group: "x".repeat(40_000).into(), ..join("", 1) }, ErrorCode::INVALID_GROUP_ID),
        (Join { session_timeout_ms: 5_999, ..join("", 1) }, ErrorCode::INVALID_SESSION_TIMEOUT),
        (Join { session_timeout_ms: 1_800_001, ..join("", 1) }, ErrorCode::INVALID_SESSION_TIMEOUT),
        (Join { protocols: vec![], ..join("", 1) }, ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
        (Join { protocol_type: "".into(), ..join("", 1) }, ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
        (Join { client_id: "x".repeat(40_000).into(), ..join("", 1) }, ErrorCode::INVALID_REQUEST),
        (
            Join { protocols: vec![("range".into(), vec![0; (1 << 20) + 1].into())], ..join("", 1) },
            ErrorCode::INVALID_REQUEST,
        ),
        (join("nobody", 1), ErrorCode::UNKNOWN_MEMBER_ID),
    ];
    for (join, error) in refused {
        let request = broker.join(join);
        let joined = broker.joined(request).unwrap();
        assert_eq!((joined.error, joined.generation), (error, -1));
    }
    assert_eq!(broker.state(), GroupState::Dead);
}

#[test]
fn the_second_member_starts_a_rebalance_that_ends_when_the_first_joins_again() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(1);
    let (second, parked) = broker.join_twice(2);
    assert_eq!(broker.joined(parked), None);
    assert_eq!(broker.state(), GroupState::PreparingRebalance);
    assert_eq!(broker.heartbeat(&ids[0], generation), ErrorCode::REBALANCE_IN_PROGRESS);
    let again = broker.join(join(&ids[0], 0));
    let (leader, follower) = (broker.joined(again).unwrap(), broker.joined(parked).unwrap());
    assert_eq!((leader.generation, follower.generation), (generation + 1, generation + 1));
    assert_eq!((&leader.leader, &follower.leader), (&ids[0], &ids[0]));
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!(follower.member_id, second);
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(2);
    let (third, parked) = broker.join_twice(3);
    // Both keep sending heartbeats, but only one joins.
    let again = broker.join(join(&ids[1], 0));
    for _ in 0..REBALANCE / 5_000 {
        assert_eq!(broker.heartbeat(&ids[0], generation), ErrorCode::REBALANCE_IN_PROGRESS);
        assert_eq!(broker.joined(parked), None);
        broker.wait(5_000);
    }
    let joined = broker.joined(parked).unwrap();
    assert_eq!((joined.generation, joined.leader), (generation + 1, ids[1].clone()));
    assert_eq!(broker.joined(again).unwrap().members.len(), 2);
    assert_eq!(broker.heartbeat(&ids[0], generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.heartbeat(&third, generation + 1), ErrorCode::NONE);
}

#[test]
fn an_expected_member_holds_the_rebalance_up_until_its_session_ends() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(1);
    let expected = broker.join(join("", 2));
    assert_eq!(broker.joined(expected).unwrap().error, ErrorCode::MEMBER_ID_REQUIRED);
    assert_eq!(broker.state(), GroupState::Stable);
    let again = broker.join(join(&ids[0], 0));
    assert_eq!(broker.joined(again), None);
    broker.wait(SESSION);
    assert_eq!(broker.joined(again).unwrap().generation, generation + 1);
}

#[test]
fn a_join_repeated_while_parked_takes_the_place_of_the_first() {
    let mut broker = broker();
    let (ids, _) = broker.stable(1);
    let (second, parked) = broker.join_twice(2);
    let retry = broker.join(join(&second, 0));
    assert_eq!(broker.joined(parked).unwrap().error, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(broker.joined(retry), None);
    let leader = broker.join(join(&ids[0], 0));
    assert_eq!(broker.joined(retry).unwrap().error, ErrorCode::NONE);
    assert_eq!(broker.joined(leader).unwrap().members.len(), 2);
}

#[test]
fn a_lost_answer_is_given_again_in_the_same_generation() {
    let mut broker = broker();
    let (id, request) = broker.join_twice(1);
    let first = broker.joined(request).unwrap();
    let retry = broker.join(join(&id, 0));
    assert_eq!(broker.joined(retry).unwrap(), first);
    // With other metadata it is not the same join.
    let changed =
        broker.join(Join { protocols: vec![("range".into(), Bytes::from_static(b"more"))], ..join(&id, 0) });
    assert_eq!(broker.joined(changed).unwrap().generation, 2);
}

#[test]
fn in_a_stable_group_a_follower_without_news_gets_its_generation_and_the_leader_a_rebalance() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(2);
    let follower = broker.join(join(&ids[1], 0));
    let joined = broker.joined(follower).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (generation, 0));
    assert_eq!(broker.state(), GroupState::Stable);
    let leader = broker.join(join(&ids[0], 0));
    assert_eq!(broker.joined(leader), None);
    assert_eq!(broker.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_new_member_whose_client_is_gone_is_not_waited_for_for_ever() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(1);
    let slow = Join { rebalance_timeout_ms: 1_000_000, ..join(&ids[0], 0) };
    let again = broker.join(slow.clone());
    let generation = broker.joined(again).unwrap().generation.max(generation);
    let request = broker.sync(sync(&ids[0], generation, &[]));
    assert!(broker.synced(request).is_some());
    let (_, parked) = broker.join_twice(2);
    for _ in 0..300_000 / 5_000 {
        assert_eq!(broker.joined(parked), None);
        assert_eq!(broker.heartbeat(&ids[0], generation), ErrorCode::REBALANCE_IN_PROGRESS);
        broker.wait(5_000);
    }
    assert_eq!(broker.joined(parked).unwrap().error, ErrorCode::UNKNOWN_MEMBER_ID);
    let again = broker.join(slow);
    assert_eq!(broker.joined(again).unwrap().members.len(), 1);
}

#[test]
fn the_initial_rebalance_waits_longer_while_members_come() {
    let settings = Settings { initial_rebalance_delay_ms: 3_000, ..Settings::default() };
    let mut broker = with(settings);
    let (_, first) = broker.join_twice(1);
    broker.wait(2_999);
    let (_, second) = broker.join_twice(2);
    broker.wait(1);
    assert_eq!(broker.joined(first), None);
    broker.wait(2_999);
    assert_eq!(broker.joined(first), None);
    broker.wait(1);
    assert_eq!(broker.joined(first).unwrap().members.len(), 2);
    assert_eq!(broker.joined(second).unwrap().generation, 1);
}

#[test]
fn the_initial_rebalance_ends_at_the_rebalance_timeout_whoever_comes() {
    let settings = Settings { initial_rebalance_delay_ms: 3_000, ..Settings::default() };
    let mut broker = with(settings);
    let short = |fresh| Join { rebalance_timeout_ms: 5_000, ..old_join(fresh) };
    let first = broker.join(short(1));
    broker.wait(2_000);
    broker.join(short(2));
    broker.wait(2_000);
    broker.join(short(3));
    broker.wait(1_000);
    assert_eq!(broker.joined(first).unwrap().members.len(), 3);
}

#[test]
fn only_the_first_rebalance_waits() {
    let settings = Settings { initial_rebalance_delay_ms: 3_000, ..Settings::default() };
    let mut broker = with(settings);
    let (id, first) = broker.join_twice(1);
    broker.wait(3_000);
    assert_eq!(broker.joined(first).unwrap().generation, 1);
    let (_, second) = broker.join_twice(2);
    broker.join(join(&id, 0));
    assert_eq!(broker.joined(second).unwrap().generation, 2);
}

#[test]
fn the_protocol_is_the_favourite_among_those_all_support() {
    let protocols = |names: &[&str]| names.iter().map(|name| ((*name).into(), Bytes::new())).collect();
    let settings = Settings { initial_rebalance_delay_ms: 1, ..Settings::default() };
    let mut broker = with(settings);
    let requests = [
        broker.join(Join { protocols: protocols(&["a", "b", "c"]), ..old_join(1) }),
        broker.join(Join { protocols: protocols(&["c", "b", "x"]), ..old_join(2) }),
        broker.join(Join { protocols: protocols(&["b", "c"]), ..old_join(3) }),
    ];
    let odd = broker.join(Join { protocols: protocols(&["a", "x"]), ..old_join(4) });
    assert_eq!(broker.joined(odd).unwrap().error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let connect = broker.join(Join { protocol_type: "connect".into(), ..old_join(5) });
    assert_eq!(broker.joined(connect).unwrap().error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    broker.wait(2);
    for request in requests {
        // "a" is not common; "b" has two votes, "c" one.
        assert_eq!(broker.joined(request).unwrap().protocol_name.as_deref(), Some("b"));
    }
}

#[test]
fn a_group_has_no_more_members_than_allowed() {
    let mut broker = with(Settings { max_members: 2, ..Settings::default() });
    let (ids, _) = broker.stable(2);
    let third = broker.join(old_join(3));
    assert_eq!(broker.joined(third).unwrap().error, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!(broker.state(), GroupState::Stable);
    // In a rebalance the places are for those who come first.
    let first = broker.join(join(&ids[0], 0));
    let third = broker.join(old_join(3));
    assert_eq!((broker.joined(first), broker.joined(third)), (None, None));
    let second = broker.join(join(&ids[1], 0));
    assert_eq!(broker.joined(second).unwrap().error, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!(broker.joined(first).unwrap().members.len(), 2);
}

#[test]
fn version_0_takes_the_session_timeout_for_the_rebalance_timeout() {
    let mut broker = broker();
    let request = broker.join(Join { version: 0, rebalance_timeout_ms: -1, ..old_join(1) });
    let id = broker.joined(request).unwrap().member_id;
    // It never syncs.
    broker.wait(SESSION / 2);
    assert_eq!(broker.heartbeat(&id, 1), ErrorCode::NONE);
    broker.wait(SESSION / 2);
    assert_eq!(broker.state(), GroupState::Empty);
}
