//! Logs in memory, and what the tests need to fill and read them.

#![allow(dead_code)] // Each test program uses its own part.

pub(crate) mod cases;
pub(crate) mod threads;

use std::collections::{BTreeMap, BTreeSet};

use logmill_record::{Batch, BatchBuilder, BatchOptions, ProducerStamp, Record};
use logmill_stream::{
    AbortedRange, CommitError, EpochLimits, EpochLoop, EpochOutput, InputPartition, KeyGroups, Logs,
    LogsError, Pace, Pipeline, PipelineSpec, Plan, Progress, ReadBatches, TopicPartition, Turn, TurnError,
    compile,
};
use serde_json::Value;

const BUDGET: usize = 64 << 20;

/// Logs in memory. An epoch is committed whole or not at all.
#[derive(Debug, Default, Clone)]
pub(crate) struct MemoryLogs {
    pub(crate) partitions: BTreeMap<TopicPartition, Vec<Batch>>,
    pub(crate) aborted: BTreeMap<TopicPartition, Vec<AbortedRange>>,
    /// Where the oldest transaction begins that is open.
    pub(crate) open: BTreeMap<TopicPartition, i64>,
    pub(crate) changelog: Vec<Batch>,
    pub(crate) progress: Vec<Progress>,
    /// Batches read at once at most; 0 is no bound.
    pub(crate) batches_per_read: usize,
    /// The changelog is compacted before each restore.
    pub(crate) compacted: bool,
    /// Epochs whose first commit is refused.
    pub(crate) refuse: BTreeSet<u64>,
    /// Into how many shards the work is split; 0 is one.
    pub(crate) shards: usize,
    /// Each shard has a thread.
    pub(crate) threads: bool,
    /// Into how many groups keys are cut.
    pub(crate) key_groups: KeyGroups,
}

impl MemoryLogs {
    /// Creates the partitions of a topic.
    pub(crate) fn create(&mut self, topic: &str, partitions: i32) {
        for partition in 0..partitions {
            self.partitions.entry(TopicPartition::new(topic, partition)).or_default();
        }
    }

    pub(crate) fn end(&self, partition: &TopicPartition) -> i64 {
        self.partitions[partition].last().map_or(0, |batch| batch.header().next_offset())
    }

    /// Appends a batch at the end of a partition.
    pub(crate) fn append(&mut self, topic: &str, partition: i32, batch: Batch) {
        let partition = TopicPartition::new(topic, partition);
        let base_offset = self.partitions.get(&partition).map_or(0, |_| self.end(&partition));
        self.partitions.entry(partition).or_default().push(batch.stamped(base_offset, 0));
    }

    /// Appends values, each a record, as one batch.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, values: &[String]) {
        if !values.is_empty() {
            self.append(topic, partition, batch_of(values, None));
        }
    }

    /// The committed records of a topic, by partition and offset.
    pub(crate) fn records(&self, topic: &str) -> Vec<(i32, Record)> {
        let partitions = self.partitions.iter().filter(|(partition, _)| partition.topic == topic);
        partitions
            .flat_map(|(partition, batches)| {
                let records = batches.iter().flat_map(|batch| batch.records(BUDGET).unwrap());
                records.map(|record| (partition.partition, record))
            })
            .collect()
    }

    /// The values of a topic's records as JSON text, by partition and offset.
    pub(crate) fn values(&self, topic: &str) -> Vec<String> {
        let text = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        self.records(topic).into_iter().map(|(_, record)| text(record)).collect()
    }

    pub(crate) fn ends(&self, topic: &str) -> BTreeMap<TopicPartition, i64> {
        let partitions = self.partitions.keys().filter(|partition| partition.topic == topic);
        partitions.map(|partition| (partition.clone(), self.end(partition))).collect()
    }

    /// Compacts the changelog as its topic is: of each key only the last record stays.
    pub(crate) fn compact(&mut self) {
        let records: Vec<Record> =
            self.changelog.iter().flat_map(|batch| batch.records(BUDGET).unwrap()).collect();
        let last: BTreeMap<_, usize> =
            records.iter().enumerate().map(|(index, record)| (record.key.clone(), index)).collect();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for (index, record) in records.iter().enumerate() {
            if last[&record.key] == index {
                builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &[]);
            }
        }
        self.changelog = if builder.is_empty() { Vec::new() } else { vec![builder.build()] };
    }

    pub(crate) fn last_progress(&self) -> Option<Progress> {
        self.progress.last().cloned()
    }
}

