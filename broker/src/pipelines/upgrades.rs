//! Another script for a pipeline: what is kept of its state, and how the rest is made.
//!
//! ```text
//! the old script runs ───────────────────────────────────► stops ─► one frame ─► the new script runs
//! shadow of the new one: from the logs' start ─► catches up ───► the rest ─┘
//! ```
//!
//! The shadow runs beside the pipeline as far as that has come; only what the pipeline has read since is left when it
//! stops. So it stands for a moment, however long its input is.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_stream::{
    InputPartition, PipelineSpec, Plan, Progress, Shadow, StateChanges, TopicPartition, Upgrade,
    merge_snapshot,
};

use super::error::PipelineError;
use super::events::EventKind;
use super::logs::BrokerLogs;
use super::manager::{Pipelines, unplanned};
use super::snapshots::{Cut, SnapshotFiles, Source, Stop, make};
use super::status::PipelineView;
use super::taking_up::{Fill, TakenUp};
use crate::blocking::beside;
use crate::topics::PipelineRecord;

/// What an upgrade would do.
#[derive(Clone, Debug)]
pub struct UpgradeView {
    /// What becomes of each operator's state, and which topics come and go.
    pub upgrade: Upgrade,
    /// Where state is to be made from the input: the partitions whose first records are gone, and where they begin.
    pub incomplete: Vec<(String, i32, i64)>,
    /// How many records, about, have to be read to make state.
    pub to_read: i64,
}

/// A shadow on its way, and what it reads.
struct Running {
    shadow: Shadow,
    logs: BrokerLogs,
}

