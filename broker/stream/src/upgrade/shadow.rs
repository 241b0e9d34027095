//! A plan run over what another one has read, unseen: for the state it leaves.

use thiserror::Error;

use crate::epoch_loop::{EpochLimits, EpochLoop, Followed, Pace, ShedControl, Turn, TurnError};
use crate::logs::{CommitError, Heard, Logs, LogsError, ReadBatches};
use crate::pipeline::{
    EpochOutput, OperatorSize, Pipeline, PipelineSpec, Progress, RestoreError, TopicPartition,
};
use crate::plan::Plan;
use crate::snapshot::StateChanges;

/// Why a plan cannot be run over the input so far.
#[derive(Debug, Error)]
pub enum ShadowError {
    /// The plan does not fit the topics, or its state cannot be collected.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The input cannot be read, or not all of it can be computed.
    #[error("the input so far cannot be run through the new script: {0}")]
    Turn(#[from] TurnError),
}

/// A pipeline whose outputs go nowhere. It follows another one: it reads each partition as far as that one has, and closes
/// what that one has closed, which may be more than the records alone say: a partition that was idle, or that came later,
/// has held nothing back then.
#[derive(Debug)]
pub struct Shadow {
    epochs: EpochLoop,
    limits: EpochLimits,
    followed: Followed,
    came_to: CameTo,
}

/// What is left of what it did.
#[derive(Debug, Default)]
struct CameTo {
    changes: StateChanges,
    progress: Option<Progress>,
    failed: Option<RestoreError>,
}

impl Shadow {
    /// A plan at the beginning of its input, and how far the pipeline is that it follows.
    pub fn new(
        plan: Plan,
        spec: PipelineSpec,
        limits: EpochLimits,
        followed: Followed,
    ) -> Result<Shadow, ShadowError> {
        let epochs = epochs(Pipeline::new(plan, spec)?, limits, Pace::default(), &followed);
        Ok(Shadow { epochs, limits, followed, came_to: CameTo::default() })
    }

    /// The pipeline that it follows is further. No offset may be before one that was read.
    pub fn follow(&mut self, followed: Followed) {
        self.epochs.follow(followed.clone());
        self.followed = followed;
    }

    /// Where it is in each partition.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, i64)> + '_ {
        self.epochs.pipeline().positions()
    }

    /// Bytes of the state it has come to, and of the changes that have led there.
    pub fn bytes(&self) -> u64 {
        self.epochs.pipeline().state_bytes() + self.came_to.changes.bytes() as u64
    }

    /// How much each operator has.
    pub fn operator_sizes(&self) -> Vec<OperatorSize> {
        self.epochs.pipeline().operator_sizes()
    }

    /// Runs one epoch; false once everything is read, and given what time made due. One that gave too much is tried again
    /// in parts, with the next turns.
    pub fn turn<L: Logs>(&mut self, logs: &mut L, now: i64, seed: u64) -> Result<bool, ShadowError> {
        let mut unseen = Unseen { logs, came_to: &mut self.came_to };
        let turn = match self.epochs.turn(&mut unseen, now, seed) {
            Err(error) if error.too_large().is_some() && self.epochs.shrink() => {
                self.restore()?;
                return Ok(true);
            }
            turn => turn?,
        };
        if let Some(error) = self.came_to.failed.take() {
            return Err(error.into());
        }
        Ok(matches!(turn, Turn::Committed { .. }))
    }

    /// Goes back to where the last whole epoch has left it, at the pace it has now.
    fn restore(&mut self) -> Result<(), RestoreError> {
        let failed = self.epochs.pipeline();
        let (plan, spec, pace) = (failed.plan().clone(), failed.spec().clone(), self.epochs.pace());
        // What is left of the failed one goes first: there may be no room for both.
        let beginning = Pipeline::new(plan.clone(), spec.clone())?;
        self.epochs = epochs(beginning, self.limits, pace, &self.followed);
        let CameTo { changes, progress, .. } = &self.came_to;
        let restored = Pipeline::restore(plan, spec, progress.clone())?.apply_changes(changes)?.finish();
        self.epochs = epochs(restored, self.limits, pace, &self.followed);
        Ok(())
    }

    /// The state it has come to, and the record of its last epoch; `None` when no turn was made.
    pub fn finish(self) -> (StateChanges, Option<Progress>) {
        (self.came_to.changes, self.came_to.progress)
    }
}

/// It is behind by nature, and its state is to be that of the whole input: nothing is shed.
fn epochs(pipeline: Pipeline, limits: EpochLimits, pace: Pace, followed: &Followed) -> EpochLoop {
    let epochs = EpochLoop::new(pipeline, limits).with_pace(pace);
    let mut epochs = epochs.with_shedding(ShedControl::Never);
    epochs.follow(followed.clone());
    epochs
}

/// Logs of which nothing is written.
struct Unseen<'l, L> {
    logs: &'l mut L,
    came_to: &'l mut CameTo,
}

impl<L: Logs> Logs for Unseen<'_, L> {
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

    fn committed_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.logs.committed_end(partition)
    }

    fn log_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.logs.log_end(partition)
    }

    fn heard(&mut self, partition: &TopicPartition, now: i64) -> Result<Option<Heard>, LogsError> {
        self.logs.heard(partition, now)
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        let applied = epoch.changelog.iter().try_for_each(|batch| self.came_to.changes.apply(batch));
        self.came_to.failed = applied.err();
        self.came_to.progress = Some(epoch.progress);
        Ok(())
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}
