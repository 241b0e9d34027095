//! One pipeline's thread: cut, read, step, commit, again.
//!
//! The next epoch is computed while the last one is on its way to the disk; what is shown is always durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logmill_stream::{
    CommitError, EpochLimits, EpochLoop, Pace, Plan, Rejected, TopicPartition, Turn, TurnError,
};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::control::{Control, InputEnds};
use super::events::{EventKind, Events};
use super::failure::{Failure, RunError, failure};
use super::logs::{BrokerLogs, Patience, Written};
use super::meter::Phase;
use super::restoring::check_budget;
use super::shown::{Durable, Shown};
use super::snapshots::{Cut, Keeper};
use super::status::PipelineState;
use crate::clock::Clock;
use crate::partitions::DataWait;
use crate::topics::Topics;

/// Without news a runner looks around this often (a source topic may have been deleted, or got partitions).
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// How long a runner waits before it tries again what was refused for want of room.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How often what the operators hold is counted.
const COUNT_EVERY: Duration = Duration::from_millis(250);

/// An epoch that takes longer is told of, but not more than one in so long.
const SLOW_EPOCH: Duration = Duration::from_secs(1);
const SLOW_EPOCHS_EVERY: Duration = Duration::from_secs(10);

/// Rejected records are told of again after a time without.
const REJECTING_ANEW: Duration = Duration::from_secs(60);