impl Pipelines {
    /// What becomes of the state of a pipeline when this script takes its place. Changes nothing.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn explain_upgrade(&self, name: &str, script: &str) -> Result<UpgradeView, PipelineError> {
        let (old, new) = self.plans(name, script).await?;
        self.upgrade_view(&old, &new)
    }

    /// Puts a script in the place of a pipeline's. One that runs goes on with it; one that does not stays so. State that
    /// has to be made is made of the whole input: with `incomplete`, of what is left of it.
    ///
    /// # Errors
    /// [`PipelineError`]; the pipeline is what it was then.
    pub async fn upgrade(
        &self,
        name: &str,
        script: &str,
        incomplete: bool,
    ) -> Result<(PipelineView, UpgradeView), PipelineError> {
        let (old, new) = self.plans(name, script).await?;
        let _changing = self.hold(name).await;
        let view = self.upgrade_view(&old, &new)?;
        let refuse = |reason: String| PipelineError::Upgrade { name: name.to_owned(), reason };
        if let Some((topic, partition, start)) = view.incomplete.first().filter(|_| !incomplete) {
            return Err(refuse(format!(
                "state has to be made from the input, and {topic}-{partition} begins at offset {start}; what is gone would \
                 be missing in it. Say --allow-incomplete to make it of what is left"
            )));
        }
        let (record, _, snapshots, is_live) = self.for_savepoints(name)?;
        if record.input_ends.is_some() {
            return Err(refuse(
                "its input was declared finished; start the new script under another name".to_owned(),
            ));
        }
        self.claim_for(name, Arc::clone(&new)).await?;
        let mut running = None;
        if view.upgrade.replays() {
            let at = snapshots.durable().filter(|_| is_live);
            let targets = self.targets(&new, at.as_ref().map(|cut| &cut.progress));
            let started = self.shadow(name, &new, targets)?;
            running = Some(self.catch_up(started).await.map_err(refuse)?);
        }
        if is_live {
            self.pause(name).await;
        }
        let taken = self.switch(name, script, (&old, &new), &view.upgrade, running).await;
        if is_live {
            // With the new script, or, where that failed, with the old one.
            let started = self.start(name).await;
            taken?;
            started?;
        } else {
            taken?;
        }
        self.update(name, |known| {
            known.events.say(self.0.clock.now_ms(), EventKind::Changed, "another script has taken its place");
        });
        Ok((self.view(name)?, view))
    }

    /// From where the pipeline stands to where the new script goes on.
    async fn switch(
        &self,
        name: &str,
        script: &str,
        (old, new): (&Arc<Plan>, &Arc<Plan>),
        upgrade: &Upgrade,
        running: Option<Running>,
    ) -> Result<(), PipelineError> {
        let refuse = |reason: String| PipelineError::Upgrade { name: name.to_owned(), reason };
        let cut = self.standing(name).await?;
        if cut.progress.emission_pending(old).map_err(|error| refuse(error.to_string()))? {
            return Err(refuse(
                "windows it has closed are not wholly written; let it run on for a moment (`logmill pipeline resume`)"
                    .to_owned(),
            ));
        }
        let (mut changes, mut made) = (StateChanges::default(), None);
        if let Some(mut running) = running {
            running.shadow.set_targets(self.targets(new, Some(&cut.progress)));
            let caught_up = self.catch_up(running).await.map_err(refuse)?;
            let behind = |(partition, at): (&TopicPartition, i64)| {
                let inputs = cut.progress.inputs.iter();
                let read = inputs
                    .filter(|input| input.topic == partition.topic && input.partition == partition.partition);
                read.map(|input| input.to).any(|to| to != at)
            };
            if let Some((partition, at)) = caught_up.shadow.positions().find(|position| behind(*position)) {
                return Err(refuse(format!("{partition} could be read up to offset {at} only")));
            }
            (changes, made) = caught_up.shadow.finish();
            upgrade.take_made(&mut changes);
        }
        let record = self.for_savepoints(name)?.0;
        let generation = record.generation.max(cut.progress.generation) + 1;
        let progress = upgrade.progress((old, new), &cut.progress, made.as_ref(), generation, 0);
        let progress = progress.map_err(|error| refuse(error.to_string()))?;
        let before = record.script.clone();
        let record =
            PipelineRecord { script: script.to_owned(), generation, running: record.running, ..record };
        let taken_up = TakenUp { record, plan: Arc::clone(new), progress };
        self.take_up(name, taken_up, self.fill(name, old, before, cut, upgrade.clone(), changes)?).await
    }

    /// Writes the state that the new script begins with: what is kept, out of the state at the cut, and what was made.
    fn fill(
        &self,
        name: &str,
        old: &Arc<Plan>,
        script: String,
        cut: Cut,
        upgrade: Upgrade,
        changes: StateChanges,
    ) -> Result<Fill, PipelineError> {
        let (logs, old, now_ms) = (self.own_logs(name)?, Arc::clone(old), self.0.clock.now_ms());
        Ok(Box::new(move |files: &SnapshotFiles, header, to: &str, stop: &Stop| {
            let source = Source { files, logs: &logs, plan: &old, script: &script, now_ms, stop };
            let standing = SnapshotFiles::of_upgrade(to);
            make(&source, &cut, &standing)?;
            let written = files.open(&standing, stop).and_then(|(mut reader, _)| {
                let keeps = |identity| upgrade.keeps(identity) || upgrade.makes(identity);
                files.write(to, stop, |out| merge_snapshot(header, Some(&mut reader), &changes, keeps, out))
            });
            let removed = files.remove(&standing);
            written.and(removed)
        }))
    }

    async fn plans(&self, name: &str, script: &str) -> Result<(Arc<Plan>, Arc<Plan>), PipelineError> {
        let new = self.plan_of(script).await?;
        let old = self.for_savepoints(name)?.1.map_err(|error| unplanned(name, &error))?;
        Ok((old, Arc::new(new)))
    }

    fn upgrade_view(&self, old: &Plan, new: &Plan) -> Result<UpgradeView, PipelineError> {
        let upgrade = Upgrade::between(old, new);
        let (mut incomplete, mut to_read) = (Vec::new(), 0);
        for topic in self.sources(new)?.iter().filter(|_| upgrade.replays()) {
            for partition in &topic.partitions {
                let published = partition.published();
                to_read += published.last_stable_offset - published.log_start_offset;
                if published.log_start_offset > 0 {
                    incomplete.push((topic.name.to_string(), partition.index(), published.log_start_offset));
                }
            }
        }
        Ok(UpgradeView { upgrade, incomplete, to_read })
    }

    /// Where a shadow is to read to: as far as the pipeline, and in topics it does not read to their end.
    fn targets(&self, new: &Plan, standing: Option<&Progress>) -> BTreeMap<TopicPartition, i64> {
        let topics = new.source_topics().into_iter().filter_map(|topic| self.0.topics.get(topic));
        let mut targets: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for topic in topics {
            for partition in &topic.partitions {
                let end = partition.published().last_stable_offset;
                targets.insert(TopicPartition::new(&*topic.name, partition.index()), end);
            }
        }
        match standing {
            Some(progress) => {
                for input in &progress.inputs {
                    let partition = TopicPartition::new(input.topic.as_str(), input.partition);
                    targets.entry(partition).and_modify(|target| *target = input.to);
                }
            }
            // Not known yet: nothing is read beyond it.
            None => targets.values_mut().for_each(|target| *target = 0),
        }
        targets
    }

    fn shadow(
        &self,
        name: &str,
        plan: &Plan,
        targets: BTreeMap<TopicPartition, i64>,
    ) -> Result<Running, PipelineError> {
        let input = |partition: &crate::partitions::Partition| InputPartition {
            partition: TopicPartition::new(partition.topic_name(), partition.index()),
            start: partition.published().log_start_offset,
        };
        let count = |topic: &str| {
            let partitions = self.0.topics.get(topic).map_or(0, |topic| topic.partitions.len());
            i32::try_from(partitions).unwrap_or(i32::MAX)
        };
        let sources = self.sources(plan)?;
        let outputs = plan.sink_topics().into_iter().chain(plan.side_topics());
        let spec = PipelineSpec {
            name: name.to_owned(),
            generation: 0,
            inputs: sources.iter().flat_map(|topic| &topic.partitions).map(input).collect(),
            outputs: outputs.map(|topic| (topic.to_owned(), count(topic))).collect(),
            shards: 1,
        };
        let shadow = Shadow::new(plan.clone(), spec, self.0.settings.limits, targets);
        let shadow = shadow
            .map_err(|error| PipelineError::Upgrade { name: name.to_owned(), reason: error.to_string() })?;
        Ok(Running { shadow, logs: self.broker_logs(name)? })
    }

    /// Runs a shadow to its targets.
    async fn catch_up(&self, mut running: Running) -> Result<Running, String> {
        let (clock, stop) = (self.0.clock.clone(), self.closing());
        let work = beside(move || {
            let turn = |running: &mut Running| {
                let now = clock.now_ms();
                running.shadow.turn(&mut running.logs, now, now.unsigned_abs())
            };
            while turn(&mut running).map_err(|error| error.to_string())? {
                if stop() {
                    return Err("the broker is stopping".to_owned());
                }
            }
            Ok(running)
        });
        work.await.map_err(|_| "the broker is stopping".to_owned())?
    }
}
