//! One task, on a thread of its own: become the owner, restore, and turn epochs.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use logmill_client::{Client, Error, Isolation, OffsetSpec, TransactionalProducer};
use logmill_stream::{EpochLimits, EpochLoop, Pace, Pipeline, Plan, Progress, TopicPartition, Turn};
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
use crate::shard_threads;
use crate::snapshots::{Keeper, Snapshots};

/// What is fetched ahead of a partition at least, in bytes.
const LEAST_AHEAD: usize = 1 << 20;

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
    /// Whether a task goes on without records that were deleted before it read them.
    pub(crate) accept_gap: bool,
    /// Into how many shards the work of each task is split.
    pub(crate) shards: u32,
    /// None where there are to be none.
    pub(crate) snapshots: Option<Snapshots>,
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

/// What stands in the way of a task that begins.
pub(crate) enum Broken {
    /// It is to stop.
    Stopped,
    /// It met something.
    Failed(TaskError),
}

impl<E: Into<TaskError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Broken::Failed(error.into())
    }
}

/// A task where it was left.
pub(crate) struct Begun {
    pub(crate) pipeline: Pipeline,
    /// None where there are to be no snapshots.
    pub(crate) keeper: Option<Keeper>,
    /// Where its input was declared to end, where that is to be said once more.
    pub(crate) ends: Option<BTreeMap<TopicPartition, i64>>,
}

/// An epoch that is on its way.
struct InFlight {
    ticket: Committed,
    progress: Progress,
}

impl Task {
    /// Runs until the input is finished, the task is to stop, or something fails. Blocks.
    pub(crate) fn run(mut self) -> Outcome {
        let mut producer = match self.unless_stopped(self.own()) {
            None => return Outcome::Stopped,
            Some(Ok(producer)) => producer,
            Some(Err(error)) => return failed(error.into(), None, self.common.accept_gap),
        };
        // From here on nobody else writes under this id, and all that ever was is decided.
        let memory = self.common.memory.part_of(self.number);
        let Begun { pipeline, mut keeper, ends } = match self.restore(&mut producer, &memory) {
            Ok(begun) => begun,
            Err(Broken::Stopped) => return Outcome::Stopped,
            Err(Broken::Failed(error)) => return failed(error, None, self.common.accept_gap),
        };
        let (reader, commits) = {
            let _entered = self.common.runtime.enter();
            let input_bytes = self.common.limits.input_bytes;
            let share = input_bytes / pipeline.positions().count().max(1);
            let reader = self.common.client.batches().buffer_bytes(2 * input_bytes);
            let reader = reader.partition_bytes(share.max(LEAST_AHEAD));
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
        let executor = shard_threads::executor(&self.common.names.pipeline, self.number, self.common.shards);
        let pipeline = pipeline.with_executor(executor);
        let mut epochs = EpochLoop::new(pipeline, self.common.limits).with_pace(self.pace());
        let ended = self.turn(&mut epochs, &mut logs, &memory, (&mut keeper, ends));
        self.common.paces.lock().insert(self.number, epochs.pace());
        match ended {
            Ok(outcome) => outcome,
            Err(error) => failed(error, logs.met(), self.common.accept_gap),
        }
    }

    /// Waits, or comes back with `None` when the task is to stop.
    pub(crate) fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        unless_stopped(&self.common.runtime, &self.stop, wait)
    }

    /// Fences whoever ran the task before, and has its last transaction decided.
    async fn own(&self) -> Result<TransactionalProducer, Error> {
        let id = self.common.names.transactional_id(self.number);
        let producer = self.common.client.transactional(id);
        let timeout = self.common.transaction_timeout;
        // What is not written by then is of no use any more: its transaction is aborted.
        producer.transaction_timeout(timeout).delivery_timeout(timeout).patience(timeout).build().await
    }

