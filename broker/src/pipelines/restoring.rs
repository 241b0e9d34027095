//! From the logs of its own back to a running pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_stream::{
    InputPartition, LogsError, OperatorSize, Pipeline, PipelineSpec, Restoring, TopicPartition,
};

use super::events::EventKind;
use super::failure::RunError;
use super::runner::Runner;
use super::shown::Durable;
use super::snapshots::{Cut, Found, Stop, find, for_each_batch, is_whole};
use crate::partitions::Partition;

impl Runner {
    /// Builds the machine from the last progress record, the newest snapshot that is whole, and the changelog behind it, in
    /// so many shards: the state says nothing of how many there were.
    pub(super) fn restore(&mut self, shards: u32) -> Result<Pipeline, RunError> {
        if !self.logs.settle_own(&self.control) {
            return Err(RunError::Stopped);
        }
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
        let pipeline = self.restored_state(cut.as_ref(), changelog_end, shards)?.finish();
        let sizes = pipeline.operator_sizes();
        match &cut {
            Some(cut) => {
                let open_windows = pipeline.open_windows();
                let progress = cut.progress.clone();
                let durable = Durable { progress, open_windows, sizes: Some(sizes), rejected: None };
                self.shown.set_durable(durable, None);
            }
            None => self.shown.set_sizes(sizes),
        }
        self.keeper.snapshots().set_durable(cut);
        Ok(pipeline)
    }

    fn restored_state(
        &mut self,
        cut: Option<&Cut>,
        changelog_end: i64,
        shards: u32,
    ) -> Result<Restoring, RunError> {
        let begin = || {
            let progress = cut.map(|cut| cut.progress.clone());
            Ok::<_, RunError>(Pipeline::restore((*self.plan).clone(), self.spec(shards)?, progress)?)
        };
        let logs = self.keeper.logs().clone();
        let control = self.control.clone();
        let stop: Stop = Arc::new(move || control.is_stopping());
        let snapshots = self.keeper.snapshots().clone();
        let bases = match cut {
            Some(cut) => snapshots
                .alone(|files| find(files, &logs, cut))
                .map_err(|error| own_log(error.to_string()))?,
            None => Found::default(),
        };
        for file in &bases.unread {
            self.say(EventKind::Changed, format!("the snapshot {file} cannot be read"));
        }
        for base in bases.usable {
            let restoring = begin()?;
            let read = || {
                let (mut reader, _) =
                    snapshots.files().open(&base.file, &stop).map_err(|error| error.to_string())?;
                restoring.apply_snapshot(&mut reader).map_err(|error| error.to_string())
            };
            match read() {
                Ok(restoring) => {
                    let restoring =
                        self.replay(restoring, base.header.changelog_end, changelog_end, base.bytes)?;
                    return Ok(restoring);
                }
                Err(_) if self.control.is_stopping() => return Err(RunError::Stopped),
                Err(error) => {
                    let text = format!("the snapshot {} cannot be used: {error}", base.file);
                    self.say(EventKind::Changed, text);
                }
            }
        }
        let start = logs.changelog.published().log_start_offset;
        if let Some(cut) = cut.filter(|cut| !is_whole(&logs, &cut.progress)) {
            return Err(own_log(format!(
                "no snapshot in {} can be read that goes with the changelog, which begins at offset {start}, and with \
                 epoch {}",
                snapshots.files().directory().display(),
                cut.progress.epoch
            )));
        }
        let restoring = begin()?;
        self.replay(restoring, start, changelog_end, 0)
    }

    /// Applies a stretch of the changelog to what a snapshot of so many bytes has given.
    fn replay(
        &mut self,
        mut restoring: Restoring,
        from: i64,
        to: i64,
        snapshot_bytes: u64,
    ) -> Result<Restoring, RunError> {
        let check = |restoring: &Restoring| {
            check_budget(self.control.memory(), restoring.state_bytes(), || restoring.operator_sizes())
                .inspect_err(|_| self.shown.set_sizes(restoring.operator_sizes()))
        };
        check(&restoring)?;
        let mut failed = None;
        let mut bytes = 0;
        let changelog = &self.keeper.logs().changelog;
        let read = for_each_batch(changelog, from, to, |batch| {
            bytes += batch.bytes().len() as u64;
            // Restoring may take long, and whoever stops it does not want to wait for that.
            let applied = match self.control.is_stopping() {
                true => Err(RunError::Stopped),
                false => restoring.apply(batch).map_err(RunError::from).and_then(|()| check(&restoring)),
            };
            applied.map_err(|error| {
                failed = Some(error);
                String::new()
            })
        });
        match (failed, read) {
            (Some(error), _) => return Err(error),
            (None, Err(what)) => return Err(own_log(what)),
            (None, Ok(_)) => {}
        }
        // Progress counts whole: what of it lies before the last snapshot goes with the next one.
        let progress = self.keeper.logs().progress.size_bytes();
        self.keeper.restored(snapshot_bytes, bytes + progress);
        Ok(restoring)
    }

    /// The partitions it reads. Where the input was declared to end, those that came later are beyond the end.
    pub(super) fn sources(&self) -> Result<Vec<Partition>, RunError> {
        let ends = self.control.ends();
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
            shards: shards as usize,
        })
    }
}

/// What tells the topics of these partitions from others of their names.
pub(super) fn topic_ids(sources: &[Partition]) -> BTreeMap<String, String> {
    let id = |source: &Partition| (source.topic_name().to_string(), source.id().topic.to_string());
    sources.iter().map(id).collect()
}

/// That the state is within its budget; `sizes` says which operator holds the most.
pub(super) fn check_budget(
    budget: u64,
    bytes: u64,
    sizes: impl FnOnce() -> Vec<OperatorSize>,
) -> Result<(), RunError> {
    if bytes <= budget {
        return Ok(());
    }
    let largest = sizes().into_iter().max_by_key(|size| size.bytes);
    let operator = largest.map_or_else(
        || "no operator".to_owned(),
        |size| {
            format!(
                "{} {:08x} ({} bytes, {} entries)",
                size.operator, size.identity, size.bytes, size.entries
            )
        },
    );
    Err(RunError::OverBudget { bytes, budget, operator })
}

fn own_log(what: String) -> RunError {
    RunError::OwnLog(what)
}
