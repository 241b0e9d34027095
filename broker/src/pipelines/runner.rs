//! One pipeline's thread: cut, read, step, commit, again.
//!
//! The next epoch is computed while the last one is on its way to the disk; what is shown is always durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logmill_storage::{Isolation, ReadRequest};
use logmill_stream::{
    CommitError, DeclareEndError, EpochLimits, EpochLoop, InputPartition, Logs, LogsError, Pipeline,
    PipelineSpec, Plan, Progress, TopicPartition, Turn, TurnError,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::control::{Control, InputEnds};
use super::logs::BrokerLogs;
use super::status::PipelineState;
use crate::clock::Clock;
use crate::partitions::{DataWait, Partition};
use crate::topics::Topics;

/// How much of the changelog is read at a time, and the most a batch of it may unpack to.
const READ_BYTES: usize = 4 << 20;

/// Without news a runner looks around this often (a source topic may have been deleted).
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// How long a runner waits before it tries again what was refused for want of room.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What is shown of the runner; shared with the manager.
#[derive(Clone)]
pub(super) struct Shown(Arc<Mutex<Showing>>);

struct Showing {
    state: PipelineState,
    progress: Option<Progress>,
    open_windows: u64,
}

impl Shown {
    pub(super) fn new(state: PipelineState) -> Self {
        Self(Arc::new(Mutex::new(Showing { state, progress: None, open_windows: 0 })))
    }

    pub(super) fn state(&self) -> PipelineState {
        self.0.lock().state.clone()
    }

    pub(super) fn set_state(&self, state: PipelineState) {
        self.0.lock().state = state;
    }

    pub(super) fn get(&self) -> (PipelineState, Option<Progress>, u64) {
        let shown = self.0.lock();
        (shown.state.clone(), shown.progress.clone(), shown.open_windows)
    }

    fn set_progress(&self, progress: Progress, open_windows: u64) {
        let mut shown = self.0.lock();
        shown.progress = Some(progress);
        shown.open_windows = open_windows;
    }
}

/// Everything one run of a pipeline needs.
pub(super) struct Runner {
    pub(super) name: String,
    pub(super) generation: u32,
    pub(super) plan: Arc<Plan>,
    pub(super) topics: Topics,
    pub(super) logs: BrokerLogs,
    pub(super) changelog: Partition,
    pub(super) progress: Partition,
    pub(super) control: Control,
    pub(super) shown: Shown,
    pub(super) limits: EpochLimits,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
}

/// Shows a run that ended with a panic as failed; dropped with its thread.
struct FailedByPanic(Shown);

impl Drop for FailedByPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error =
                "the pipeline met a defect of the broker: see its log; running it again goes on".to_owned();
            self.0.set_state(PipelineState::Failed { error });
        }
    }
}

