//! The published view of a partition: what every read is served from.
//!
//! ```text
//!   in flight, by offset       published ──►│ waiting for the journal (or, page cache, for the applier)
//!   ┌────────┬────────┬────────┬────────────┼────────┬────────┐
//!   │ applied next …  │        │            │        │        │ ◄── sequencer
//!   └────────┴────────┴────────┴────────────┴────────┴────────┘
//!   applied_end                        high watermark     sequenced end
//! ```
//!
//! The high watermark is the end of the contiguous prefix that is done: durable through the journal, or written when the
//! frame skips it. Transactions, the aborted list and the last stable offset follow the batches up to there and no further.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use logmill_record::Batch;
use parking_lot::Mutex;

use super::frame::Done;
use super::tail::{Tail, TailBudget};
use crate::PartitionId;
use crate::journal::FrameBody;
use crate::log::{AbortedTransaction, OpenTransactions, PartitionLog, TransactionEvent};

/// What readers may see of a partition, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// First offset that may be read.
    pub log_start_offset: i64,
    /// Offset after the last that may be read.
    pub high_watermark: i64,
    /// Offset after the last that readers of committed data may read: where the first open transaction begins.
    pub last_stable_offset: i64,
}

/// A frame on its way: sequenced, then durable, then applied.
pub(crate) struct FrameState {
    pub(crate) body: FrameBody,
    /// It goes through the journal, and is done when that is durable; else when it is written.
    pub(crate) journaled: bool,
    pub(crate) durable: AtomicBool,
    /// Of each entry of the body, in order.
    pub(crate) partitions: Vec<Arc<PartitionState>>,
    /// What must be flushed before the frame may be journaled.
    pub(crate) requires: Vec<(Arc<PartitionState>, i64)>,
    /// Partitions that begin at these offsets once the frame is durable.
    pub(crate) trims: Vec<(Arc<PartitionState>, i64)>,
    /// Appends not yet published, and trims.
    unpublished: AtomicU32,
    /// Appends not yet applied. Apart from the frame, because it is asked for longer than the batches are needed.
    unapplied: Arc<AtomicU32>,
    done: Mutex<Done>,
}

impl fmt::Debug for FrameState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameState")
            .field("commit", &self.body.commit)
            .field("journaled", &self.journaled)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

impl FrameState {
    pub(crate) fn new(
        body: FrameBody,
        partitions: Vec<Arc<PartitionState>>,
        journaled: bool,
        requires: Vec<(Arc<PartitionState>, i64)>,
        trims: Vec<(Arc<PartitionState>, i64)>,
        done: Done,
    ) -> FrameState {
        let appends = body.entries.len() as u32;
        let unpublished = appends + trims.len() as u32;
        FrameState {
            body,
            partitions,
            journaled,
            durable: AtomicBool::new(false),
            requires,
            trims,
            unpublished: AtomicU32::new(unpublished),
            unapplied: Arc::new(AtomicU32::new(appends)),
            done: Mutex::new(done),
        }
    }

    /// How many appends are not in the segments yet.
    pub(crate) fn unapplied(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.unapplied)
    }

    pub(crate) fn one_applied(&self) {
        self.unapplied.fetch_sub(1, Ordering::AcqRel);
    }

    /// The frame is durable: what it trims begins where it says. To be called before a checkpoint can cover the frame.
    pub(crate) fn trim(&self) {
        for (partition, offset) in &self.trims {
            partition.log.advance_log_start(*offset);
        }
    }

    /// Counts the trims as published. To be called without locks: the frame may be done by it.
    pub(crate) fn trims_published(&self) {
        for _ in &self.trims {
            if let Some(done) = self.one_published() {
                done();
            }
        }
    }

    fn one_published(&self) -> Done {
        if self.unpublished.fetch_sub(1, Ordering::AcqRel) == 1 { self.done.lock().take() } else { None }
    }
}

/// An append that is sequenced and not yet applied.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) batch: Batch,
    pub(crate) frame: Arc<FrameState>,
    pub(crate) event: Option<TransactionEvent>,
}

type Observer = Box<dyn Fn(Published) + Send + Sync>;

/// One partition, shared by the stages.
pub(crate) struct PartitionState {
    pub(crate) id: PartitionId,
    pub(crate) topic_name: String,
    pub(crate) directory: PathBuf,
    pub(crate) log: PartitionLog,
    pub(crate) shard: usize,
    pub(crate) leader_epoch: i32,
    /// Where the leader epoch begins.
    pub(crate) epoch_start_offset: i64,
    /// End as the sequencer knows it.
    pub(crate) sequenced_end: AtomicI64,
    /// Everything before is in the segments and flushed, as a checkpoint on the device says.
    pub(crate) checkpointed_end: AtomicI64,
    /// Plain produce skips the journal.
    pub(crate) page_cache: AtomicBool,
    /// Held while old segments are removed or rewritten.
    pub(crate) cleaning: Mutex<Cleaning>,
    /// About to be deleted: whoever cleans it up stops.
    pub(crate) leaving: AtomicBool,
    /// Being deleted: what is in flight is published, and not applied any more.
    pub(crate) deleted: AtomicBool,
    pub(crate) view: Mutex<View>,
    observer: OnceLock<Observer>,
}

