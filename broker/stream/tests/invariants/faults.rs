//! Deliberate bugs: logs that do with an epoch what they must not.

use logmill_record::{Batch, BatchBuilder, BatchOptions, Record};
use logmill_stream::{CommitError, EpochOutput, Logs, LogsError, Progress, ReadBatches, TopicPartition};

use super::history::Kept;
use super::support::MemoryLogs;

const BUDGET: usize = 64 << 20;

/// Logs in memory whose commits go wrong.
pub(crate) struct Buggy<F> {
    pub(crate) logs: MemoryLogs,
    commit: F,
}

impl<F: FnMut(&mut MemoryLogs, EpochOutput) -> Result<(), CommitError>> Buggy<F> {
    pub(crate) fn new(logs: MemoryLogs, commit: F) -> Self {
        Self { logs, commit }
    }
}

impl<F: FnMut(&mut MemoryLogs, EpochOutput) -> Result<(), CommitError>> Logs for Buggy<F> {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.logs.readable_end(partition)
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        self.logs.read(partition, from, max_bytes)
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        (self.commit)(&mut self.logs, epoch)
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

impl<F: FnMut(&mut MemoryLogs, EpochOutput) -> Result<(), CommitError>> Kept for Buggy<F> {
    fn memory(&self) -> &MemoryLogs {
        &self.logs
    }
}

/// The answer to an epoch that is not committed.
pub(crate) fn refused(epoch: &EpochOutput) -> CommitError {
    CommitError::Refused {
        pipeline: epoch.pipeline().to_owned(),
        epoch: epoch.epoch(),
        reason: "the test says so".to_owned(),
    }
}

/// Changes the records that an epoch writes to a topic, partition by partition.
pub(crate) fn edit_outputs(epoch: &mut EpochOutput, topic: &str, edit: impl Fn(Vec<Record>) -> Vec<Record>) {
    for mut output in std::mem::take(&mut epoch.outputs) {
        if output.topic == topic {
            let Some(batch) = batch(edit(output.batch.records(BUDGET).unwrap())) else { continue };
            output.batch = batch;
        }
        epoch.outputs.push(output);
    }
}

/// Changes the records that an epoch writes to the changelog.
pub(crate) fn edit_changelog(epoch: &mut EpochOutput, edit: impl Fn(Vec<Record>) -> Vec<Record>) {
    let batches = std::mem::take(&mut epoch.changelog);
    epoch.changelog =
        batches.into_iter().filter_map(|changes| batch(edit(changes.records(BUDGET).unwrap()))).collect();
}

/// Changes what an epoch says of itself.
pub(crate) fn edit_progress(epoch: &mut EpochOutput, edit: impl Fn(&mut Progress)) {
    edit(&mut epoch.progress);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let (key, value) = (epoch.progress.key(), epoch.progress.encode());
    builder.push(epoch.progress.now, Some(&key), Some(&value), &[]);
    epoch.progress_batch = builder.build();
}

fn batch(records: Vec<Record>) -> Option<Batch> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for record in &records {
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &[]);
    }
    (!builder.is_empty()).then(|| builder.build())
}
