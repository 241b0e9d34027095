//! One task, on a thread of its own: become the owner, restore, and turn epochs.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use logmill_client::{Client, Error, Isolation, OffsetSpec, TransactionalProducer};
use logmill_stream::{
    EpochLimits, EpochLoop, InputPartition, KeyGroups, Logs, Pace, Pipeline, PipelineSpec, Plan, Progress,
    TopicPartition, Turn,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::commits::{Commits, Committed};
use crate::error::{Remedy, TaskError};
use crate::layout::Layout;
use crate::logs::ClusterLogs;
use crate::memory::{Memory, Part};
use crate::names::Names;
use crate::restore;

/// Without news a task looks around this often.
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// What all tasks of a worker have in common.
pub(crate) struct Common {
    pub(crate) client: Client,
    pub(crate) plan: Arc<Plan>,
    pub(crate) names: Names,
    pub(crate) limits: EpochLimits,
    pub(crate) memory: Arc<Memory>,
    pub(crate) interval: Duration,
    pub(crate) transaction_timeout: Duration,
    pub(crate) bounded: bool,
    pub(crate) runtime: Handle,
    /// The last committed epoch of each task.
    pub(crate) shown: Mutex<BTreeMap<i32, Progress>>,
    /// How large the epochs of each task were at last: it goes on in this way when it is restored.
    pub(crate) paces: Mutex<BTreeMap<i32, Pace>>,
}

/// How a task ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was told to.
    Stopped,
    /// Its input is finished.
    Finished,
    /// It met something.
    Failed(TaskError, Remedy),
}

/// One run of a task.
pub(crate) struct Task {
    pub(crate) number: i32,
    pub(crate) layout: Arc<Layout>,
    pub(crate) common: Arc<Common>,
    /// Turns true when the task is to end.
    pub(crate) stop: watch::Receiver<bool>,
}

/// An epoch that is on its way.
struct InFlight {
    ticket: Committed,
    progress: Progress,
}

impl Task {
    /// Runs until the input is finished, the task is to stop, or something fails. Blocks.
    pub(crate) fn run(mut self) -> Outcome {
        let producer = match self.unless_stopped(self.own()) {
            None => return Outcome::Stopped,
            Some(Ok(producer)) => producer,
            Some(Err(error)) => return failed(error.into(), None),
        };
        // From here on nobody else writes under this id, and all that ever was is decided.
        let memory = self.common.memory.part_of(self.number);
        let pipeline = match self.unless_stopped(self.restore(&memory)) {
            None => return Outcome::Stopped,
            Some(Ok(pipeline)) => pipeline,
            Some(Err(error)) => return failed(error, None),
        };
        let (reader, commits) = {
            let _entered = self.common.runtime.enter();
            let reader = self.common.client.batches().buffer_bytes(2 * self.common.limits.input_bytes);
            let reader = pipeline.positions().fold(reader, |reader, (partition, position)| {
                reader.partition(&partition.topic, partition.partition, position)
            });
            let reader =
                self.layout.ids.iter().fold(reader, |reader, (topic, id)| reader.topic_id(topic, *id));
            let commits = Commits::start(producer, self.common.names.clone(), self.number);
            (reader.start(), commits)
        };
        let runtime = self.common.runtime.clone();
        let mut logs = ClusterLogs::new(self.common.client.clone(), reader, commits, runtime);
        let mut epochs = EpochLoop::new(pipeline, self.common.limits).with_pace(self.pace());
        let ended = self.turn(&mut epochs, &mut logs, &memory);
        self.common.paces.lock().insert(self.number, epochs.pace());
        match ended {
            Ok(outcome) => outcome,
            Err(error) => failed(error, logs.met()),
        }
    }

