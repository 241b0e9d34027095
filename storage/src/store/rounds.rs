//! The journal stage: group commit and publication.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Store;
use super::appliers::Around;
use super::error::Fatal;
use super::publish::{FrameState, PartitionState};
use super::sequencer::Work;
use crate::journal::Journal;

/// How long after the last frame the journal is idle, and writes down that the frame is durable; also how long it waits
/// before it tries for space again.
const QUIET: Duration = Duration::from_millis(20);

/// The journal and what waits for it.
#[derive(Debug)]
pub(crate) struct JournalStage {
    pub(crate) journal: Journal,
    /// Taken from the sequencer and not yet written, in order.
    pending: VecDeque<Arc<FrameState>>,
    /// A closed journal is not written to any more.
    pub(crate) closed: bool,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Round {
    /// Frames made durable, or batches applied.
    pub frames: u64,
    /// Bytes written.
    pub bytes: u64,
    /// How long the journal's write took until its bytes were durable, by [`StoreOptions::measure`](super::StoreOptions).
    pub write_ns: u64,
    /// There is more to do right away.
    pub more: bool,
    /// It is time for [`Store::checkpoint`].
    pub checkpoint_due: bool,
    /// Something waits for space: in the journal, until a checkpoint is done, or on the disk.
    pub full: bool,
    /// It is time for [`Store::prepare_round`].
    pub prepare_due: bool,
}

/// How much is on its way. The broker slows producers by it, long before anything is rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Congestion {
    /// Bytes of frames that wait for the journal.
    pub queued_bytes: u64,
    /// Bytes of batches in memory that are not in the segments yet, whichever way they take.
    pub unapplied_bytes: u64,
    /// Share of the journal's ring in use, from 0 to 1. A checkpoint is due at one half.
    pub ring_fill: f64,
    /// The disk is full: frames of clients are rejected.
    pub storage_full: bool,
}

impl Congestion {
    /// Bytes waiting for the journal above which producers should wait.
    const QUEUE_LIMIT_BYTES: u64 = 64 << 20;
    /// Bytes waiting for the segments above which producers should wait: they are memory, beyond the budget of the tail.
    const UNAPPLIED_LIMIT_BYTES: u64 = 64 << 20;
    /// Fill of the ring above which producers should wait: a checkpoint is due since one half, and not done yet.
    const RING_LIMIT: f64 = 0.85;
    /// Fill of the ring above which who can wait should: between that and the limit there is room for producers while the
    /// checkpoint is written.
    const RING_BUSY: f64 = 0.7;

    /// The store is behind: a produce that comes now should wait until a round or a checkpoint is done. Not so with a
    /// full disk: then a produce is refused, and should hear so at once.
    pub fn is_full(&self) -> bool {
        !self.storage_full && self.is_behind()
    }

    /// The store is so far behind that producers will have to wait if more comes: whoever brings bytes as fast as they are
    /// taken, and has nobody waiting for it, should leave the rest of the room to them.
    pub fn is_busy(&self) -> bool {
        !self.storage_full
            && (self.queued_bytes > Congestion::QUEUE_LIMIT_BYTES / 2
                || self.unapplied_bytes > Congestion::UNAPPLIED_LIMIT_BYTES / 2
                || self.ring_fill > Congestion::RING_BUSY)
    }

    fn is_behind(&self) -> bool {
        self.queued_bytes > Congestion::QUEUE_LIMIT_BYTES
            || self.unapplied_bytes > Congestion::UNAPPLIED_LIMIT_BYTES
            || self.ring_fill > Congestion::RING_LIMIT
    }
}

impl JournalStage {
    pub(crate) fn new(journal: Journal) -> JournalStage {
        JournalStage { journal, pending: VecDeque::new(), closed: false }
    }
}

