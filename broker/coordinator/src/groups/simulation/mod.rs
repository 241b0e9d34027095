//! Groups in simulated time: members that come, go, fall silent and come back; messages that are late, lost
//! or repeated; frames that are rejected; crashes that lose what was not yet durable. After every step the
//! [invariants] are checked, and at the end, when nothing fails any more, everybody must be in its group.

mod client;
mod invariants;
mod log;
mod model;
mod world;

use world::{Planted, Run};

/// Enough for every rare thing to have happened; a test below counts them.
const SEEDS: u64 = 1_500;

#[test]
fn invariants_hold_for_every_seed() {
    for seed in 0..SEEDS {
        if let Err(violation) = Run::of(seed).finish() {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2, 3] {
        let traces = [(); 2].map(|()| Run::of(seed).finish().unwrap().trace);
        assert_eq!(traces[0], traces[1]);
    }
    assert_ne!(Run::of(1).finish().unwrap().trace, Run::of(2).finish().unwrap().trace);
}

/// A simulation that never got to the rare cases would prove nothing.
#[test]
fn the_rare_things_happen() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..60 {
        for (what, times) in Run::of(seed).finish().unwrap().seen {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    for what in [
        "Join FENCED_INSTANCE_ID",
        "Join INCONSISTENT_GROUP_PROTOCOL",
        "Join MEMBER_ID_REQUIRED",
        "Join REBALANCE_IN_PROGRESS",
        "Join UNKNOWN_MEMBER_ID",
        "Join skip assignment",
        "Sync FENCED_INSTANCE_ID",
        "Sync ILLEGAL_GENERATION",
        "Sync REBALANCE_IN_PROGRESS",
        "Sync UNKNOWN_MEMBER_ID",
        "Heartbeat ILLEGAL_GENERATION",
        "Heartbeat REBALANCE_IN_PROGRESS",
        "Commit ILLEGAL_GENERATION",
        "Commit NONE",
        "Commit REBALANCE_IN_PROGRESS",
        "Commit UNKNOWN_MEMBER_ID",
        "Fetch UNSTABLE_OFFSET_COMMIT",
        "Delete NONE",
        "Delete NON_EMPTY_GROUP",
        "Own NONE",
        "crash that lost frames",
        "crash with parked requests",
        "marker abort",
        "marker commit",
        "rejected frame",
        "session deadline",
    ] {
        assert!(seen.contains_key(what), "{what} never happened; seen: {seen:#?}");
    }
}

/// The checks are worth what they catch.
#[test]
fn planted_bugs_are_caught() {
    for (planted, caught_by) in [
        (Planted::LostReply, "parked"),
        (Planted::RepeatedReply, "answered twice"),
        (Planted::LostRecord, "promised"),
        (Planted::UnrecordedChange, "replay"),
        (Planted::WrongLeader, "leader"),
        (Planted::ForgottenDeadline, "deadline"),
        (Planted::MarkerOfAnother, "offsets"),
    ] {
        let caught = (0..200).find_map(|seed| Run::with(seed, planted).finish().err());
        let violation = caught.unwrap_or_else(|| panic!("{planted:?} was not caught"));
        assert!(violation.contains(caught_by), "{planted:?} was caught by another check: {violation}");
    }
}
