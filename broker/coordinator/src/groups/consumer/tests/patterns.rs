//! What patterns stand for: it is searched for beside the machine, and comes with a later heartbeat.

use super::*;
use crate::groups::consumer::search::SEARCH_INTERVAL_MS;

fn regexes(broker: &Broker) -> Vec<(Str, Vec<Str>)> {
    let group = broker.machine.groups.get("g").unwrap().consumer.clone().unwrap();
    group.regexes.iter().map(|(regex, resolved)| (regex.clone(), resolved.topics.clone())).collect()
}

/// A member that reads `t.*`, which is `t`, and the time at which that was found.
fn member_by_pattern() -> (Broker, Partitions) {
    let mut broker = broker();
    assert_eq!(broker.beat(regex_joins("a", "t.*")).assignment, Some(t(&[])));
    assert_eq!(broker.search(), 1);
    let answer = broker.beat(beats("a", 1, &t(&[])));
    assert_eq!((answer.member_epoch, &answer.assignment), (2, &Some(t(&[0, 1, 2, 3]))));
    (broker, t(&[0, 1, 2, 3]))
}

#[test]
fn names_come_with_one_heartbeat_and_what_matches_with_a_later_one() {
    let mut broker = broker();
    let both = ConsumerHeartbeat { topic_regex: Some("u.*".into()), ..joins("a") };
    let first = broker.beat(both);
    assert_eq!((first.member_epoch, first.assignment), (1, Some(t(&[0, 1, 2, 3]))));
    // Nothing more before the answer, and one search at a time.
    let searches = broker.machine.take_searches();
    assert_eq!(searches.len(), 1);
    assert_eq!(broker.beat(beats("a", 1, &t(&[0, 1, 2, 3]))).assignment, None);
    assert_eq!(broker.search(), 0);
    for search in searches {
        broker.find(search);
    }
    assert_eq!(broker.state(), GroupState::Assigning);
    let second = broker.beat(beats("a", 1, &t(&[0, 1, 2, 3])));
    assert_eq!((second.member_epoch, second.assignment), (2, Some(everything(&[("t", 4), ("u", 2)]))));
}

#[test]
fn a_pattern_stands_for_the_topics_that_match_it_whole() {
    let mut broker = broker();
    broker.machine.see_topics(some_topics(&[("flights", 1), ("flights-late", 2), ("late", 1)]));
    broker.beat(regex_joins("a", "flights.*"));
    broker.search();
    let answer = broker.beat(beats("a", 1, &t(&[])));
    assert_eq!(answer.assignment, Some(everything(&[("flights", 1), ("flights-late", 2)])));
    // Another pattern of the same group waits until the first has been known for a while.
    assert_eq!(broker.beat(regex_joins("b", "late|x")).assignment, Some(t(&[])));
    assert_eq!(broker.search(), 0);
    broker.wait(SEARCH_INTERVAL_MS + 1);
    broker.beat(beats("b", 3, &t(&[])));
    assert_eq!(broker.search(), 1);
    let other = broker.beat(beats("b", 3, &t(&[])));
    assert_eq!(other.assignment, Some(everything(&[("late", 1)])));
}

#[test]
fn topics_that_come_are_searched_at_most_every_ten_seconds() {
    let (mut broker, held) = member_by_pattern();
    let with = |more: &[(&str, i32)]| some_topics(&[&[("t", 4), ("u", 2)], more].concat());
    broker.machine.see_topics(with(&[("t2", 1)]));
    broker.wait(SEARCH_INTERVAL_MS);
    assert_eq!(broker.beat(beats("a", 2, &held)).member_epoch, 2);
    assert_eq!(broker.search(), 0, "not yet");
    broker.machine.see_topics(with(&[("t2", 1), ("t3", 1)]));
    broker.wait(1);
    broker.beat(beats("a", 2, &held));
    assert_eq!(broker.search(), 1);
    let answer = broker.beat(beats("a", 2, &held));
    let all = everything(&[("t", 4), ("t2", 1), ("t3", 1)]);
    assert_eq!((answer.member_epoch, answer.assignment), (3, Some(all.clone())), "both at once");
    // Nothing has come since: nothing is searched, however long that is.
    broker.wait(SEARCH_INTERVAL_MS * 2);
    broker.beat(beats("a", 3, &all));
    assert_eq!(broker.search(), 0);
    // What comes and does not match is searched, and changes nothing.
    broker.machine.see_topics(with(&[("t2", 1), ("t3", 1), ("v", 9)]));
    broker.beat(beats("a", 3, &all));
    let records = broker.log.len();
    assert_eq!(broker.search(), 1);
    assert_eq!(broker.log.len(), records);
}

#[test]
fn a_topic_that_goes_or_grows_needs_no_search() {
    let mut broker = broker();
    broker.beat(regex_joins("a", "[tu]"));
    broker.search();
    let mut held = broker.beat(beats("a", 1, &t(&[]))).assignment.unwrap();
    broker.machine.see_topics(some_topics(&[("t", 6)]));
    held = broker.beat(beats("a", 2, &held)).assignment.unwrap();
    assert_eq!(held, t(&[0, 1, 2, 3]), "gives up first");
    let answer = broker.beat(beats("a", 2, &held));
    assert_eq!((answer.member_epoch, answer.assignment), (3, Some(t(&[0, 1, 2, 3, 4, 5]))));
    assert_eq!(broker.search(), 0);
    // The search that comes later finds that it is gone, which everybody knows.
    broker.wait(SEARCH_INTERVAL_MS + 1);
    broker.beat(beats("a", 3, &t(&[0, 1, 2, 3, 4, 5])));
    assert_eq!(broker.search(), 1);
    assert_eq!(regexes(&broker), [("[tu]".into(), vec!["t".into()])]);
    assert_eq!(broker.beat(beats("a", 3, &t(&[0, 1, 2, 3, 4, 5]))).member_epoch, 3);
}

