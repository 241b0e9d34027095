//! Consumer groups in simulated time: members that come, go, fall silent and come back under the same or
//! another id; requests and answers that are lost, late or repeated; topics that come, grow and go; strangers
//! of the classic protocol; crashes that lose what was not yet durable. After every step the [invariants]
//! are checked, and at the end, when nothing fails any more, every partition must be read by somebody.

mod invariants;
mod member;
mod world;

use world::{Planted, Weather, World};

const SEEDS: u64 = 60;

/// In order and at most once, as over a connection: then also what members believe is checked.
#[test]
fn nobody_reads_what_another_reads() {
    for seed in 0..SEEDS {
        if let Err(violation) = World::new(seed, Weather::InOrder, Planted::Nothing).run() {
            panic!("seed {seed}: {violation}");
        }
    }
}

/// With late and repeated requests, and strangers of the classic protocol.
#[test]
fn the_group_is_sound_whatever_comes() {
    for seed in 0..SEEDS {
        if let Err(violation) = World::new(seed, Weather::AnyOrder, Planted::Nothing).run() {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| World::new(seed, Weather::AnyOrder, Planted::Nothing).run().unwrap().trace;
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// A simulation that never got to the rare cases would prove nothing.
#[test]
fn the_rare_things_happen() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..40 {
        for weather in [Weather::InOrder, Weather::AnyOrder] {
            for (what, times) in World::new(seed, weather, Planted::Nothing).run().unwrap().seen {
                *seen.entry(what).or_insert(0) += times;
            }
        }
    }
    for what in [
        "FENCED_INSTANCE_ID",
        "FENCED_MEMBER_EPOCH",
        "GROUP_ID_NOT_FOUND",
        "UNKNOWN_MEMBER_ID",
        "UNRELEASED_INSTANCE_ID",
        "Unreleased",
        "Unrevoked",
        "became classic",
        "became a consumer group",
        "a search for known patterns",
        "a search of the machine before",
        "a search that found nothing new",
        "crash that lost records",
        "rebalance deadline",
        "session deadline",
    ] {
        assert!(seen.contains_key(what), "{what} never happened; seen: {seen:#?}");
    }
}

/// The checks are worth what they catch.
#[test]
fn planted_bugs_are_caught() {
    for (planted, caught_by) in [
        (Planted::GivenTwice, &["held twice"][..]),
        // Of a group's epoch it is also seen by what was decided in that epoch.
        (Planted::LostRecord, &["replay", "target epoch"]),
        (Planted::ForgottenSession, &["session"]),
        (Planted::ForgottenTopics, &["not read"]),
        (Planted::EarlyRelease, &["believes"]),
        (Planted::LostSearch, &["pattern"]),
    ] {
        let run = |seed| World::new(seed, Weather::InOrder, planted).run().err();
        let violation = (0..100).find_map(run).unwrap_or_else(|| panic!("{planted:?} was not caught"));
        let caught = caught_by.iter().any(|check| violation.contains(check));
        assert!(caught, "{planted:?} was caught by another check: {violation}");
    }
}
