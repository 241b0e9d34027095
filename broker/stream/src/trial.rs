//! A pipeline run on records in memory, in one go: for tests of scripts, without a broker and without a clock.
//!
//! ```text
//! plan, records of each topic ─► logs in memory ─► epochs until the input is read, or its declared end is given ─► records
//! ```

use std::collections::BTreeMap;

use logmill_record::{Batch, BatchBuilder, BatchOptions, Record};
use thiserror::Error;

use crate::epoch_loop::{DeclareEndError, EpochLimits, EpochLoop, ShedControl, Turn, TurnError};
use crate::logs::{CommitError, Logs, LogsError, ReadBatches};
use crate::pipeline::{
    Counters, EpochOutput, InputPartition, OutputBatch, Pipeline, PipelineSpec, Progress, RestoreError,
    TopicPartition,
};
use crate::plan::Plan;
use crate::state::KeyGroups;

/// A batch decompresses to at most this much.
const DECOMPRESSED_BATCH_BYTES: usize = 256 * 1024 * 1024;

/// How a trial runs.
#[derive(Debug, Clone)]
pub struct TrialOptions {
    /// How large its epochs are.
    pub limits: EpochLimits,
    /// Throws the pipeline away after so many epochs, and builds it again from its changelog; 0 is never.
    pub restore_every: u64,
    /// Into how many shards the work is split.
    pub shards: usize,
    /// Processing time of the first epoch, in milliseconds.
    pub now: i64,
    /// How many milliseconds later each epoch is than the one before.
    pub epoch_ms: i64,
    /// The input is declared finished: every window closes.
    pub finish: bool,
    /// How it is decided what is shed.
    pub shedding: ShedControl,
}

impl Default for TrialOptions {
    /// Epochs of the usual size, each a second of a time that begins in 1970, one shard, no restores, the input is finished,
    /// and nothing is shed.
    fn default() -> Self {
        Self {
            limits: EpochLimits::default(),
            restore_every: 0,
            shards: 1,
            now: 0,
            epoch_ms: 1_000,
            finish: true,
            shedding: ShedControl::Never,
        }
    }
}

/// A record of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrialRecord {
    /// The partition, from 0.
    pub partition: i32,
    /// Its timestamp, in milliseconds.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What a trial gave.
#[derive(Debug)]
pub struct Trial {
    /// The records of each topic that the pipeline writes, which has one partition, in their order.
    pub outputs: BTreeMap<String, Vec<Record>>,
    /// What became of the records.
    pub totals: Counters,
    /// How many epochs there were.
    pub epochs: u64,
}

