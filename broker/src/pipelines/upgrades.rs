//! Another script for a pipeline: what is kept of its state, and how the rest is made.
//!
//! ```text
//! the old script runs ───────────────────────────────────► stops ─► one frame ─► the new script runs
//! shadow of the new one: from the logs' start ─► catches up ───► the rest ─┘
//! ```
//!
//! The shadow runs beside the pipeline as far as that has come; only what the pipeline has read since is left when it
//! stops. So it stands for a moment, however long its input is. Until it stops it can be changed as ever: what makes the
//! upgrade impossible gives it up, or is found when its turn comes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use logmill_stream::{
    Counters, Followed, InputPartition, KeyGroups, PipelineSpec, Plan, Progress, Settings, Shadow,
    SnapshotError, SnapshotSource, StateChanges, TopicPartition, Upgrade, make_snapshot, settings,
};

use super::error::PipelineError;
use super::events::EventKind;
use super::manager::{Pipelines, unplanned};
use super::replaying::{Replay, Running};
use super::restoring::topic_ids;
use super::snapshots::{Cut, SnapshotFiles, Stop, told};
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

/// That the state that is made of the input from here on is that of the whole input.
fn check_whole<'p>(mut starts: impl Iterator<Item = (&'p TopicPartition, i64)>) -> Result<(), String> {
    match starts.find(|(_, start)| *start > 0) {
        Some((partition, start)) => Err(format!(
            "state has to be made from the input, and {partition} begins at offset {start}; what is gone would be missing \
             in it. Say --allow-incomplete to make it of what is left"
        )),
        None => Ok(()),
    }
}

/// That a pipeline can be upgraded, and is the one it was when that was decided.
fn check_goes_on(before: &PipelineRecord, now: &PipelineRecord) -> Result<(), String> {
    if (&before.script, before.created_ms) != (&now.script, now.created_ms) {
        return Err("it was changed meanwhile; look at what it is now, and upgrade that".to_owned());
    }
    if now.input_ends.is_some() {
        return Err("its input was declared finished; start the new script under another name".to_owned());
    }
    Ok(())
}

/// The memory and the shards of a pipeline whose new script sets these, or of one that begins at its savepoint: what is not
/// set otherwise than by the old one stays, as somebody may have said something else since.
pub(super) fn changed_settings(record: &PipelineRecord, new: &Settings) -> (Option<u64>, Option<u32>) {
    let old = settings(&record.script).unwrap_or_default();
    let memory = new.memory.filter(|_| new.memory != old.memory);
    let shards = new.shards.filter(|_| new.shards != old.shards);
    (memory.or(record.memory), shards.or(record.shards))
}

/// An upgrade whose state is still to be made.
struct Begun {
    /// The pipeline as it was then.
    record: PipelineRecord,
    view: UpgradeView,
    /// What makes state, if any has to be made.
    shadow: Option<Running>,
}

