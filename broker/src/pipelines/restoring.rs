//! From the logs of its own back to a running pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_stream::{
    FoundSnapshots, InputPartition, KeyGroups, LogsError, OperatorSize, Pipeline, PipelineSpec, Restoring,
    SnapshotLogs as _, TopicPartition, UsableSnapshot,
};

use super::events::EventKind;
use super::failure::RunError;
use super::runner::Runner;
use super::shown::Durable;
use super::snapshots::{Cut, Stop, for_each_batch};
use crate::partitions::Partition;

impl Runner {
    /// Builds the machine from the last progress record, the newest snapshot that is whole, and the changelog behind it, in
    /// so many shards: the state says nothing of how many there were.
    pub(super) fn restore(&mut self, shards: u32) -> Result<Pipeline, RunError> {
        if !self.logs.settle_own(&self.control) {
            return Err(RunError::Stopped);
        }
        // It would be waited for, and hears of no wish to stop the run.
        self.keeper.give_up();
        let cut = self.keeper.logs().standing().map_err(own_log)?;
        self.logs.read_only(topic_ids(&self.sources()?));
        // All of one cut: whatever else is published meanwhile is another runner's, and fences this one.
        let (progress_end, changelog_end) = match &cut {
            Some(cut) => (cut.progress_offset + 1, cut.changelog_end),
            None => {
                let logs = self.keeper.logs();
                (logs.progress.published().high_watermark, logs.changelog.published().high_watermark)
            }
        };
        self.logs.go_on_from(progress_end, changelog_end);
        let pipeline = match self.restored_spilt(cut.as_ref(), changelog_end, shards)? {
            Some(pipeline) => pipeline,
            None => self.restored_state(cut.as_ref(), changelog_end, shards)?.finish(),
        };
        let sizes = pipeline.operator_sizes();
        match &cut {
            Some(cut) => {
                let open_windows = pipeline.open_windows();
                let progress = cut.progress.clone();
                let durable = Durable { progress, open_windows, sizes: Some(sizes) };
                self.shown.set_durable(durable, None);
            }
            None => self.shown.set_sizes(sizes),
        }
        self.keeper.snapshots().set_durable(cut);
        Ok(pipeline)
    }

    /// A pipeline that knows its progress and has no state yet.
    pub(super) fn begin(&self, cut: Option<&Cut>, shards: u32) -> Result<Restoring, RunError> {
        let progress = cut.map(|cut| cut.progress.clone());
        Ok(Pipeline::restore((*self.plan).clone(), self.spec(shards)?, progress)?)
    }

    /// Asked while something long is read: whether to give up.
    pub(super) fn stop(&self) -> Stop {
        let control = self.control.clone();
        Arc::new(move || control.is_stopping())
    }

    /// The snapshots to go on from, newest first. Nobody removes one meanwhile, and a savepoint in the making, which may take
    /// long, is not waited for.
    pub(super) fn bases(&self, cut: &Cut) -> Result<Vec<UsableSnapshot>, RunError> {
        let found = FoundSnapshots::of(self.keeper.snapshots().files(), self.keeper.logs(), cut);
        let found = found.map_err(|error| own_log(error.to_string()))?;
        for refused in &found.unread {
            self.say_unusable(&refused.file, &refused.reason);
        }
        Ok(found.usable)
    }

    pub(super) fn say_unusable(&self, file: &str, error: &str) {
        self.say(EventKind::Changed, format!("the snapshot {file} cannot be used: {error}"));
    }

    /// There is nothing from which a cut can be come to.
    pub(super) fn no_base(&self, cut: &Cut) -> RunError {
        own_log(format!(
            "no snapshot in {} can be read that goes with the changelog, which begins at offset {}, and with epoch {}",
            self.keeper.snapshots().files().directory().display(),
            self.keeper.logs().changelog.published().log_start_offset,
            cut.progress.epoch
        ))
    }

    /// A snapshot of so many bytes was gone on from, and so many of the changelog behind it.
    pub(super) fn note_restored(&mut self, snapshot_bytes: u64, changelog_bytes: u64) {
        // Progress counts whole: what of it lies before the last snapshot goes with the next one.
        let progress = self.keeper.logs().progress.size_bytes();
        self.keeper.restored(snapshot_bytes, changelog_bytes + progress);
    }

    fn restored_state(
        &mut self,
        cut: Option<&Cut>,
        changelog_end: i64,
        shards: u32,
    ) -> Result<Restoring, RunError> {
        let stop = self.stop();
        let files = self.keeper.snapshots().files().clone();
        for base in cut.map_or_else(|| Ok(Vec::new()), |cut| self.bases(cut))? {
            let restoring = self.begin(cut, shards)?;
            let mut failed = None;
            let read = || {
                let (mut reader, _) = files.open(&base.file, &stop).map_err(|error| error.to_string())?;
                let applied = restoring.apply_snapshot(&mut reader, &mut self.watch(&mut failed));
                applied.map_err(|error| error.to_string())
            };
            let read = read();
            if let Some(error) = failed {
                return Err(error);
            }
            match read {
                Ok(restoring) => {
                    let from = base.header.changelog_end;
                    let (restoring, bytes) = self.replayed(restoring, from, changelog_end)?;
                    self.note_restored(base.bytes, bytes);
                    return Ok(restoring);
                }
                Err(_) if self.control.is_stopping() => return Err(RunError::Stopped),
                Err(error) => self.say_unusable(&base.file, &error),
            }
        }
        let logs = self.keeper.logs().clone();
        if let Some(cut) = cut.filter(|cut| !logs.is_whole(&cut.progress)) {
            return Err(self.no_base(cut));
        }
        let restoring = self.begin(cut, shards)?;
        let from = logs.changelog.published().log_start_offset;
        let (restoring, bytes) = self.replayed(restoring, from, changelog_end)?;
        self.note_restored(0, bytes);
        Ok(restoring)
    }