    /// Waits, or comes back with `None` when the task is to stop.
    fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let mut stop = self.stop.clone();
        self.common.runtime.block_on(async {
            tokio::select! {
                biased;
                // Whoever could say so is gone: that is the end as well.
                _ = stop.wait_for(|stop| *stop) => None,
                value = wait => Some(value),
            }
        })
    }

    /// Fences whoever ran the task before, and has its last transaction decided.
    async fn own(&self) -> Result<TransactionalProducer, Error> {
        let id = self.common.names.transactional_id(self.number);
        let producer = self.common.client.transactional(id);
        let timeout = self.common.transaction_timeout;
        // What is not written by then is of no use any more: its transaction is aborted.
        producer.transaction_timeout(timeout).delivery_timeout(timeout).patience(timeout).build().await
    }

    /// Builds the machine from what is committed.
    async fn restore(&self, memory: &Part) -> Result<Pipeline, TaskError> {
        let Common { client, plan, names, .. } = &*self.common;
        let progress = restore::progress(client, &names.progress, self.number).await?;
        let spec = self.spec(progress.as_ref()).await?;
        let generation = spec.generation;
        let mut restoring = Pipeline::restore((**plan).clone(), spec, progress.clone())?;
        restore::changelog(client, &names.changelog, self.number, &mut restoring, memory).await?;
        let pipeline = restoring.finish();
        let epoch = progress.as_ref().map_or(0, |progress| progress.epoch);
        tracing::info!(pipeline = names.pipeline, task = self.number, generation, epoch, "a task begins");
        if let Some(progress) = progress {
            self.common.shown.lock().insert(self.number, progress);
        }
        Ok(pipeline)
    }

    async fn spec(&self, progress: Option<&Progress>) -> Result<PipelineSpec, Error> {
        let mut inputs = Vec::new();
        for partition in to_read(self.layout.inputs(self.number), progress) {
            let has_read = progress.is_some_and(|progress| {
                let mut inputs = progress.inputs.iter();
                inputs.any(|input| (&input.topic, input.partition) == (&partition.topic, partition.partition))
            });
            let start = if has_read { 0 } else { self.offset(&partition, OffsetSpec::Earliest).await? };
            inputs.push(InputPartition { partition, start });
        }
        Ok(PipelineSpec {
            name: self.common.names.pipeline.clone(),
            generation: progress.map_or(0, |progress| progress.generation) + 1,
            inputs,
            topic_ids: self.layout.ids.iter().map(|(topic, id)| (topic.clone(), id.to_string())).collect(),
            outputs: self.layout.outputs.clone(),
            key_groups: KeyGroups::DEFAULT,
            shards: 1,
        })
    }

    async fn offset(&self, partition: &TopicPartition, spec: OffsetSpec) -> Result<i64, Error> {
        let admin = self.common.client.admin();
        let (topic, index) = (&partition.topic, partition.partition);
        Ok(admin.list_offset(topic, index, spec, Isolation::Committed).await?.unwrap_or(0))
    }

    /// How large its epochs were when it ran here last.
    fn pace(&self) -> Pace {
        self.common.paces.lock().get(&self.number).copied().unwrap_or_default()
    }

    fn turn(
        &mut self,
        epochs: &mut EpochLoop,
        logs: &mut ClusterLogs,
        memory: &Part,
    ) -> Result<Outcome, TaskError> {
        if self.common.bounded && epochs.pipeline().declared_ends().is_none() {
            let partitions: Vec<TopicPartition> =
                epochs.pipeline().positions().map(|(partition, _)| partition.clone()).collect();
            let mut ends = BTreeMap::new();
            for partition in partitions {
                let end = match self.unless_stopped(self.offset(&partition, OffsetSpec::Latest)) {
                    None => return Ok(Outcome::Stopped),
                    Some(end) => end?,
                };
                ends.insert(partition, end);
            }
            epochs.declare_ends(ends)?;
        }
        for (partition, end) in epochs.ends() {
            logs.read_to(partition, end)?;
        }
        let mut in_flight: Option<InFlight> = None;
        let ended = loop {
            if *self.stop.borrow() {
                break Outcome::Stopped;
            }
            let begun = Instant::now();
            let now = now_ms();
            match epochs.turn(logs, now, now.unsigned_abs()) {
                Ok(Turn::Finished) => break Outcome::Finished,
                Ok(Turn::Committed { progress, ticket }) => {
                    let before = in_flight.replace(InFlight { ticket, progress: *progress });
                    self.settle(before, logs)?;
                    self.check(epochs, logs)?;
                    let pipeline = epochs.pipeline();
                    if let Err(over) = memory.hold(pipeline.memory_bytes(), || pipeline.operator_sizes()) {
                        self.settle(in_flight, logs)?;
                        return Err(over);
                    }
                    let full = logs.reader().buffered() >= self.common.limits.input_bytes;
                    if !full && !epochs.pipeline().emission_pending() {
                        let next = begun + self.common.interval;
                        self.unless_stopped(async { tokio::time::sleep_until(next).await });
                    }
                }
                Ok(Turn::Idle) => {
                    self.settle(in_flight.take(), logs)?;
                    self.check(epochs, logs)?;
                    let reader = logs.reader();
                    let due = epochs.wake_at().map(|at| at.saturating_sub(now_ms()).max(0).unsigned_abs());
                    let wait = due.map_or(IDLE_LOOK, |ms| IDLE_LOOK.min(Duration::from_millis(ms)));
                    // A time-out is as good as news.
                    self.unless_stopped(async {
                        drop(tokio::time::timeout(wait, reader.fetched()).await);
                    });
                }
                Err(error) => {
                    // What was committed before stays committed, and is shown.
                    self.settle(in_flight.take(), logs)?;
                    return Err(match error.too_large() {
                        Some((bytes, limit)) if epochs.shrink() => TaskError::TooLarge { bytes, limit },
                        _ => error.into(),
                    });
                }
            }
        };
        self.settle(in_flight, logs)?;
        Ok(ended)
    }

    /// That nothing keeps a partition from being read on, also while others give enough: the loop does not ask for what was
    /// not fetched. What is passed of each makes room for more.
    fn check(&self, epochs: &EpochLoop, logs: &mut ClusterLogs) -> Result<(), TaskError> {
        epochs
            .pipeline()
            .positions()
            .try_for_each(|(partition, position)| Ok(logs.check(partition, position)?))
    }

    /// Waits until the epoch is committed, and shows it.
    fn settle(&self, in_flight: Option<InFlight>, logs: &mut ClusterLogs) -> Result<(), TaskError> {
        if let Some(InFlight { ticket, progress }) = in_flight {
            logs.wait(ticket)?;
            self.common.shown.lock().insert(self.number, progress);
        }
        Ok(())
    }
}

