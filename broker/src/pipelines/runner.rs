//! One pipeline's thread: attempts to run it, until it ends or meets what must not be passed over.

use std::sync::Arc;
use std::time::Duration;

use logmill_config::ByteSize;
use logmill_stream::{CommitError, EpochLimits, Plan, TurnError};
use tokio::runtime::Handle;

use super::attempt::{Attempt, Course};
use super::control::Control;
use super::courtesy::Courtesy;
use super::events::{EventKind, Events};
use super::failure::{Failure, RunError, failure};
use super::logs::{BrokerLogs, Patience};
use super::meter::Phase;
use super::shown::Shown;
use super::snapshots::Keeper;
use super::spill::{Spill, store_error};
use super::status::PipelineState;
use crate::clock::Clock;
use crate::partitions::Partitions;
use crate::topics::Topics;

/// How long a runner waits before it tries again what was refused for want of room.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Waits while an epoch cannot be committed, until there is an order to stop, and shows why.
pub(super) fn patience(
    control: Control,
    shown: Shown,
    events: Events,
    clock: Clock,
    runtime: Handle,
) -> Patience {
    Box::new(move |obstacle| {
        let why = Failure {
            at_ms: clock.now_ms(),
            what: format!("an epoch cannot be committed now: {}", obstacle.what),
            position: None,
            remedy: obstacle.remedy.to_owned(),
        };
        shown.block(why, &events);
        runtime.block_on(async {
            // The pause is over early when an order comes.
            let _ = tokio::time::timeout(REFUSED_PAUSE, control.changed()).await;
        });
        !control.is_stopping()
    })
}

/// Everything one run of a pipeline needs.
pub(super) struct Runner {
    pub(super) name: String,
    pub(super) generation: u32,
    pub(super) plan: Arc<Plan>,
    pub(super) topics: Topics,
    pub(super) logs: BrokerLogs,
    pub(super) partitions: Partitions,
    pub(super) keeper: Keeper,
    pub(super) spill: Spill,
    pub(super) control: Control,
    pub(super) shown: Shown,
    pub(super) events: Events,
    pub(super) limits: EpochLimits,
    /// How many shards are computed at a time.
    pub(super) threads: u32,
    pub(super) courtesy: Courtesy,
    /// Room on the disk that is left to others.
    pub(super) disk_reserve: u64,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
}

/// Shows a run that ended with a panic as failed; dropped with its thread.
struct FailedByPanic(Shown, Events, Clock);

impl Drop for FailedByPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = Failure {
                at_ms: self.2.now_ms(),
                what: "the pipeline met a defect of the broker, which its log shows".to_owned(),
                position: None,
                remedy: "Running it again goes on where it stopped".to_owned(),
            };
            self.1.say(failure.at_ms, EventKind::Failed, failure.to_string());
            self.0.set_state(PipelineState::Failed(failure));
        }
    }
}

impl Runner {
    /// Runs until the input is finished, an order to stop comes, or an error that must not be passed over.
    pub(super) fn run(mut self) {
        work_in_background();
        let _unless_it_ends = FailedByPanic(self.shown.clone(), self.events.clone(), self.clock.clone());
        self.shown.begin(self.clock.steady());
        let mut course = Course::new();
        let ended = loop {
            match Attempt::begin(&mut self, &mut course).and_then(Attempt::run) {
                Ok(state) => break state,
                Err(RunError::Stopped) => break PipelineState::Stopped,
                Err(error) => {
                    if let Some(state) = self.recover(error) {
                        break state;
                    }
                }
            }
        };
        match &ended {
            PipelineState::Failed(failure) => self.say(EventKind::Failed, failure.to_string()),
            PipelineState::Finished => {
                self.say(EventKind::Finished, "its declared input is read, and every window is closed");
            }
            _ => self.say(EventKind::Stopped, "it goes on from here when it is run again"),
        }
        self.shown.set_state(ended);
    }

