//! The newest batches of all partitions in memory: what tail reads are served from.
//!
//! A batch is here from its publication on, stays at least until it is applied, and then as long as the budget allows.
//! The oldest published goes first, whichever partition it is of. What compaction has written again is read from the
//! segments, or its work would not be seen.

use std::collections::VecDeque;
use std::sync::Arc;

use logmill_record::Batch;
use parking_lot::Mutex;

use super::publish::PartitionState;

/// The newest batches of one partition, without a gap, up to its high watermark.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<Batch>,
}

impl Tail {
    pub(crate) fn push(&mut self, batch: Batch) {
        debug_assert!(
            self.batches.back().is_none_or(|last| last.header().next_offset() == batch.header().base_offset)
        );
        self.batches.push_back(batch);
    }

    /// Offset of the first batch in memory.
    pub(crate) fn start_offset(&self) -> Option<i64> {
        self.batches.front().map(|batch| batch.header().base_offset)
    }

    /// The batches from the one that holds `offset`.
    pub(crate) fn from(&self, offset: i64) -> impl Iterator<Item = &Batch> {
        let first = self.batches.partition_point(|batch| batch.header().next_offset() <= offset);
        self.batches.range(first..)
    }

    /// Drops the oldest batch if it lies before `applied_end`; returns its bytes.
    fn evict(&mut self, applied_end: i64) -> Option<usize> {
        let oldest = self.batches.front()?;
        if oldest.header().next_offset() > applied_end {
            return None;
        }
        self.batches.pop_front().map(|batch| batch.size())
    }

    fn clear(&mut self) -> usize {
        self.batches.drain(..).map(|batch| batch.size()).sum()
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

/// The budget of all tails together.
#[derive(Debug)]
pub(crate) struct TailBudget {
    limit: i64,
    order: Mutex<Order>,
}

#[derive(Debug, Default)]
struct Order {
    /// One entry for each batch in a tail, in the order of publication.
    owners: VecDeque<Arc<PartitionState>>,
    /// Below zero for a moment when a partition is cleared between publishing and counting.
    bytes: i64,
}

impl TailBudget {
    pub(crate) fn new(limit: usize) -> TailBudget {
        TailBudget { limit: i64::try_from(limit).unwrap_or(i64::MAX), order: Mutex::default() }
    }

    /// Counts batches that a partition has put into its tail.
    pub(crate) fn add(&self, owner: &Arc<PartitionState>, batches: usize, bytes: usize) {
        let mut order = self.order.lock();
        order.owners.extend(std::iter::repeat_n(owner, batches).cloned());
        order.bytes += bytes as i64;
    }

    /// Drops what is above the budget and has been applied. No lock of a partition may be held.
    pub(crate) fn enforce(&self) {
        let order = &mut *self.order.lock();
        while order.bytes > self.limit {
            let Some(owner) = order.owners.front() else { return };
            let mut view = owner.view.lock();
            let applied_end = view.applied_end;
            if let Some(bytes) = view.tail.evict(applied_end) {
                order.bytes -= bytes as i64;
                view.forget_aborted();
            } else if !view.tail.is_empty() {
                return;
            }
            drop(view);
            order.owners.pop_front();
        }
    }

    /// Drops what a partition has before `offset` and in its segments: there something else stands now. No lock of a
    /// partition may be held.
    pub(crate) fn forget(&self, owner: &Arc<PartitionState>, offset: i64) {
        let order = &mut *self.order.lock();
        let mut view = owner.view.lock();
        let until = offset.min(view.applied_end);
        let mut dropped = 0;
        while let Some(bytes) = view.tail.evict(until) {
            order.bytes -= bytes as i64;
            dropped += 1;
        }
        view.forget_aborted();
        drop(view);
        if dropped > 0 {
            // The oldest of this partition, as its batches were.
            order.owners.retain(|of| {
                let is_dropped = dropped > 0 && Arc::ptr_eq(of, owner);
                dropped -= i32::from(is_dropped);
                !is_dropped
            });
        }
    }

    /// Drops everything of a partition that is being deleted.
    pub(crate) fn clear(&self, owner: &PartitionState) {
        let mut order = self.order.lock();
        order.bytes -= owner.view.lock().tail.clear() as i64;
    }

    /// Batches in all tails, as they are counted.
    #[cfg(test)]
    pub(crate) fn batches(&self) -> usize {
        self.order.lock().owners.len()
    }

    /// Bytes in all tails.
    pub(crate) fn bytes(&self) -> usize {
        self.order.lock().bytes.max(0) as usize
    }
}
