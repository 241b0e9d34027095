//! Times that a group has of its own, and that change while it lives.

use super::*;

fn times(heartbeat_interval_ms: i32, session_timeout_ms: i32) -> ConsumerTimes {
    ConsumerTimes { heartbeat_interval_ms, session_timeout_ms, ..ConsumerTimes::default() }
}

fn other_group(beat: ConsumerHeartbeat) -> ConsumerHeartbeat {
    ConsumerHeartbeat { group: "h".into(), ..beat }
}

#[test]
fn a_group_follows_its_own_times_and_others_everybodys() {
    let mut broker = broker();
    broker.own_times(times(1_000, 9_000));
    assert_eq!(broker.beat(joins("a")).heartbeat_interval_ms, 1_000);
    assert_eq!(broker.beat(other_group(joins("a"))).heartbeat_interval_ms, 5_000);
    broker.wait(8_999);
    assert_eq!(broker.state(), GroupState::Stable);
    broker.wait(1);
    assert_eq!(broker.state(), GroupState::Empty);
    let other = other_group(beats("a", 1, &t(&[0, 1, 2, 3])));
    assert_eq!(broker.refusal(other), ErrorCode::NONE, "its session is longer");
}

#[test]
fn a_change_holds_from_the_next_heartbeat_on() {
    let mut broker = broker();
    let held = t(&[0, 1, 2, 3]);
    broker.beat(joins("a"));
    broker.own_times(times(2_000, 10_000));
    broker.wait(SESSION - 1);
    // The session that ran already was the longer one.
    let told = broker.beat(beats("a", 1, &held));
    assert_eq!((told.error, told.heartbeat_interval_ms), (ErrorCode::NONE, 2_000));
    broker.wait(10_000);
    assert_eq!(broker.state(), GroupState::Empty);

    broker.beat(joins("b"));
    broker.machine.see_times(Arc::default());
    assert_eq!(broker.beat(beats("b", 3, &held)).heartbeat_interval_ms, 5_000, "taken back");
    broker.wait(SESSION - 1);
    assert_eq!(broker.state(), GroupState::Stable);
}

#[test]
fn changes_that_come_close_together_share_one_assignment() {
    let mut broker = broker();
    broker.own_times(ConsumerTimes { assignment_interval_ms: 3_000, ..ConsumerTimes::default() });
    assert_eq!(broker.beat(joins("a")).assignment, Some(t(&[0, 1, 2, 3])), "the first one waits for nobody");
    broker.wait(100);
    let joined = broker.beat(joins("b"));
    assert_eq!((joined.member_epoch, joined.assignment), (1, Some(t(&[]))));
    assert_eq!(broker.state(), GroupState::Assigning);
    broker.wait(2_899);
    assert_eq!(broker.beat(beats("a", 1, &t(&[0, 1, 2, 3]))).assignment, None);
    broker.beat(joins("c"));
    broker.wait(1);
    // Both joins at once: of four partitions the first member keeps two, then one each for the others.
    let told = broker.beat(beats("a", 1, &t(&[0, 1, 2, 3]))).assignment.unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(broker.describe().assignment_epoch, 3);
    broker.beat(beats("a", 1, &told));
    let others = ["b", "c"].map(|member| broker.beat(beats(member, 1, &t(&[]))).assignment.unwrap().len());
    assert_eq!(others, [1, 1]);
}

#[test]
fn a_group_that_is_new_under_its_name_does_not_wait_for_the_old_one() {
    let mut broker = broker();
    broker.own_times(ConsumerTimes { assignment_interval_ms: 60_000_000, ..ConsumerTimes::default() });
    broker.beat(joins("a"));
    broker.beat(beats("a", -1, &t(&[])));
    broker.wait(Settings::default().expiry_check_interval_ms);
    assert_eq!(broker.describe().error, ErrorCode::GROUP_ID_NOT_FOUND);
    assert_eq!(broker.beat(joins("b")).assignment, Some(t(&[0, 1, 2, 3])));
}

#[test]
fn a_clock_that_was_set_back_holds_no_assignment_up() {
    let mut broker = broker();
    broker.own_times(ConsumerTimes { assignment_interval_ms: 3_000, ..ConsumerTimes::default() });
    broker.beat(joins("a"));
    broker.now -= 500_000;
    broker.beat(joins("b"));
    assert_eq!(broker.describe().assignment_epoch, 2);
}