/// The partitions a task reads. Where its input was declared to end, those that came later are beyond the end.
fn to_read(mut partitions: Vec<TopicPartition>, progress: Option<&Progress>) -> Vec<TopicPartition> {
    let inputs = progress.map_or(&[][..], |progress| &progress.inputs);
    if inputs.iter().any(|input| input.end.is_some()) {
        partitions.retain(|partition| {
            inputs
                .iter()
                .any(|input| (&input.topic, input.partition) == (&partition.topic, partition.partition))
        });
    }
    partitions
}

fn failed(error: TaskError, met: Option<&Error>) -> Outcome {
    let remedy = error.remedy(met);
    Outcome::Failed(error, remedy)
}

/// The wall clock, in milliseconds since the epoch.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_came_behind_a_declared_end_are_not_read() {
        let record = |end: &str| {
            let text = format!(
                r#"{{"version":2,"pipeline":"p","generation":1,"epoch":1,"plan":1,"now":0,"seed":0,"emit_rows":1,
                "inputs":[{{"topic":"t","partition":0,"from":0,"to":3,"end":{end},"watermarks":[]}}],
                "watermark":null,"sources":[],"operators":[],"counters":{none},"totals":{none},"digest":0,
                "finished":false}}"#,
                none = r#"{"read":0,"processed":0,"late":0,"skipped":0,"without_value":0,"dead_lettered":0,
                "filtered":0,"written":0,"unwritten":0,"windows_closed":0}"#
            );
            Progress::decode(text.as_bytes()).expect("a record")
        };
        let all = || (0..2).map(|partition| TopicPartition::new("t", partition)).collect::<Vec<_>>();
        assert_eq!(to_read(all(), None), all());
        assert_eq!(to_read(all(), Some(&record("null"))), all());
        assert_eq!(to_read(all(), Some(&record("5"))), all()[..1]);
    }
}