/// Waits while an epoch cannot be committed, until there is an order to stop, and shows why.
pub(super) fn patience(
    control: Control,
    shown: Shown,
    events: Events,
    clock: Clock,
    runtime: Handle,
) -> Patience {
    Box::new(move |reason| {
        let why = Failure {
            at_ms: clock.now_ms(),
            what: format!("an epoch cannot be committed now: {reason}"),
            position: None,
            remedy:
                "Free space, or let topics keep less; it goes on by itself, and nothing is lost or doubled"
                    .to_owned(),
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
    pub(super) keeper: Keeper,
    pub(super) control: Control,
    pub(super) shown: Shown,
    pub(super) events: Events,
    pub(super) limits: EpochLimits,
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

/// An epoch that is sequenced and not durable yet.
struct InFlight {
    ticket: oneshot::Receiver<()>,
    durable: Durable,
    written: Written,
    began: Duration,
    computed: Duration,
}

/// What a runner remembers over its attempts.
struct Course {
    pace: Pace,
    counted: Option<Duration>,
    told_slow: Option<Duration>,
    told_rejecting: Option<Duration>,
}

impl Runner {
    /// Runs until the input is finished, an order to stop comes, or an error that must not be passed over.
    pub(super) fn run(mut self) {
        lower_priority();
        let _unless_it_ends = FailedByPanic(self.shown.clone(), self.events.clone(), self.clock.clone());
        self.shown.begin(self.clock.steady());
        let mut course =
            Course { pace: Pace::default(), counted: None, told_slow: None, told_rejecting: None };
        let ended = loop {
            match self.run_once(&mut course) {
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
                        "an epoch came out with {bytes} bytes, and a frame may have {limit}: those to come take less in"
                    ),
                );
            }
            RunError::Repartitioned => {
                self.say(EventKind::Changed, "a source has got partitions, which are read from here on");
            }
            // It was not waited for any longer: there is an order to stop.
            RunError::Turn(TurnError::Commit(CommitError::Unavailable { .. })) => {}
            RunError::OverBudget { bytes, .. } => {
                self.shown.block(failure(&error, self.now()), &self.events);
                self.wait_for_memory(bytes);
            }
            error => return Some(PipelineState::Failed(failure(&error, self.now()))),
        }
        self.control.is_stopping().then_some(PipelineState::Stopped)
    }

    fn run_once(&mut self, course: &mut Course) -> Result<PipelineState, RunError> {
        let began = self.clock.steady();
        let pipeline = self.restore()?;
        let restored = self.clock.steady().saturating_sub(began);
        if pipeline.epoch() > 0 && !self.is_blocked() {
            self.say(
                EventKind::Restored,
                format!(
                    "at epoch {}, {} entries and {} bytes of state, in {} ms",
                    pipeline.epoch(),
                    pipeline.state_entries(),
                    pipeline.state_bytes(),
                    restored.as_millis()
                ),
            );
        }
        let mut epochs = EpochLoop::new(pipeline, self.limits).with_pace(course.pace);
        if !self.is_blocked() {
            self.shown.set_state(PipelineState::Running);
        }
        let mut in_flight: Option<InFlight> = None;
        let ended = self.turns(&mut epochs, &mut in_flight, course);
        // However it ends: what was accepted is waited for, and shown.
        let settled = self.settle(in_flight, course);
        let ended = ended?;
        settled?;
        self.shown.set_sizes(epochs.pipeline().operator_sizes());
        Ok(ended)
    }

    fn turns(
        &mut self,
        epochs: &mut EpochLoop,
        in_flight: &mut Option<InFlight>,
        course: &mut Course,
    ) -> Result<PipelineState, RunError> {
        let partitions = epochs.pipeline().spec().inputs.len();
        let ended = loop {
            // Windows that are given in part are given to their end: whatever takes the pipeline up finds whole ones.
            if self.control.is_stopping() && !epochs.pipeline().emission_pending() {
                break PipelineState::Stopped;
            }
            // Registered before the sources are looked at: what is published meanwhile ends the wait at once.
            let sources = self.sources()?;
            let ends = self.control.ends().map(|ends| flat(&ends));
            if sources.len() != partitions || ends.as_ref().is_some_and(|ends| ends.len() != partitions) {
                return Err(RunError::Repartitioned);
            }
            if let Some(ends) = ends {
                epochs.declare_ends(ends)?;
            }
            let news = DataWait::register(sources);
            let began = self.clock.steady();
            self.shown.enter(Phase::Computing, began);
            match epochs.turn(&mut self.logs, self.clock.now_ms(), self.clock.now_ms().unsigned_abs()) {
                Ok(Turn::Finished) => break PipelineState::Finished,
                Ok(Turn::Committed { progress, ticket }) => {
                    let computed = self.clock.steady();
                    self.unblock();
                    let pipeline = epochs.pipeline();
                    let counts = course.counted.is_none_or(|at| computed.saturating_sub(at) >= COUNT_EVERY);
                    if counts {
                        course.counted = Some(computed);
                    }
                    let durable = Durable {
                        progress: *progress,
                        open_windows: pipeline.open_windows(),
                        sizes: counts.then(|| pipeline.operator_sizes()),
                        rejected: pipeline.last_rejected().cloned(),
                    };
                    let written = self.logs.written();
                    let before = in_flight.replace(InFlight { ticket, durable, written, began, computed });
                    self.settle(before, course)?;
                    self.check_budget(epochs, in_flight, course)?;
                    course.pace = epochs.pace();
                }
                Ok(Turn::Idle) => {
                    self.unblock();
                    self.settle(in_flight.take(), course)?;
                    if course.counted.take().is_some() {
                        self.shown.set_sizes(epochs.pipeline().operator_sizes());
                    }
                    self.shown.enter(Phase::WaitingForInput, self.clock.steady());
                    // Processing time and idleness come without news.
                    let due = epochs.wake_at().map(|at| at.saturating_sub(self.clock.now_ms()).max(10));
                    let wait =
                        due.map_or(IDLE_LOOK, |ms| IDLE_LOOK.min(Duration::from_millis(ms.unsigned_abs())));
                    let control = &self.control;
                    self.runtime.block_on(async {
                        tokio::select! {
                            _ = news.published(wait) => {}
                            () = control.changed() => {}
                        }
                    });
                }
                Err(error) => {
                    if let TurnError::Commit(CommitError::TooLarge { bytes, limit, .. }) = error
                        && epochs.shrink()
                    {
                        course.pace = epochs.pace();
                        return Err(RunError::TooLarge { bytes, limit });
                    }
                    return Err(error.into());
                }
            }
        };
        Ok(ended)
    }

    /// Holds the pipeline while its state is over its budget. The state stays where it is.
    fn check_budget(
        &mut self,
        epochs: &EpochLoop,
        in_flight: &mut Option<InFlight>,
        course: &mut Course,
    ) -> Result<(), RunError> {
        let pipeline = epochs.pipeline();
        let bytes = pipeline.state_bytes();
        if let Err(error) = check_budget(self.control.memory(), bytes, || pipeline.operator_sizes()) {
            self.settle(in_flight.take(), course)?;
            self.shown.set_sizes(pipeline.operator_sizes());
            self.shown.block(failure(&error, self.now()), &self.events);
            self.wait_for_memory(bytes);
            if !self.control.is_stopping() {
                self.unblock();
            }
        }
        Ok(())
    }

    /// Waits until the budget is as large as the state, or an order to stop comes.
    fn wait_for_memory(&self, bytes: u64) {
        self.shown.enter(Phase::WaitingForInput, self.clock.steady());
        while !self.control.is_stopping() && self.control.memory() < bytes {
            self.runtime.block_on(self.control.changed());
        }
    }

    /// Waits until the epoch is durable, and shows it.
    fn settle(&mut self, in_flight: Option<InFlight>, course: &mut Course) -> Result<(), RunError> {
        let Some(epoch) = in_flight else { return Ok(()) };
        self.shown.enter(Phase::WaitingForDisk, self.clock.steady());
        if !self.logs.wait_unless_stopped(epoch.ticket)? {
            return Err(RunError::Stopped);
        }
        let now = self.clock.steady();
        let took = now.saturating_sub(epoch.began);
        let number = epoch.durable.progress.epoch;
        let counters = epoch.durable.progress.counters;
        let rejected = epoch.durable.rejected.clone();
        let Written { progress_offset, changelog_end, log_bytes } = epoch.written;
        let progress = epoch.durable.progress.clone();
        self.keeper.committed(Cut { progress, progress_offset, changelog_end }, log_bytes);
        self.shown.set_durable(epoch.durable, Some(took));
        self.shown.enter(Phase::Computing, now);
        let is_due = |told: Option<Duration>, pause| told.is_none_or(|at| now.saturating_sub(at) >= pause);
        if took >= SLOW_EPOCH && is_due(course.told_slow, SLOW_EPOCHS_EVERY) {
            course.told_slow = Some(now);
            self.say(
                EventKind::SlowEpoch,
                format!(
                    "epoch {number} with {} records took {} ms, {} of them to compute",
                    counters.read,
                    took.as_millis(),
                    epoch.computed.saturating_sub(epoch.began).as_millis()
                ),
            );
        }
        if let Some(rejected) = rejected.filter(|_| counters.skipped + counters.dead_lettered > 0) {
            if is_due(course.told_rejecting, REJECTING_ANEW) {
                self.say(EventKind::Rejecting, rejecting(&rejected));
            }
            course.told_rejecting = Some(now);
        }
        Ok(())
    }

    fn is_blocked(&self) -> bool {
        matches!(self.shown.state(), PipelineState::Blocked(_))
    }

    fn unblock(&self) {
        if self.is_blocked() {
            self.shown.set_state(PipelineState::Running);
            self.say(EventKind::Unblocked, "it goes on");
        }
    }

    pub(super) fn say(&self, kind: EventKind, text: impl Into<String>) {
        self.events.say(self.now(), kind, text);
    }

    fn now(&self) -> i64 {
        self.clock.now_ms()
    }
}

fn rejecting(rejected: &Rejected) -> String {
    let Rejected { partition, offset, error, dead_letter } = rejected;
    let becomes = match dead_letter {
        Some(topic) => format!("goes to {topic}"),
        None => "is skipped".to_owned(),
    };
    format!("the record at {partition}, offset {offset} {becomes}: it {error}")
}

fn flat(ends: &InputEnds) -> BTreeMap<TopicPartition, i64> {
    ends.iter()
        .flat_map(|(topic, ends)| {
            (0..)
                .zip(ends)
                .map(move |(partition, end)| (TopicPartition::new(topic.as_str(), partition), *end))
        })
        .collect()
}

/// Pipelines yield to the broker's own work: on Linux priority is each thread's own.
pub(super) fn lower_priority() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(5)
    {
        tracing::debug!(%error, "a pipeline keeps its priority");
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