    /// Applies a stretch of the changelog to what a snapshot or a store has given; gives the bytes it had, too.
    pub(super) fn replayed(
        &self,
        mut restoring: Restoring,
        from: i64,
        to: i64,
    ) -> Result<(Restoring, u64), RunError> {
        self.check_restoring(&restoring)?;
        let mut failed = None;
        let mut bytes = 0;
        let changelog = &self.keeper.logs().changelog;
        let read = for_each_batch(changelog, from, to, |batch| {
            bytes += batch.bytes().len() as u64;
            let applied = restoring.apply(batch).map_err(RunError::from);
            applied.and_then(|()| self.check_restoring(&restoring)).map_err(|error| {
                failed = Some(error);
                String::new()
            })
        });
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(what)) => Err(own_log(what)),
            (None, Ok(_)) => Ok((restoring, bytes)),
        }
    }

    /// That what is restored so far may be in memory, and that nobody wants to stop: restoring may take long.
    fn check_restoring(&self, restoring: &Restoring) -> Result<(), RunError> {
        if self.control.is_stopping() {
            return Err(RunError::Stopped);
        }
        let (budget, bytes) = (self.control.memory(), restoring.memory_bytes());
        self.spill.check_share(budget, bytes, !restoring.is_spilt() && restoring.can_spill())?;
        check_budget(budget, bytes, || restoring.operator_sizes())
            .inspect_err(|_| self.shown.set_sizes(restoring.operator_sizes()))
    }

    /// Asked while a part is restored that may be large; notes why not to go on.
    pub(super) fn watch(&self, failed: &mut Option<RunError>) -> impl FnMut(&Restoring) -> bool {
        |restoring| {
            *failed = self.check_restoring(restoring).err();
            failed.is_none()
        }
    }

    /// The partitions it reads. Where the input was declared to end, or is about to be, those that came later are beyond
    /// the end.
    pub(super) fn sources(&self) -> Result<Vec<Partition>, RunError> {
        let ends = self.control.ends().or_else(|| self.control.bound().ends());
        let mut partitions = Vec::new();
        for topic in self.plan.source_topics() {
            let found = self
                .topics
                .get(topic)
                .ok_or_else(|| LogsError::UnknownPartition { partition: TopicPartition::new(topic, 0) })?;
            let count = match &ends {
                Some(ends) => ends.get(topic).map_or(0, Vec::len),
                None => found.partitions.len(),
            };
            partitions.extend(found.partitions.iter().take(count).cloned());
        }
        Ok(partitions)
    }

    fn spec(&self, shards: u32) -> Result<PipelineSpec, RunError> {
        let count = |topic: &str| {
            let partitions = self.topics.get(topic).map_or(0, |topic| topic.partitions.len());
            i32::try_from(partitions).unwrap_or(i32::MAX)
        };
        let input = |source: &Partition| InputPartition {
            partition: TopicPartition::new(source.topic_name(), source.index()),
            start: source.published().log_start_offset,
        };
        let outputs = self.plan.sink_topics().into_iter().chain(self.plan.side_topics());
        let sources = self.sources()?;
        Ok(PipelineSpec {
            name: self.name.clone(),
            generation: self.generation,
            inputs: sources.iter().map(input).collect(),
            topic_ids: topic_ids(&sources),
            outputs: outputs.map(|topic| (topic.to_owned(), count(topic))).collect(),
            key_groups: KeyGroups::DEFAULT,
            shards: shards as usize,
        })
    }
}

/// What tells the topics of these partitions from others of their names.
pub(super) fn topic_ids(sources: &[Partition]) -> BTreeMap<String, String> {
    let id = |source: &Partition| (source.topic_name().to_string(), source.id().topic.to_string());
    sources.iter().map(id).collect()
}

/// That the state in memory is within its budget; `sizes` says which operator holds the most.
pub(super) fn check_budget(
    budget: u64,
    bytes: u64,
    sizes: impl FnOnce() -> Vec<OperatorSize>,
) -> Result<(), RunError> {
    if bytes <= budget {
        return Ok(());
    }
    let largest = sizes().into_iter().max_by_key(|size| size.memory_bytes);
    let operator = largest.map_or_else(
        || "no operator".to_owned(),
        |size| {
            format!(
                "{} {:08x} ({} bytes, {} entries)",
                size.operator, size.identity, size.memory_bytes, size.entries
            )
        },
    );
    Err(RunError::OverBudget { bytes, budget, operator })
}

pub(super) fn own_log(what: String) -> RunError {
    RunError::OwnLog(what)
}
