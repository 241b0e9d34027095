//! A worker: a member of the pipeline's group that runs the tasks it is assigned.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use logmill_client::{Assignor, Client, Consumer, Error};
use logmill_stream::{EpochLimits, KeyGroups, Plan, Progress};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::error::{Remedy, TaskError, WorkerError};
use crate::layout::{Division, Layout};
use crate::memory::Memory;
use crate::names::Names;
use crate::snapshots::{SnapshotOptions, Snapshots};
use crate::task::{Common, Outcome, Task};

/// The pause after a task's first failure, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The most shards of a task: one for each group of its keys.
pub const MAX_SHARDS: u32 = KeyGroups::DEFAULT.count() as u32;

/// How a worker runs its pipeline.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The pipeline's name: workers of one name are one group and share the work.
    pub name: String,
    /// The input ends with what is committed in the sources when a task first starts; the worker ends when its tasks are
    /// finished.
    pub bounded: bool,
    /// Refuse a pipeline that can only be run as one task.
    pub partitioned: bool,
    /// The least time between two transactions of a task that is not behind.
    pub epoch_interval: Duration,
    /// How large epochs grow.
    pub limits: EpochLimits,
    /// How many bytes of state the tasks that run here may hold together. A worker that comes to more ends, and says what
    /// holds the most.
    pub memory: u64,
    /// A task goes on where its logs begin when records were deleted before it read them, instead of ending the worker.
    /// Progress records say what is missing.
    pub accept_gap: bool,
    /// Into how many shards the work of each task is split, 1 to 256: so many threads compute its epochs, or as many as there
    /// are processors. It changes nothing of what is written.
    pub shards: u32,
    /// Snapshots of the state on this machine. Without them a task reads its whole changelog whenever it starts.
    pub snapshots: Option<SnapshotOptions>,
    /// Without a heartbeat for so long a worker is out of the group, and others take its tasks.
    pub session_timeout: Duration,
    /// A transaction that is open for so long is aborted by the cluster. It bounds how long readers of the outputs wait
    /// for a worker that vanished and that nobody replaces.
    pub transaction_timeout: Duration,
}

impl WorkerOptions {
    /// A pipeline of this name: unbounded, divided if it can be, a transaction every 100 ms at most, 1 GiB of state, one shard,
    /// no snapshots, a session of 10 s.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bounded: false,
            partitioned: false,
            epoch_interval: Duration::from_millis(100),
            limits: EpochLimits::default(),
            memory: 1 << 30,
            accept_gap: false,
            shards: 1,
            snapshots: None,
            session_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(60),
        }
    }
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The input of every task it had is finished.
    Finished,
}

/// What a worker has committed of a task.
#[derive(Debug, Clone)]
pub struct TaskReport {
    /// The task's number.
    pub task: i32,
    /// Its last committed epoch.
    pub progress: Progress,
}

/// Runs a pipeline over a cluster, together with other workers of the same name.
pub struct Worker {
    common: Arc<Common>,
    layout: Arc<Layout>,
    options: WorkerOptions,
}

impl Worker {
    /// Looks at the cluster, and makes the topics that are missing: sinks with the cluster's default number of
    /// partitions, and the pipeline's own.
    ///
    /// # Errors
    /// A source that does not exist, a pipeline that was started with another number of tasks, and what the cluster
    /// refuses.
    pub async fn new(client: Client, plan: Plan, options: WorkerOptions) -> Result<Self, WorkerError> {
        let names = Names::new(&options.name)?;
        let layout = Layout::prepare(&client.admin(), &plan, &names, options.partitioned).await?;
        let common = Common {
            client,
            plan: Arc::new(plan),
            names,
            limits: options.limits,
            memory: Memory::new(options.memory),
            interval: options.epoch_interval,
            transaction_timeout: options.transaction_timeout,
            bounded: options.bounded,
            accept_gap: options.accept_gap,
            shards: options.shards,
            snapshots: options.snapshots.clone().map(Snapshots::new),
            runtime: Handle::current(),
            shown: Mutex::default(),
            paces: Mutex::default(),
        };
        Ok(Self { common: Arc::new(common), layout: Arc::new(layout), options })
    }

    /// Into which tasks the pipeline is divided.
    pub fn division(&self) -> &Division {
        &self.layout.division
    }

