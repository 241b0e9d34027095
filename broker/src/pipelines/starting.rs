//! Creating and starting a pipeline: its topics, its group, its thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use logmill_coordinator::groups::{Command, Own, Reply};
use logmill_stream::Plan;
use logmill_wire::{ErrorCode, Str};

use super::error::PipelineError;
use super::events::EventKind;
use super::failure::Failure;
use super::logs::BrokerLogs;
use super::manager::{Pipelines, group_of, join, sinks, unplanned};
use super::runner::{Runner, patience};
use super::snapshots::{Keeper, SnapshotFiles};
use super::spill::Spill;
use super::status::PipelineState;
use crate::blocking::beside;
use crate::coordinators::Patience;
use crate::topics::{
    CHANGELOG_PREFIX, ClaimError, ConfigUpdate, MetadataRecord, NewTopic, PROGRESS_PREFIX, PipelineRecord,
    Topic,
};

/// Segments of a pipeline's own topics: what snapshots have is let go by the segment.
const OWN_SEGMENT_BYTES: u32 = 64 << 20;

/// The configs of a pipeline's own topics. They are not compacted: a snapshot of one cut and the changelog behind it up to
/// another are the state there, which takes every change between, deletions above all. Snapshots bound them.
fn own_configs() -> BTreeMap<String, String> {
    [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("segment.bytes", &OWN_SEGMENT_BYTES.to_string()),
        ("logmill.durability", "disk"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Why a topic was not given to a pipeline that writes it.
pub(super) fn unclaimed(error: ClaimError) -> PipelineError {
    match error {
        ClaimError::Metadata(error) => PipelineError::Metadata(error),
        ClaimError::Unknown(topic) => {
            PipelineError::Sink { topic, reason: "it was deleted meanwhile".to_owned() }
        }
        ClaimError::Internal(topic) => {
            PipelineError::Sink { topic, reason: "it is internal to the broker".to_owned() }
        }
        ClaimError::Owned { topic, owner } => {
            PipelineError::Sink { topic, reason: format!("it belongs to pipeline {owner:?}") }
        }
    }
}

impl Pipelines {
    /// Makes the topics a pipeline needs, and takes its sinks for it in one step with its record. Nothing is taken when
    /// one of them cannot be.
    pub(super) async fn create(&self, record: PipelineRecord, plan: Arc<Plan>) -> Result<(), PipelineError> {
        let name = record.name.clone();
        let sinks = self.prepare(&name, &plan, record.generation == 0).await?;
        let claimed = self.0.topics.claim(&sinks, &name, MetadataRecord::Pipeline(record.clone())).await;
        claimed.map_err(unclaimed)?;
        let mut known = self.0.known.lock();
        match known.get_mut(&name) {
            Some(known) => {
                known.record = record;
                known.plan = Ok(plan);
            }
            None => drop(known.insert(name, self.0.known(record, Ok(plan)))),
        }
        Ok(())
    }

    /// Makes the topics that the pipeline of a name needs and that are not there. Nobody owns them by that, and none is made
    /// when one that it is to write cannot be its own. Gives the topics that it writes.
    pub(super) async fn prepare(
        &self,
        name: &str,
        plan: &Plan,
        is_new: bool,
    ) -> Result<Vec<String>, PipelineError> {
        let (sinks, missing) = self.missing_topics(name, plan)?;
        for new in missing {
            self.0.topics.create(new).await?;
        }
        self.make_own_topics(name).await?;
        if is_new {
            // What an earlier pipeline of the name may have left.
            let (files, spill) = (self.0.snapshots(name), self.0.spill_directory(name));
            let removed = beside(move || {
                spill.remove().map_err(|error| spill.failed(error))?;
                files.alone(SnapshotFiles::remove_all)
            });
            let removed = removed.await;
            let removed = removed.map_err(|_| PipelineError::Stopping)?;
            removed.map_err(|error| PipelineError::Files(error.to_string()))?;
        }
        Ok(sinks)
    }

    /// The topics that the pipeline of a name writes, and those of them that are not there. Makes none.
    ///
    /// # Errors
    /// One of them cannot be its own, or what it reads is not there.
    pub(super) fn missing_topics(
        &self,
        name: &str,
        plan: &Plan,
    ) -> Result<(Vec<String>, Vec<NewTopic>), PipelineError> {
        self.sources(plan)?;
        let sinks = sinks(plan);
        let mut missing = Vec::new();
        for sink in &sinks {
            let refuse = |reason: String| PipelineError::Sink { topic: sink.clone(), reason };
            if plan.source_topics().contains(&sink.as_str()) {
                return Err(refuse("it is also the source".to_owned()));
            }
            match self.0.topics.get(sink) {
                Some(topic) if topic.internal => {
                    return Err(refuse("it is internal to the broker".to_owned()));
                }
                Some(topic) => match topic.owner.as_deref() {
                    Some(owner) if owner != name => {
                        return Err(refuse(format!("it belongs to pipeline {owner:?}")));
                    }
                    _ => {}
                },
                None => {
                    // Rows bear the time of their events. Whoever computes the past wants to find it.
                    let mut configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
                    if plan.holds_last_rows(sink) {
                        configs.insert("cleanup.policy".to_owned(), "compact".to_owned());
                    }
                    let new = NewTopic { name: sink.clone(), configs, ..NewTopic::default() };
                    self.0.topics.validate(&new)?;
                    missing.push(new);
                }
            }
        }
        Ok((sinks, missing))
    }

    /// Makes the topics of a pipeline's own that are not there.
    async fn make_own_topics(&self, name: &str) -> Result<(), PipelineError> {
        for prefix in [CHANGELOG_PREFIX, PROGRESS_PREFIX] {
            let new = NewTopic {
                name: format!("{prefix}{name}"),
                partitions: Some(1),
                configs: own_configs(),
                ..NewTopic::default()
            };
            self.0.topics.ensure_internal(new).await?;
        }
        Ok(())
    }

    /// Gives the topics of a pipeline's own today's configs, if an earlier version has made them.
    async fn configure_own_topics(&self, name: &str) -> Result<(), PipelineError> {
        let configs = own_configs();
        for prefix in [CHANGELOG_PREFIX, PROGRESS_PREFIX] {
            let topic = format!("{prefix}{name}");
            if self.0.topics.get(&topic).is_some_and(|topic| topic.configs != configs) {
                self.0.topics.alter_any(&topic, &ConfigUpdate::Replace(configs.clone()), false).await?;
            }
        }
        Ok(())
    }

    /// Starts the runner of a pipeline that does not run, as a new generation. Waits until the coordinators are loaded,
    /// which keep the offsets of its group. One that cannot be started is shown as failed, unless the broker goes down meanwhile:
    /// then anything may be closed under it, and what is wrong otherwise is met at the next start.
    pub(super) async fn start(&self, name: &str) -> Result<(), PipelineError> {
        let started = self.try_start(name).await;
        if let Err(error) = &started
            && !matches!(error, PipelineError::Stopping)
            && !self.0.closing.load(Ordering::Relaxed)
        {
            self.update(name, |known| {
                let failure = Failure {
                    at_ms: self.0.clock.now_ms(),
                    what: format!("it cannot be started: {error}"),
                    position: None,
                    remedy: "Run it again when that is mended".to_owned(),
                };
                known.events.say(failure.at_ms, EventKind::Failed, failure.to_string());
                known.shown.set_state(PipelineState::Failed(failure));
            });
        }
        started
    }

    async fn try_start(&self, name: &str) -> Result<(), PipelineError> {
        let (mut record, plan, control, shown, events, snapshots, thread) = {
            let mut known = self.0.known.lock();
            let known = known.get_mut(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            let plan = known.plan.clone().map_err(|error| unplanned(name, &error))?;
            let control = self.0.control(&known.record);
            known.control = control.clone();
            known.shown.set_state(PipelineState::Starting);
            let (shown, events) = (known.shown.clone(), known.events.clone());
            let snapshots = known.snapshots.clone();
            (known.record.clone(), plan, control, shown, events, snapshots, known.thread.take())
        };
        join(thread).await;
        self.0.coordinators.loaded().await;
        let sources = self.sources(&plan)?;
        record.generation += 1;
        record.running = true;
        self.save(&record).await?;
        let (generation, script) = (record.generation, record.script.clone());
        self.update(name, |known| known.record = record);
        let group = group_of(name);
        self.own_group(name, &sources).await?;
        self.configure_own_topics(name).await?;
        let logs = self.own_logs(name)?;
        let keeper = Keeper::new(snapshots, logs.clone(), Arc::clone(&plan), &script, name);
        let (clock, runtime) = (self.0.clock.clone(), self.0.runtime.clone());
        let patience =
            patience(control.clone(), shown.clone(), events.clone(), clock.clone(), runtime.clone());
        let runner = Runner {
            name: name.to_owned(),
            generation,
            plan,
            topics: self.0.topics.clone(),
            logs: BrokerLogs::new(
                self.0.topics.clone(),
                self.0.coordinators.clone(),
                group,
                logs,
                patience,
                self.output_ends(name),
                runtime.clone(),
            )
            .within(control.bound().clone()),
            partitions: self.0.partitions.clone(),
            keeper,
            spill: Spill::new(self.0.spill_directory(name)),
            control,
            shown,
            events,
            limits: self.0.settings.limits,
            threads: self.0.settings.threads,
            courtesy: self.0.courtesy.clone(),
            disk_reserve: self.0.settings.disk_reserve,
            clock,
            runtime,
        };
        // Under the lock, so that whoever closes sees every thread.
        let mut known = self.0.known.lock();
        if self.0.closing.load(Ordering::Relaxed) {
            return Err(PipelineError::Stopping);
        }
        let Some(known) = known.get_mut(name) else { return Ok(()) };
        known.events.say(self.0.clock.now_ms(), EventKind::Started, format!("generation {generation}"));
        let thread = std::thread::Builder::new().name(format!("pipeline-{name}"));
        known.thread = Some(thread.spawn(move || runner.run())?);
        Ok(())
    }

    /// Takes the consumer group that mirrors a pipeline's input offsets, or changes what it is shown to read.
    pub(super) async fn own_group(&self, name: &str, sources: &[Arc<Topic>]) -> Result<(), PipelineError> {
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
            Ok(Reply::Owned(ErrorCode::NONE)) => Ok(()),
            Ok(Reply::Owned(error)) | Err(error) => Err(PipelineError::Group(error)),
            Ok(_) => Err(PipelineError::Group(ErrorCode::UNKNOWN_SERVER_ERROR)),
        }
    }

    pub(super) fn sources(&self, plan: &Plan) -> Result<Vec<Arc<Topic>>, PipelineError> {
        let find =
            |topic: &str| self.0.topics.get(topic).ok_or_else(|| PipelineError::NoSource(topic.to_owned()));
        plan.source_topics().into_iter().map(find).collect()
    }
}
