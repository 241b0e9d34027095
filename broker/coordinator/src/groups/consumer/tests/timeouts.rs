//! Members that are not heard of, or do not give up in time what they have to.

use super::*;

#[test]
fn a_silent_member_is_fenced_when_its_session_ends() {
    let mut broker = broker();
    broker.two_members();
    broker.wait(SESSION - 1);
    assert_eq!(broker.refusal(beats("a", 2, &t(&[]))), ErrorCode::NONE);
    broker.wait(1);
    assert_eq!(broker.refusal(beats("b", 2, &t(&[]))), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(broker.beat(beats("a", 2, &t(&[]))).assignment, Some(t(&[0, 1, 2, 3])));
}

#[test]
fn sessions_begin_anew_after_a_restart() {
    let mut broker = broker();
    broker.two_members();
    broker.wait(SESSION - 1);
    broker.restart(&[("t", 4)]);
    broker.wait(SESSION - 1);
    assert_eq!(broker.describe().members.len(), 2);
    broker.wait(1);
    assert_eq!(broker.state(), GroupState::Empty);
}

#[test]
fn who_does_not_give_up_in_time_is_fenced() {
    for restarts in [false, true] {
        let mut broker = broker();
        broker.beat(joins("a"));
        broker.beat(joins("b"));
        broker.beat(beats("a", 1, &t(&[0, 1, 2, 3])));
        if restarts {
            broker.restart(&[("t", 4)]);
        }
        for _ in 0..2 {
            broker.wait(REBALANCE / 2 - 1);
            assert_eq!(broker.refusal(beats("a", 1, &t(&[0, 1, 2, 3]))), ErrorCode::NONE);
            assert_eq!(broker.refusal(beats("b", 2, &t(&[]))), ErrorCode::NONE);
        }
        broker.wait(2);
        assert_eq!(broker.refusal(beats("a", 1, &t(&[0, 1, 2, 3]))), ErrorCode::UNKNOWN_MEMBER_ID);
        assert_eq!(broker.beat(beats("b", 2, &t(&[]))).assignment, Some(t(&[0, 1, 2, 3])));
    }
}

#[test]
fn an_empty_group_without_offsets_is_deleted_after_a_while() {
    let mut broker = broker();
    broker.beat(joins("a"));
    broker.beat(beats("a", -1, &t(&[])));
    broker.wait(Settings::default().expiry_check_interval_ms);
    assert_eq!(broker.describe().error, ErrorCode::GROUP_ID_NOT_FOUND);
    broker.restart(&[("t", 4)]);
    assert!(broker.machine.groups.get("g").is_none());
}