/// Why a trial could not be run to its end.
#[derive(Debug, Error)]
pub enum TrialError {
    /// Records are given for a topic that the script does not read.
    #[error("the script reads no topic `{topic}`; it reads: {reads}")]
    NoSuchTopic {
        /// The topic.
        topic: String,
        /// Those it reads.
        reads: String,
    },
    /// The pipeline could not be built.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The pipeline stopped.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The end of the input could not be declared.
    #[error(transparent)]
    End(#[from] DeclareEndError),
}

/// Runs a plan over records.
///
/// # Errors
/// [`TrialError`].
pub fn run_trial(
    plan: &Plan,
    inputs: &BTreeMap<String, Vec<TrialRecord>>,
    options: TrialOptions,
) -> Result<Trial, TrialError> {
    let topics = plan.sink_topics().into_iter().chain(plan.side_topics());
    let mut outputs: BTreeMap<String, Vec<Record>> =
        topics.map(|topic| (topic.to_owned(), Vec::new())).collect();
    let mut collect = |given: Vec<OutputBatch>, _: u64| {
        for OutputBatch { topic, batch, .. } in given {
            let records =
                batch.records(DECOMPRESSED_BATCH_BYTES).expect("the engine has just made the batch");
            outputs.entry(topic).or_default().extend(records);
        }
        true
    };
    let ran = run_while(plan, inputs.clone(), options, &mut collect)?;
    let (totals, epochs) = ran.expect("nobody says that it is enough");
    Ok(Trial { outputs, totals, epochs })
}

/// The same, which keeps nothing of what the epochs give: before each epoch `go_on` takes what the one before gave, behind the
/// last one, too, and how many bytes the state has, and says whether it goes on. What became of the records and how many epochs there were; `None` where it did
/// not go on.
pub(crate) fn run_while(
    plan: &Plan,
    inputs: BTreeMap<String, Vec<TrialRecord>>,
    options: TrialOptions,
    go_on: &mut dyn FnMut(Vec<OutputBatch>, u64) -> bool,
) -> Result<Option<(Counters, u64)>, TrialError> {
    let reads = plan.source_topics();
    if let Some(topic) = inputs.keys().find(|topic| !reads.contains(&topic.as_str())) {
        return Err(TrialError::NoSuchTopic { topic: topic.clone(), reads: reads.join(", ") });
    }
    let mut logs = TrialLogs::new(plan, &inputs, options.restore_every > 0);
    drop(inputs);
    let mut generation = 1;
    let mut epoch: u64 = 0;
    loop {
        let epochs = EpochLoop::new(logs.pipeline(plan, generation, options.shards)?, options.limits);
        let mut epochs = epochs.with_shedding(options.shedding.clone());
        if options.finish {
            epochs.declare_ends(logs.ends())?;
        }
        let mut left = options.restore_every;
        loop {
            if !go_on(std::mem::take(&mut logs.given), epochs.pipeline().state_bytes()) {
                return Ok(None);
            }
            let passed = options.epoch_ms.saturating_mul(i64::try_from(epoch).unwrap_or(i64::MAX));
            let now = options.now.saturating_add(passed);
            match epochs.turn(&mut logs, now, epoch)? {
                Turn::Committed { .. } => epoch += 1,
                Turn::Idle | Turn::Finished => {
                    return Ok(Some((*epochs.pipeline().totals(), epochs.pipeline().epoch())));
                }
            }
            left = left.wrapping_sub(1);
            if left == 0 {
                break;
            }
        }
        generation += 1;
    }
}

/// Logs in memory.
#[derive(Debug)]
struct TrialLogs {
    sources: BTreeMap<TopicPartition, Vec<Batch>>,
    /// What the last epoch gave, until it is taken.
    given: Vec<OutputBatch>,
    /// Empty where nothing is restored from it: it grows as long as the pipeline runs.
    changelog: Vec<Batch>,
    restores: bool,
    progress: Option<Progress>,
}

impl TrialLogs {
    fn new(plan: &Plan, inputs: &BTreeMap<String, Vec<TrialRecord>>, restores: bool) -> Self {
        let mut sources: BTreeMap<TopicPartition, Vec<Batch>> = BTreeMap::new();
        for topic in plan.source_topics() {
            let records = inputs.get(topic).map_or(&[][..], Vec::as_slice);
            let partitions = records.iter().map(|record| record.partition).max().map_or(1, |last| last + 1);
            for partition in 0..partitions {
                let own = records.iter().filter(|record| record.partition == partition);
                let batches = (0..).zip(own).map(|(offset, record)| batch_of(record, offset)).collect();
                sources.insert(TopicPartition::new(topic, partition), batches);
            }
        }
        Self { sources, given: Vec::new(), changelog: Vec::new(), restores, progress: None }
    }

    fn ends(&self) -> BTreeMap<TopicPartition, i64> {
        self.sources.iter().map(|(partition, batches)| (partition.clone(), batches.len() as i64)).collect()
    }

    fn pipeline(&self, plan: &Plan, generation: u32, shards: usize) -> Result<Pipeline, RestoreError> {
        let input = |partition: &TopicPartition| InputPartition { partition: partition.clone(), start: 0 };
        let topics = plan.sink_topics().into_iter().chain(plan.side_topics());
        let spec = PipelineSpec {
            name: "trial".to_owned(),
            generation,
            inputs: self.sources.keys().map(input).collect(),
            topic_ids: BTreeMap::new(),
            outputs: topics.map(|topic| (topic.to_owned(), 1)).collect(),
            key_groups: KeyGroups::DEFAULT,
            shards,
        };
        let mut restoring = Pipeline::restore(plan.clone(), spec, self.progress.clone())?;
        for batch in &self.changelog {
            restoring.apply(batch)?;
        }
        Ok(restoring.finish())
    }
}

fn batch_of(record: &TrialRecord, offset: i64) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let headers: Vec<(&[u8], Option<&[u8]>)> =
        record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
    builder.push(record.timestamp.max(0), record.key.as_deref(), record.value.as_deref(), &headers);
    builder.build().stamped(offset, 0)
}

impl Logs for TrialLogs {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        match self.sources.get(partition) {
            Some(batches) => Ok(batches.len() as i64),
            None => Err(LogsError::UnknownPartition { partition: partition.clone() }),
        }
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        let Some(batches) = self.sources.get(partition) else {
            return Err(LogsError::UnknownPartition { partition: partition.clone() });
        };
        let mut bytes = 0;
        let mut read = Vec::new();
        for batch in batches.iter().skip(usize::try_from(from).unwrap_or(0)) {
            bytes += batch.size();
            if bytes > max_bytes && !read.is_empty() {
                break;
            }
            read.push(batch.clone());
        }
        Ok(ReadBatches { batches: read, aborted: Vec::new() })
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        self.given.extend(epoch.outputs);
        if self.restores {
            self.changelog.extend(epoch.changelog);
        }
        self.progress = Some(epoch.progress);
        Ok(())
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}