impl fmt::Debug for PartitionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionState")
            .field("id", &self.id)
            .field("topic_name", &self.topic_name)
            .finish_non_exhaustive()
    }
}

/// What whoever cleans the partition up remembers.
#[derive(Debug, Default)]
pub(crate) struct Cleaning {
    /// From this time on, ms, compaction finds more that may go.
    pub(crate) next_horizon: Option<i64>,
}

/// What changes with each publication.
pub(crate) struct View {
    pub(crate) in_flight: VecDeque<InFlight>,
    /// How many of those are published.
    pub(crate) published: usize,
    /// And their bytes.
    published_bytes: usize,
    /// How many of these bytes the shard has been told of.
    gathered_bytes: usize,
    pub(crate) high_watermark: i64,
    pub(crate) applied_end: i64,
    /// Everything before is on the device, by a flush of the segments.
    pub(crate) flushed_end: i64,
    /// A frame waits for a flush up to here.
    pub(crate) flush_wanted: i64,
    /// In the ready list of its shard.
    pub(crate) queued: bool,
    pub(crate) tail: Tail,
    open: OpenTransactions,
    /// Aborted transactions whose marker is in the tail.
    aborted: VecDeque<AbortedTransaction>,
    /// To be called when the high watermark reaches the offset.
    waiters: BTreeMap<i64, Vec<Box<dyn FnOnce() + Send>>>,
}

/// What is to be done after a publication, when no lock is held any more.
#[derive(Default)]
pub(crate) struct Released {
    dones: Vec<Box<dyn FnOnce() + Send>>,
    batches: usize,
    bytes: usize,
}

impl PartitionState {
    pub(crate) fn new(
        id: PartitionId,
        topic_name: String,
        directory: PathBuf,
        log: PartitionLog,
        place: Place,
    ) -> PartitionState {
        let end = log.end_offset();
        let open = log.open_transactions();
        PartitionState {
            id,
            topic_name,
            directory,
            log,
            shard: place.shard,
            leader_epoch: place.leader_epoch,
            epoch_start_offset: end,
            sequenced_end: AtomicI64::new(end),
            checkpointed_end: AtomicI64::new(place.flushed_end),
            page_cache: AtomicBool::new(place.page_cache),
            cleaning: Mutex::default(),
            leaving: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            view: Mutex::new(View {
                in_flight: VecDeque::new(),
                published: 0,
                published_bytes: 0,
                gathered_bytes: 0,
                high_watermark: end,
                applied_end: end,
                flushed_end: place.flushed_end,
                flush_wanted: 0,
                queued: false,
                tail: Tail::default(),
                open,
                aborted: VecDeque::new(),
                waiters: BTreeMap::new(),
            }),
            observer: OnceLock::new(),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn set_observer(&self, observer: Observer) {
        // The first one stays.
        let _ = self.observer.set(observer);
    }

    pub(crate) fn published(&self) -> Published {
        let view = self.view.lock();
        self.published_of(&view)
    }

    pub(crate) fn published_of(&self, view: &View) -> Published {
        let log_start_offset = self.log.log_start_offset();
        Published {
            log_start_offset,
            high_watermark: view.high_watermark,
            // The first records of an open transaction may have been deleted.
            last_stable_offset: view.open.last_stable_offset(view.high_watermark).max(log_start_offset),
        }
    }

    /// Publishes what has become durable. No lock of this partition may be held.
    pub(crate) fn publish(self: &Arc<Self>, budget: &TailBudget) {
        let mut released = Released::default();
        let published = {
            let mut view = self.view.lock();
            let before = view.high_watermark;
            view.publish_durable(&mut released);
            (view.high_watermark > before).then(|| self.published_of(&view))
        };
        self.release(released, published, budget);
    }

    /// Tells whoever waits, after a publication.
    pub(crate) fn release(
        self: &Arc<Self>,
        released: Released,
        published: Option<Published>,
        budget: &TailBudget,
    ) {
        if released.batches > 0 {
            budget.add(self, released.batches, released.bytes);
        }
        if let (Some(published), Some(observer)) = (published, self.observer.get()) {
            observer(published);
        }
        released.dones.into_iter().for_each(|done| done());
    }

    /// Calls `done` when the high watermark reaches `offset`: at once, or later.
    pub(crate) fn when_published(&self, offset: i64, done: Box<dyn FnOnce() + Send>) {
        let mut view = self.view.lock();
        if view.high_watermark < offset {
            view.waiters.entry(offset).or_default().push(done);
            return;
        }
        drop(view);
        done();
    }
}

/// Where a partition stands when it is put together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) shard: usize,
    pub(crate) leader_epoch: i32,
    pub(crate) page_cache: bool,
    pub(crate) flushed_end: i64,
}

impl View {
    /// Publishes the durable frames that come next.
    pub(crate) fn publish_durable(&mut self, released: &mut Released) {
        while let Some(next) = self.in_flight.get(self.published)
            && next.frame.journaled
            && next.frame.durable.load(Ordering::Acquire)
        {
            self.publish_next(released);
        }
    }

