//! Runs, and looking at what each turn leaves behind.

use std::collections::BTreeMap;

use logmill_stream::{CommitError, EpochLimits, EpochLoop, Logs, Plan, Turn, TurnError};

use super::support::{MemoryLogs, restored};

/// Logs in memory, with or without a bug.
pub(crate) trait Kept: Logs<Ticket = ()> {
    fn memory(&self) -> &MemoryLogs;
}

impl Kept for MemoryLogs {
    fn memory(&self) -> &MemoryLogs {
        self
    }
}

/// How a pipeline is run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    pub(crate) limits: EpochLimits,
    /// The pipeline is restored after so many epochs; 0 is never.
    pub(crate) crash_every: u64,
}

impl How {
    /// An epoch for every record, and a row an epoch.
    pub(crate) fn small() -> How {
        let limits = EpochLimits { input_bytes: 1, input_records: 1, emit_rows: 1, ..EpochLimits::default() };
        How { limits, crash_every: 0 }
    }

    pub(crate) fn crashing(self, crash_every: u64) -> How {
        How { crash_every, ..self }
    }
}

/// Runs a pipeline over all of the input, which is declared finished, and restores it from the logs after a crash or a
/// commit that was refused. `look` sees the logs after every turn, and whether rows wait to be written.
pub(crate) fn run<L: Kept>(
    plan: &Plan,
    logs: &mut L,
    how: How,
    mut look: impl FnMut(&MemoryLogs, bool),
) -> Result<(), TurnError> {
    let topics = plan.source_topics();
    let ends: BTreeMap<_, _> = topics.into_iter().flat_map(|topic| logs.memory().ends(topic)).collect();
    for generation in 1.. {
        let mut epochs = EpochLoop::new(restored(plan, logs.memory(), generation), how.limits);
        epochs.declare_ends(ends.clone()).expect("the ends are the same each time");
        let mut left = how.crash_every;
        loop {
            let epoch = epochs.pipeline().epoch();
            let turn = epochs.turn(logs, 1_700_000_000_000 + epoch as i64, epoch);
            look(logs.memory(), epochs.pipeline().emission_pending());
            match turn {
                Ok(Turn::Finished) => return Ok(()),
                Ok(Turn::Idle) => panic!("a bounded run has always something to do"),
                Ok(Turn::Committed { .. }) => {}
                // What was computed and not committed never happened.
                Err(TurnError::Commit(CommitError::Refused { .. })) => break,
                Err(error) => return Err(error),
            }
            left = left.wrapping_sub(1);
            if left == 0 {
                break;
            }
        }
    }
    unreachable!("generations go on for ever");
}

/// Runs a pipeline, and does not look.
pub(crate) fn run_through(plan: &Plan, logs: &mut impl Kept, how: How) {
    run(plan, logs, how, |_, _| {}).unwrap_or_else(|error| panic!("{error}"));
}
