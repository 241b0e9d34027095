//! The appliers: they write what is published into the segments.
//!
//! A partition belongs to one shard, and a shard's turn is taken by one thread at a time, so a partition's batches are
//! written in order; shards go in parallel. Whatever waits for one partition is written together.
//!
//! What the journal has made durable is in no hurry: readers find it in memory, and a crash is the journal's affair. So a
//! shard's thread lets small appends gather ([`Ready::is_due`]) and writes each partition's with one call. What somebody
//! waits for - page-cache produce, and a flush - is written at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::Fatal;
use super::publish::{FrameState, PartitionState, Released};
use super::sequencer::{Sequencer, Work};
use super::tail::TailBudget;

/// Bytes written to one partition before the next one of the shard has its turn.
const MAX_APPLY_BYTES: usize = 4 << 20;
/// Bytes a partition to be written should have, on average, to be worth the call.
const GATHERED_BYTES: usize = 32 << 10;
/// So many bytes in a shard are worth a round, however few the partitions.
const ROUND_BYTES: usize = 1 << 20;
/// How long appends may wait for others.
const LINGER: Duration = Duration::from_millis(200);
/// How long a shard that found the disk full waits before it tries again.
const RETRY_WHEN_FULL: Duration = Duration::from_millis(100);

pub(crate) struct Appliers {
    shards: Vec<Shard>,
    /// Bytes that may gather in one shard: they are memory.
    max_gathered_bytes: usize,
    /// Journaled frames, with their sequences in the journal, until they are applied.
    frames: Mutex<AppliedFrames>,
    ended: AtomicBool,
}

#[derive(Default)]
struct Shard {
    ready: Mutex<Ready>,
    wake: Condvar,
    /// Held while a partition of the shard is written.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Ready {
    partitions: VecDeque<Arc<PartitionState>>,
    /// Published bytes of those partitions that are not written.
    bytes: usize,
    /// Somebody waits for one of them.
    urgent: bool,
    /// The disk was full: trying again at once is of no use.
    blocked: bool,
}

struct AppliedFrames {
    /// Sequences with their counts of appends that are not applied; not the frames, which are memory.
    waiting: VecDeque<(u64, Arc<AtomicU32>)>,
    /// All frames up to here are in the segments.
    through: u64,
}

/// What a round of an applier did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Applied {
    pub(crate) batches: u64,
    pub(crate) bytes: u64,
    pub(crate) writes: u64,
    /// The disk is full; what was not written stays in memory and in the journal.
    pub(crate) full: bool,
}

/// What the appliers need of the store.
pub(crate) struct Around<'a> {
    pub(crate) sequencer: &'a Sequencer,
    pub(crate) tail: &'a TailBudget,
    pub(crate) flush_ahead_bytes: u64,
}

impl Ready {
    /// Bytes of this many partitions that are worth a round.
    fn worth(&self, max_bytes: usize) -> usize {
        (self.partitions.len() * GATHERED_BYTES).max(ROUND_BYTES).min(max_bytes)
    }

    /// What waits is worth a round now, rather than when the oldest has waited for long.
    fn is_due(&self, max_bytes: usize) -> bool {
        self.urgent || (!self.partitions.is_empty() && self.bytes >= self.worth(max_bytes))
    }

    /// Bytes that a round may leave to gather more. Not going through all of many partitions at once, a shard's thread works
    /// for a moment every now and then instead of for long and then not at all.
    fn left_to_gather(&self, max_bytes: usize) -> usize {
        if self.is_due(max_bytes) && !self.urgent { self.worth(max_bytes) / 4 * 3 } else { 0 }
    }
}

impl AppliedFrames {
    fn advance(&mut self) {
        let applied = |unapplied: &AtomicU32| unapplied.load(Ordering::Acquire) == 0;
        while let Some((sequence, _)) = self.waiting.pop_front_if(|(_, unapplied)| applied(unapplied)) {
            self.through = sequence;
        }
    }
}