impl Pipelines {
    /// What becomes of the state of a pipeline when this script takes its place. Changes nothing.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn explain_upgrade(&self, name: &str, script: &str) -> Result<UpgradeView, PipelineError> {
        let (_, old, new) = self.plans(name, script).await?;
        self.upgrade_view(name, &old, &new)
    }

    /// Puts a script in the place of a pipeline's. One that runs goes on with it; one that does not stays so. State that
    /// has to be made is made of the whole input: with `incomplete`, of what is left of it. Topics that the new script does
    /// not write are free then.
    ///
    /// While state is made the pipeline can be changed by others, but not be upgraded. [`Pipelines::stop`],
    /// [`Pipelines::delete`], an end of its input and going back to a savepoint give the upgrade up.
    ///
    /// # Errors
    /// [`PipelineError`]; the pipeline is what it was then, and so are the topics, unless the last step fails, which writes:
    /// new ones may be there then, empty and nobody's.
    pub async fn upgrade(
        &self,
        name: &str,
        script: &str,
        incomplete: bool,
    ) -> Result<(PipelineView, UpgradeView), PipelineError> {
        let plans = self.plans(name, script).await?;
        let refuse = |reason: String| PipelineError::Upgrade { name: name.to_owned(), reason };
        let (replay, begun) = {
            let _changing = self.hold(name).await;
            let replay = self.0.replays.begin(name).ok_or_else(|| {
                refuse(format!(
                    "another script is on its way to its place; wait for that one, or give it up (`logmill pipeline stop \
                     {name}`)"
                ))
            })?;
            (replay, self.begin_upgrade(name, &plans, incomplete)?)
        };
        let Begun { record: before, view, shadow } = begun;
        let running = match shadow {
            // It may take hours: the name is free meanwhile.
            Some(shadow) => Some(self.catch_up(&replay, shadow).await.map_err(refuse)?),
            None => None,
        };
        let _changing = self.hold(name).await;
        replay.check().map_err(refuse)?;
        let (record, _, _, is_live) = self.for_savepoints(name)?;
        check_goes_on(&before, &record).map_err(refuse)?;
        if is_live {
            self.pause(name).await;
        }
        let taken = self.switch(name, script, &plans, &view.upgrade, (&replay, running)).await;
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

    /// Looks at everything that could be in the way of an upgrade, and makes nothing yet. The name is held.
    fn begin_upgrade(
        &self,
        name: &str,
        plans: &(PipelineRecord, Arc<Plan>, Arc<Plan>),
        incomplete: bool,
    ) -> Result<Begun, PipelineError> {
        let (before, old, new) = plans;
        let refuse = |reason: String| PipelineError::Upgrade { name: name.to_owned(), reason };
        let (record, _, snapshots, is_live) = self.for_savepoints(name)?;
        check_goes_on(before, &record).map_err(refuse)?;
        let view = self.upgrade_view(name, old, new)?;
        self.missing_topics(name, new)?;
        if !view.upgrade.replays() {
            return Ok(Begun { record, view, shadow: None });
        }
        let at = snapshots.durable().filter(|_| is_live);
        let followed = self.followed(&view.upgrade, (old, new), at.as_ref().map(|cut| &cut.progress));
        let shadow = self.shadow(name, new, followed)?;
        if !incomplete {
            // Where it begins is fixed now: what the view has found is of before.
            check_whole(shadow.shadow.positions()).map_err(refuse)?;
        }
        Ok(Begun { record, view, shadow: Some(shadow) })
    }

    /// From where the pipeline stands to where the new script goes on.
    async fn switch(
        &self,
        name: &str,
        script: &str,
        (_, old, new): &(PipelineRecord, Arc<Plan>, Arc<Plan>),
        upgrade: &Upgrade,
        (replay, running): (&Replay<'_>, Option<Running>),
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
            running.shadow.follow(self.followed(upgrade, (old, new), Some(&cut.progress)));
            let caught_up = self.catch_up(replay, running).await.map_err(refuse)?;
            check_read(&cut.progress, &new.source_topics(), caught_up.shadow.positions()).map_err(refuse)?;
            (changes, made) = caught_up.shadow.finish();
            upgrade.take_made(&mut changes);
        }
        let record = self.for_savepoints(name)?.0;
        let generation = record.generation.max(cut.progress.generation) + 1;
        let progress = upgrade.progress((old, new), &cut.progress, made.as_ref(), generation, 0);
        let progress = progress.map_err(|error| refuse(error.to_string()))?;
        let before = record.script.clone();
        let (memory, shards) = changed_settings(&record, &self.settings_of(script).await?);
        let record = PipelineRecord { script: script.to_owned(), generation, memory, shards, ..record };
        // Behind everything that may refuse it.
        self.prepare(name, new, false).await?;
        let taken_up = TakenUp { record, plan: Arc::clone(new), progress };
        self.take_up(name, taken_up, self.fill(name, old, before, cut, upgrade.clone(), changes)?).await
    }

    /// Writes the state that the new script begins with: what is kept or migrated of the state at the cut, and what was made.
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
            let (logs, plan, script) = (&logs, &*old, &*script);
            let source = SnapshotSource { files, logs, plan, script, now_ms, stop, told: &told };
            let standing = SnapshotFiles::of_upgrade(to);
            make_snapshot(&source, &cut, &standing)?;
            let mut open = || match files.open(&standing, stop) {
                Ok((reader, _)) => Ok(reader),
                Err(error) => Err(SnapshotError::Io(io::Error::other(error))),
            };
            let written =
                files.write(to, stop, |out| upgrade.carry_over(&old, header, &mut open, &changes, out));
            let removed = files.remove(&standing);
            written.and(removed)
        }))
    }

    /// A pipeline as it is, its plan, and the plan of a script.
    async fn plans(
        &self,
        name: &str,
        script: &str,
    ) -> Result<(PipelineRecord, Arc<Plan>, Arc<Plan>), PipelineError> {
        let new = self.plan_of(script).await?;
        let (record, old, _, _) = self.for_savepoints(name)?;
        Ok((record, old.map_err(|error| unplanned(name, &error))?, Arc::new(new)))
    }

    fn upgrade_view(&self, name: &str, old: &Plan, new: &Plan) -> Result<UpgradeView, PipelineError> {
        let upgrade = Upgrade::between(old, new, &self.totals(name)?);
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

    /// What a pipeline has done so far.
    fn totals(&self, name: &str) -> Result<Counters, PipelineError> {
        let (_, _, snapshots, _) = self.for_savepoints(name)?;
        let logged = || self.own_logs(name).ok()?.standing().ok().flatten();
        let standing = snapshots.durable().or_else(logged);
        Ok(standing.map_or_else(Counters::default, |cut| cut.progress.totals))
    }

    /// How far a shadow is to come behind a pipeline that stands there.
    fn followed(
        &self,
        upgrade: &Upgrade,
        (old, new): (&Plan, &Plan),
        standing: Option<&Progress>,
    ) -> Followed {
        let topics = new.source_topics().into_iter().filter_map(|topic| self.0.topics.get(topic));
        let partitions: Vec<Partition> = topics.flat_map(|topic| topic.partitions.clone()).collect();
        let end = |partition: &Partition| {
            let end = partition.published().last_stable_offset;
            (TopicPartition::new(partition.topic_name(), partition.index()), end)
        };
        Followed {
            offsets: targets(&old.source_topics(), standing, partitions.iter().map(end)),
            times: upgrade.times((old, new), standing),
        }
    }

    fn shadow(&self, name: &str, plan: &Plan, followed: Followed) -> Result<Running, PipelineError> {
        let input = |partition: &Partition| InputPartition {
            partition: TopicPartition::new(partition.topic_name(), partition.index()),
            start: partition.published().log_start_offset,
        };
        let count = |topic: &str| {
            let partitions = self.0.topics.get(topic).map_or(0, |topic| topic.partitions.len());
            // Topics that are not there yet are made when all is well. What goes there goes nowhere.
            i32::try_from(partitions).unwrap_or(i32::MAX).max(1)
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
            key_groups: KeyGroups::DEFAULT,
            shards: 1,
        };
        let shadow = Shadow::new(plan.clone(), spec, self.0.settings.limits, followed);
        let shadow = shadow
            .map_err(|error| PipelineError::Upgrade { name: name.to_owned(), reason: error.to_string() })?;
        Ok(Running { shadow, logs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_whole_where_it_is_made_from_the_first_record_on() {
        let [first, second] = [0, 1].map(|partition| TopicPartition::new("in", partition));
        assert_eq!(check_whole([(&first, 0), (&second, 0)].into_iter()), Ok(()));
        let gone = check_whole([(&first, 0), (&second, 7)].into_iter()).unwrap_err();
        assert!(gone.contains("in-1 begins at offset 7") && gone.contains("--allow-incomplete"), "{gone}");
    }
}
