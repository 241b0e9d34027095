//! All pipelines: which there are, and what is asked of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use logmill_stream::{EpochLimits, Functions, KeyGroups, Plan, Settings, compile_with, settings};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, Semaphore};

use super::adjusting::check_shards;
use super::control::Control;
use super::courtesy::Courtesy;
use super::ending::InputEnd;
use super::error::PipelineError;
use super::event_log::EventLog;
use super::events::{Event, EventKind, Events};
use super::failure::Failure;
use super::look_ups::LookUps;
use super::output_ends::OutputEnds;
use super::query::Asked;
use super::replaying::Replays;
use super::shown::Shown;
use super::snapshots::{SnapshotSettings, Snapshots};
use super::spill::{SpillDirectory, SpillSettings};
use super::status::{PipelineState, PipelineView};
use crate::blocking::beside;
use crate::clock::Clock;
use crate::coordinators::Coordinators;
use crate::partitions::Partitions;
use crate::topics::{MetadataRecord, PipelineRecord, Topics, check_name};

/// The longest name of a pipeline: its topics carry it behind a prefix.
pub(super) const MAX_NAME: usize = 200;

/// The most shards of a pipeline: one for each group of its keys.
pub const MAX_SHARDS: u32 = KeyGroups::DEFAULT.count() as u32;

const _: () =
    assert!(MAX_SHARDS == logmill_config::MAX_SHARDS, "the configuration knows no engine, and is told so");

/// Names that are being changed are forgotten when there are more, and nobody is at them.
const NAMES: usize = 64;

/// How a pipeline is to run, where that is said when it is started.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Where the input ends.
    pub end: Option<InputEnd>,
    /// Into how many shards its work is split from here on, 1 to [`MAX_SHARDS`].
    pub shards: Option<u32>,
    /// It goes on where its logs begin now, if records were deleted before it read them. It is not overtaken while it runs:
    /// then this changes nothing.
    pub accept_gap: bool,
}

/// What pipelines have unless they say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct PipelineSettings {
    /// How large epochs grow.
    pub limits: EpochLimits,
    /// The most bytes that the state of one may have.
    pub memory: u64,
    /// Into how many shards the work of one is split, 1 to [`MAX_SHARDS`].
    pub shards: u32,
    /// How many of them are computed at a time, at least 1: there are not more processors.
    pub threads: u32,
    /// Hundredths of the device's time that all of them that work off a backlog take together while others produce, 1 to 100.
    pub backlog_share: u32,
    /// They wait while there is less room on the disk, in bytes.
    pub disk_reserve: u64,
}

/// What pipelines use of the broker around them, and of the program around that.
pub struct PipelineSurroundings {
    /// Where snapshots go, and how often.
    pub snapshots: SnapshotSettings,
    /// Where state goes that is not in memory.
    pub spill: SpillSettings,
    /// For logs that are read, written and trimmed.
    pub partitions: Partitions,
    /// Functions that scripts may call.
    pub functions: Functions,
}

/// All pipelines of the broker; cheap to clone.
#[derive(Clone)]
pub struct Pipelines(pub(super) Arc<Manager>);

pub(super) struct Manager {
    pub(super) topics: Topics,
    pub(super) coordinators: Coordinators,
    pub(super) settings: PipelineSettings,
    /// Those of the program around the broker.
    functions: Functions,
    pub(super) snapshots: SnapshotSettings,
    pub(super) spill: SpillSettings,
    pub(super) partitions: Partitions,
    /// Held by whoever makes a snapshot in the background.
    pub(super) snapshot_turn: Arc<Mutex<()>>,
    pub(super) courtesy: Courtesy,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
    pub(super) known: Mutex<BTreeMap<String, Known>>,
    /// Where the outputs of each pipeline end, for queries.
    output_ends: Mutex<BTreeMap<String, OutputEnds>>,
    /// Held by whoever starts, stops or finishes the one of the name: these take several steps.
    changing: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Upgrades that make state of what was read.
    pub(super) replays: Replays,
    /// Queries that run; others wait.
    pub(super) queries: Arc<Semaphore>,
    /// Where events are written down.
    pub(super) event_log: EventLog,
    /// Where rows are that were asked for by key.
    pub(super) look_ups: LookUps,
    /// No thread starts any more. Changed under the lock of `known`.
    pub(super) closing: AtomicBool,
}