#[test]
fn topics_that_come_during_a_search_are_searched_by_the_next() {
    let mut broker = broker();
    broker.beat(regex_joins("a", "t.*"));
    let searches = broker.machine.take_searches();
    broker.machine.see_topics(some_topics(&[("t", 4), ("t2", 1)]));
    for search in searches {
        broker.find(search);
    }
    assert_eq!(broker.beat(beats("a", 1, &t(&[]))).assignment, Some(t(&[0, 1, 2, 3])));
    broker.wait(SEARCH_INTERVAL_MS + 1);
    broker.beat(beats("a", 2, &t(&[0, 1, 2, 3])));
    assert_eq!(broker.search(), 1);
    assert_eq!(regexes(&broker), [("t.*".into(), vec!["t".into(), "t2".into()])]);
}

#[test]
fn another_pattern_changes_nothing_before_it_is_known() {
    let (mut broker, held) = member_by_pattern();
    let other = |regex: &str| ConsumerHeartbeat { topic_regex: Some(regex.into()), ..beats("a", 2, &held) };
    assert_eq!(broker.beat(other("[tu]")).assignment, None, "it reads on");
    assert_eq!(regexes(&broker), [], "nobody uses the old one");
    assert_eq!(broker.search(), 1, "a group without known patterns does not wait");
    let answer = broker.beat(beats("a", 2, &held));
    assert_eq!((answer.member_epoch, answer.assignment), (3, Some(everything(&[("t", 4), ("u", 2)]))));
}

#[test]
fn another_pattern_that_stands_for_nothing_takes_everything() {
    let (mut broker, held) = member_by_pattern();
    broker.beat(joins("b"));
    let told = broker.beat(beats("a", 2, &held)).assignment.unwrap();
    broker.beat(beats("a", 2, &told));
    broker.beat(ConsumerHeartbeat { topic_regex: Some("nothing".into()), ..beats("a", 3, &told) });
    assert_eq!(broker.search(), 1);
    assert_eq!(broker.beat(beats("a", 3, &told)).assignment, Some(t(&[])), "though b still reads that topic");
}

#[test]
fn a_pattern_that_is_known_holds_at_once() {
    let (mut broker, held) = member_by_pattern();
    assert_eq!(broker.beat(regex_joins("b", "t.*")).member_epoch, 3);
    let told = broker.beat(beats("a", 2, &held)).assignment.unwrap();
    assert_eq!((told.len(), broker.search()), (2, 0));
}

#[test]
fn what_is_found_too_late_is_let_go() {
    let mut broker = broker();
    broker.beat(regex_joins("a", "t.*"));
    let searches = broker.machine.take_searches();
    broker.beat(beats("a", -1, &t(&[])));
    let records = broker.log.len();
    for search in searches.clone() {
        broker.find(search);
    }
    assert_eq!(broker.log.len(), records, "the group is empty");
    broker.wait(Settings::default().expiry_check_interval_ms);
    assert_eq!(broker.describe().error, ErrorCode::GROUP_ID_NOT_FOUND);
    for search in searches {
        broker.find(search);
    }
    assert_eq!(broker.describe().error, ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn a_machine_that_was_loaded_again_searches_once_and_takes_the_old_ones_answer() {
    let mut broker = broker();
    broker.beat(regex_joins("a", "t.*"));
    let lost = broker.machine.take_searches();
    broker.restart(&[("t", 4), ("u", 2)]);
    // Of other topics, for all it knows.
    for search in lost {
        broker.find(search);
    }
    assert_eq!(broker.beat(beats("a", 1, &t(&[]))).assignment, Some(t(&[0, 1, 2, 3])));
    assert_eq!(broker.search(), 0);
    broker.wait(SEARCH_INTERVAL_MS + 1);
    broker.beat(beats("a", 2, &t(&[0, 1, 2, 3])));
    assert_eq!(broker.search(), 1);
    broker.restart(&[("t", 4), ("t2", 1)]);
    // The log says when it was found last.
    broker.wait(SEARCH_INTERVAL_MS + 1);
    broker.beat(beats("a", 2, &t(&[0, 1, 2, 3])));
    assert_eq!(broker.search(), 1, "topics may have come while nobody looked");
    assert_eq!(broker.beat(beats("a", 2, &t(&[0, 1, 2, 3]))).assignment.unwrap().len(), 5);
}

#[test]
fn a_clock_that_was_set_back_holds_no_search_up() {
    let (mut broker, held) = member_by_pattern();
    broker.now -= 500_000;
    broker.machine.see_topics(some_topics(&[("t", 4), ("t2", 1)]));
    broker.beat(beats("a", 2, &held));
    assert_eq!(broker.search(), 1);
}

#[test]
fn a_pattern_goes_with_the_last_who_uses_it() {
    let (mut broker, held) = member_by_pattern();
    let names = ConsumerHeartbeat {
        topic_names: Some(vec!["t".into()]),
        topic_regex: Some("".into()),
        ..beats("a", 2, &held)
    };
    assert_eq!(broker.beat(names).error, ErrorCode::NONE);
    assert_eq!(regexes(&broker), []);
    assert_eq!(broker.describe().members[0].member.topic_regex, None);
    broker.beat(regex_joins("b", "u"));
    broker.search();
    assert_eq!(regexes(&broker).len(), 1);
    broker.beat(beats("b", -1, &t(&[])));
    assert_eq!(regexes(&broker), [], "it left");
}