    pub(crate) async fn offset(&self, partition: &TopicPartition, spec: OffsetSpec) -> Result<i64, Error> {
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
        (keeper, ends): (&mut Option<Keeper>, Option<BTreeMap<TopicPartition, i64>>),
    ) -> Result<Outcome, TaskError> {
        if let Some(ends) = ends {
            epochs.declare_ends(ends)?;
        } else if self.common.bounded && epochs.pipeline().declared_ends().is_none() {
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
            if is_told_to_stop(&self.stop) {
                break Outcome::Stopped;
            }
            let begun = Instant::now();
            let now = now_ms();
            match epochs.turn(logs, now, now.unsigned_abs()) {
                Ok(Turn::Finished) => break Outcome::Finished,
                Ok(Turn::Committed { progress, ticket }) => {
                    let before = in_flight.replace(InFlight { ticket, progress: *progress });
                    self.settle(before, logs, keeper)?;
                    self.check(epochs, logs)?;
                    let pipeline = epochs.pipeline();
                    if let Err(over) = memory.hold(pipeline.memory_bytes(), || pipeline.operator_sizes()) {
                        self.settle(in_flight, logs, keeper)?;
                        return Err(over);
                    }
                    let behind = match &in_flight {
                        Some(InFlight { progress, .. }) => logs.is_behind(progress)?,
                        None => false,
                    };
                    // The next epoch is a full one, or will be.
                    let behind = behind || logs.reader().buffered() >= self.common.limits.input_bytes;
                    if !behind && !epochs.pipeline().emission_pending() {
                        let next = begun + self.common.interval;
                        self.unless_stopped(async { tokio::time::sleep_until(next).await });
                    }
                }
                Ok(Turn::Idle) => {
                    self.settle(in_flight.take(), logs, keeper)?;
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
                    self.settle(in_flight.take(), logs, keeper)?;
                    return Err(match error.too_large() {
                        Some((bytes, limit)) if epochs.shrink() => TaskError::TooLarge { bytes, limit },
                        _ => error.into(),
                    });
                }
            }
        };
        self.settle(in_flight, logs, keeper)?;
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
    fn settle(
        &self,
        in_flight: Option<InFlight>,
        logs: &mut ClusterLogs,
        keeper: &mut Option<Keeper>,
    ) -> Result<(), TaskError> {
        if let Some(InFlight { ticket, progress }) = in_flight {
            let written = logs.settle(ticket)?;
            if let Some(keeper) = keeper {
                keeper.committed(&progress, &written, now_ms());
            }
            self.common.shown.lock().insert(self.number, progress);
        }
        Ok(())
    }
}

fn failed(error: TaskError, met: Option<&Error>, accept_gap: bool) -> Outcome {
    let error = error.with_met(met);
    let remedy = match error.remedy(met) {
        // It is restored behind what was deleted.
        Remedy::Stop if accept_gap && error.is_gap() => Remedy::Again,
        remedy => remedy,
    };
    Outcome::Failed(error, remedy)
}

/// Whether it is said to stop, or whoever could say so is gone: their worker's future was dropped.
pub(crate) fn is_told_to_stop(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Waits, or comes back with `None` when it is said to stop.
pub(crate) fn unless_stopped<T>(
    runtime: &Handle,
    stop: &watch::Receiver<bool>,
    wait: impl Future<Output = T>,
) -> Option<T> {
    let mut stop = stop.clone();
    runtime.block_on(async {
        tokio::select! {
            biased;
            // Whoever could say so is gone: that is the end as well.
            _ = stop.wait_for(|stop| *stop) => None,
            value = wait => Some(value),
        }
    })
}

/// The wall clock, in milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_whose_worker_is_gone_is_told_to_stop() {
        let (tell, told) = watch::channel(false);
        assert!(!is_told_to_stop(&told));
        tell.send_replace(true);
        assert!(is_told_to_stop(&told));
        let (tell, told) = watch::channel(false);
        drop(tell);
        assert!(is_told_to_stop(&told));
    }
}
