//! From what is committed back to a task that runs: the last progress record, the newest snapshot here that goes with it,
//! and the changelog behind that; without one, all of the changelog.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_client::{Error, OffsetSpec, TransactionalProducer};
use logmill_stream::{
    EpochOutput, FoundSnapshots, InputPartition, InputProgress, KeyGroups, Pipeline, PipelineSpec, Progress,
    RestoreError, Restoring, SnapshotCut, SnapshotFiles, SnapshotStop, TopicPartition, UsableSnapshot,
};

use crate::commits;
use crate::error::TaskError;
use crate::memory::Part;
use crate::names::Names;
use crate::own_logs::OwnLogs;
use crate::restore;
use crate::snapshots::{Keeper, Restored};
use crate::task::{Begun, Broken, Common, Task, is_told_to_stop};

/// Where the input of a task was declared to end.
type Ends = BTreeMap<TopicPartition, i64>;

/// Where a task stands.
struct Standing {
    /// Its last record, and where that is.
    progress: Option<(Progress, i64)>,
    /// Its partitions.
    partitions: Vec<TopicPartition>,
    /// Its ends, where somebody went over a gap and they are to be declared again.
    ends: Option<Ends>,
}

impl Task {
    /// Builds the machine from what is committed.
    pub(crate) fn restore(
        &self,
        producer: &mut TransactionalProducer,
        memory: &Part,
    ) -> Result<Begun, Broken> {
        let Common { client, plan, names, snapshots, .. } = &*self.common;
        let standing = self.wait(self.standing(producer))??;
        let Standing { progress, partitions, ends } = standing;
        let (start, end) = self.wait(restore::range(client, &names.changelog, self.number))??;
        let spec = self.wait(self.spec(progress.as_ref().map(|(progress, _)| progress), partitions))??;
        let generation = spec.generation;
        let begin = || {
            let progress = progress.as_ref().map(|(progress, _)| progress.clone());
            let begun = Pipeline::restore((**plan).clone(), spec.clone(), progress);
            begun.map_err(|error| other_changelog(error, names))
        };
        let logs = OwnLogs {
            client: client.clone(),
            runtime: self.common.runtime.clone(),
            names: names.clone(),
            task: self.number,
            id: self.layout.changelog_id.clone(),
            start,
            deletions_stay: self.layout.deletions_stay,
            stop: self.stop.clone(),
        };
        let files = snapshots.as_ref().map(|snapshots| snapshots.of_task(&names.group, self.number));
        let mut restored = Restored { changelog_end: end, ..Restored::default() };
        let mut from_snapshot = None;
        if let (Some(files), Some((progress, offset))) = (&files, &progress) {
            let cut =
                SnapshotCut { progress: progress.clone(), progress_offset: *offset, changelog_end: end };
            let usable = self.usable(files, &logs, &cut);
            from_snapshot = self.newest_state(files, usable, &begin, memory)?;
        }
        let (mut restoring, from) = match from_snapshot {
            Some((restoring, snapshot)) => {
                let from = snapshot.header.changelog_end;
                restored.snapshot = Some(snapshot);
                (restoring, from)
            }
            None => (begin()?, start),
        };
        let read =
            restore::changelog(client, &names.changelog, self.number, (from, end), &mut restoring, memory);
        restored.changelog_bytes = self.wait(read)??;
        let pipeline = restoring.finish();
        let snapshot = restored.snapshot.as_ref().map(|snapshot| snapshot.header.progress.epoch);
        tracing::info!(
            pipeline = names.pipeline,
            task = self.number,
            generation,
            epoch = pipeline.epoch(),
            shards = self.common.shards,
            snapshot,
            changelog_from = from,
            changelog_bytes = restored.changelog_bytes,
            "a task begins"
        );
        if let Some((progress, _)) = progress {
            self.common.shown.lock().insert(self.number, progress);
        }
        let keeper = snapshots
            .as_ref()
            .zip(files)
            .map(|(snapshots, files)| Keeper::new(snapshots, files, &logs, Arc::clone(plan), &restored));
        Ok(Begun { pipeline, keeper, ends })
    }

    /// Waits, unless the task is to stop.
    fn wait<T>(&self, wait: impl Future<Output = T>) -> Result<T, Broken> {
        self.unless_stopped(wait).ok_or(Broken::Stopped)
    }

