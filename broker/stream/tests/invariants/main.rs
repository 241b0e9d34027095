//! What must hold of every run, whatever the input, the cuts and the crashes.
//!
//! Each invariant has a file. Its checker looks at what a run left behind and says what is wrong with it; it is run over
//! many runs of the engine, of which it must find nothing, and over runs with a deliberate bug, which it must find. Bugs
//! are in the logs a pipeline reads and commits to, or in its plan (`faults`).
//!
//! Those that are not of a run of the engine alone stand elsewhere, with their bugs:
//!
//! | invariant | where | its bug |
//! |---|---|---|
//! | I6, coordinators and delayed messages | `i06_fencing`; the broker's side `broker/src/pipelines/tests/` | logs that do not compare generations |
//! | I10 snapshots and spilt state are the state | `tests/engine/snapshots.rs`, `tests/engine/spill/` | an entry that a snapshot or a store has lost, or a store kept |
//! | I14 while state spills; what a restart reads | `src/pipeline/spill/tests.rs`, `tests/engine/spill/`; `broker/src/pipelines/tests/recovery.rs` | an operator that does not let go, one that does not count; no snapshots, no trimming |
//! | I11 upgrades give what a fresh run gives | `tests/engine/upgrades/` | state lost or taken as it was, a cut that is off by one |
//! | I13 isolation | `tests/tests/isolation.rs` of the workspace | a pipeline stepped where requests are served; state that counts for nothing |
//! | I16 damage is never passed over on disk | `storage/tests/simulation/`, `tests/tests/bit_flips.rs` | a journal whose flushes lie |
//!
//! | file | what holds |
//! |---|---|
//! | `i01_prefix_consistency` | after every epoch the output is the query over a prefix of the input |
//! | `i02_atomicity` | at any crash output, offsets, state, watermarks and counters are of one epoch |
//! | `i03_nothing_uncommitted` | nothing is read that is not committed, and no end goes back |
//! | `i04_no_loss_no_duplicate` | the output with crashes is the output without |
//! | `i05_invariance` | shards, their threads, key groups, partitions and cuts do not matter |
//! | `i06_fencing` | a stale generation commits nothing |
//! | `i07_conservation` | every record is accounted for, epoch by epoch |
//! | `i08_watermarks` | watermarks never go back, and never pass the slowest partition that is not idle; what wakes behind them is late |
//! | `i09_windows_close_once` | windows and sessions are given once, and leave nothing |
//! | `i12_retractions` | the sum of the changes is the table |
//! | `i14_bounded` | what is held is bounded, however slow the sink |
//! | `i15_replay` | the same cuts give the same bytes, on any number of shards, in turn or on threads |
//! | `i16_bit_flips` | a bit that flips in what a restart reads is seen, or changes nothing |
//! | `i17_overtaken` | what retention takes is never passed over, and compaction changes no table |

mod faults;
mod history;
mod i01_prefix_consistency;
mod i02_atomicity;
mod i03_nothing_uncommitted;
mod i04_no_loss_no_duplicate;
mod i05_invariance;
mod i06_fencing;
mod i07_conservation;
mod i08_watermarks;
mod i09_windows_close_once;
mod i12_retractions;
mod i14_bounded;
mod i15_replay;
mod i16_bit_flips;
mod i17_overtaken;
mod input;
mod queries;
#[path = "../support/mod.rs"]
mod support;

/// What is wrong with a run.
#[derive(Debug)]
struct Violation(String);

type Checked = Result<(), Violation>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation(what())) }
}

/// Two things that must be equal; `what` names the first of them.
fn ensure_equal<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T, what: &str) -> Checked {
    ensure(found == expected, || format!("{what}: {found:?}, expected {expected:?}"))
}

impl From<Violation> for proptest::test_runner::TestCaseError {
    fn from(Violation(what): Violation) -> Self {
        Self::fail(what)
    }
}

/// A run with a bug: its checker must find it, and say this of it.
#[track_caller]
fn found(checked: Checked, what: &str) {
    let Violation(said) = checked.expect_err("the checker does not see the bug");
    assert!(said.contains(what), "{said}");
}
