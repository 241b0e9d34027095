//! Retention and compaction as steps, and what they may do.

use std::sync::atomic::AtomicBool;

use logmill_storage::PartitionId;
use logmill_storage::log::{KeyMap, LogError};

use crate::coverage::During;
use crate::machine::Stop;
use crate::model::PlannedFrame;
use crate::profile::Policy;
use crate::run::World;
use crate::steps::Life;
use crate::trace::{Violation, ensure, ensure_stop};

impl World<'_> {
    /// Trims what need not be kept, by a frame of the store's own.
    pub(crate) fn retain(&mut self, life: &mut Life, now: i64) -> Result<(), Stop> {
        self.now(During::Clean);
        let retained = life.machine().store.retain(Some(now))?;
        self.trace.note(format_args!("retain at {now}: {retained:?}"));
        for (id, error) in &retained.failed {
            let damaged = self.model.partitions.get(id).is_some_and(|found| !found.damaged.is_empty());
            ensure_stop!(damaged, "{id}: retention could not look at it: {error}");
        }
        for (id, start) in &retained.trimmed {
            self.check_retained(*id, *start, now)?;
        }
        if !retained.trimmed.is_empty() {
            self.coverage.retained += retained.trimmed.len() as u64;
            let trims = retained.trimmed;
            self.model.append(&PlannedFrame { what: "retention", trims, ..PlannedFrame::default() });
        }
        Ok(())
    }

    /// Each batch that goes is too old, or enough follows it.
    fn check_retained(&self, id: PartitionId, start: i64, now: i64) -> Result<(), Violation> {
        let Some(partition) = self.model.partitions.get(&id) else {
            return Err(Violation(format!("retention trims {id}, which was never made")));
        };
        let Policy::Retain(retention) = partition.policy else {
            return Err(Violation(format!("retention trims {id}, which keeps everything")));
        };
        ensure!(
            start > partition.start && start <= partition.state.last_stable(),
            "{id}: retention trims to {start}, from {} and with the last stable offset at {}",
            partition.start,
            partition.state.last_stable()
        );
        let going = partition.before(partition.start)..partition.before(start);
        for place in going {
            let batch = &partition.batches[place];
            let behind: u64 =
                partition.batches[place + 1..].iter().map(|later| later.bytes.len() as u64).sum();
            let too_much = retention.bytes.is_some_and(|kept| behind >= kept);
            let expired = retention.ms.is_some_and(|ms| now - batch.header.max_timestamp > ms);
            ensure!(
                too_much || expired,
                "{id}: retention trims the batch at {}, of time {}, with {behind} bytes behind it, at {now}: {retention:?}",
                batch.header.base_offset,
                batch.header.max_timestamp
            );
        }
        Ok(())
    }

    /// One round of compaction.
    pub(crate) fn compact(&mut self, life: &mut Life, now: i64, map_bytes: usize) -> Result<(), Stop> {
        self.now(During::Compact);
        // Before it: a crash in the middle may leave some of it done.
        for (id, handle) in life.machine().partitions() {
            if let Some(partition) =
                self.model.partitions.get_mut(&id).filter(|p| p.policy == Policy::Compact)
            {
                partition.passes.push((now, handle.published().last_stable_offset));
            }
        }
        let round =
            life.machine().store.compact(now, &mut KeyMap::new(map_bytes), &AtomicBool::new(false))?;
        self.trace.note(format_args!("compact at {now}: {round:?}"));
        for (id, error) in &round.failed {
            let full = self.full && error.is_full();
            let damaged = matches!(error, LogError::Corrupt(_))
                && self.model.partitions.get(id).is_some_and(|found| !found.damaged.is_empty());
            ensure_stop!(full || damaged, "{id}: not compacted: {error}");
        }
        for (id, compacted) in &round.compacted {
            let policy = self.model.partitions.get(id).map(|partition| partition.policy);
            ensure_stop!(policy == Some(Policy::Compact), "{id}: compacted, and should not be");
            self.coverage.compactions += 1;
            self.coverage.compacted_records += compacted.records_dropped;
        }
        Ok(())
    }
}