    /// Where the task stands. With `accept_gap`, behind what was deleted before it was read, which is committed as an epoch of
    /// its own.
    async fn standing(&self, producer: &mut TransactionalProducer) -> Result<Standing, TaskError> {
        let Common { client, names, accept_gap, .. } = &*self.common;
        let progress = restore::progress(client, &names.progress, self.number).await?;
        let before = progress.as_ref().map(|(progress, _)| progress);
        let partitions = to_read(self.layout.inputs(self.number), before);
        let ends = before.and_then(Progress::pending_ends);
        let Some(before) = before.filter(|_| *accept_gap) else {
            return Ok(Standing { progress, partitions, ends });
        };
        let mut starts = BTreeMap::new();
        for partition in partitions.iter().filter(|partition| self.is_same_topic(before, &partition.topic)) {
            let start = self.offset(partition, OffsetSpec::Earliest).await?;
            starts.insert(partition.clone(), start);
        }
        // Those of a topic that the record does not have are read from where they begin.
        let is_read =
            |partition: &&TopicPartition| before.inputs.iter().any(|input| input.topic == partition.topic);
        let added: Vec<TopicPartition> = partitions.iter().filter(is_read).cloned().collect();
        let start =
            |input: &InputProgress| starts.get(&TopicPartition::new(&*input.topic, input.partition)).copied();
        let Some(over) = before.over_gaps(before.generation + 1, &added, start) else {
            return Ok(Standing { progress, partitions, ends });
        };
        for input in &over.inputs {
            let is_it = |was: &&InputProgress| (&was.topic, was.partition) == (&input.topic, input.partition);
            let from = before.inputs.iter().find(is_it).map_or(0, |was| was.to);
            if from == input.to {
                continue;
            }
            tracing::warn!(
                pipeline = names.pipeline,
                task = self.number,
                "it goes on without the records of {}-{} from offset {} up to {} ({} offsets): they were deleted before it \
                 read them, and the gap was accepted",
                input.topic,
                input.partition,
                from,
                input.to,
                input.to - from
            );
        }
        let ends = over.pending_ends();
        let written =
            commits::commit(producer, names, self.number, EpochOutput::standing(over.clone())).await?;
        // A cluster that did not say where the record is: no snapshot is held against the place of the last one.
        let offset = written.progress_offset.unwrap_or(i64::MAX);
        Ok(Standing { progress: Some((over, offset)), partitions, ends })
    }

    /// What another topic of the name has lost is no gap of the one that was read.
    fn is_same_topic(&self, progress: &Progress, topic: &str) -> bool {
        let (read, found) = (progress.topic_ids.get(topic), self.layout.ids.get(topic));
        read.zip(found).is_none_or(|(read, found)| *read == found.to_string())
    }

