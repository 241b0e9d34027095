//! From what members hold to what they are to hold.

use super::*;

#[test]
fn a_partition_is_given_up_before_another_gets_it() {
    let mut broker = broker();
    broker.beat(joins("a"));
    let second = broker.beat(joins("b"));
    assert_eq!((second.member_epoch, second.assignment), (2, Some(t(&[]))));
    assert_eq!(broker.state(), GroupState::Reconciling);

    // `a` stays in its epoch and is told to give two of them up.
    let told = broker.beat(beats("a", 1, &t(&[0, 1, 2, 3])));
    let keeps = told.assignment.unwrap();
    assert_eq!((told.member_epoch, keeps.len()), (1, 2));
    // Nobody gets them meanwhile, however often it asks.
    assert_eq!(broker.beat(beats("b", 2, &t(&[]))).assignment, None);
    assert_eq!(broker.beat(beats("a", 1, &t(&[0, 1, 2, 3]))).assignment, None);
    let silent = ConsumerHeartbeat { owned: None, ..beats("a", 1, &t(&[])) };
    assert_eq!(broker.beat(silent).member_epoch, 1);

    assert_eq!(broker.beat(beats("a", 1, &keeps)).member_epoch, 2);
    let gets = broker.beat(beats("b", 2, &t(&[])));
    let gets = gets.assignment.unwrap();
    assert!(!gets.meets(&keeps) && gets.len() == 2);
    assert_eq!(broker.state(), GroupState::Stable);
}

/// While one is still giving up, the target changes again and gives it back what it gave up.
#[test]
fn a_target_that_changes_under_way_is_followed() {
    let mut broker = broker();
    broker.beat(joins("a"));
    broker.beat(joins("b"));
    let keeps = broker.beat(beats("a", 1, &t(&[0, 1, 2, 3]))).assignment.unwrap();
    broker.beat(beats("b", -1, &t(&[])));
    // It has heard that it is to give them up, and does.
    let mut answer = broker.beat(beats("a", 1, &keeps));
    let mut held = answer.assignment.clone().unwrap_or(keeps);
    for _ in 0..3 {
        answer = broker.beat(beats("a", answer.member_epoch, &held));
        held = answer.assignment.unwrap_or(held);
    }
    assert_eq!(held, t(&[0, 1, 2, 3]));
    assert_eq!((answer.member_epoch, broker.state()), (3, GroupState::Stable));
}

#[test]
fn an_imported_state_that_is_not_known_fences_its_member() {
    let mut broker = broker();
    broker.beat(joins("a"));
    let unknown = CurrentAssignment {
        epoch: 1,
        previous_epoch: 0,
        state: MemberState::Unknown,
        assigned: t(&[0]),
        revoking: Partitions::new(),
        since: AssignmentEpochs::new(),
    };
    let record = crate::groups::Record::Consumer {
        group: "g".into(),
        record: ConsumerRecord::Current { member_id: "a".into(), value: Some(unknown) },
    };
    crate::Machine::apply(&mut broker.machine, &record);
    assert_eq!(broker.refusal(beats("a", 1, &t(&[0]))), ErrorCode::FENCED_MEMBER_EPOCH);
    let again = broker.beat(joins("a"));
    assert_eq!(again.assignment, Some(t(&[0, 1, 2, 3])));
}

/// The assignor most members ask for makes the assignment.
#[test]
fn members_choose_the_assignor() {
    let mut broker = broker();
    broker.beat(joins("a"));
    assert_eq!(broker.describe().assignor, "uniform");
    for member in ["b", "c"] {
        broker.beat(ConsumerHeartbeat { assignor: Some("range".into()), ..joins(member) });
    }
    let described = broker.describe();
    assert_eq!(described.assignor, "range");
    let targets: Vec<Partitions> = described.members.into_iter().map(|member| member.target).collect();
    assert_eq!(targets, [t(&[0, 1]), t(&[2]), t(&[3])]);
}