/// A pipeline that exists.
pub(super) struct Known {
    pub(super) record: PipelineRecord,
    /// Or why the script, which planned once, does not any more.
    pub(super) plan: Result<Arc<Plan>, String>,
    pub(super) control: Control,
    pub(super) shown: Shown,
    pub(super) events: Events,
    pub(super) snapshots: Snapshots,
    pub(super) thread: Option<JoinHandle<()>>,
    /// It is being deleted: no savepoint of it is begun any more.
    pub(super) is_going: bool,
}

impl Pipelines {
    /// Takes over what the metadata says exists; [`Pipelines::resume`] starts what is meant to run. A pipeline whose script
    /// this binary cannot plan is there as failed.
    pub fn load(
        topics: Topics,
        coordinators: Coordinators,
        records: &[MetadataRecord],
        settings: PipelineSettings,
        around: PipelineSurroundings,
        clock: Clock,
        runtime: Handle,
    ) -> Self {
        let mut live: BTreeMap<String, PipelineRecord> = BTreeMap::new();
        for record in records {
            match record {
                MetadataRecord::Pipeline(pipeline) => {
                    drop(live.insert(pipeline.name.clone(), pipeline.clone()))
                }
                MetadataRecord::PipelineDeleted(name) => drop(live.remove(name)),
                _ => {}
            }
        }
        let PipelineSurroundings { snapshots, spill, partitions, functions } = around;
        let event_log = EventLog::open(Arc::clone(&snapshots.disk), &snapshots.data_dir);
        let manager = Manager {
            topics,
            coordinators,
            settings,
            functions,
            snapshots,
            spill,
            partitions,
            snapshot_turn: Arc::default(),
            courtesy: Courtesy::new(settings.backlog_share),
            clock,
            runtime,
            known: Mutex::new(BTreeMap::new()),
            output_ends: Mutex::default(),
            changing: Mutex::new(BTreeMap::new()),
            replays: Replays::default(),
            queries: Arc::new(Semaphore::new(super::query::AT_A_TIME)),
            event_log,
            look_ups: LookUps::default(),
            closing: AtomicBool::new(false),
        };
        let load = |(name, record): (String, PipelineRecord)| {
            let plan = compile_with(&record.script, &manager.functions).map(Arc::new);
            let earlier = manager.event_log.read(&name);
            let known = manager.known_since(record, plan.map_err(|error| error.to_string()), earlier);
            if let Err(error) = known.snapshots.files().remove_unfinished() {
                tracing::warn!(pipeline = name, %error, "what is left of an unfinished snapshot stays");
            }
            (name, known)
        };
        *manager.known.lock() = live.into_iter().map(load).collect();
        manager.remove_left_over();
        let pipelines = Self(Arc::new(manager));
        pipelines.show_standing();
        pipelines
    }

    /// Starts every pipeline that was running when the broker stopped, except those that have finished, and those that
    /// somebody was quicker to start or stop by name.
    pub async fn resume(&self) {
        let is_meant = |known: &Known| {
            let may_run = known.plan.is_ok() && known.shown.state() != PipelineState::Finished;
            known.record.running && known.thread.is_none() && may_run
        };
        let names: Vec<String> = {
            let known = self.0.known.lock();
            known.iter().filter(|(_, known)| is_meant(known)).map(|(name, _)| name.clone()).collect()
        };
        for name in names {
            let _changing = self.hold(&name).await;
            if self.0.known.lock().get(&name).is_some_and(is_meant) {
                // It is shown as failed.
                let _ = self.start(&name).await;
            }
        }
    }

    /// Creates a pipeline and starts it, or goes on with the one of this name and script. The flag says
    /// whether it was created.
    ///
    /// # Errors
    /// [`PipelineError`]; a pipeline that could not be started exists, and running it again goes on.
    pub async fn run(
        &self,
        name: &str,
        script: &str,
        end: Option<InputEnd>,
    ) -> Result<(PipelineView, bool), PipelineError> {
        self.run_with(name, script, RunOptions { end, ..RunOptions::default() }).await
    }

