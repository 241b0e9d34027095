//! Static members (KIP-345).

use super::*;

/// A stable group of the static members `a` and `b`; `a` leads.
fn stable(broker: &mut Broker) -> (Str, Str, i32) {
    let a = broker.join(static_join("a", "", 1));
    let a = broker.joined(a).unwrap().member_id;
    let b = broker.join(static_join("b", "", 2));
    let again = broker.join(static_join("a", &a, 0));
    let generation = broker.joined(again).unwrap().generation;
    let b = broker.joined(b).unwrap().member_id;
    let leader = broker.sync(Sync {
        instance_id: Some("a".into()),
        ..sync(&a, generation, &[(&a, b"for a"), (&b, b"for b")])
    });
    assert_eq!(&broker.synced(leader).unwrap().assignment[..], b"for a");
    let follower = broker.sync(Sync { instance_id: Some("b".into()), ..sync(&b, generation, &[]) });
    assert_eq!(&broker.synced(follower).unwrap().assignment[..], b"for b");
    (a, b, generation)
}

#[test]
fn a_static_member_joins_in_one_trip_under_an_id_made_of_its_instance() {
    let mut broker = broker();
    let request = broker.join(static_join("a", "", 1));
    let joined = broker.joined(request).unwrap();
    assert_eq!(&*joined.member_id, format!("a-{}", Uuid::from_u128(1)));
    assert_eq!(joined.members[0].instance_id.as_deref(), Some("a"));
}

#[test]
fn coming_back_to_a_stable_group_moves_nothing_and_fences_the_old_id() {
    let mut broker = broker();
    let (_, old, generation) = stable(&mut broker);
    let request = broker.join(static_join("b", "", 3));
    let joined = broker.joined(request).unwrap();
    assert_eq!(
        (joined.error, joined.generation, joined.skip_assignment),
        (ErrorCode::NONE, generation, false)
    );
    assert_ne!(joined.member_id, old);
    assert_eq!(broker.state(), GroupState::Stable);
    let fenced = ErrorCode::FENCED_INSTANCE_ID;
    assert_eq!(broker.heartbeat_as(&old, Some("b"), generation), fenced);
    assert_eq!(broker.heartbeat_as(&joined.member_id, Some("b"), generation), ErrorCode::NONE);
    let request = broker.sync(Sync { instance_id: Some("b".into()), ..sync(&old, generation, &[]) });
    assert_eq!(broker.synced(request).unwrap().error, fenced);
    let request = broker.join(static_join("b", &old, 0));
    assert_eq!(broker.joined(request).unwrap().error, fenced);
    assert_eq!(broker.leave(&[(&old, Some("b"))]), [fenced]);
    let request = broker.sync(sync(&joined.member_id, generation, &[]));
    assert_eq!(&broker.synced(request).unwrap().assignment[..], b"for b");
    // The new id is on record.
    broker.restart();
    assert_eq!(broker.heartbeat_as(&joined.member_id, Some("b"), generation), ErrorCode::NONE);
    assert_eq!(broker.heartbeat_as(&old, Some("b"), generation), fenced);
}

#[test]
fn a_leader_that_comes_back_leads_on_if_it_can_be_told_not_to_assign() {
    let mut broker = broker();
    let (old, _, generation) = stable(&mut broker);
    let request = broker.join(static_join("a", "", 3));
    let joined = broker.joined(request).unwrap();
    assert_eq!((joined.skip_assignment, joined.generation), (true, generation));
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 2));
    // An older client is not told that it leads.
    let request = broker.join(Join { version: 8, ..static_join("a", "", 4) });
    let again = broker.joined(request).unwrap();
    assert_eq!((again.skip_assignment, again.leader, again.members.len()), (false, joined.member_id, 0));
    assert_ne!(again.member_id, old);
    assert_eq!(broker.state(), GroupState::Stable);
}

#[test]
fn coming_back_with_another_protocol_rebalances() {
    let mut broker = broker();
    let both = vec![("range".into(), Bytes::new()), ("sticky".into(), Bytes::new())];
    let request = broker.join(Join { protocols: both, ..static_join("a", "", 1) });
    let id = broker.joined(request).unwrap().member_id;
    let request = broker.sync(sync(&id, 1, &[]));
    assert!(broker.synced(request).is_some());
    let sticky = vec![("sticky".into(), Bytes::new())];
    let request = broker.join(Join { protocols: sticky, ..static_join("a", "", 2) });
    let joined = broker.joined(request).unwrap();
    assert_eq!((joined.generation, joined.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn coming_back_while_an_assignment_is_made_begins_again() {
    let mut broker = broker();
    let (a, b, generation) = stable(&mut broker);
    let leader = broker.join(static_join("a", &a, 0));
    broker.join(static_join("b", &b, 0));
    assert_eq!(broker.joined(leader).unwrap().generation, generation + 1);
    let waiting = broker.sync(sync(&b, generation + 1, &[]));
    let back = broker.join(static_join("b", "", 5));
    assert_eq!(broker.synced(waiting).unwrap().error, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(broker.joined(back), None);
    broker.join(static_join("a", &a, 0));
    assert_eq!(broker.joined(back).unwrap().generation, generation + 2);
}

#[test]
fn a_parked_join_of_the_old_id_is_fenced() {
    let mut broker = broker();
    let (_, b, generation) = stable(&mut broker);
    broker.join(old_join(9));
    let old = broker.join(static_join("b", &b, 0));
    let back = broker.join(static_join("b", "", 5));
    let fenced = broker.joined(old).unwrap();
    assert_eq!((fenced.error, fenced.member_id), (ErrorCode::FENCED_INSTANCE_ID, b));
    assert_eq!(broker.joined(back), None);
    broker.wait(REBALANCE);
    assert_eq!(broker.joined(back).unwrap().generation, generation + 1);
}

#[test]
fn an_absent_static_member_stays_through_a_rebalance_while_its_session_lasts() {
    let mut broker = broker();
    let long = |instance: &str, id: &str, fresh| Join {
        session_timeout_ms: 300_000,
        ..static_join(instance, id, fresh)
    };
    let a = broker.join(long("a", "", 1));
    let a = broker.joined(a).unwrap().member_id;
    let b = broker.join(long("b", "", 2));
    let again = broker.join(long("a", &a, 0));
    assert_eq!(broker.joined(again).unwrap().members.len(), 2);
    assert!(broker.joined(b).is_some());
    broker.sync(sync(&a, 2, &[]));
    broker.sync(sync(&broker.joined(b).unwrap().member_id, 2, &[]));
    let again = broker.join(long("a", &a, 0));
    assert_eq!(broker.joined(again), None);
    broker.wait(REBALANCE);
    let joined = broker.joined(again).unwrap();
    assert_eq!((joined.generation, joined.members.len()), (3, 2));
}

#[test]
fn a_static_member_can_be_removed_by_its_instance_alone() {
    let mut broker = broker();
    let (a, b, generation) = stable(&mut broker);
    assert_eq!(
        broker.leave(&[("", Some("b")), ("", Some("nobody"))]),
        [ErrorCode::NONE, ErrorCode::UNKNOWN_MEMBER_ID]
    );
    assert_eq!(broker.heartbeat_as(&b, Some("b"), generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.heartbeat_as(&a, Some("a"), generation), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_full_group_lets_its_static_members_come_back() {
    let mut broker = with(Settings { max_members: 2, ..Settings::default() });
    let (_, _, generation) = stable(&mut broker);
    let back = broker.join(static_join("b", "", 5));
    assert_eq!(broker.joined(back).unwrap().generation, generation);
}