/// Why a run ended before its input did.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error(transparent)]
    Turn(#[from] TurnError),
    #[error(transparent)]
    End(#[from] DeclareEndError),
    #[error("the state cannot be restored: {0}")]
    Restore(String),
}

/// An epoch that is sequenced and not durable yet.
struct InFlight {
    ticket: oneshot::Receiver<()>,
    progress: Progress,
    open_windows: u64,
}

impl Runner {
    /// Runs until the input is finished, an order to stop comes, or an error that must not be passed over.
    pub(super) fn run(mut self) {
        lower_priority();
        let shown = self.shown.clone();
        let _unless_it_ends = FailedByPanic(shown.clone());
        let name = self.name.clone();
        let ended = loop {
            match self.run_once() {
                Err(RunError::Turn(TurnError::Commit(error @ CommitError::Refused { .. }))) => {
                    // Nothing of the epoch happened. A full disk gets room again: build the state anew, go on.
                    tracing::warn!(pipeline = name, %error, "an epoch was refused; trying again");
                    self.runtime.block_on(async {
                        // The pause is over early when an order comes.
                        let _ = tokio::time::timeout(REFUSED_PAUSE, self.control.changed()).await;
                    });
                    if self.control.is_stopping() {
                        break PipelineState::Stopped;
                    }
                }
                Err(error) => {
                    tracing::error!(pipeline = name, %error, "a pipeline failed");
                    break PipelineState::Failed { error: error.to_string() };
                }
                Ok(state) => break state,
            }
        };
        tracing::info!(pipeline = name, state = ?ended, "a pipeline's run ended");
        shown.set_state(ended);
    }

    fn run_once(&mut self) -> Result<PipelineState, RunError> {
        let pipeline = self.restore()?;
        let mut epochs = EpochLoop::new(pipeline, self.limits);
        let mut in_flight: Option<InFlight> = None;
        let ended = loop {
            if self.control.is_stopping() {
                break PipelineState::Stopped;
            }
            if let Some(ends) = self.control.ends() {
                epochs.declare_ends(flat(&ends))?;
            }
            // Registered before the sources are looked at: what is published meanwhile ends the wait at once.
            let news = DataWait::register(self.sources()?);
            match epochs.turn(&mut self.logs, self.clock.now_ms(), self.clock.now_ms().unsigned_abs()) {
                Ok(Turn::Finished) => break PipelineState::Finished,
                Ok(Turn::Committed { progress, ticket }) => {
                    let open_windows = epochs.pipeline().open_windows();
                    let before = in_flight.replace(InFlight { ticket, progress: *progress, open_windows });
                    self.settle(before)?;
                }
                Ok(Turn::Idle) => {
                    self.settle(in_flight.take())?;
                    let control = &self.control;
                    self.runtime.block_on(async {
                        tokio::select! {
                            _ = news.published(IDLE_LOOK) => {}
                            () = control.changed() => {}
                        }
                    });
                }
                Err(error) => {
                    // What was committed before stays committed, and is shown.
                    self.settle(in_flight.take())?;
                    return Err(error.into());
                }
            }
        };
        self.settle(in_flight)?;
        Ok(ended)
    }

    /// Waits until the epoch is durable, and shows it.
    fn settle(&mut self, in_flight: Option<InFlight>) -> Result<(), RunError> {
        if let Some(epoch) = in_flight {
            self.logs.wait(epoch.ticket)?;
            self.shown.set_progress(epoch.progress, epoch.open_windows);
        }
        Ok(())
    }

    fn sources(&self) -> Result<Vec<Partition>, RunError> {
        let mut partitions = Vec::new();
        for topic in self.plan.source_topics() {
            let found = self
                .topics
                .get(topic)
                .ok_or_else(|| LogsError::UnknownPartition { partition: TopicPartition::new(topic, 0) })?;
            partitions.extend(found.partitions.iter().cloned());
        }
        Ok(partitions)
    }

    /// Builds the machine from the last progress record and the changelog.
    fn restore(&mut self) -> Result<Pipeline, RunError> {
        let mut last = None;
        let end = for_each_batch(&self.progress, |batch| {
            for record in batch.records(READ_BYTES).map_err(|error| error.to_string())? {
                last = record.value;
            }
            Ok(())
        })
        .map_err(RunError::Restore)?;
        self.logs.go_on_from(end);
        let unreadable = |error: String| RunError::Restore(error);
        let progress = last
            .map(|value| Progress::decode(&value))
            .transpose()
            .map_err(|error| unreadable(error.to_string()))?;
        let mut restoring = Pipeline::restore((*self.plan).clone(), self.spec()?, progress.clone())
            .map_err(|error| unreadable(error.to_string()))?;
        for_each_batch(&self.changelog, |batch| restoring.apply(batch).map_err(|error| error.to_string()))
            .map_err(unreadable)?;
        let pipeline = restoring.finish();
        if let Some(progress) = progress {
            self.shown.set_progress(progress, pipeline.open_windows());
        }
        Ok(pipeline)
    }

    fn spec(&self) -> Result<PipelineSpec, RunError> {
        let count = |topic: &str| {
            let partitions = self.topics.get(topic).map_or(0, |topic| topic.partitions.len());
            i32::try_from(partitions).unwrap_or(i32::MAX)
        };
        Ok(PipelineSpec {
            name: self.name.clone(),
            generation: self.generation,
            inputs: self
                .sources()?
                .iter()
                .map(|source| InputPartition {
                    partition: TopicPartition::new(source.topic_name(), source.index()),
                    start: source.published().log_start_offset,
                })
                .collect(),
            outputs: self
                .plan
                .sink_topics()
                .into_iter()
                .chain(self.plan.side_topics())
                .map(|topic| (topic.to_owned(), count(topic)))
                .collect(),
            shards: 1,
        })
    }
}

/// Hands over every batch of a log of the pipeline's own, oldest first. Gives the offset behind the last one.
fn for_each_batch(
    log: &Partition,
    mut take: impl FnMut(&logmill_record::Batch) -> Result<(), String>,
) -> Result<i64, String> {
    let mut offset = log.published().log_start_offset;
    let end = log.published().high_watermark;
    while offset < end {
        let request = ReadRequest {
            offset,
            max_bytes: READ_BYTES,
            isolation: Isolation::Uncommitted,
            min_one_batch: true,
        };
        let read = log.read(request).map_err(|error| format!("{log:?} at offset {offset}: {error}"))?;
        let before = offset;
        for chunk in read.chunks {
            for batch in logmill_record::batch::batches(chunk) {
                let batch = batch.map_err(|error| format!("{log:?} at offset {offset}: {error}"))?;
                take(&batch).map_err(|what| format!("{log:?} at offset {offset}: {what}"))?;
                offset = batch.header().next_offset();
            }
        }
        if offset == before {
            return Err(format!("{log:?} has a gap at offset {offset}"));
        }
    }
    Ok(offset)
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
fn lower_priority() {
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
        let shown = Shown::new(PipelineState::Running);
        let runs = shown.clone();
        let ended = std::thread::spawn(move || {
            let _unless_it_ends = FailedByPanic(runs);
            panic!("a defect");
        })
        .join();
        assert!(ended.is_err());
        assert!(matches!(shown.state(), PipelineState::Failed { .. }));
    }
}