    /// The tasks this worker has, or has had, by number.
    pub fn report(&self) -> Vec<TaskReport> {
        let shown = self.common.shown.lock();
        shown.iter().map(|(task, progress)| TaskReport { task: *task, progress: progress.clone() }).collect()
    }

    /// Runs until `stop` is ready, or the input of all its tasks is finished. Tasks finish the epoch they are at.
    ///
    /// # Errors
    /// What a task must not pass over: a record that fails, state of another script, a source whose records were
    /// deleted before they were read, a refusal of the cluster that would come again.
    pub async fn run(&mut self, stop: impl Future<Output = ()>) -> Result<Ended, WorkerError> {
        let mut group = self.common.client.consumer(&self.common.names.group).assignment_only();
        for topic in self.layout.sources.keys() {
            group = group.topic(topic);
        }
        // The same partition numbers of each topic, and no task moves that need not: it would have to be restored.
        let group = group
            .assignors([Assignor::ByNumber])
            .session_timeout(self.options.session_timeout)
            .heartbeat_interval(self.options.session_timeout / 5);
        let mut member = group.build().map_err(|source| self.cluster("joining the group", source))?;
        let mut tasks = Tasks::default();
        let ended = self.share(&mut member, &mut tasks, stop).await;
        // Nobody else gets a task before it has ended here.
        tasks.end_all().await;
        member.close().await;
        ended
    }