impl Appliers {
    /// `max_gathered_bytes` may wait in all shards together.
    pub(crate) fn new(shards: usize, max_gathered_bytes: usize, applied_through: u64) -> Appliers {
        let shards = shards.max(1);
        Appliers {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            max_gathered_bytes: max_gathered_bytes / shards,
            frames: Mutex::new(AppliedFrames { waiting: VecDeque::new(), through: applied_through }),
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.shards.len()
    }

    /// A frame is durable; frames come in the order of their sequences.
    pub(crate) fn expect(&self, sequence: u64, frame: &FrameState) {
        let frames = &mut *self.frames.lock();
        frames.waiting.push_back((sequence, frame.unapplied()));
        frames.advance();
    }

    /// The journal's frames up to this sequence are in the segments (not necessarily flushed).
    pub(crate) fn applied_through(&self) -> u64 {
        let frames = &mut *self.frames.lock();
        frames.advance();
        frames.through
    }

    /// Puts a partition into its shard's list if there is something to do for it.
    pub(crate) fn ready(&self, partition: &Arc<PartitionState>) {
        let mut view = partition.view.lock();
        let wants_flush = view.flush_wanted > view.flushed_end;
        if !(view.can_apply() || wants_flush) {
            return;
        }
        let urgent = wants_flush || view.waits_for_applier() || partition.deleted.load(Ordering::Acquire);
        let is_new = !std::mem::replace(&mut view.queued, true);
        let more = view.count_gathered();
        let shard = &self.shards[partition.shard];
        let mut ready = shard.ready.lock();
        let (was_empty, was_due) = (ready.partitions.is_empty(), ready.is_due(self.max_gathered_bytes));
        if is_new {
            ready.partitions.push_back(Arc::clone(partition));
        }
        ready.bytes += more;
        ready.urgent |= urgent;
        // The first one starts the wait for others, the last one ends it; in between there is nobody to wake.
        if was_empty || (!was_due && ready.is_due(self.max_gathered_bytes)) {
            shard.wake.notify_one();
        }
    }

    /// Asks for a flush of a partition up to an offset; the sequencer's waiter is nudged when it is done.
    pub(crate) fn want_flush(&self, partition: &Arc<PartitionState>, offset: i64) {
        {
            let mut view = partition.view.lock();
            view.flush_wanted = view.flush_wanted.max(offset);
        }
        self.ready(partition);
    }

    pub(crate) fn wait(&self, shard: usize) -> Work {
        let shard = &self.shards[shard];
        let mut ready = shard.ready.lock();
        loop {
            if self.ended.load(Ordering::Acquire) {
                return Work::Ended;
            }
            if ready.partitions.is_empty() {
                shard.wake.wait(&mut ready);
            } else if ready.blocked {
                shard.wake.wait_for(&mut ready, RETRY_WHEN_FULL);
                return if self.ended.load(Ordering::Acquire) { Work::Ended } else { Work::Ready };
            } else if ready.is_due(self.max_gathered_bytes)
                || shard.wake.wait_for(&mut ready, LINGER).timed_out()
            {
                return if self.ended.load(Ordering::Acquire) { Work::Ended } else { Work::Ready };
            }
        }
    }

    /// Something waits in the shard.
    pub(crate) fn has_work(&self, shard: usize) -> bool {
        !self.shards[shard].ready.lock().partitions.is_empty()
    }

    /// What waits in the shard is worth a round at once.
    #[cfg(test)]
    pub(crate) fn is_due(&self, shard: usize) -> bool {
        self.shards[shard].ready.lock().is_due(self.max_gathered_bytes)
    }

    /// Lets all who wait go.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        for shard in &self.shards {
            // Under the lock, so that nobody is between looking and waiting.
            let _ready = shard.ready.lock();
            shard.wake.notify_all();
        }
    }

    /// Runs `change` while no applier writes to the partition.
    pub(crate) fn pause<T>(&self, partition: &PartitionState, change: impl FnOnce() -> T) -> T {
        let _turn = self.shards[partition.shard].turn.lock();
        change()
    }

    /// Writes what waits for the partitions of a shard, each once.
    pub(crate) fn round(&self, shard_index: usize, around: &Around<'_>) -> Result<Applied, Fatal> {
        let shard = &self.shards[shard_index];
        let turn = shard.turn.lock();
        let mut applied = Applied::default();
        let mut written = Vec::new();
        let (waiting, left) = {
            let mut ready = shard.ready.lock();
            let left = ready.left_to_gather(self.max_gathered_bytes);
            ready.urgent = false;
            (ready.partitions.len(), left)
        };
        for _ in 0..waiting {
            let partition = {
                let mut ready = shard.ready.lock();
                if left > 0 && ready.bytes <= left {
                    break;
                }
                ready.partitions.pop_front()
            };
            let Some(partition) = partition else { break };
            partition.view.lock().queued = false;
            self.apply(&partition, around, &mut applied)?;
            {
                let mut view = partition.view.lock();
                shard.ready.lock().bytes -= view.forget_written();
            }
            self.flush_if_wanted(&partition, around, &mut applied)?;
            self.ready(&partition);
            written.push(partition);
            if applied.full {
                break;
            }
        }
        shard.ready.lock().blocked = applied.full;
        around.sequencer.set_full(shard_index + 1, applied.full);
        around.tail.enforce();
        drop(turn);
        written.iter().try_for_each(|partition| Self::flush_ahead(partition, around))?;
        Ok(applied)
    }

    fn apply(
        &self,
        partition: &Arc<PartitionState>,
        around: &Around<'_>,
        applied: &mut Applied,
    ) -> Result<(), Fatal> {
        // What is durable and not published yet, because the journal's thread is on its way, comes along.
        partition.publish(around.tail);
        let batches = partition.view.lock().to_apply(MAX_APPLY_BYTES);
        let Some(last) = batches.last() else { return Ok(()) };
        let mut end = last.header().next_offset();
        if !partition.deleted.load(Ordering::Acquire) {
            let result = partition.log.append(&batches);
            end = partition.log.end_offset();
            match result {
                Ok(()) => {}
                Err(error) if error.is_full() => applied.full = true,
                Err(source) => return Err(Fatal::Log { partition: partition.id, source }),
            }
            applied.writes += 1;
        }
        let done = batches.iter().take_while(|batch| batch.header().next_offset() <= end);
        let (count, bytes) =
            done.fold((0, 0), |(count, bytes), batch| (count + 1, bytes + batch.size() as u64));
        applied.batches += count;
        applied.bytes += bytes;
        let mut released = Released::default();
        let published = {
            let mut view = partition.view.lock();
            let before = view.high_watermark;
            view.applied(end, &mut released);
            (view.high_watermark > before).then(|| partition.published_of(&view))
        };
        partition.release(released, published, around.tail);
        Ok(())
    }

    /// Without the turn, which others wait for. With page-cache produce it is the kernel that decides: producers wait for
    /// this thread.
    fn flush_ahead(partition: &PartitionState, around: &Around<'_>) -> Result<(), Fatal> {
        if !partition.page_cache.load(Ordering::Acquire) && !partition.deleted.load(Ordering::Acquire) {
            let flushed = partition.log.flush_ahead(around.flush_ahead_bytes);
            flushed.map_err(|source| Fatal::Log { partition: partition.id, source })?;
        }
        Ok(())
    }

    fn flush_if_wanted(
        &self,
        partition: &Arc<PartitionState>,
        around: &Around<'_>,
        applied: &mut Applied,
    ) -> Result<(), Fatal> {
        let wanted = {
            let view = partition.view.lock();
            view.flush_wanted > view.flushed_end && view.applied_end >= view.flush_wanted
        };
        if !wanted {
            return Ok(());
        }
        let end = if partition.deleted.load(Ordering::Acquire) {
            i64::MAX
        } else {
            match partition.log.flush() {
                Ok(flushed) => flushed.end_offset,
                // A flush writes indexes and a snapshot. The frame goes on waiting.
                Err(error) if error.is_full() => {
                    applied.full = true;
                    return Ok(());
                }
                Err(source) => return Err(Fatal::Log { partition: partition.id, source }),
            }
        };
        let mut view = partition.view.lock();
        view.flushed_end = view.flushed_end.max(end);
        drop(view);
        around.sequencer.nudge();
        Ok(())
    }
}
