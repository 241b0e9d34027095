//! One pipeline's thread: cut, read, step, commit, again.
//!
//! The next epoch is computed while the last one is on its way to the disk; what is shown is always durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logmill_storage::{Isolation, ReadRequest};
use logmill_stream::{
    CommitError, Cut, EpochError, Input, Logs, LogsError, OffsetRange, Pipeline, Plan, Progress, TopicPartition,
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

/// How epochs are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunnerSettings {
    pub(super) epoch_bytes: usize,
    pub(super) epoch_records: usize,
    pub(super) emit_rows: u32,
}

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
    pub(super) settings: RunnerSettings,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
}

/// Why a run ended before its input did.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error(transparent)]
    Commit(#[from] CommitError),
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
        let name = self.name.clone();
        let ended = loop {
            match self.run_once() {
                Err(RunError::Commit(error @ CommitError::Refused { .. })) => {
                    // Nothing of the epoch happened. A full disk gets room again: build the state anew, go on.
                    tracing::warn!(pipeline = name, %error, "an epoch was refused; trying again");
                    self.runtime.block_on(async {
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
        let mut pipeline = self.restore()?;
        let mut in_flight: Option<InFlight> = None;
        let ended = loop {
            if pipeline.is_finished() {
                break PipelineState::Finished;
            }
            if self.control.is_stopping() {
                break PipelineState::Stopped;
            }
            // Registered before the sources are looked at: what is published meanwhile ends the wait at once.
            let news = DataWait::register(self.sources()?);
            let ends = self.control.ends().map(|ends| flat(&ends));
            let Some((cut, inputs)) = self.next_cut(&pipeline, ends)? else {
                self.settle(&mut in_flight)?;
                let control = &self.control;
                self.runtime.block_on(async {
                    tokio::select! {
                        _ = news.published(IDLE_LOOK) => {}
                        () = control.changed() => {}
                    }
                });
                continue;
            };
            drop(news);
            let epoch = match pipeline.step(cut, inputs) {
                Ok(epoch) => epoch,
                Err(EpochError::Poison { partition, offset, error }) => {
                    // Everything before the poison record is committed, then the pipeline stops at it.
                    self.settle(&mut in_flight)?;
                    if self.step_before(&mut pipeline, &partition, offset)? {
                        continue;
                    }
                    return Err(EpochError::Poison { partition, offset, error }.into());
                }
                Err(error) => return Err(error.into()),
            };
            self.commit(&pipeline, epoch, &mut in_flight)?;
        };
        self.settle(&mut in_flight)?;
        Ok(ended)
    }

    /// Sequences an epoch, then waits for the one before it.
    fn commit(
        &mut self,
        pipeline: &Pipeline,
        epoch: logmill_stream::EpochOutput,
        in_flight: &mut Option<InFlight>,
    ) -> Result<(), RunError> {
        let progress = epoch.progress.clone();
        let open_windows = pipeline.open_windows();
        let ticket = self.logs.commit(epoch)?;
        let before = in_flight.replace(InFlight { ticket, progress, open_windows });
        self.settle(&mut { before })
    }

    /// Waits until the epoch is durable, and shows it.
    fn settle(&mut self, in_flight: &mut Option<InFlight>) -> Result<(), RunError> {
        if let Some(epoch) = in_flight.take() {
            self.logs.wait(epoch.ticket)?;
            self.shown.set_progress(epoch.progress, epoch.open_windows);
        }
        Ok(())
    }

    /// Commits what stands before a poison record; `false` when nothing does.
    fn step_before(
        &mut self,
        pipeline: &mut Pipeline,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<bool, RunError> {
        let from = pipeline.position(partition);
        if offset <= from {
            return Ok(false);
        }
        let read = self.logs.read(partition, from, self.settings.epoch_bytes)?;
        let ranges = BTreeMap::from([(partition.clone(), OffsetRange { from, to: offset })]);
        let cut = self.cut(ranges, self.control.ends().map(|ends| flat(&ends)), pipeline.epoch());
        let input = Input { partition: partition.clone(), batches: read.batches, aborted: read.aborted };
        let epoch = pipeline.step(cut, vec![input])?;
        let mut in_flight = None;
        self.commit(pipeline, epoch, &mut in_flight)?;
        self.settle(&mut in_flight)?;
        Ok(true)
    }

    /// Decides what the next epoch covers and reads it; `None` when there is nothing to do.
    fn next_cut(
        &mut self,
        pipeline: &Pipeline,
        ends: Option<BTreeMap<TopicPartition, i64>>,
    ) -> Result<Option<(Cut, Vec<Input>)>, RunError> {
        let sources: Vec<TopicPartition> = self
            .sources()?
            .iter()
            .map(|partition| TopicPartition::new(partition.topic_name(), partition.index()))
            .collect();
        let mut waiting = Vec::new();
        for source in sources {
            let from = pipeline.position(&source);
            let readable = self.logs.readable_end(&source)?;
            let to = ends.as_ref().and_then(|ends| ends.get(&source)).map_or(readable, |end| readable.min(*end));
            if to > from {
                waiting.push((source, from, to));
            }
        }
        if waiting.is_empty() && !pipeline.has_work(ends.as_ref()) {
            return Ok(None);
        }
        // Every partition that has something gets its share, so that none runs far ahead of the others.
        let share = self.settings.epoch_bytes / waiting.len().max(1);
        let mut records_left = self.settings.epoch_records;
        let mut ranges = BTreeMap::new();
        let mut inputs = Vec::new();
        let count = waiting.len();
        for (nth, (source, from, bound)) in waiting.into_iter().enumerate() {
            let records = records_left / (count - nth);
            let read = self.logs.read(&source, from, share)?;
            let mut to = from;
            let mut taken = 0;
            let mut batches = Vec::with_capacity(read.batches.len());
            for batch in read.batches {
                let header = *batch.header();
                if header.base_offset >= bound || (taken >= records && taken > 0) {
                    break;
                }
                to = header.next_offset().min(bound);
                taken += usize::try_from(header.count).unwrap_or(0);
                batches.push(batch);
            }
            if to == from {
                // Nothing but what was aborted or compacted away stands before the bound.
                to = bound;
            }
            records_left = records_left.saturating_sub(taken);
            ranges.insert(source.clone(), OffsetRange { from, to });
            inputs.push(Input { partition: source, batches, aborted: read.aborted });
        }
        Ok(Some((self.cut(ranges, ends, pipeline.epoch()), inputs)))
    }

    fn cut(
        &self,
        ranges: BTreeMap<TopicPartition, OffsetRange>,
        ends: Option<BTreeMap<TopicPartition, i64>>,
        epoch: u64,
    ) -> Cut {
        Cut { ranges, now: self.clock.now_ms(), seed: epoch, emit_rows: self.settings.emit_rows, ends }
    }

    fn sources(&self) -> Result<Vec<Partition>, RunError> {
        let topic = &self.plan.source.topic;
        let found = self.topics.get(topic);
        Ok(found
            .ok_or_else(|| LogsError::UnknownPartition { partition: TopicPartition::new(topic.as_str(), 0) })?
            .partitions
            .clone())
    }

    /// Builds the machine from the last progress record and the changelog.
    fn restore(&mut self) -> Result<Pipeline, RunError> {
        let broken = |what: String| RunError::Restore(what);
        let mut last = None;
        for_each_batch(&self.progress, |batch| {
            for record in batch.records(READ_BYTES).map_err(|error| error.to_string())? {
                last = record.value;
            }
            Ok(())
        })
        .map_err(broken)?;
        let progress = last
            .map(|value| Progress::decode(&value))
            .transpose()
            .map_err(|error| RunError::Restore(error.to_string()))?;
        let partitions = |topic: &str| self.topics.get(topic).map_or(0, |topic| topic.partitions.len());
        let mut restoring = Pipeline::restore(
            Arc::clone(&self.plan),
            &self.name,
            self.generation,
            |topic| i32::try_from(partitions(topic)).unwrap_or(i32::MAX),
            progress.clone(),
        )
        .map_err(|error| RunError::Restore(error.to_string()))?;
        for_each_batch(&self.changelog, |batch| restoring.apply(batch).map_err(|error| error.to_string()))
            .map_err(broken)?;
        let pipeline = restoring.finish().map_err(|error| RunError::Restore(error.to_string()))?;
        if let Some(progress) = progress {
            self.shown.set_progress(progress, pipeline.open_windows());
        }
        Ok(pipeline)
    }
}

/// Hands over every batch of a log of the pipeline's own, oldest first.
fn for_each_batch(
    log: &Partition,
    mut take: impl FnMut(&logmill_record::Batch) -> Result<(), String>,
) -> Result<(), String> {
    let mut offset = log.published().log_start_offset;
    let end = log.published().high_watermark;
    while offset < end {
        let request =
            ReadRequest { offset, max_bytes: READ_BYTES, isolation: Isolation::Uncommitted, min_one_batch: true };
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
    Ok(())
}

fn flat(ends: &InputEnds) -> BTreeMap<TopicPartition, i64> {
    ends.iter()
        .flat_map(|(topic, ends)| {
            (0..).zip(ends).map(move |(partition, end)| (TopicPartition::new(topic.as_str(), partition), *end))
        })
        .collect()
}

/// Pipelines yield to the broker's own work: on Linux priority is each thread's own.
fn lower_priority() {
    if cfg!(target_os = "linux") {
        if let Err(error) = rustix::process::nice(5) {
            tracing::debug!(%error, "a pipeline keeps its priority");
        }
    }
}
