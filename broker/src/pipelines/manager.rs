//! Starting, stopping and showing pipelines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use logmill_coordinator::groups::{Command, Own, Reply};
use logmill_stream::{EpochLimits, Plan, SqlError, compile};
use logmill_wire::{ErrorCode, Str};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::control::{Control, InputEnds};
use super::logs::BrokerLogs;
use super::runner::{Runner, Shown};
use super::status::{PipelineState, PipelineView, SourceView};
use crate::clock::Clock;
use crate::coordinators::{Coordinators, Patience};
use crate::topics::{
    CHANGELOG_PREFIX, CreateTopicError, DeleteTopicError, MetadataError, MetadataRecord, NewTopic,
    PROGRESS_PREFIX, PipelineRecord, Topic, Topics, check_name,
};

/// Segments of a pipeline's own topics: compaction gets at a record only when its segment is closed.
const OWN_SEGMENT_BYTES: u32 = 64 << 20;

/// The longest name of a pipeline: its topics carry it behind a prefix.
const MAX_NAME: usize = 200;

/// Where the input of a pipeline ends.
#[derive(Clone, Debug)]
pub enum InputEnd {
    /// Where the committed records end now.
    Now,
    /// At these offsets.
    At(InputEnds),
}

/// Why a pipeline was not started, stopped or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The name cannot be a pipeline's.
    #[error("a pipeline's name has 1 to {MAX_NAME} letters, digits, '.', '_' and '-', not {0:?}")]
    Name(String),
    /// The script does not plan.
    #[error("{0}")]
    Script(#[from] SqlError),
    /// No pipeline of this name.
    #[error("there is no pipeline {0:?}; `logmill pipeline list` shows those there are")]
    Unknown(String),
    /// The name runs another script.
    #[error("pipeline {0:?} exists with another script; use another name")]
    OtherScript(String),
    /// A topic it reads is not there.
    #[error("the source topic {0:?} does not exist; create it first (`logmill topic create {0}`)")]
    NoSource(String),
    /// A topic it writes belongs to somebody else, or is one it reads.
    #[error("the sink topic {topic:?} cannot be written: {reason}")]
    Sink {
        /// The topic.
        topic: String,
        /// Why not.
        reason: String,
    },
    /// The declared ends do not fit the sources.
    #[error("the input's end does not fit: {0}")]
    Ends(String),
    /// It is not in a state that allows it.
    #[error("pipeline {name:?} {reason}")]
    State {
        /// The pipeline.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A topic of its own could not be made.
    #[error("a topic of the pipeline could not be made: {0}")]
    Topic(#[from] CreateTopicError),
    /// The coordinator of its mirrored offsets.
    #[error("the consumer group of the pipeline cannot be used now ({0:?}); try again")]
    Group(ErrorCode),
    /// The operating system gave no thread.
    #[error("no thread for the pipeline: {0}")]
    Thread(#[from] std::io::Error),
}

/// All pipelines of the broker; cheap to clone.
#[derive(Clone)]
pub struct Pipelines(Arc<Shared>);

struct Shared {
    topics: Topics,
    coordinators: Coordinators,
    limits: EpochLimits,
    clock: Clock,
    runtime: Handle,
    known: Mutex<BTreeMap<String, Known>>,
    /// Held by whoever starts, stops or finishes one: these take several steps.
    changing: tokio::sync::Mutex<()>,
}

/// A pipeline that exists.
struct Known {
    record: PipelineRecord,
    plan: Arc<Plan>,
    control: Control,
    shown: Shown,
    thread: Option<JoinHandle<()>>,
}

impl Pipelines {
    /// Takes over what the metadata says exists; [`Pipelines::resume`] starts what is meant to run.
    ///
    /// # Errors
    /// A script in the metadata that this binary cannot plan, by pipeline.
    pub fn load(
        topics: Topics,
        coordinators: Coordinators,
        records: &[MetadataRecord],
        limits: EpochLimits,
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
        let mut known = BTreeMap::new();
        for (name, record) in live {
            let control = Control::new(record.input_ends.clone());
            let (plan, shown) = match compile(&record.script) {
                Ok(plan) => (plan, Shown::new(PipelineState::Stopped)),
                Err(error) => {
                    tracing::error!(pipeline = name, %error, "the script of a pipeline cannot be planned any more");
                    continue;
                }
            };
            known.insert(name, Known { record, plan: Arc::new(plan), control, shown, thread: None });
        }
        Self(Arc::new(Shared {
            topics,
            coordinators,
            limits,
            clock,
            runtime,
            known: Mutex::new(known),
            changing: tokio::sync::Mutex::new(()),
        }))
    }

    /// Starts every pipeline that was running when the broker stopped, except those that somebody was quicker to
    /// start by name.
    pub async fn resume(&self) {
        let _changing = self.0.changing.lock().await;
        let names: Vec<String> = self
            .0
            .known
            .lock()
            .iter()
            .filter(|(_, known)| known.record.running && known.thread.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            if let Err(error) = self.start(&name).await {
                tracing::error!(pipeline = name, %error, "a pipeline could not be resumed");
                if let Some(known) = self.0.known.lock().get(&name) {
                    known.shown.set_state(PipelineState::Failed { error: error.to_string() });
                }
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
        if name.len() > MAX_NAME || check_name(name).is_err() {
            return Err(PipelineError::Name(name.to_owned()));
        }
        let plan = Arc::new(compile(script)?);
        let _changing = self.0.changing.lock().await;
        let existing = self.0.known.lock().get(name).map(|known| (known.record.clone(), known.shown.state()));
        let created = existing.is_none();
        let start = match existing {
            Some((record, _)) if record.script != script => {
                return Err(PipelineError::OtherScript(name.to_owned()));
            }
            Some((_, PipelineState::Running | PipelineState::Finished)) => false,
            Some(_) => true,
            None => {
                self.prepare(name, &plan).await?;
                let record = PipelineRecord {
                    name: name.to_owned(),
                    script: script.to_owned(),
                    generation: 0,
                    running: false,
                    input_ends: None,
                    created_ms: self.0.clock.now_ms(),
                };
                self.save(&record).await?;
                let control = Control::new(None);
                let shown = Shown::new(PipelineState::Stopped);
                let known = Known { record, plan, control, shown, thread: None };
                self.0.known.lock().insert(name.to_owned(), known);
                true
            }
        };
        if let Some(end) = end {
            self.declare_end(name, end).await?;
        }
        if start {
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

    /// One pipeline.
    ///
    /// # Errors
    /// [`PipelineError::Unknown`].
    pub fn view(&self, name: &str) -> Result<PipelineView, PipelineError> {
        let known = self.0.known.lock();
        let known = known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
        let (state, progress, open_windows) = known.shown.get();
        let ends = known.control.ends();
        let mut sources = Vec::new();
        for topic in known.plan.source_topics() {
            let Some(topic) = self.0.topics.get(topic) else { continue };
            for partition in &topic.partitions {
                let index = partition.index();
                let input = progress.as_ref().and_then(|progress| {
                    progress
                        .inputs
                        .iter()
                        .find(|input| input.topic == *topic.name && input.partition == index)
                });
                let finish_at = ends
                    .as_ref()
                    .and_then(|ends| ends.get(&*topic.name))
                    .and_then(|ends| usize::try_from(index).ok().and_then(|index| ends.get(index)).copied());
                sources.push(SourceView {
                    topic: topic.name.to_string(),
                    partition: index,
                    position: input.map_or(0, |input| input.to),
                    end: partition.published().last_stable_offset,
                    finish_at,
                    watermark: input.and_then(|input| input.watermarks.iter().min().copied().flatten()),
                });
            }
        }
        Ok(PipelineView {
            name: name.to_owned(),
            state,
            generation: known.record.generation,
            progress,
            open_windows,
            script: known.record.script.clone(),
            plan: known.plan.explain(),
            sources,
            sinks: sinks(&known.plan),
        })
    }

    /// Stops a pipeline after its running epoch; its state stays.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn stop(&self, name: &str) -> Result<PipelineView, PipelineError> {
        let _changing = self.0.changing.lock().await;
        let (mut record, control, thread) = {
            let mut known = self.0.known.lock();
            let known = known.get_mut(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            (known.record.clone(), known.control.clone(), known.thread.take())
        };
        control.stop();
        join(thread).await;
        if record.running {
            record.running = false;
            self.save(&record).await?;
            self.update(name, |known| known.record = record);
        }
        self.view(name)
    }

    /// Declares where the input ends; the pipeline reads up to there, closes every window and is finished.
    /// Durable when this returns. Declaring again changes nothing: the first declaration holds.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn finish_input(&self, name: &str, end: InputEnd) -> Result<InputEnds, PipelineError> {
        let _changing = self.0.changing.lock().await;
        self.declare_end(name, end).await
    }

    /// Stops all runners, for the end of the process; what is meant to run stays so.
    pub async fn shutdown(&self) {
        let _changing = self.0.changing.lock().await;
        let threads: Vec<_> = {
            let mut known = self.0.known.lock();
            known
                .values_mut()
                .filter_map(|known| known.thread.take().map(|thread| (known.control.clone(), thread)))
                .collect()
        };
        for (control, _) in &threads {
            control.stop();
        }
        for (_, thread) in threads {
            join(Some(thread)).await;
        }
    }

    async fn declare_end(&self, name: &str, end: InputEnd) -> Result<InputEnds, PipelineError> {
        let (mut record, plan) = {
            let known = self.0.known.lock();
            let known = known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            (known.record.clone(), Arc::clone(&known.plan))
        };
        if let Some(ends) = record.input_ends {
            return Ok(ends);
        }
        let end_now = |topic: &Arc<Topic>| {
            let ends = topic.partitions.iter().map(|partition| partition.published().last_stable_offset);
            (topic.name.to_string(), ends.collect::<Vec<i64>>())
        };
        let now: InputEnds = self.sources(&plan)?.iter().map(end_now).collect();
        let ends = match end {
            InputEnd::Now => now,
            InputEnd::At(ends) => {
                let fits = |(topic, now): (&String, &Vec<i64>)| {
                    ends.get(topic).is_some_and(|given| given.len() == now.len())
                };
                if ends.len() != now.len() || !now.iter().all(fits) {
                    let counts: Vec<String> =
                        now.iter().map(|(topic, ends)| format!("{} of {topic:?}", ends.len())).collect();
                    return Err(PipelineError::Ends(format!(
                        "name the end of each partition ({}), and of no other topic",
                        counts.join(", ")
                    )));
                }
                ends
            }
        };
        record.input_ends = Some(ends.clone());
        self.save(&record).await?;
        self.update(name, |known| {
            known.record = record;
            known.control.finish_at(ends.clone());
        });
        Ok(ends)
    }

    /// Makes the topics a new pipeline needs, and takes its sinks for it.
    async fn prepare(&self, name: &str, plan: &Plan) -> Result<(), PipelineError> {
        self.sources(plan)?;
        for sink in sinks(plan) {
            let refuse =
                |reason: &str| PipelineError::Sink { topic: sink.clone(), reason: reason.to_owned() };
            if plan.source_topics().contains(&sink.as_str()) {
                return Err(refuse("it is also the source"));
            }
            let topic = match self.0.topics.get(&sink) {
                Some(topic) if topic.internal => return Err(refuse("it is internal to the broker")),
                Some(topic) => topic,
                None => {
                    // Rows bear the time of their events. Whoever computes the past wants to find it.
                    let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
                    let new = NewTopic { name: sink.clone(), configs, ..NewTopic::default() };
                    self.0.topics.create(new).await?
                }
            };
            self.0.topics.set_owner(topic.id, Some(name)).await.map_err(|error| match error {
                DeleteTopicError::Owned { owner } => refuse(&format!("it belongs to pipeline {owner:?}")),
                other => refuse(&other.to_string()),
            })?;
        }
        for prefix in [CHANGELOG_PREFIX, PROGRESS_PREFIX] {
            let new = NewTopic {
                name: format!("{prefix}{name}"),
                partitions: Some(1),
                configs: BTreeMap::from([
                    // The last state of each key, and never less: a pipeline is restored from it.
                    ("cleanup.policy".to_owned(), "compact".to_owned()),
                    ("segment.bytes".to_owned(), OWN_SEGMENT_BYTES.to_string()),
                    ("logmill.durability".to_owned(), "disk".to_owned()),
                ]),
                ..NewTopic::default()
            };
            self.0.topics.ensure_internal(new).await?;
        }
        Ok(())
    }

    /// Starts the runner of a pipeline that does not run, as a new generation. Waits until the coordinators are loaded,
    /// which keep the offsets of its group.
    async fn start(&self, name: &str) -> Result<(), PipelineError> {
        let (mut record, plan, control, shown, thread) = {
            let mut known = self.0.known.lock();
            let known = known.get_mut(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            let control = Control::new(known.record.input_ends.clone());
            known.control = control.clone();
            (known.record.clone(), Arc::clone(&known.plan), control, known.shown.clone(), known.thread.take())
        };
        join(thread).await;
        self.0.coordinators.loaded().await;
        let sources = self.sources(&plan)?;
        record.generation += 1;
        record.running = true;
        self.save(&record).await?;
        let generation = record.generation;
        self.update(name, |known| known.record = record);
        let group = group_of(name);
        let own = Command::Own(Own {
            group: Str::from(group.as_str()),
            owner: Str::from(name),
            assignment: sources
                .iter()
                .map(|source| {
                    let partitions = source.partitions.iter().map(crate::partitions::Partition::index);
                    (Str::from(&*source.name), partitions.collect())
                })
                .collect(),
        });
        match self.0.coordinators.group(&group, &Patience::default(), own).await {
            Ok(Reply::Owned(ErrorCode::NONE)) => {}
            Ok(Reply::Owned(error)) | Err(error) => return Err(PipelineError::Group(error)),
            Ok(_) => return Err(PipelineError::Group(ErrorCode::UNKNOWN_SERVER_ERROR)),
        }
        let log = |prefix: &str| {
            let topic = self.0.topics.get(&format!("{prefix}{name}"));
            let partition = topic.and_then(|topic| topic.partition(0).cloned());
            partition.ok_or_else(|| PipelineError::State {
                name: name.to_owned(),
                reason: format!("has lost its topic {prefix}{name}"),
            })
        };
        let (changelog, progress) = (log(CHANGELOG_PREFIX)?, log(PROGRESS_PREFIX)?);
        shown.set_state(PipelineState::Running);
        let runner = Runner {
            name: name.to_owned(),
            generation,
            plan,
            topics: self.0.topics.clone(),
            logs: BrokerLogs::new(
                self.0.topics.clone(),
                self.0.coordinators.clone(),
                group,
                changelog.clone(),
                progress.clone(),
                self.0.runtime.clone(),
            ),
            changelog,
            progress,
            control,
            shown,
            limits: self.0.limits,
            clock: self.0.clock.clone(),
            runtime: self.0.runtime.clone(),
        };
        let thread =
            std::thread::Builder::new().name(format!("pipeline-{name}")).spawn(move || runner.run())?;
        self.update(name, |known| known.thread = Some(thread));
        Ok(())
    }

    fn sources(&self, plan: &Plan) -> Result<Vec<Arc<Topic>>, PipelineError> {
        let find =
            |topic: &str| self.0.topics.get(topic).ok_or_else(|| PipelineError::NoSource(topic.to_owned()));
        plan.source_topics().into_iter().map(find).collect()
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.0.known.lock().get_mut(name) {
            change(known);
        }
    }

    async fn save(&self, record: &PipelineRecord) -> Result<(), PipelineError> {
        let metadata = self.0.topics.metadata();
        let mut metadata = metadata.lock().await;
        Ok(metadata.append(self.0.clock.now_ms(), &[MetadataRecord::Pipeline(record.clone())]).await?)
    }
}

/// The consumer group that mirrors a pipeline's input offsets.
fn group_of(name: &str) -> String {
    format!("logmill.{name}")
}

/// The topics a plan writes: its sinks, dead letters and late records.
fn sinks(plan: &Plan) -> Vec<String> {
    let topics = plan.sink_topics().into_iter().chain(plan.side_topics());
    let mut sinks: Vec<String> = topics.map(str::to_owned).collect();
    sinks.sort_unstable();
    sinks.dedup();
    sinks
}

/// Waits for a runner to end without blocking the runtime.
async fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        let ended = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        if !matches!(ended, Ok(true)) {
            tracing::error!("a pipeline's thread ended with a panic");
        }
    }
}