    /// The same with options. They hold from here on, also for a pipeline that exists or runs.
    ///
    /// # Errors
    /// As [`Pipelines::run`], and as [`Pipelines::rescale`] for the shards of one that runs.
    pub async fn run_with(
        &self,
        name: &str,
        script: &str,
        options: RunOptions,
    ) -> Result<(PipelineView, bool), PipelineError> {
        let RunOptions { end, shards, accept_gap } = options;
        if name.len() > MAX_NAME || check_name(name).is_err() {
            return Err(PipelineError::Name(name.to_owned()));
        }
        shards.map_or(Ok(()), check_shards)?;
        let plan = Arc::new(self.plan_of(script).await?);
        let _changing = self.hold(name).await;
        let existing = {
            let known = self.0.known.lock();
            known.get(name).map(|known| (known.record.clone(), known.shown.state(), known.plan.is_ok()))
        };
        let created = existing.is_none();
        let start = match existing {
            Some((record, _, true)) if record.script != script => {
                return Err(PipelineError::OtherScript(name.to_owned()));
            }
            Some((_, state, true)) => !state.is_live() && state != PipelineState::Finished,
            // The script that this binary cannot plan any more is replaced, if its state goes with the new one.
            Some((record, _, false)) => {
                self.check_same_plan(name, &plan).await?;
                self.create(PipelineRecord { script: script.to_owned(), ..record }, plan).await?;
                true
            }
            None => {
                let set = self.settings_of(script).await?;
                let record = PipelineRecord {
                    name: name.to_owned(),
                    script: script.to_owned(),
                    generation: 0,
                    running: false,
                    input_ends: None,
                    memory: set.memory,
                    shards: shards.or(set.shards),
                    created_ms: self.0.clock.now_ms(),
                };
                self.create(record, plan).await?;
                true
            }
        };
        if let Some(shards) = shards {
            self.set_shards(name, shards).await?;
        }
        if let Some(end) = end {
            self.declare_end(name, end).await?;
        }
        if start {
            if accept_gap {
                self.accept_gaps(name).await?;
            }
            self.start(name).await?;
        }
        Ok((self.view(name)?, created))
    }

    /// Every pipeline, by name.
    #[must_use]
    pub fn list(&self) -> Vec<PipelineView> {
        let names: Vec<String> = self.0.known.lock().keys().cloned().collect();
        names.iter().filter_map(|name| self.view(name).ok()).collect()
    }

    /// Its events behind a number, oldest first: the newest 500.
    ///
    /// # Errors
    /// [`PipelineError::Unknown`].
    pub fn events(&self, name: &str, after: u64) -> Result<Vec<Event>, PipelineError> {
        let known = self.0.known.lock();
        let known = known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
        Ok(known.events.after(after))
    }

    /// Stops a pipeline after its running epoch; its state stays. An upgrade that makes state of its input is given up.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn stop(&self, name: &str) -> Result<PipelineView, PipelineError> {
        self.0.replays.give_up(name);
        let _changing = self.hold(name).await;
        let (mut record, control, thread) = {
            let mut known = self.0.known.lock();
            let known = known.get_mut(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            (known.record.clone(), known.control.clone(), known.thread.take())
        };
        control.stop();
        let ran = thread.is_some();
        join(thread).await;
        if record.running {
            record.running = false;
            self.save(&record).await?;
            self.update(name, |known| {
                known.record = record;
                if !ran {
                    known.shown.pass_over();
                }
            });
        }
        self.view(name)
    }

    /// Stops all runners, for the end of the process; what is meant to run stays so.
    pub async fn shutdown(&self) {
        let threads: Vec<_> = {
            let mut known = self.0.known.lock();
            self.0.closing.store(true, Ordering::Relaxed);
            known.values_mut().for_each(|known| known.control.stop());
            known.values_mut().filter_map(|known| known.thread.take()).collect()
        };
        for thread in threads {
            join(Some(thread)).await;
        }
        let log = self.0.event_log.clone();
        let _ = beside(move || log.close()).await;
    }

    /// Plans a script. That may take a while, and the workers serve everybody.
    pub(super) async fn plan_of(&self, script: &str) -> Result<Plan, PipelineError> {
        let (text, functions) = (script.to_owned(), self.0.functions.clone());
        Ok(beside(move || compile_with(&text, &functions)).await.map_err(|_| PipelineError::Stopping)??)
    }

    /// What a script sets of the pipeline that runs it.
    pub(super) async fn settings_of(&self, script: &str) -> Result<Settings, PipelineError> {
        let text = script.to_owned();
        Ok(beside(move || settings(&text)).await.map_err(|_| PipelineError::Stopping)??)
    }

    /// Every pipeline that can be asked.
    pub(super) fn asked(&self) -> Vec<Asked> {
        let known = self.0.known.lock();
        let asked = |(name, known): (&String, &Known)| {
            let plan = known.plan.as_ref().ok()?;
            Some(Asked { name: name.clone(), plan: Arc::clone(plan) })
        };
        known.iter().filter_map(asked).collect()
    }

    pub(super) fn topics(&self) -> &Topics {
        &self.0.topics
    }

    /// Where the outputs of a pipeline end.
    pub(super) fn output_ends(&self, name: &str) -> OutputEnds {
        self.0.output_ends.lock().entry(name.to_owned()).or_default().clone()
    }

