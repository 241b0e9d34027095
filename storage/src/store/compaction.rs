//! Which logs are compacted, and when.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Store;
use super::error::Fatal;
use super::sequencer::Listed;
use crate::PartitionId;
use crate::log::{Compacted, Dirty, KeyMap, LogError, Pass};

/// What a round of compaction did.
#[derive(Debug, Clone, Default)]
pub struct CompactionRound {
    /// Partitions that were compacted.
    pub compacted: Vec<(PartitionId, Compacted)>,
    /// Partitions that could not be: damaged ones, or for want of space. They keep everything.
    pub failed: Vec<(PartitionId, LogError)>,
    /// Partitions with segments that a checkpoint has to cover before they can be compacted.
    pub waiting: usize,
}

impl Store {
    /// Compacts the partitions for which it is due, the dirtiest first, each with one pass. Touches only segments that a
    /// checkpoint covers and in which no transaction is open. Blocks on files, for long; commits, rounds, reads and
    /// checkpoints go on. Ends early, with what is done by then, when `stop` is set or the partition is being deleted.
    ///
    /// `now` in ms since the epoch. A crash leaves each segment as it was before or as it is after.
    pub fn compact(&self, now: i64, map: &mut KeyMap, stop: &AtomicBool) -> Result<CompactionRound, Fatal> {
        self.check_alive()?;
        let mut round = CompactionRound::default();
        let mut due: Vec<(Dirty, Listed)> = Vec::new();
        for listed in self.sequencer.partitions() {
            if !listed.options.cleanup.compact {
                continue;
            }
            let flushed = listed.state.checkpointed_end.load(Ordering::Acquire);
            let looked = self.dirty(&listed, i64::MAX, now).and_then(|wanted| {
                if !wanted.is_due {
                    return Ok(None);
                }
                round.waiting += usize::from(wanted.upper > flushed);
                Ok(Some(self.dirty(&listed, flushed, now)?).filter(|dirty| dirty.is_due))
            });
            match looked {
                Ok(Some(dirty)) => due.push((dirty, listed)),
                Ok(None) => {}
                Err(error) => round.failed.push((listed.state.id, error)),
            }
        }
        due.sort_by(|(a, _), (b, _)| b.ratio.total_cmp(&a.ratio));
        for (_, listed) in due {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let id = listed.state.id;
            match self.compact_one(&listed, now, map, stop) {
                Ok(Some(compacted)) => round.compacted.push((id, compacted)),
                Ok(None) => {}
                // What is damaged is for somebody to look at; what does not fit is tried again.
                Err(error) if error.is_full() || matches!(error, LogError::Corrupt(_)) => {
                    round.failed.push((id, error));
                }
                Err(source) => return Err(self.poison(Fatal::Log { partition: id, source })),
            }
        }
        Ok(round)
    }

    /// How much of a partition, before an offset, waits for compaction.
    fn dirty(&self, listed: &Listed, upper: i64, now: i64) -> Result<Dirty, LogError> {
        let state = &listed.state;
        let first_dirty = self.cleaned.lock().get(&state.topic_name, state.id.partition);
        let next_horizon = state.cleaning.lock().next_horizon;
        // Of the log, too, which may be behind what is published: as long as it has not got the marker, it takes the data of
        // an aborted transaction for data. Its end first: what begins meanwhile begins behind it.
        let applied_end = state.log.end_offset();
        let applied = state.log.open_transactions().last_stable_offset(applied_end);
        let upper = state.published().last_stable_offset.min(applied).min(upper);
        Ok(state.log.dirty(first_dirty, upper, next_horizon, &listed.options, now)?)
    }

    fn compact_one(
        &self,
        listed: &Listed,
        now: i64,
        map: &mut KeyMap,
        stop: &AtomicBool,
    ) -> Result<Option<Compacted>, LogError> {
        let Listed { state, options, .. } = listed;
        // Again, as what was found first may have been removed meanwhile.
        let dirty = self.dirty(listed, state.checkpointed_end.load(Ordering::Acquire), now)?;
        let mut cleaning = state.cleaning.lock();
        if state.leaving.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut pass = Pass { dirty, now, options: *options, map, stop, given_up: &state.leaving };
        let compacted = state.log.compact(&mut pass)?;
        cleaning.next_horizon = compacted.next_horizon;
        drop(cleaning);
        self.tail.forget(state, compacted.first_dirty);
        if !state.leaving.load(Ordering::Acquire) {
            let mut cleaned = self.cleaned.lock();
            let disk = &*self.environment.disk;
            let written = cleaned.set(disk, &state.topic_name, state.id.partition, compacted.first_dirty);
            written.map_err(|(path, error)| LogError::io("write", &path)(error))?;
        }
        Ok(Some(compacted))
    }
}
