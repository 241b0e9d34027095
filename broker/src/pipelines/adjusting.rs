//! What is changed of a pipeline that goes on: the memory of its state, its shards.

use super::error::PipelineError;
use super::events::EventKind;
use super::manager::{MAX_SHARDS, Pipelines};
use super::status::{PipelineState, PipelineView};
use crate::topics::PipelineRecord;

/// That a pipeline may have so many shards.
pub(super) fn check_shards(shards: u32) -> Result<(), PipelineError> {
    match (1..=MAX_SHARDS).contains(&shards) {
        true => Ok(()),
        false => Err(PipelineError::Shards(shards)),
    }
}

impl Pipelines {
    /// Says how many bytes the state of a pipeline may have; one that waits for more goes on.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn set_memory(&self, name: &str, bytes: u64) -> Result<(), PipelineError> {
        if bytes == 0 {
            return Err(PipelineError::Memory);
        }
        let _changing = self.hold(name).await;
        let record = {
            let known = self.0.known.lock();
            known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?.record.clone()
        };
        if record.memory == Some(bytes) {
            return Ok(());
        }
        let record = PipelineRecord { memory: Some(bytes), ..record };
        self.save(&record).await?;
        self.update(name, |known| {
            known.record = record;
            known.control.set_memory(bytes);
            let text = format!("its state may have {bytes} bytes");
            known.events.say(self.0.clock.now_ms(), EventKind::Changed, text);
        });
        Ok(())
    }

    /// Splits the work of a pipeline that runs into another number of shards, from its next epoch on. Durable when this
    /// returns; [`PipelineView::running_shards`] says when it is so. Nothing is lost or doubled, whenever the broker ends.
    ///
    /// # Errors
    /// [`PipelineError::State`] for one that does not run or cannot go on now: it says what to do.
    pub async fn rescale(&self, name: &str, shards: u32) -> Result<PipelineView, PipelineError> {
        check_shards(shards)?;
        let _changing = self.hold(name).await;
        let state = {
            let known = self.0.known.lock();
            known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?.shown.state()
        };
        let go_on = format!("`logmill pipeline resume {name} --shards {shards}`");
        let refuse = |reason: String| Err(PipelineError::State { name: name.to_owned(), reason });
        match state {
            PipelineState::Starting | PipelineState::Running | PipelineState::Blocked(_) => {}
            PipelineState::Stopped => {
                return refuse(format!("does not run; let it go on with so many shards: {go_on}"));
            }
            PipelineState::Finished => {
                return refuse("has finished: there is nothing left to compute".to_owned());
            }
            PipelineState::Failed(failure) => {
                return refuse(format!(
                    "has failed: {failure}. Let it go on with so many shards when that is mended: {go_on}"
                ));
            }
        }
        self.set_shards(name, shards).await?;
        self.view(name)
    }

    /// Says into how many shards the work of a pipeline is split, whether it runs or not. Its name is held.
    pub(super) async fn set_shards(&self, name: &str, shards: u32) -> Result<(), PipelineError> {
        let (record, before, state) = {
            let known = self.0.known.lock();
            let known = known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            (known.record.clone(), known.control.shards(), known.shown.state())
        };
        if record.shards == Some(shards) {
            return Ok(());
        }
        if let PipelineState::Blocked(failure) = state
            && before != shards
        {
            return Err(PipelineError::State {
                name: name.to_owned(),
                reason: format!(
                    "cannot go on now, and is rescaled between two epochs: {failure}. Say it again when it runs, or stop \
                     it and let it go on with so many shards (`logmill pipeline resume {name} --shards {shards}`)"
                ),
            });
        }
        let record = PipelineRecord { shards: Some(shards), ..record };
        self.save(&record).await?;
        self.update(name, |known| {
            known.record = record;
            known.control.set_shards(shards);
        });
        Ok(())
    }
}