    /// Its epochs are others from here on.
    pub(super) fn forget_output_ends(&self, name: &str) {
        self.0.output_ends.lock().remove(name);
    }

    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.0.known.lock().get_mut(name) {
            change(known);
        }
    }

    pub(super) async fn save(&self, record: &PipelineRecord) -> Result<(), PipelineError> {
        let metadata = self.0.topics.metadata();
        let mut metadata = metadata.lock().await;
        Ok(metadata.append(self.0.clock.now_ms(), &[MetadataRecord::Pipeline(record.clone())]).await?)
    }

    /// How many names are remembered.
    #[cfg(test)]
    pub(super) fn names_held(&self) -> usize {
        self.0.changing.lock().len()
    }

    /// The same for two pipelines, of which one may be the other. Whoever else wants both waits for the same one first.
    pub(super) async fn hold_both(
        &self,
        one: &str,
        other: &str,
    ) -> (OwnedMutexGuard<()>, Option<OwnedMutexGuard<()>>) {
        let first = self.hold(one.min(other)).await;
        let second = match one == other {
            true => None,
            false => Some(self.hold(one.max(other)).await),
        };
        (first, second)
    }

    /// The right to change the pipeline of a name: whoever else wants to waits, and only for this one.
    pub(super) async fn hold(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut changing = self.0.changing.lock();
            if changing.len() >= NAMES {
                changing.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(changing.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

impl Manager {
    /// A pipeline that is new.
    pub(super) fn known(&self, record: PipelineRecord, plan: Result<Arc<Plan>, String>) -> Known {
        self.known_since(record, plan, Vec::new())
    }

    /// One of which there are events.
    fn known_since(
        &self,
        record: PipelineRecord,
        plan: Result<Arc<Plan>, String>,
        earlier: Vec<Event>,
    ) -> Known {
        let control = self.control(&record);
        let events = Events::new(&record.name).written_to(self.event_log.clone(), earlier);
        let state = match &plan {
            Err(error) => {
                let failure = Failure {
                    at_ms: self.clock.now_ms(),
                    what: format!("its script cannot be planned any more: {error}"),
                    position: None,
                    remedy: "Run the corrected script under this name, or delete the pipeline".to_owned(),
                };
                events.say(failure.at_ms, EventKind::Failed, failure.to_string());
                PipelineState::Failed(failure)
            }
            Ok(_) if record.running => PipelineState::Starting,
            Ok(_) => PipelineState::Stopped,
        };
        let shown = Shown::new(state, self.clock.steady());
        let snapshots = self.snapshots(&record.name);
        Known { record, plan, control, shown, events, snapshots, thread: None, is_going: false }
    }

    /// What a runner of the pipeline is told from the beginning.
    pub(super) fn control(&self, record: &PipelineRecord) -> Control {
        let memory = record.memory.unwrap_or(self.settings.memory);
        Control::new(record.input_ends.clone(), memory, record.shards.unwrap_or(self.settings.shards))
    }

    /// Where a pipeline's state is that is not in memory.
    pub(super) fn spill_directory(&self, name: &str) -> SpillDirectory {
        SpillDirectory::new(&self.spill, name)
    }

    /// The snapshots of a pipeline that is not known yet.
    pub(super) fn snapshots(&self, name: &str) -> Snapshots {
        let (partitions, clock) = (self.partitions.clone(), self.clock.clone());
        Snapshots::new(&self.snapshots, name, partitions, clock, Arc::clone(&self.snapshot_turn))
    }
}

pub(super) fn unplanned(name: &str, error: &str) -> PipelineError {
    PipelineError::State {
        name: name.to_owned(),
        reason: format!("has a script that cannot be planned any more: {error}; run the corrected script"),
    }
}

/// The consumer group that mirrors a pipeline's input offsets.
pub(super) fn group_of(name: &str) -> String {
    format!("logmill.{name}")
}

/// The topics a plan writes: its sinks, dead letters and late records.
pub(super) fn sinks(plan: &Plan) -> Vec<String> {
    let topics = plan.sink_topics().into_iter().chain(plan.side_topics());
    let mut sinks: Vec<String> = topics.map(str::to_owned).collect();
    sinks.sort_unstable();
    sinks.dedup();
    sinks
}

/// Waits for a runner to end without blocking the runtime.
pub(super) async fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        let ended = beside(move || thread.join().is_ok()).await;
        if !matches!(ended, Ok(true)) {
            tracing::error!("a pipeline's thread ended with a panic");
        }
    }
}