    async fn share(
        &mut self,
        member: &mut Consumer,
        tasks: &mut Tasks,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, WorkerError> {
        let mut stop = std::pin::pin!(stop);
        let mut generation = -1;
        loop {
            // A member that is in no generation has no say: others may have its tasks.
            let rested = tasks.keep(self, member.membership().generation >= 0)?;
            if tasks.are_finished() {
                return Ok(Ended::Finished);
            }
            let rest = async {
                match rested {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => return Ok(Ended::Stopped),
                changed = member.assignment_changed() => {
                    changed.map_err(|source| self.cluster("as a member of the group", source))?;
                    let now = member.membership().generation;
                    // Between generations its tasks go on: whoever gets one of them fences it.
                    if now >= 0 && now != generation {
                        self.look_again(tasks).await?;
                        let assigned = member.assignment();
                        // The generation has ended meanwhile: it has no partitions any more, and that takes no task away. The
                        // next one is told as a change, too.
                        if member.membership().generation != now {
                            continue;
                        }
                        generation = now;
                        let has = |topic: &str, partition: i32| {
                            assigned.iter().any(|(other, index)| **other == *topic && *index == partition)
                        };
                        let wanted = self.layout.tasks_of(has);
                        tracing::info!(pipeline = self.options.name, generation, tasks = ?wanted, "assigned");
                        tasks.wanted = wanted.into_iter().collect();
                        tasks.fenced.clear();
                    }
                }
                Some((task, outcome)) = tasks.told.recv() => {
                    tasks.has_ended(task, outcome, self.options.session_timeout)?;
                }
                () = rest => {}
            }
        }
    }

    /// Partitions may have been added to a topic.
    async fn look_again(&mut self, tasks: &mut Tasks) -> Result<(), WorkerError> {
        let common = &self.common;
        let (admin, partitioned) = (common.client.admin(), self.options.partitioned);
        let layout = Layout::prepare(&admin, &common.plan, &common.names, partitioned).await;
        let layout = match layout {
            // The cluster cannot be asked just now: what was known holds, and another rebalance asks again.
            Err(WorkerError::Cluster { what, source }) if source.is_retriable() => {
                tracing::warn!(pipeline = self.options.name, what, error = %source, "looking again later");
                return Ok(());
            }
            layout => layout?,
        };
        if layout != *self.layout {
            tracing::info!(pipeline = self.options.name, ?layout, "topics have changed");
            self.layout = Arc::new(layout);
            tasks.stop_all();
        }
        Ok(())
    }

    fn cluster(&self, what: &str, source: Error) -> WorkerError {
        WorkerError::Cluster { what: format!("{what} {}", self.common.names.group), source }
    }
}

/// A task that runs.
struct Running {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
    since: Instant,
}

/// The tasks of a worker.
struct Tasks {
    wanted: BTreeSet<i32>,
    running: BTreeMap<i32, Running>,
    finished: BTreeSet<i32>,
    /// How often a task has failed in a row, and until when it rests.
    failures: BTreeMap<i32, (u32, Instant)>,
    /// Until when a task rests that somebody else has taken over, unless a new generation gives it to this worker.
    fenced: BTreeMap<i32, Instant>,
    /// How tasks have ended: their end of it, and the worker's.
    tell: mpsc::UnboundedSender<(i32, Outcome)>,
    told: mpsc::UnboundedReceiver<(i32, Outcome)>,
}

impl Default for Tasks {
    fn default() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self {
            wanted: BTreeSet::new(),
            running: BTreeMap::new(),
            finished: BTreeSet::new(),
            failures: BTreeMap::new(),
            fenced: BTreeMap::new(),
            tell,
            told,
        }
    }
}

/// Tells how a task has ended, also when its thread panics.
struct Tells {
    task: i32,
    ended: mpsc::UnboundedSender<(i32, Outcome)>,
    outcome: Option<Outcome>,
}

impl Tells {
    fn tell(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Tells {
    fn drop(&mut self) {
        let panicked = || Outcome::Failed(TaskError::Panicked, Remedy::Stop);
        let outcome = self.outcome.take().unwrap_or_else(panicked);
        // The worker may have ended.
        let _ = self.ended.send((self.task, outcome));
    }
}

impl Tasks {
    /// Starts what is wanted and does not run, and tells to stop what runs and is not wanted. Gives when the next task
    /// that rests is to be started.
    fn keep(&mut self, worker: &Worker, may_start: bool) -> Result<Option<Instant>, WorkerError> {
        for (task, running) in &self.running {
            if !self.wanted.contains(task) {
                running.stop.send_replace(true);
            }
        }
        let mut next: Option<Instant> = None;
        if !may_start {
            return Ok(next);
        }
        let now = Instant::now();
        for task in &self.wanted {
            if self.running.contains_key(task) || self.finished.contains(task) {
                continue;
            }
            let failed = self.failures.get(task).map(|(_, until)| *until);
            let rests = failed.max(self.fenced.get(task).copied());
            if let Some(until) = rests.filter(|until| *until > now) {
                next = Some(next.map_or(until, |next| next.min(until)));
                continue;
            }
            let (stop, stopped) = watch::channel(false);
            let tells = Tells { task: *task, ended: self.tell.clone(), outcome: None };
            let run = Task {
                number: *task,
                layout: Arc::clone(&worker.layout),
                common: Arc::clone(&worker.common),
                stop: stopped,
            };
            let thread = std::thread::Builder::new().name(format!("task-{task}"));
            let thread = thread.spawn(move || tells.tell(run.run()))?;
            self.running.insert(*task, Running { stop, thread, since: now });
        }
        Ok(next)
    }

    fn has_ended(&mut self, task: i32, outcome: Outcome, session: Duration) -> Result<(), WorkerError> {
        let now = Instant::now();
        if let Some(running) = self.running.remove(&task) {
            if now.duration_since(running.since) > LONGEST_PAUSE {
                self.failures.remove(&task);
            }
            // It has told its outcome last of all; that it panicked is told by it too.
            let _ = running.thread.join();
        }
        match outcome {
            Outcome::Stopped => {}
            Outcome::Finished => drop(self.finished.insert(task)),
            Outcome::Failed(error, Remedy::Stop) => return Err(WorkerError::Task { task, error }),
            Outcome::Failed(error, Remedy::Again) => tracing::info!(task, %error, "a task is restored"),
            Outcome::Failed(error, Remedy::GiveWay) => {
                tracing::warn!(task, %error, "a task was taken over by another worker");
                self.fenced.insert(task, now + session);
            }
            Outcome::Failed(error, Remedy::Restore) => {
                let failures = self.failures.get(&task).map_or(0, |(failures, _)| *failures) + 1;
                let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
                self.failures.insert(task, (failures, now + pause));
                tracing::warn!(task, %error, ?pause, "a task failed, and is restored");
            }
        }
        Ok(())
    }

    /// Whether there are tasks, and all are finished.
    fn are_finished(&self) -> bool {
        !self.wanted.is_empty() && self.running.is_empty() && self.wanted.is_subset(&self.finished)
    }

    fn stop_all(&self) {
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
    }

    /// Ends all of them, and waits for that.
    async fn end_all(&mut self) {
        self.stop_all();
        while !self.running.is_empty() {
            let Some((task, outcome)) = self.told.recv().await else { break };
            if let Err(error) = self.has_ended(task, outcome, Duration::ZERO) {
                tracing::error!(%error, "a task failed at the end");
            }
        }
    }
}
