//! What members want to read, and topics that come, grow and go.

use super::*;

#[test]
fn other_topics_are_another_epoch() {
    let mut broker = broker();
    broker.beat(joins("a"));
    let wants = ConsumerHeartbeat {
        topic_names: Some(vec!["u".into(), "t".into(), "u".into()]),
        ..beats("a", 1, &t(&[0, 1, 2, 3]))
    };
    let answer = broker.beat(wants);
    assert_eq!((answer.member_epoch, answer.assignment), (2, Some(everything(&[("t", 4), ("u", 2)]))));
    assert_eq!(broker.describe().members[0].member.topic_names, ["t", "u"]);
}

#[test]
fn a_topic_that_grows_is_read_whole() {
    let mut broker = broker();
    broker.beat(joins("a"));
    broker.machine.see_topics(some_topics(&[("t", 6), ("u", 2)]));
    let answer = broker.beat(beats("a", 1, &t(&[0, 1, 2, 3])));
    assert_eq!((answer.member_epoch, answer.assignment), (2, Some(t(&[0, 1, 2, 3, 4, 5]))));
    // Another topic is of no matter.
    let records = broker.log.len();
    broker.machine.see_topics(some_topics(&[("t", 6), ("u", 3)]));
    assert_eq!(broker.beat(beats("a", 2, &t(&[]))).member_epoch, 2);
    assert_eq!(broker.log.len(), records);
}

#[test]
fn topics_that_grow_while_the_broker_is_down_are_noticed() {
    let mut broker = broker();
    broker.beat(joins("a"));
    broker.restart(&[("t", 5)]);
    assert_eq!(broker.beat(beats("a", 1, &t(&[0, 1, 2, 3]))).assignment, Some(t(&[0, 1, 2, 3, 4])));
}

#[test]
fn a_topic_may_come_later_and_go() {
    let mut broker = broker();
    let later = ConsumerHeartbeat { topic_names: Some(vec!["new".into()]), ..joins("a") };
    let answer = broker.beat(later);
    assert_eq!((answer.member_epoch, answer.assignment), (1, Some(t(&[]))));
    broker.machine.see_topics(some_topics(&[("new", 1)]));
    let came = everything(&[("new", 1)]);
    assert_eq!(broker.beat(beats("a", 1, &t(&[]))).assignment, Some(came.clone()));
    broker.machine.see_topics(some_topics(&[]));
    let gone = broker.beat(beats("a", 2, &came));
    assert_eq!((gone.member_epoch, gone.assignment), (2, Some(t(&[]))));
    assert_eq!(broker.beat(beats("a", 2, &t(&[]))).member_epoch, 3);
}

#[test]
fn a_pattern_that_is_none_is_refused_and_nothing_is_kept() {
    let mut broker = broker();
    for wrong in ["(", "a)|(b", "[", "*", "(?=look)", r"(a)\1"] {
        let answer = broker.beat(regex_joins("a", wrong));
        assert_eq!(answer.error, ErrorCode::INVALID_REGULAR_EXPRESSION, "{wrong}");
        assert!(answer.message.unwrap().contains(wrong));
    }
    assert!(broker.log.is_empty());
}