    /// The snapshots to go on from, newest first. Says why the others are not.
    fn usable(&self, files: &SnapshotFiles, logs: &OwnLogs, cut: &SnapshotCut) -> Vec<UsableSnapshot> {
        let found = files.remove_unfinished().and_then(|()| FoundSnapshots::of(files, logs, cut));
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(task = self.number, %error, "no snapshots");
            FoundSnapshots::default()
        });
        for refused in found.foreign.iter().chain(&found.unread) {
            self.say_unusable(&refused.file, &refused.reason);
        }
        found.usable
    }

    fn say_unusable(&self, file: &str, reason: &str) {
        tracing::warn!(task = self.number, file, reason, "a snapshot is not used");
    }

    /// The state of the newest of these snapshots that is whole.
    fn newest_state(
        &self,
        files: &SnapshotFiles,
        usable: Vec<UsableSnapshot>,
        begin: &impl Fn() -> Result<Restoring, TaskError>,
        memory: &Part,
    ) -> Result<Option<(Restoring, UsableSnapshot)>, Broken> {
        let stopped = self.stop.clone();
        let stop: SnapshotStop = Arc::new(move || is_told_to_stop(&stopped));
        for snapshot in usable {
            let restoring = begin()?;
            let mut over = None;
            let mut go_on = |restoring: &Restoring| {
                over = memory.hold(restoring.memory_bytes(), || restoring.operator_sizes()).err();
                over.is_none()
            };
            let read = files.open(&snapshot.file, &stop).map_err(|error| error.to_string());
            let read = read.and_then(|(mut reader, _)| {
                restoring.apply_snapshot(&mut reader, &mut go_on).map_err(|error| error.to_string())
            });
            match (read, over) {
                (_, Some(over)) => return Err(over.into()),
                (Ok(restoring), None) => return Ok(Some((restoring, snapshot))),
                (Err(_), None) if stop() => return Err(Broken::Stopped),
                (Err(reason), None) => self.say_unusable(&snapshot.file, &reason),
            }
        }
        Ok(None)
    }

    async fn spec(
        &self,
        progress: Option<&Progress>,
        partitions: Vec<TopicPartition>,
    ) -> Result<PipelineSpec, Error> {
        let mut inputs = Vec::new();
        for partition in partitions {
            let has_read = progress.is_some_and(|progress| {
                let mut inputs = progress.inputs.iter();
                inputs.any(|input| (&input.topic, input.partition) == (&partition.topic, partition.partition))
            });
            let start = if has_read { 0 } else { self.offset(&partition, OffsetSpec::Earliest).await? };
            inputs.push(InputPartition { partition, start });
        }
        let Common { client, names, .. } = &*self.common;
        let mut topic_ids: BTreeMap<String, String> =
            self.layout.ids.iter().map(|(topic, id)| (topic.clone(), id.to_string())).collect();
        // The state is in this topic, and in none that is made when it is gone: that would be restored as no state. It is looked
        // at again, as it may be gone since the layout was made.
        let changelog = match client.admin().describe_topic(&names.changelog).await {
            Ok(found) => Some(found.id).filter(|id| !id.is_nil()).map(|id| id.to_string()),
            // It may take a moment until every broker knows it.
            Err(Error::UnknownTopic { .. }) => {
                Some(self.layout.changelog_id.clone()).filter(|id| *id != names.changelog)
            }
            Err(error) => return Err(error),
        };
        topic_ids.extend(changelog.map(|id| (names.changelog.clone(), id)));
        Ok(PipelineSpec {
            name: names.pipeline.clone(),
            generation: progress.map_or(0, |progress| progress.generation) + 1,
            inputs,
            topic_ids,
            outputs: self.layout.outputs.clone(),
            key_groups: KeyGroups::DEFAULT,
            shards: self.common.shards as usize,
        })
    }
}

/// The topic of the state is none that was read: what is to be done is something else.
fn other_changelog(error: RestoreError, names: &Names) -> TaskError {
    match error {
        RestoreError::OtherTopic { topic, read, found } if topic == names.changelog => {
            TaskError::OtherChangelog { topic, progress: names.progress.clone(), written: read, found }
        }
        error => error.into(),
    }
}

/// The partitions a task reads. Where its input was declared to end, those that came later are beyond the end.
fn to_read(mut partitions: Vec<TopicPartition>, progress: Option<&Progress>) -> Vec<TopicPartition> {
    let inputs = progress.map_or(&[][..], |progress| &progress.inputs);
    if inputs.iter().any(|input| input.end.or(input.pending_end).is_some()) {
        partitions.retain(|partition| {
            inputs
                .iter()
                .any(|input| (&input.topic, input.partition) == (&partition.topic, partition.partition))
        });
    }
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_came_behind_a_declared_end_are_not_read() {
        let record = |end: &str, pending: &str| {
            let text = format!(
                r#"{{"version":2,"pipeline":"p","generation":1,"epoch":1,"plan":1,"now":0,"seed":0,"emit_rows":1,
                "inputs":[{{"topic":"t","partition":0,"from":0,"to":3,"end":{end},"pending_end":{pending},"watermarks":[]}}],
                "watermark":null,"sources":[],"operators":[],"counters":{none},"totals":{none},"digest":0,
                "finished":false}}"#,
                none = r#"{"read":0,"processed":0,"late":0,"skipped":0,"without_value":0,"dead_lettered":0,
                "filtered":0,"written":0,"unwritten":0,"windows_closed":0}"#
            );
            Progress::decode(text.as_bytes()).expect("a record")
        };
        let all = || (0..2).map(|partition| TopicPartition::new("t", partition)).collect::<Vec<_>>();
        assert_eq!(to_read(all(), None), all());
        assert_eq!(to_read(all(), Some(&record("null", "null"))), all());
        assert_eq!(to_read(all(), Some(&record("5", "null"))), all()[..1]);
        assert_eq!(to_read(all(), Some(&record("null", "5"))), all()[..1]);
    }
}
