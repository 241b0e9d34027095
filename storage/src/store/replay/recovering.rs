//! One partition while the journal is replayed.

use std::path::PathBuf;

use logmill_record::Batch;

use crate::PartitionId;
use crate::log::{LogError, PartitionLog, Recovered, ReplayedRun};
use crate::store::checkpoint_file::CheckpointedPartition;
use crate::store::directories::shard_of;
use crate::store::publish::{PartitionState, Place};

/// A partition while it is being recovered.
pub(super) struct Recovering {
    pub(super) directory: PathBuf,
    pub(super) topic_name: String,
    pub(super) log: PartitionLog,
    pub(super) recovered: Recovered,
    pub(super) recovery_point: i64,
    /// End of its last frame.
    pub(super) frames_end: i64,
    pub(super) leader_epoch: i32,
    /// What lies behind the last frame may be data that skipped the journal. Also when nothing is known: then the
    /// partition was made since the checkpoint, and all that it can hold besides is that.
    pub(super) keeps_unjournaled: bool,
    pub(super) page_cache: bool,
    /// Batches on their way to the log, each beginning where the one before ends.
    pub(super) run: Vec<Batch>,
}

impl Recovering {
    /// Takes a batch of the journal. Returns the bytes that wait because of it, and what became of batches before it.
    pub(super) fn replay(&mut self, batch: Batch) -> Result<(usize, ReplayedRun), LogError> {
        let header = *batch.header();
        if header.next_offset() <= self.recovery_point {
            return Ok((0, ReplayedRun { present: 1, written: 0 }));
        }
        self.frames_end = header.next_offset();
        let goes_on = self.run.last().is_none_or(|last| last.header().next_offset() == header.base_offset);
        let done = if goes_on { ReplayedRun::default() } else { self.finish_run()? };
        let bytes = batch.size();
        self.run.push(batch);
        Ok((bytes, done))
    }

    /// Puts what waits into the log.
    pub(super) fn finish_run(&mut self) -> Result<ReplayedRun, LogError> {
        if self.run.is_empty() {
            return Ok(ReplayedRun::default());
        }
        let done = self.log.replay_run(&self.run)?;
        self.run.clear();
        Ok(done)
    }

    pub(super) fn checkpointed(&self, id: PartitionId) -> CheckpointedPartition {
        CheckpointedPartition {
            id,
            topic_name: self.topic_name.clone(),
            recovery_point: self.log.end_offset(),
            log_start_offset: self.log.log_start_offset(),
            leader_epoch: self.leader_epoch,
            page_cache: self.page_cache,
        }
    }

    pub(super) fn into_state(self, id: PartitionId, shards: usize) -> PartitionState {
        let place = Place {
            shard: shard_of(id, shards),
            leader_epoch: self.leader_epoch,
            page_cache: self.page_cache,
            flushed_end: self.log.end_offset(),
        };
        PartitionState::new(id, self.topic_name, self.directory, self.log, place)
    }
}