pub(crate) fn batch_of(values: &[String], producer: Option<ProducerStamp>) -> Batch {
    let transactional = producer.is_some();
    let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, ..BatchOptions::default() });
    for (index, value) in values.iter().enumerate() {
        builder.push(1_000 + index as i64, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build()
}

impl Logs for MemoryLogs {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        Ok(self.open.get(partition).copied().unwrap_or_else(|| self.end(partition)))
    }

    fn log_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        Ok(self.end(partition))
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        let mut bytes = 0;
        let mut batches = Vec::new();
        let end = self.readable_end(partition)?;
        for batch in &self.partitions[partition] {
            if batch.header().next_offset() <= from || batch.header().base_offset >= end {
                continue;
            }
            let full =
                bytes > max_bytes || batches.len() == self.batches_per_read && self.batches_per_read > 0;
            if full && !batches.is_empty() {
                break;
            }
            bytes += batch.size();
            batches.push(batch.clone());
        }
        Ok(ReadBatches { batches, aborted: self.aborted.get(partition).cloned().unwrap_or_default() })
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        if self.refuse.remove(&epoch.epoch()) {
            return Err(CommitError::Refused {
                pipeline: epoch.pipeline().to_owned(),
                epoch: epoch.epoch(),
                reason: "the test says so".to_owned(),
            });
        }
        let last = self.progress.last().map_or((0, 0), |progress| (progress.generation, progress.epoch));
        if last.1 + 1 != epoch.epoch() || last.0 > epoch.generation() {
            return Err(CommitError::Fenced {
                pipeline: epoch.pipeline().to_owned(),
                generation: epoch.generation(),
                epoch: epoch.epoch(),
                reason: format!("epoch {} of generation {} is the last", last.1, last.0),
            });
        }
        for output in epoch.outputs {
            Batch::validate(output.batch.bytes().clone()).expect("an output batch is a legal batch");
            self.append(&output.topic, output.partition, output.batch);
        }
        let mut changed = BTreeSet::new();
        for batch in epoch.changelog {
            for record in batch.records(BUDGET).unwrap() {
                assert!(changed.insert(record.key), "an epoch writes a changed key once");
            }
            Batch::validate(batch.bytes().clone()).expect("a changelog batch is a legal batch");
            self.changelog.push(batch);
        }
        let record = &epoch.progress_batch.records(BUDGET).unwrap()[0];
        let progress = Progress::decode(record.value.as_ref().unwrap()).unwrap();
        assert_eq!(progress, epoch.progress, "the record says what the epoch says");
        assert!(progress.counters.is_conserved() && progress.totals.is_conserved());
        self.progress.push(progress);
        Ok(())
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

pub(crate) fn plan(script: &str) -> Plan {
    compile(script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(script)))
}

pub(crate) fn spec(plan: &Plan, logs: &MemoryLogs, generation: u32) -> PipelineSpec {
    let count =
        |topic: &str| logs.partitions.keys().filter(|partition| partition.topic == topic).count() as i32;
    let topics = plan.source_topics();
    let inputs = logs.partitions.keys().filter(|partition| topics.contains(&partition.topic.as_str()));
    let outputs = plan.sink_topics().into_iter().map(|topic| (topic.to_owned(), count(topic).max(1)));
    let side = plan.side_topics().into_iter().map(|topic| (topic.to_owned(), 2));
    PipelineSpec {
        name: "test".to_owned(),
        generation,
        inputs: inputs.map(|partition| InputPartition { partition: partition.clone(), start: 0 }).collect(),
        topic_ids: BTreeMap::new(),
        outputs: outputs.chain(side).collect(),
        key_groups: logs.key_groups,
        shards: logs.shards.max(1),
    }
}

/// The pipeline as its committed records describe it.
pub(crate) fn restored(plan: &Plan, logs: &MemoryLogs, generation: u32) -> Pipeline {
    let spec = spec(plan, logs, generation);
    let mut restoring = Pipeline::restore(plan.clone(), spec, logs.last_progress()).unwrap();
    for batch in &logs.changelog {
        restoring.apply(batch).unwrap();
    }
    threads::on_threads(restoring.finish(), logs)
}

/// Runs a pipeline over all of the input, which is declared finished; restores it after every `crash_every` epochs.
pub(crate) fn run_bounded(
    plan: &Plan,
    logs: &mut MemoryLogs,
    limits: EpochLimits,
    crash_every: u64,
) -> Result<(), TurnError> {
    let ends =
        plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect::<BTreeMap<_, _>>();
    let mut generation = 1;
    let mut pace = Pace::default();
    loop {
        if logs.compacted {
            logs.compact();
        }
        let mut epochs = EpochLoop::new(restored(plan, logs, generation), limits).with_pace(pace);
        epochs.declare_ends(ends.clone()).unwrap();
        let mut left = crash_every;
        loop {
            let epoch = epochs.pipeline().epoch();
            match epochs.turn(logs, 1_700_000_000_000 + epoch as i64, epoch) {
                Ok(Turn::Finished) => return Ok(()),
                Ok(Turn::Idle) => panic!("a bounded run has always something to do"),
                Ok(Turn::Committed { .. }) => {}
                // What was computed and not committed never happened.
                Err(TurnError::Commit(CommitError::Refused { .. })) => break,
                Err(error) if error.too_large().is_some() && epochs.shrink() => break,
                Err(error) => return Err(error),
            }
            left = left.wrapping_sub(1);
            if left == 0 {
                break;
            }
        }
        pace = epochs.pace();
        generation += 1;
    }
}

pub(crate) fn small_epochs(emit_rows: u32) -> EpochLimits {
    EpochLimits { input_bytes: 1, emit_rows, ..EpochLimits::default() }
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
