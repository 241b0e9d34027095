//! Logs in memory. Of the input a pipeline sees what the run has shown so far; an epoch is committed whole or not at
//! all, and may be refused to look like a crash.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use bytes::Bytes;
use logmill_record::{Batch, BatchBuilder, BatchOptions, Record};
use logmill_stream::{CommitError, EpochOutput, Logs, LogsError, Progress, ReadBatches, TopicPartition};

use crate::input::Input;

/// The memory a batch may need to be decoded.
const BUDGET: usize = 1 << 30;

/// Logs in memory.
#[derive(Debug, Default)]
pub struct MemoryLogs {
    partitions: BTreeMap<TopicPartition, Partition>,
    changelog: Vec<Batch>,
    progress: Option<Progress>,
    /// CRC-32 of what each epoch wrote, in order.
    digests: Vec<u32>,
    /// The next epoch is computed and not committed.
    pub refuse_next: bool,
}

#[derive(Debug, Default)]
struct Partition {
    batches: Vec<Batch>,
    /// Where a reader finds the end.
    shown: i64,
}

impl Partition {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.header().next_offset())
    }
}

impl MemoryLogs {
    /// Logs that hold the input and show nothing of it.
    pub fn new(input: &Input) -> MemoryLogs {
        let mut logs = MemoryLogs::default();
        for partition in input.ends.keys() {
            logs.partitions.insert(partition.clone(), Partition::default());
        }
        for (partition, batch) in &input.batches {
            logs.partition(partition).batches.push(batch.clone());
        }
        logs
    }

    /// Creates the partitions of a topic.
    pub fn create(&mut self, topic: &str, partitions: i32) {
        for partition in 0..partitions {
            self.partitions.entry(TopicPartition::new(topic, partition)).or_default();
        }
    }

    /// Shows a partition up to an offset.
    pub fn show(&mut self, partition: &TopicPartition, end: i64) {
        self.partition(partition).shown = end;
    }

    fn partition(&mut self, partition: &TopicPartition) -> &mut Partition {
        self.partitions.get_mut(partition).expect("the run creates every partition before it is used")
    }

    /// How many partitions a topic has.
    pub fn partition_count(&self, topic: &str) -> i32 {
        self.partitions.keys().filter(|partition| partition.topic == topic).count() as i32
    }

    /// The committed records of a topic and their partitions, in offset order.
    pub fn records(&self, topic: &str) -> Result<Vec<(i32, Record)>> {
        let mut found = Vec::new();
        for (partition, log) in self.partitions.iter().filter(|(partition, _)| partition.topic == topic) {
            for batch in &log.batches {
                let records = batch.records(BUDGET)?;
                found.extend(records.into_iter().map(|record| (partition.partition, record)));
            }
        }
        Ok(found)
    }

    /// The changelog, as far as it is committed.
    pub fn changelog(&self) -> &[Batch] {
        &self.changelog
    }

    /// What the last committed epoch says.
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// CRC-32 of the outputs and state changes of each epoch, the first one first.
    pub fn digests(&self) -> &[u32] {
        &self.digests
    }

    /// Compacts the changelog as its topic is: of each key only the last record stays, in its place.
    pub fn compact(&mut self) -> Result<()> {
        let batches: Vec<Vec<Record>> =
            self.changelog.iter().map(|batch| batch.records(BUDGET)).collect::<Result<_, _>>()?;
        let mut last: HashMap<Option<Bytes>, (usize, usize)> = HashMap::new();
        for (number, records) in batches.iter().enumerate() {
            for (index, record) in records.iter().enumerate() {
                last.insert(record.key.clone(), (number, index));
            }
        }
        self.changelog.clear();
        for (number, records) in batches.iter().enumerate() {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            for (index, record) in records.iter().enumerate() {
                if last[&record.key] == (number, index) {
                    builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &[]);
                }
            }
            if !builder.is_empty() {
                self.changelog.push(builder.build());
            }
        }
        Ok(())
    }

    fn append(&mut self, epoch: EpochOutput) -> Result<()> {
        for output in epoch.outputs {
            Batch::validate(output.batch.bytes().clone()).context("an output batch is not legal")?;
            let partition = TopicPartition::new(&*output.topic, output.partition);
            let log = self.partitions.get_mut(&partition).with_context(|| format!("no {partition}"))?;
            let end = log.end();
            log.batches.push(output.batch.stamped(end, 0));
        }
        let mut changed = HashSet::new();
        for batch in epoch.changelog {
            Batch::validate(batch.bytes().clone()).context("a changelog batch is not legal")?;
            for record in batch.records(BUDGET)? {
                anyhow::ensure!(changed.insert(record.key), "an epoch writes a changed key twice");
            }
            self.changelog.push(batch);
        }
        let records = epoch.progress_batch.records(BUDGET)?;
        let value = records.first().and_then(|record| record.value.as_ref());
        let progress = Progress::decode(value.context("a progress record has no value")?)?;
        anyhow::ensure!(progress == epoch.progress, "the progress record says something else than the epoch");
        anyhow::ensure!(
            progress.counters.is_conserved() && progress.totals.is_conserved(),
            "records are not accounted for: {:?}, in all {:?}",
            progress.counters,
            progress.totals
        );
        self.digests.push(progress.digest);
        self.progress = Some(progress);
        Ok(())
    }
}

impl Logs for MemoryLogs {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        let log = self.partitions.get(partition);
        log.map(|log| log.shown).ok_or_else(|| LogsError::UnknownPartition { partition: partition.clone() })
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        let Partition { batches, shown } = &self.partitions[partition];
        let first = batches.partition_point(|batch| batch.header().next_offset() <= from);
        let mut bytes = 0;
        let mut read = Vec::new();
        for batch in batches[first..].iter().take_while(|batch| batch.header().next_offset() <= *shown) {
            if bytes > 0 && bytes + batch.size() > max_bytes {
                break;
            }
            bytes += batch.size();
            read.push(batch.clone());
        }
        Ok(ReadBatches { batches: read, aborted: Vec::new() })
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        let (pipeline, generation, number) = (epoch.pipeline().to_owned(), epoch.generation(), epoch.epoch());
        let refused = |reason: String| CommitError::Refused { pipeline, epoch: number, reason };
        if std::mem::take(&mut self.refuse_next) {
            return Err(refused(LOST.to_owned()));
        }
        let last = self.progress.as_ref().map_or((0, 0), |progress| (progress.generation, progress.epoch));
        if last.1 + 1 != number || last.0 > generation {
            return Err(refused(format!("epoch {} of generation {} is the last", last.1, last.0)));
        }
        self.append(epoch).map_err(|error| refused(format!("{error:#}")))
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

/// Why an epoch was refused that `refuse_next` was to catch.
pub const LOST: &str = "the run says so";
