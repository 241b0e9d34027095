//! From the logs of its own back to a running pipeline.

use logmill_storage::{Isolation, ReadRequest};
use logmill_stream::{
    InputPartition, LogsError, OperatorSize, Pipeline, PipelineSpec, Progress, TopicPartition,
};

use super::failure::RunError;
use super::runner::Runner;
use super::shown::Durable;
use crate::partitions::Partition;

/// About this much of a log is read at a time, and at least a batch.
const READ_BYTES: usize = 4 << 20;

/// What the one batch of a progress record may unpack to.
const PROGRESS_BYTES: usize = 64 << 20;

impl Runner {
    /// Builds the machine from the last progress record and the changelog.
    pub(super) fn restore(&mut self) -> Result<Pipeline, RunError> {
        let mut last = None;
        let end = self.for_each_batch(&self.progress, |batch| {
            for record in batch.records(PROGRESS_BYTES).map_err(|error| own_log(error.to_string()))? {
                last = record.value;
            }
            Ok(())
        })?;
        self.logs.go_on_from(end);
        let progress = last
            .map(|value| Progress::decode(&value))
            .transpose()
            .map_err(|error| RunError::Restore(error.into()))?;
        let mut restoring = Pipeline::restore((*self.plan).clone(), self.spec()?, progress.clone())?;
        self.for_each_batch(&self.changelog, |batch| {
            restoring.apply(batch)?;
            check_budget(self.control.memory(), restoring.state_bytes(), || restoring.operator_sizes())
                .inspect_err(|_| self.shown.set_sizes(restoring.operator_sizes()))
        })?;
        let pipeline = restoring.finish();
        let sizes = pipeline.operator_sizes();
        match progress {
            Some(progress) => {
                let open_windows = pipeline.open_windows();
                let durable = Durable { progress, open_windows, sizes: Some(sizes), rejected: None };
                self.shown.set_durable(durable, None);
            }
            None => self.shown.set_sizes(sizes),
        }
        Ok(pipeline)
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

    fn spec(&self) -> Result<PipelineSpec, RunError> {
        let count = |topic: &str| {
            let partitions = self.topics.get(topic).map_or(0, |topic| topic.partitions.len());
            i32::try_from(partitions).unwrap_or(i32::MAX)
        };
        let input = |source: &Partition| InputPartition {
            partition: TopicPartition::new(source.topic_name(), source.index()),
            start: source.published().log_start_offset,
        };
        let outputs = self.plan.sink_topics().into_iter().chain(self.plan.side_topics());
        Ok(PipelineSpec {
            name: self.name.clone(),
            generation: self.generation,
            inputs: self.sources()?.iter().map(input).collect(),
            outputs: outputs.map(|topic| (topic.to_owned(), count(topic))).collect(),
            shards: 1,
        })
    }

    /// Hands over every batch of a log of the pipeline's own, oldest first. Gives the offset behind the last one.
    fn for_each_batch(
        &self,
        log: &Partition,
        mut take: impl FnMut(&logmill_record::Batch) -> Result<(), RunError>,
    ) -> Result<i64, RunError> {
        let mut offset = log.published().log_start_offset;
        let end = log.published().high_watermark;
        while offset < end {
            // Restoring may take long, and whoever stops it does not want to wait for that.
            if self.control.is_stopping() {
                return Err(RunError::Stopped);
            }
            let request = ReadRequest {
                offset,
                max_bytes: READ_BYTES,
                isolation: Isolation::Uncommitted,
                min_one_batch: true,
            };
            let at = |offset: i64, what: String| own_log(format!("{log:?} at offset {offset}: {what}"));
            let read = log.read(request).map_err(|error| at(offset, error.to_string()))?;
            let before = offset;
            for chunk in read.chunks {
                for batch in logmill_record::batch::batches(chunk) {
                    let batch = batch.map_err(|error| at(offset, error.to_string()))?;
                    take(&batch)?;
                    offset = batch.header().next_offset();
                }
            }
            if offset == before {
                return Err(at(offset, "there is a gap".to_owned()));
            }
        }
        Ok(offset)
    }
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