    /// Publishes the next append, which is durable or written.
    fn publish_next(&mut self, released: &mut Released) {
        let InFlight { batch, frame, event } = &self.in_flight[self.published];
        assert_eq!(batch.header().base_offset, self.high_watermark, "publication goes on without a gap");
        self.high_watermark = batch.header().next_offset();
        if let Some(event) = event {
            self.open.follow(event);
            if let TransactionEvent::Ended(ended) = event {
                self.aborted.extend(ended.aborted());
            }
        }
        released.batches += 1;
        released.bytes += batch.size();
        self.tail.push(batch.clone());
        released.dones.extend(frame.one_published());
        self.published += 1;
        self.published_bytes += batch.size();
        if self.waiters.first_key_value().is_some_and(|(offset, _)| *offset <= self.high_watermark) {
            let later = self.waiters.split_off(&(self.high_watermark + 1));
            let due = std::mem::replace(&mut self.waiters, later);
            released.dones.extend(due.into_values().flatten());
        }
    }

    /// The appends that may be applied now, oldest first, up to about `max_bytes`.
    pub(crate) fn to_apply(&self, max_bytes: usize) -> Vec<Batch> {
        let mut bytes = 0;
        self.in_flight
            .iter()
            .enumerate()
            .take_while(|(place, next)| *place < self.published || !next.frame.journaled)
            .map(|(_, next)| next.batch.clone())
            .take_while(|batch| {
                let fits = bytes == 0 || bytes + batch.size() <= max_bytes;
                bytes += batch.size();
                fits
            })
            .collect()
    }

    /// Something may be applied now.
    pub(crate) fn can_apply(&self) -> bool {
        self.published > 0 || self.in_flight.front().is_some_and(|next| !next.frame.journaled)
    }

    /// The next append is published when it is written, and not before.
    pub(crate) fn waits_for_applier(&self) -> bool {
        self.in_flight.get(self.published).is_some_and(|next| !next.frame.journaled)
    }

    /// Bytes for the segments that the shard has not been told of.
    pub(crate) fn count_gathered(&mut self) -> usize {
        let more = self.published_bytes.saturating_sub(self.gathered_bytes);
        self.gathered_bytes += more;
        more
    }

    /// The bytes that the shard has been told of and that are written by now: it forgets them. Not before: what is being
    /// written would count again with what is published meanwhile.
    pub(crate) fn forget_written(&mut self) -> usize {
        let written = self.gathered_bytes.saturating_sub(self.published_bytes);
        self.gathered_bytes -= written;
        written
    }

    /// No byte that the shard counts is written.
    #[cfg(test)]
    pub(crate) fn gathers_no_written_bytes(&self) -> bool {
        self.gathered_bytes <= self.published_bytes
    }

    /// Appends before `end` are in the segments: frames that skipped the journal are done with that.
    pub(crate) fn applied(&mut self, end: i64, released: &mut Released) {
        while let Some(next) = self.in_flight.front()
            && next.batch.header().next_offset() <= end
        {
            if self.published == 0 {
                self.publish_next(released);
            }
            self.published -= 1;
            if let Some(applied) = self.in_flight.pop_front() {
                self.published_bytes -= applied.batch.size();
                applied.frame.one_applied();
            }
        }
        self.applied_end = self.applied_end.max(end);
        self.publish_durable(released);
    }

    /// Aborted transactions that a reader of the tail, or of what is not yet applied, can meet.
    pub(crate) fn aborted_between(&self, from: i64, upper: i64) -> impl Iterator<Item = &AbortedTransaction> {
        self.aborted.iter().filter(move |aborted| aborted.overlaps(from, upper))
    }

    /// Forgets aborted transactions that the segments' index answers for.
    pub(crate) fn forget_aborted(&mut self) {
        let start = self.tail.start_offset().unwrap_or(self.applied_end).min(self.applied_end);
        while self.aborted.front().is_some_and(|aborted| aborted.last_offset < start) {
            self.aborted.pop_front();
        }
    }
}
