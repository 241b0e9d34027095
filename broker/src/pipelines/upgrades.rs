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
use super::manager::{Pipelines, unplanned};
use super::replaying::Running;
use super::restoring::topic_ids;
use super::snapshots::{Cut, SnapshotFiles, Source, Stop, make};
use super::status::PipelineView;
use super::taking_up::{Fill, TakenUp};
use crate::partitions::Partition;
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

/// That a shadow has read as far as the pipeline in each partition that the new script reads: what it has left out would be
/// missing in the state it made, and what it has read beyond that would be given by nobody.
fn check_read<'p>(
    standing: &Progress,
    topics: &[&str],
    shadow: impl Iterator<Item = (&'p TopicPartition, i64)>,
) -> Result<(), String> {
    let positions: BTreeMap<&TopicPartition, i64> = shadow.collect();
    for input in standing.inputs.iter().filter(|input| topics.contains(&&*input.topic)) {
        let partition = TopicPartition::new(&*input.topic, input.partition);
        match positions.get(&partition) {
            Some(at) if *at == input.to => {}
            Some(at) => return Err(format!("{partition} could be read up to offset {at} only")),
            None => {
                return Err(format!("{partition} was added while its state was made; upgrade it once more"));
            }
        }
    }
    Ok(())
}

/// Where a shadow is to read to, of partitions with their ends: as far as the pipeline, and in topics that the old script
/// does not read to their end. Of a partition that the pipeline has not begun nothing is read: it is still to come, as rows
/// too.
fn targets(
    old: &[&str],
    standing: Option<&Progress>,
    ends: impl Iterator<Item = (TopicPartition, i64)>,
) -> BTreeMap<TopicPartition, i64> {
    let target = |(partition, end): (TopicPartition, i64)| {
        let mut inputs = standing.iter().flat_map(|progress| &progress.inputs);
        let input =
            inputs.find(|input| (&input.topic, input.partition) == (&partition.topic, partition.partition));
        let target = match (standing, input) {
            // Not known yet: nothing is read beyond it.
            (None, _) => 0,
            (_, Some(input)) => input.to,
            (_, None) if old.contains(&&*partition.topic) => 0,
            (_, None) => end,
        };
        (partition, target)
    };
    ends.map(target).collect()
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
    /// has to be made is made of the whole input: with `incomplete`, of what is left of it. Topics that the new script does
    /// not write are free then.
    ///
    /// # Errors
    /// [`PipelineError`]; the pipeline is what it was then, and so are the topics, but for new ones that may have been made:
    /// these are empty, and nobody's. [`Pipelines::stop`] and [`Pipelines::delete`] give an upgrade up that makes state.
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
        self.prepare(name, &new, false).await?;
        let mut running = None;
        if view.upgrade.replays() {
            let at = snapshots.durable().filter(|_| is_live);
            let targets = self.targets((&old, &new), at.as_ref().map(|cut| &cut.progress));
            let started = self.shadow(name, &new, targets)?;
            running = Some(self.catch_up(name, self.budget(&record), started).await.map_err(refuse)?);
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
        self.check_positions(&cut.progress)?;
        if cut.progress.emission_pending(old).map_err(|error| refuse(error.to_string()))? {
            return Err(refuse(
                "windows it has closed are not wholly written; let it run on for a moment (`logmill pipeline resume`)"
                    .to_owned(),
            ));
        }
        let (mut changes, mut made) = (StateChanges::default(), None);
        if let Some(mut running) = running {
            running.shadow.set_targets(self.targets((old, new), Some(&cut.progress)));
            let budget = self.budget(&self.for_savepoints(name)?.0);
            let caught_up = self.catch_up(name, budget, running).await.map_err(refuse)?;
            check_read(&cut.progress, &new.source_topics(), caught_up.shadow.positions()).map_err(refuse)?;
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

    /// How many bytes the state of a pipeline may have.
    fn budget(&self, record: &PipelineRecord) -> u64 {
        record.memory.unwrap_or(self.0.settings.memory)
    }

    fn targets(
        &self,
        (old, new): (&Plan, &Plan),
        standing: Option<&Progress>,
    ) -> BTreeMap<TopicPartition, i64> {
        let topics = new.source_topics().into_iter().filter_map(|topic| self.0.topics.get(topic));
        let partitions: Vec<Partition> = topics.flat_map(|topic| topic.partitions.clone()).collect();
        let end = |partition: &Partition| {
            let end = partition.published().last_stable_offset;
            (TopicPartition::new(partition.topic_name(), partition.index()), end)
        };
        targets(&old.source_topics(), standing, partitions.iter().map(end))
    }

    fn shadow(
        &self,
        name: &str,
        plan: &Plan,
        targets: BTreeMap<TopicPartition, i64>,
    ) -> Result<Running, PipelineError> {
        let input = |partition: &Partition| InputPartition {
            partition: TopicPartition::new(partition.topic_name(), partition.index()),
            start: partition.published().log_start_offset,
        };
        let count = |topic: &str| {
            let partitions = self.0.topics.get(topic).map_or(0, |topic| topic.partitions.len());
            i32::try_from(partitions).unwrap_or(i32::MAX)
        };
        let sources = self.sources(plan)?;
        let outputs = plan.sink_topics().into_iter().chain(plan.side_topics());
        let partitions: Vec<Partition> = sources.iter().flat_map(|topic| topic.partitions.clone()).collect();
        let mut logs = self.broker_logs(name)?;
        logs.read_only(topic_ids(&partitions));
        let spec = PipelineSpec {
            name: name.to_owned(),
            generation: 0,
            inputs: partitions.iter().map(input).collect(),
            topic_ids: topic_ids(&partitions),
            outputs: outputs.map(|topic| (topic.to_owned(), count(topic))).collect(),
            shards: 1,
        };
        let shadow = Shadow::new(plan.clone(), spec, self.0.settings.limits, targets);
        let shadow = shadow
            .map_err(|error| PipelineError::Upgrade { name: name.to_owned(), reason: error.to_string() })?;
        Ok(Running { shadow, logs })
    }
}
