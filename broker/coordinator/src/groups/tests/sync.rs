use super::*;

#[test]
fn followers_wait_for_the_leader_and_whoever_it_forgets_gets_nothing() {
    let mut broker = broker();
    let (ids, _) = broker.stable(2);
    let leader = broker.join(join(&ids[0], 0));
    broker.join(join(&ids[1], 0));
    let generation = broker.joined(leader).unwrap().generation;
    let follower = broker.sync(sync(&ids[1], generation, &[]));
    assert_eq!(broker.synced(follower), None);
    let leader = broker.sync(sync(&ids[0], generation, &[(&ids[0], b"all"), ("stranger", b"x")]));
    let (leader, follower) = (broker.synced(leader).unwrap(), broker.synced(follower).unwrap());
    assert_eq!((&leader.assignment[..], &follower.assignment[..]), (&b"all"[..], &b""[..]));
    assert_eq!(follower.protocol_name.as_deref(), Some("range"));
    let description = broker.describe();
    assert_eq!((description.state, &*description.protocol), (GroupState::Stable, "range"));
    assert_eq!(description.members.len(), 2);
    // Asked again, it is the same.
    let again = broker.sync(sync(&ids[0], generation, &[]));
    assert_eq!(&broker.synced(again).unwrap().assignment[..], b"all");
}

