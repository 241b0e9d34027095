//! What one epoch produces: everything its frame holds.

use logmill_record::Batch;

use super::cut::TopicPartition;
use super::progress::{InputProgress, Progress};

/// One epoch, ready to be committed as one frame.
///
/// The frame appends `outputs`, `changelog` and `progress_batch` and mirrors the input offsets, under the condition
/// that `(pipeline, generation, epoch - 1)` is the last committed epoch: that the progress partition ends where the
/// previous epoch's record left it.
#[derive(Debug, Clone)]
pub struct EpochOutput {
    /// Batches for the sink and the dead-letter topic, in commit order.
    pub outputs: Vec<OutputBatch>,
    /// Batches for the pipeline's changelog, in order.
    pub changelog: Vec<Batch>,
    /// The progress record.
    pub progress: Progress,
    /// The progress record as a batch of one.
    pub progress_batch: Batch,
}

impl EpochOutput {
    /// An epoch that does nothing but say where the pipeline stands; see [`Progress::taken_up`].
    pub fn standing(progress: Progress) -> EpochOutput {
        let progress_batch = progress.batch();
        EpochOutput { outputs: Vec::new(), changelog: Vec::new(), progress, progress_batch }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.progress.pipeline
    }

    /// The generation that ran the epoch.
    pub fn generation(&self) -> u32 {
        self.progress.generation
    }

    /// The epoch's number.
    pub fn epoch(&self) -> u64 {
        self.progress.epoch
    }

    /// Where the next epoch begins in each input partition: what the pipeline's consumer group shows as committed.
    pub fn offsets(&self) -> impl Iterator<Item = (TopicPartition, i64)> + '_ {
        self.progress.inputs.iter().map(position)
    }

    /// The same for those partitions of which it has read something.
    pub fn moved_offsets(&self) -> impl Iterator<Item = (TopicPartition, i64)> + '_ {
        self.progress.inputs.iter().filter(|input| input.from != input.to).map(position)
    }

    /// The size of all batches together, in bytes.
    pub fn size_bytes(&self) -> usize {
        let outputs: usize = self.outputs.iter().map(|output| output.batch.bytes().len()).sum();
        let changelog: usize = self.changelog.iter().map(|batch| batch.bytes().len()).sum();
        outputs + changelog + self.progress_batch.bytes().len()
    }
}

fn position(input: &InputProgress) -> (TopicPartition, i64) {
    (TopicPartition::new(&*input.topic, input.partition), input.to)
}

/// A batch and where it goes.
#[derive(Debug, Clone)]
pub struct OutputBatch {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The batch, its base offset 0.
    pub batch: Batch,
}