    /// What to do about an error: `None` to build the state anew and go on.
    fn recover(&mut self, error: RunError) -> Option<PipelineState> {
        match error {
            RunError::TooLarge { bytes, limit } => {
                self.say(
                    EventKind::Pace,
                    format!(
                        "an epoch came out with {bytes} bytes, and may have {limit}: those to come take less in"
                    ),
                );
            }
            RunError::Repartitioned => {
                self.say(EventKind::Changed, "a source has got partitions, which are read from here on");
            }
            // It is said when it is done.
            RunError::Rescaled => {}
            // It was not waited for any longer: there is an order to stop.
            RunError::Turn(TurnError::Commit(CommitError::Unavailable { .. })) => {}
            RunError::OverBudget { bytes, .. } => {
                self.shown.block(failure(&self.name, &error, self.now()), &self.events);
                self.wait_for_memory(bytes);
            }
            RunError::Spills { bytes, .. } => self.begin_to_spill(bytes),
            error if store_error(&error).is_some() => return self.recover_store(&error),
            error => return Some(PipelineState::Failed(failure(&self.name, &error, self.now()))),
        }
        self.control.is_stopping().then_some(PipelineState::Stopped)
    }

    /// Waits a moment before what failed is tried again, or until an order comes.
    pub(super) fn pause(&self) {
        self.shown.enter(Phase::WaitingForDisk, self.clock.steady());
        self.runtime.block_on(async {
            let _ = tokio::time::timeout(REFUSED_PAUSE, self.control.changed()).await;
        });
    }

    /// Waits until the budget is as large as the state, or an order to stop comes.
    pub(super) fn wait_for_memory(&self, bytes: u64) {
        self.shown.enter(Phase::WaitingForInput, self.clock.steady());
        while !self.control.is_stopping() && self.control.memory() < bytes {
            self.runtime.block_on(self.control.changed());
        }
    }

    /// Waits until there is some more room on the disk than is left to others, or until an order to stop comes. False
    /// when there was.
    pub(super) fn wait_for_disk(&self) -> bool {
        // Else it would wait again behind each epoch.
        let enough = self.disk_reserve.saturating_add(self.disk_reserve / 8);
        let mut waited = false;
        while !self.control.is_stopping()
            && self.has_less_room(if waited { enough } else { self.disk_reserve })
        {
            waited = true;
            let why = Failure {
                at_ms: self.now(),
                what: format!(
                    "the disk is nearly full: it has less room than the {} that pipelines leave to those who produce",
                    ByteSize::bytes(self.disk_reserve)
                ),
                position: None,
                remedy: "Free space, let topics keep less, or lower pipelines.disk_reserve; it goes on by itself, and \
                         nothing is lost or doubled"
                    .to_owned(),
            };
            self.shown.block(why, &self.events);
            self.pause();
        }
        waited
    }

    fn has_less_room(&self, bytes: u64) -> bool {
        bytes > 0 && self.partitions.store().free_bytes().is_some_and(|free| free < bytes)
    }

    /// Whether there is less room on the disk than is left to others.
    pub(super) fn is_short_of_disk(&self) -> bool {
        self.has_less_room(self.disk_reserve)
    }

    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.shown.state(), PipelineState::Blocked(_))
    }

    pub(super) fn unblock(&self) {
        if self.is_blocked() {
            self.shown.set_state(PipelineState::Running);
            self.say(EventKind::Unblocked, "it goes on");
        }
    }

    pub(super) fn say(&self, kind: EventKind, text: impl Into<String>) {
        self.events.say(self.now(), kind, text);
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now_ms()
    }
}

/// Pipelines yield to the broker's own work.
pub(super) fn work_in_background() {
    if let Err(error) = logmill_scheduling::work_in_background() {
        tracing::debug!(%error, "a pipeline's thread cannot tell the scheduler that it works in the background");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_panics_is_shown_as_failed() {
        let shown = Shown::new(PipelineState::Running, Duration::ZERO);
        let runs = (shown.clone(), Events::new("p"), Clock::manual(7));
        let events = runs.1.clone();
        let ended = std::thread::spawn(move || {
            let _unless_it_ends = FailedByPanic(runs.0, runs.1, runs.2);
            panic!("a defect");
        })
        .join();
        assert!(ended.is_err());
        assert!(matches!(shown.state(), PipelineState::Failed(Failure { at_ms: 7, .. })));
        assert_eq!(events.after(0)[0].kind, EventKind::Failed);
    }
}
