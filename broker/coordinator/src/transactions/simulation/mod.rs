//! Transactions in simulated time: producers of both transaction versions that share transactional ids, time
//! out, fence each other and come back as zombies; messages that are late, lost or repeated; epochs that run
//! out; logs that were left half done by another coordinator; rejected frames and crashes. After every step
//! the [ledger], which knows only records and answers, must find nothing wrong.

mod ledger;
mod producer;
mod world;

use world::{Planted, Run};

const SEEDS: u64 = 3_000;

#[test]
fn nothing_is_torn_lost_or_mixed_up_for_any_seed() {
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
    for seed in 0..200 {
        for (what, times) in Run::of(seed).finish().unwrap().seen {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    for what in [
        "Add INVALID_PRODUCER_ID_MAPPING",
        "Add NONE",
        "Add PRODUCER_FENCED",
        "Add TRANSACTION_ABORTABLE",
        "End INVALID_TXN_STATE",
        "End NONE",
        "End PRODUCER_FENCED",
        "End INVALID_PRODUCER_ID_MAPPING",
        "Init NONE",
        "Init PRODUCER_FENCED",
        "crash that lost frames",
        "imported half-ended transaction",
        "rejected frame",
        "rotated producer id",
        "timed out",
        "transaction aborted",
        "transaction committed",
    ] {
        assert!(seen.contains_key(what), "{what} never happened; seen: {seen:#?}");
    }
}

/// The checks are worth what they catch.
#[test]
fn planted_bugs_are_caught() {
    for (planted, caught_by) in [
        (Planted::LostMarker, "markers"),
        (Planted::RepeatedMarker, "markers"),
        (Planted::WrongOutcome, "markers"),
        (Planted::MarkerWithOldEpoch, "marker's epoch"),
        (Planted::LostReply, "answered"),
        (Planted::UnrecordedChange, "replay"),
        (Planted::EpochNotBumped, "granted"),
        (Planted::ZombieLetIn, "fenced"),
        (Planted::FalseCommit, "told"),
    ] {
        let caught = (0..300).find_map(|seed| Run::with(seed, planted).finish().err());
        let violation = caught.unwrap_or_else(|| panic!("{planted:?} was not caught"));
        assert!(violation.contains(caught_by), "{planted:?} was caught by another check: {violation}");
    }
}