#[test]
fn wrong_syncs_are_refused() {
    let mut broker = broker();
    let (id, request) = broker.join_twice(1);
    assert_eq!(broker.joined(request).unwrap().generation, 1);
    let errors = [
        (sync("stranger", 1, &[]), ErrorCode::UNKNOWN_MEMBER_ID),
        (sync(&id, 0, &[]), ErrorCode::ILLEGAL_GENERATION),
        (sync(&id, 2, &[]), ErrorCode::ILLEGAL_GENERATION),
        (Sync { group: "".into(), ..sync(&id, 1, &[]) }, ErrorCode::INVALID_GROUP_ID),
        (Sync { group: "other".into(), ..sync(&id, 1, &[]) }, ErrorCode::UNKNOWN_MEMBER_ID),
        (
            Sync { protocol_type: Some("connect".into()), ..sync(&id, 1, &[]) },
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            Sync { protocol_name: Some("sticky".into()), ..sync(&id, 1, &[]) },
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (Sync { instance_id: Some("i".into()), ..sync(&id, 1, &[]) }, ErrorCode::UNKNOWN_MEMBER_ID),
    ];
    for (sync, error) in errors {
        let request = broker.sync(sync);
        assert_eq!(broker.synced(request).unwrap().error, error);
    }
    assert_eq!(broker.state(), GroupState::CompletingRebalance);
}

#[test]
fn an_assignment_too_large_to_be_kept_is_refused() {
    let mut broker = with(Settings { max_member_bytes: 8, ..Settings::default() });
    let (id, _) = broker.join_twice(1);
    let request = broker.sync(sync(&id, 1, &[(&id, b"123456789")]));
    assert_eq!(broker.synced(request).unwrap().error, ErrorCode::RECORD_LIST_TOO_LARGE);
    assert_eq!(broker.state(), GroupState::CompletingRebalance);
    let request = broker.sync(sync(&id, 1, &[(&id, b"12345678")]));
    assert_eq!(broker.synced(request).unwrap().error, ErrorCode::NONE);
}

#[test]
fn a_rebalance_sends_waiting_syncs_back_to_join() {
    let mut broker = broker();
    let (ids, _) = broker.stable(2);
    broker.join(join(&ids[0], 0));
    let follower = broker.join(join(&ids[1], 0));
    let generation = broker.joined(follower).unwrap().generation;
    let waiting = broker.sync(sync(&ids[1], generation, &[]));
    let (_, third) = broker.join_twice(3);
    assert_eq!(broker.synced(waiting).unwrap().error, ErrorCode::REBALANCE_IN_PROGRESS);
    let late = broker.sync(sync(&ids[0], generation, &[]));
    assert_eq!(broker.synced(late).unwrap().error, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(broker.joined(third), None);
}

#[test]
fn a_sync_repeated_while_parked_takes_the_place_of_the_first() {
    let mut broker = broker();
    let (ids, _) = broker.stable(2);
    broker.join(join(&ids[0], 0));
    let follower = broker.join(join(&ids[1], 0));
    let generation = broker.joined(follower).unwrap().generation;
    let first = broker.sync(sync(&ids[1], generation, &[]));
    let second = broker.sync(sync(&ids[1], generation, &[]));
    assert_eq!(broker.synced(first).unwrap().error, ErrorCode::REBALANCE_IN_PROGRESS);
    broker.sync(sync(&ids[0], generation, &[(&ids[1], b"half")]));
    assert_eq!(&broker.synced(second).unwrap().assignment[..], b"half");
}

#[test]
fn who_does_not_fetch_its_assignment_in_time_is_out() {
    let mut broker = broker();
    let (ids, _) = broker.stable(2);
    broker.join(join(&ids[0], 0));
    let follower = broker.join(join(&ids[1], 0));
    let generation = broker.joined(follower).unwrap().generation;
    broker.sync(sync(&ids[0], generation, &[]));
    // It sends heartbeats, but never asks for what it is to do.
    for _ in 0..REBALANCE / 5_000 {
        assert_eq!(broker.state(), GroupState::Stable);
        assert_eq!(broker.heartbeat(&ids[0], generation), ErrorCode::NONE);
        assert_eq!(broker.heartbeat(&ids[1], generation), ErrorCode::NONE);
        broker.wait(5_000);
    }
    assert_eq!(broker.state(), GroupState::PreparingRebalance);
    assert_eq!(broker.heartbeat(&ids[1], generation), ErrorCode::UNKNOWN_MEMBER_ID);
    let leader = broker.join(join(&ids[0], 0));
    assert_eq!(broker.joined(leader).unwrap().members.len(), 1);
}

#[test]
fn a_leader_that_never_brings_the_assignment_is_replaced() {
    let mut broker = broker();
    let (ids, _) = broker.stable(2);
    broker.join(join(&ids[0], 0));
    let follower = broker.join(join(&ids[1], 0));
    let generation = broker.joined(follower).unwrap().generation;
    let waiting = broker.sync(sync(&ids[1], generation, &[]));
    broker.wait(SESSION);
    assert_eq!(broker.synced(waiting).unwrap().error, ErrorCode::REBALANCE_IN_PROGRESS);
    let again = broker.join(join(&ids[1], 0));
    let joined = broker.joined(again).unwrap();
    assert_eq!((joined.leader, joined.generation), (ids[1].clone(), generation + 1));
}

#[test]
fn heartbeats_know_the_generation_and_keep_the_session() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(1);
    assert_eq!(broker.heartbeat(&ids[0], generation - 1), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(broker.heartbeat("stranger", generation), ErrorCode::UNKNOWN_MEMBER_ID);
    for _ in 0..3 {
        broker.wait(SESSION - 1);
        assert_eq!(broker.heartbeat(&ids[0], generation), ErrorCode::NONE);
    }
    broker.wait(SESSION);
    assert_eq!(broker.heartbeat(&ids[0], generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.state(), GroupState::Empty);
}

#[test]
fn a_stable_group_survives_a_restart_with_new_sessions() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(2);
    let before = broker.describe();
    broker.wait(SESSION - 1);
    broker.restart();
    assert_eq!(broker.describe(), before);
    broker.wait(SESSION - 1);
    for id in &ids {
        assert_eq!(broker.heartbeat(id, generation), ErrorCode::NONE);
    }
    let leader = broker.join(join(&ids[0], 0));
    broker.join(join(&ids[1], 0));
    assert_eq!(broker.joined(leader).unwrap().generation, generation + 1);
}