/// Counts a round while it lasts.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(rounds: &'a AtomicUsize) -> Self {
        rounds.fetch_add(1, Ordering::SeqCst);
        Self(rounds)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Store {
    /// Waits until there is something for the journal to do.
    pub fn journal_wait(&self) -> Work {
        let alarm = self.journal_alarm.load(Ordering::Acquire);
        self.sequencer.wait(alarm.then_some(QUIET))
    }

    /// One round of the journal: writes what waits, in one write as far as it fits, publishes it, and calls the frames'
    /// `done`. With nothing to write it writes, once, a small frame that says up to where frames are durable.
    pub fn journal_round(&self) -> Result<Round, Fatal> {
        let _under_way = UnderWay::begin(&self.rounds_under_way);
        self.check_alive()?;
        let mut round = Round::default();
        let mut touched = Vec::new();
        let mut trimming = Vec::new();
        {
            let stage = &mut *self.journal.lock();
            if !stage.closed {
                self.write_pending(stage, &mut round, &mut touched, &mut trimming)?;
                self.measure_ring(&stage.journal, round.full);
            }
        }
        trimming.iter().for_each(|frame: &Arc<FrameState>| frame.trims_published());
        touched.sort_by_key(|partition: &Arc<PartitionState>| partition.id);
        touched.dedup_by_key(|partition| partition.id);
        for partition in &touched {
            partition.publish(&self.tail);
            self.appliers.ready(partition);
        }
        if round.frames > 0 {
            self.tail.enforce();
            let stage = &mut *self.journal.lock();
            if !stage.closed {
                let prepared = stage.journal.prepare(round.bytes);
                round.prepare_due = prepared.map_err(|error| self.poison(error.into()))?;
            }
        }
        if round.more {
            self.sequencer.nudge();
        }
        round.checkpoint_due = self.checkpoint_due();
        Ok(round)
    }

    /// Writes some of what the journal's next file needs before it can be used. True when there is more to do right away. What
    /// is not done when the journal needs the file, it does itself, and all who wait for a frame wait for that.
    pub fn prepare_round(&self) -> Result<bool, Fatal> {
        self.check_alive()?;
        let spare = {
            let stage = &*self.journal.lock();
            stage.journal.spare().filter(|_| !stage.closed).cloned()
        };
        let Some(spare) = spare else { return Ok(false) };
        spare.write_due().map_err(|error| self.poison(error.into()))
    }

    pub(super) fn write_pending(
        &self,
        stage: &mut JournalStage,
        round: &mut Round,
        touched: &mut Vec<Arc<PartitionState>>,
        trimming: &mut Vec<Arc<FrameState>>,
    ) -> Result<(), Fatal> {
        self.sequencer.take_queue(&mut stage.pending);
        let JournalStage { journal, pending, .. } = stage;
        let ready = pending.iter().take_while(|frame| self.requirements_met(frame)).count();
        if ready == 0 && pending.is_empty() {
            let written = journal.write_idle().map_err(|error| self.poison(error.into()))?;
            self.counts.idle_writes.add(written.writes);
            self.journal_alarm.store(false, Ordering::Release);
            return Ok(());
        }
        let began = (self.options.measure)();
        let written = journal
            .write(&pending.make_contiguous()[..ready], |frame| &frame.body)
            .map_err(|error| self.poison(error.into()))?;
        round.write_ns = (self.options.measure)().saturating_sub(began);
        self.write_time.note(written.bytes, round.write_ns);
        let first = journal.durable() + 1 - written.frames as u64;
        let mut queued_bytes = 0;
        for (sequence, frame) in (first..).zip(pending.drain(..written.frames)) {
            queued_bytes += frame.body.frame_bytes();
            frame.durable.store(true, Ordering::Release);
            touched.extend(frame.partitions.iter().cloned());
            if !frame.trims.is_empty() {
                frame.trim();
                trimming.push(Arc::clone(&frame));
            }
            self.appliers.expect(sequence, &frame);
        }
        self.sequencer.journaled(queued_bytes);
        self.sequencer.set_full(0, written.full && journal.disk_is_full());
        round.frames = written.frames as u64;
        round.bytes = written.bytes;
        round.full = written.full;
        round.more = !written.full && written.frames < ready;
        self.journal_alarm.store(journal.wants_idle_frame() || written.full, Ordering::Release);
        self.counts.journal_frames.add(written.frames as u64);
        self.counts.largest_group_frames.at_least(written.frames as u64);
        self.counts.journal_writes.add(u64::from(written.frames > 0));
        self.counts.journal_bytes.add(written.bytes);
        Ok(())
    }

    /// Notes how full the ring is, and whether that makes a checkpoint due.
    pub(crate) fn measure_ring(&self, journal: &Journal, full: bool) {
        let used = journal.used_bytes();
        let half = used >= self.options.journal.max_bytes / 2;
        self.ring_wants_checkpoint.store(full || half, Ordering::Release);
        self.ring_used.store(used, Ordering::Relaxed);
        self.ring_total.store(journal.total_bytes(), Ordering::Relaxed);
        self.ring_durable.store(journal.durable(), Ordering::Relaxed);
    }

    /// Whether what the frame depends on is flushed; if not, the appliers are asked for it.
    fn requirements_met(&self, frame: &FrameState) -> bool {
        let mut met = true;
        for (partition, offset) in &frame.requires {
            if partition.view.lock().flushed_end < *offset {
                self.appliers.want_flush(partition, *offset);
                met = false;
            }
        }
        met
    }

    /// Waits until there is something for a shard of appliers to do. `shard` is below [`Store::applier_shards`].
    pub fn apply_wait(&self, shard: usize) -> Work {
        self.appliers.wait(shard)
    }

    /// One round of a shard: writes what waits for its partitions into their segments, and flushes those for which a
    /// frame waits.
    ///
    /// With a full disk what cannot be written stays in the journal and in memory, clients' frames are rejected with
    /// `Rejection::StorageFull`, and the next round that finds space ends that.
    pub fn apply_round(&self, shard: usize) -> Result<Round, Fatal> {
        let _under_way = UnderWay::begin(&self.rounds_under_way);
        self.check_alive()?;
        let around = Around {
            sequencer: &self.sequencer,
            tail: &self.tail,
            flush_ahead_bytes: self.options.flush_ahead_bytes,
        };
        let applied = self.appliers.round(shard, &around).map_err(|fatal| self.poison(fatal))?;
        self.unapplied_bytes.fetch_sub(applied.bytes as i64, Ordering::Relaxed);
        self.unflushed_bytes.fetch_add(applied.bytes, Ordering::Relaxed);
        self.counts.full_disk.add(u64::from(applied.full));
        self.counts.applied_batches.add(applied.batches);
        self.counts.applied_bytes.add(applied.bytes);
        self.counts.applied_writes.add(applied.writes);
        Ok(Round {
            frames: applied.batches,
            bytes: applied.bytes,
            more: !applied.full && self.appliers.has_work(shard),
            checkpoint_due: self.checkpoint_due(),
            full: applied.full,
            ..Round::default()
        })
    }

    /// How much is on its way.
    pub fn congestion(&self) -> Congestion {
        let used = self.ring_used.load(Ordering::Relaxed);
        Congestion {
            queued_bytes: self.sequencer.queued_bytes(),
            unapplied_bytes: self.unapplied_bytes.load(Ordering::Relaxed).max(0) as u64,
            ring_fill: used as f64 / self.options.journal.max_bytes as f64,
            storage_full: self.sequencer.is_full(),
        }
    }

    /// How long the journal's device takes for a write of so many bytes, about, by the writes of lately and
    /// [`StoreOptions::measure`](super::StoreOptions).
    pub fn journal_time(&self, bytes: u64) -> Duration {
        self.write_time.of(bytes)
    }

    /// How many bytes there is room for on the file system of the data directory; `None` where nobody knows.
    pub fn free_bytes(&self) -> Option<u64> {
        self.environment.disk.free_bytes(&self.options.data_dir).ok().flatten()
    }

    /// After a failure nothing is done any more: the failure is the answer to everything.
    pub(crate) fn check_alive(&self) -> Result<(), Fatal> {
        self.sequencer.failure().map_or(Ok(()), Err)
    }

    /// The store has failed.
    pub(crate) fn poison(&self, fatal: Fatal) -> Fatal {
        self.sequencer.fail(&fatal);
        self.appliers.end();
        fatal
    }
}
