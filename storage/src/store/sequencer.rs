//! The sequencer: the one place where it is decided whether a frame happens, and at which offsets.
//!
//! One short mutex. Under it, without IO: every precondition of the frame is checked against the sequenced state, then
//! offsets are given out, and producers and transactions updated, append by append; the first that fails takes back what
//! the frame did before it. So no check can be overtaken by another frame, and a rejection is definite. What costs by the
//! byte (making a batch's memory ours alone, so that stamping is in place) happens before the lock is taken.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use logmill_record::{BatchHeader, EndTxnMarker};
use parking_lot::{Condvar, Mutex};

use super::error::Fatal;
use super::frame::{Append, Appended, Check, Committed, Done, Frame, Rejection};
use super::publish::{FrameState, InFlight, PartitionState};
use crate::PartitionId;
use crate::journal::{FrameBody, FrameEntry, TrimEntry};
use crate::log::producers::{SavedProducer, Verdict};
use crate::log::{LogOptions, ProducerView, Producers, TransactionEvent};

/// Base offset of a batch that is on its way to the sequencer: none that a log can have.
pub(super) const UNSEQUENCED: i64 = i64::MIN;

pub(crate) struct Sequencer {
    state: Mutex<Sequenced>,
    /// Something for the journal, or an end.
    work: Condvar,
    max_frame_bytes: u64,
}

/// The sequenced state of everything.
struct Sequenced {
    partitions: HashMap<PartitionId, SequencedPartition>,
    last_commit: u64,
    /// For the journal, in order.
    queue: VecDeque<Arc<FrameState>>,
    queued_bytes: u64,
    phase: Phase,
    /// Who found the disk full: the journal (0), and shards of appliers (from 1).
    full: BTreeSet<usize>,
    /// Something other than a frame wants the journal's attention.
    nudged: bool,
}

struct SequencedPartition {
    state: Arc<PartitionState>,
    producers: Producers,
    end: i64,
    /// Offset after the last append that skipped the journal.
    plain_end: i64,
    options: LogOptions,
}

/// A partition in a list of all.
pub(crate) struct Listed {
    pub(crate) state: Arc<PartitionState>,
    pub(crate) options: LogOptions,
    /// Offset after the last append that skipped the journal.
    pub(crate) plain_end: i64,
}

enum Phase {
    Open,
    Closed,
    Failed(Fatal),
}

/// Why a thread was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// There is something to do.
    Ready,
    /// The store is closed or has failed: leave the loop.
    Ended,
}

/// What a commit leaves to be done.
pub(crate) struct Sequencing {
    pub(crate) committed: Committed,
    /// Bytes of the frame's batches, now on their way to the segments.
    pub(crate) bytes: u64,
    /// Partitions whose applier has work now: the frame skips the journal.
    pub(crate) plain: Vec<Arc<PartitionState>>,
    /// A duplicate: to be called when the partition is published up to the offset.
    pub(crate) duplicate: Option<(Arc<PartitionState>, i64, Done)>,
}

/// What one append of a frame did to its partition, to be completed or taken back.
struct Planned {
    id: PartitionId,
    header: BatchHeader,
    event: Option<TransactionEvent>,
    saved: SavedProducer,
}

/// An append with what was read from its batch before the lock.
struct Prepared {
    append: Append,
    marker: Option<EndTxnMarker>,
}

enum Decision {
    Accepted,
    Duplicate { base_offset: i64, last_offset: i64 },
}

impl Sequencer {
    pub(crate) fn new(last_commit: u64, max_frame_bytes: u64) -> Sequencer {
        Sequencer {
            state: Mutex::new(Sequenced {
                partitions: HashMap::new(),
                last_commit,
                queue: VecDeque::new(),
                queued_bytes: 0,
                phase: Phase::Open,
                full: BTreeSet::new(),
                nudged: false,
            }),
            work: Condvar::new(),
            max_frame_bytes,
        }
    }

    pub(crate) fn commit(&self, frame: Frame, done: Done) -> Result<Sequencing, Rejection> {
        if frame.appends.is_empty() && frame.trims.is_empty() {
            return Err(Rejection::Empty);
        }
        let limit = self.max_frame_bytes;
        let bytes =
            FrameBody::bytes_of(frame.appends.iter().map(|append| append.batch.size()), frame.trims.len());
        if bytes > limit {
            return Err(Rejection::FrameTooLarge { bytes, limit });
        }
        let appends = frame.appends.into_iter().map(Prepared::new).collect::<Result<Vec<_>, _>>()?;

        let state = &mut *self.state.lock();
        state.check_open(&appends)?;
        state.check_trims(&frame.trims)?;
        let mut planned = Vec::with_capacity(appends.len());
        for place in 0..appends.len() {
            match state.plan(&appends, place, &mut planned) {
                Ok(Decision::Accepted) => {}
                Ok(Decision::Duplicate { base_offset, last_offset }) => {
                    return state.duplicate(appends[0].append.partition, base_offset, last_offset, done);
                }
                Err(rejection) => {
                    state.take_back(planned);
                    return Err(rejection);
                }
            }
        }
        let sequencing = state.complete(appends, planned, &frame.requires, &frame.trims, bytes, done);
        if sequencing.plain.is_empty() {
            self.work.notify_one();
        }
        Ok(sequencing)
    }

    pub(crate) fn insert(&self, state: Arc<PartitionState>, options: LogOptions) {
        let producers = state.log.producer_state();
        let end = state.log.end_offset();
        // What was found at the start, beyond what is flushed, may have skipped the journal.
        let plain_end = end;
        let partition = SequencedPartition { producers, end, plain_end, options, state };
        self.state.lock().partitions.insert(partition.state.id, partition);
    }

    pub(crate) fn remove(&self, id: PartitionId) -> Option<Arc<PartitionState>> {
        self.state.lock().partitions.remove(&id).map(|partition| partition.state)
    }

    pub(crate) fn partition(&self, id: PartitionId) -> Option<Arc<PartitionState>> {
        self.state.lock().partitions.get(&id).map(|partition| Arc::clone(&partition.state))
    }

    /// All partitions, by id.
    pub(crate) fn partitions(&self) -> Vec<Listed> {
        let state = self.state.lock();
        let list = |p: &SequencedPartition| Listed {
            state: Arc::clone(&p.state),
            options: p.options,
            plain_end: p.plain_end,
        };
        let mut all: Vec<_> = state.partitions.values().map(list).collect();
        drop(state);
        all.sort_by_key(|listed| listed.state.id);
        all
    }

    /// Returns the options of before.
    pub(crate) fn set_options(&self, id: PartitionId, options: LogOptions) -> Option<LogOptions> {
        let mut state = self.state.lock();
        let partition = state.partitions.get_mut(&id)?;
        let before = std::mem::replace(&mut partition.options, options);
        let partition = Arc::clone(&partition.state);
        drop(state);
        // The log's own lock is taken before ours elsewhere.
        partition.log.set_options(options);
        Some(before)
    }

    pub(crate) fn producers(&self, id: PartitionId) -> Vec<ProducerView> {
        let state = self.state.lock();
        state.partitions.get(&id).map_or_else(Vec::new, |partition| partition.producers.views().collect())
    }

    pub(crate) fn producer(&self, id: PartitionId, producer_id: i64) -> Option<ProducerView> {
        self.state.lock().partitions.get(&id)?.producers.view(producer_id)
    }

    pub(crate) fn expire_producers(&self, now: i64, after_ms: i64) -> usize {
        let mut expired = 0;
        for Listed { state: partition, .. } in self.partitions() {
            let mut state = self.state.lock();
            if let Some(sequenced) = state.partitions.get_mut(&partition.id) {
                expired += sequenced.producers.expire(now, after_ms);
            }
            drop(state);
            partition.log.expire_producers(now, after_ms);
        }
        expired
    }

    /// Moves everything that waits for the journal into `queue`.
    pub(crate) fn take_queue(&self, queue: &mut VecDeque<Arc<FrameState>>) {
        let mut state = self.state.lock();
        queue.append(&mut state.queue);
        state.nudged = false;
    }

    /// Bytes of frames leave the way to the journal.
    pub(crate) fn journaled(&self, bytes: u64) {
        self.state.lock().queued_bytes -= bytes;
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.state.lock().queued_bytes
    }

    pub(crate) fn last_commit(&self) -> u64 {
        self.state.lock().last_commit
    }

    /// Waits for work for the journal; at most `timeout` when one is given.
    pub(crate) fn wait(&self, timeout: Option<std::time::Duration>) -> Work {
        let mut state = self.state.lock();
        loop {
            if !matches!(state.phase, Phase::Open) && state.queue.is_empty() {
                return Work::Ended;
            }
            if !state.queue.is_empty() || std::mem::take(&mut state.nudged) {
                return Work::Ready;
            }
            match timeout {
                None => self.work.wait(&mut state),
                Some(timeout) => {
                    if self.work.wait_for(&mut state, timeout).timed_out() {
                        return Work::Ready;
                    }
                }
            }
        }
    }

    /// Wakes the journal's thread: what it waited for may have happened.
    pub(crate) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.work.notify_all();
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closed;
        }
        self.work.notify_all();
    }

    /// Nothing is accepted any more. The first failure is kept.
    pub(crate) fn fail(&self, fatal: &Fatal) {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Failed(_)) {
            state.phase = Phase::Failed(fatal.clone());
        }
        self.work.notify_all();
    }

    /// The failure, if there was one.
    pub(crate) fn failure(&self) -> Option<Fatal> {
        match &self.state.lock().phase {
            Phase::Failed(fatal) => Some(fatal.clone()),
            Phase::Open | Phase::Closed => None,
        }
    }

    /// Whether the journal (0) or a shard of appliers (from 1) finds the disk full.
    pub(crate) fn set_full(&self, who: usize, full: bool) {
        let mut state = self.state.lock();
        if full {
            state.full.insert(who);
        } else {
            state.full.remove(&who);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.state.lock().full.is_empty()
    }
}

impl Prepared {
    fn new(append: Append) -> Result<Prepared, Rejection> {
        let Append { partition, batch, check } = append;
        let invalid = |reason| Err(Rejection::InvalidBatch { partition, reason });
        let header = batch.header();
        if header.last_offset_delta < 0 {
            return invalid("a batch has at least one offset");
        }
        let marker = match check {
            Check::Marker { .. } => match EndTxnMarker::from_batch(&batch) {
                Ok(marker) if header.has_producer() => Some(marker),
                _ => return invalid("not a marker of a producer's transaction"),
            },
            Check::Client { .. } | Check::Internal { .. } if header.is_control() => {
                return invalid("a control batch is only appended as a marker");
            }
            Check::Client { .. } | Check::Internal { .. } => None,
        };
        // From here on nobody else holds the bytes, and stamping them is in place.
        let batch = batch.stamped(UNSEQUENCED, 0);
        Ok(Prepared { append: Append { partition, batch, check }, marker })
    }
}

impl Sequenced {
    fn check_open(&self, appends: &[Prepared]) -> Result<(), Rejection> {
        match self.phase {
            Phase::Open => {}
            Phase::Closed => return Err(Rejection::Closed),
            Phase::Failed(_) => return Err(Rejection::Failed),
        }
        // What the broker itself appends goes on, within what the journal holds: deleting a topic frees space.
        let client = |prepared: &Prepared| matches!(prepared.append.check, Check::Client { .. });
        if !self.full.is_empty() && appends.iter().any(client) {
            return Err(Rejection::StorageFull);
        }
        Ok(())
    }

    /// What was published cannot be taken back, so that a trim which is right now stays right.
    fn check_trims(&self, trims: &[(PartitionId, i64)]) -> Result<(), Rejection> {
        for &(partition, offset) in trims {
            let found = self.partitions.get(&partition).ok_or(Rejection::UnknownPartition(partition))?;
            let high_watermark = found.state.published().high_watermark;
            if offset > high_watermark {
                return Err(Rejection::TrimOutOfRange { partition, offset, high_watermark });
            }
        }
        Ok(())
    }

    /// Checks one append and lets it happen in the sequenced state; `planned` has what the frame did so far.
    fn plan(
        &mut self,
        appends: &[Prepared],
        place: usize,
        planned: &mut Vec<Planned>,
    ) -> Result<Decision, Rejection> {
        let Prepared { append: Append { partition: id, batch, check }, marker } = &appends[place];
        let Some(partition) = self.partitions.get_mut(id) else {
            return Err(Rejection::UnknownPartition(*id));
        };
        let producers = &mut partition.producers;
        let verdict = match *check {
            Check::Client { begins, transaction_v2 } => {
                producers.check_client(batch.header(), begins, transaction_v2)
            }
            Check::Internal { expected_end } => {
                let first = planned.iter().find(|planned| planned.id == *id);
                let actual = first.map_or(partition.end, |first| first.header.base_offset);
                if let Some(expected) = expected_end.filter(|expected| *expected != actual) {
                    return Err(Rejection::ExpectedEnd { partition: *id, expected, actual });
                }
                producers.check_internal(batch.header())
            }
            Check::Marker { coordinator_epoch, transaction_v2 } => {
                let header = batch.header();
                producers.check_marker(
                    header.producer_id,
                    header.producer_epoch,
                    coordinator_epoch,
                    transaction_v2,
                )
            }
        };
        match verdict {
            Verdict::Accept => {}
            Verdict::Reject(reason) => return Err(Rejection::from_reject(*id, reason)),
            Verdict::Duplicate(original) if appends.len() == 1 => {
                let (base_offset, last_offset) = (original.base_offset, original.last_offset);
                return Ok(Decision::Duplicate { base_offset, last_offset });
            }
            Verdict::Duplicate(original) => {
                return Err(Rejection::DuplicateSequence {
                    partition: *id,
                    producer_id: batch.header().producer_id,
                    producer_epoch: batch.header().producer_epoch,
                    first_sequence: original.first_sequence,
                });
            }
        }
        let mut header = *batch.header();
        header.base_offset = partition.end;
        header.leader_epoch = partition.state.leader_epoch;
        let saved = producers.save(header.producer_id);
        let event = producers.apply(&header, *marker);
        partition.end = header.next_offset();
        planned.push(Planned { id: *id, header, event, saved });
        Ok(Decision::Accepted)
    }

    fn take_back(&mut self, planned: Vec<Planned>) {
        for Planned { id, header, saved, .. } in planned.into_iter().rev() {
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.end = header.base_offset;
                partition.producers.restore(saved);
            }
        }
    }

    fn duplicate(
        &self,
        id: PartitionId,
        base_offset: i64,
        last_offset: i64,
        done: Done,
    ) -> Result<Sequencing, Rejection> {
        let partition = self.partitions.get(&id).ok_or(Rejection::UnknownPartition(id))?;
        let log_start_offset = partition.state.log.log_start_offset();
        let appended = Appended { base_offset, last_offset, log_start_offset, duplicate: true };
        Ok(Sequencing {
            committed: Committed { sequence: self.last_commit, appends: vec![appended] },
            bytes: 0,
            plain: Vec::new(),
            duplicate: Some((Arc::clone(&partition.state), last_offset + 1, done)),
        })
    }

    /// The frame happens: stamps the batches and hands them to the next stage.
    fn complete(
        &mut self,
        appends: Vec<Prepared>,
        planned: Vec<Planned>,
        requires: &[(PartitionId, i64)],
        trims: &[(PartitionId, i64)],
        bytes: u64,
        done: Done,
    ) -> Sequencing {
        self.last_commit += 1;
        let sequence = self.last_commit;
        let journaled = !trims.is_empty() || self.needs_journal(&appends, requires);
        // A start of the log is not to be found behind its end after a crash.
        let requires =
            if journaled { self.requirements(&planned, &[requires, trims].concat()) } else { Vec::new() };
        let entries: Vec<FrameEntry> = appends
            .into_iter()
            .zip(&planned)
            .map(|(prepared, planned)| {
                let Append { partition, batch, .. } = prepared.append;
                let batch = batch.stamped(planned.header.base_offset, planned.header.leader_epoch);
                FrameEntry { partition, batch }
            })
            .collect();
        let trim_entry = |&(partition, offset): &(PartitionId, i64)| TrimEntry { partition, offset };
        let body = FrameBody { commit: sequence, entries, trims: trims.iter().map(trim_entry).collect() };
        let trims = trims
            .iter()
            .filter_map(|(id, offset)| Some((Arc::clone(&self.partitions.get(id)?.state), *offset)))
            .collect();
        let partitions: Vec<_> =
            planned.iter().map(|planned| Arc::clone(&self.partitions[&planned.id].state)).collect();
        let frame = Arc::new(FrameState::new(body, partitions, journaled, requires, trims, done));
        let mut appended = Vec::with_capacity(planned.len());
        for ((planned, entry), state) in planned.iter().zip(&frame.body.entries).zip(&frame.partitions) {
            let end = planned.header.next_offset();
            appended.push(Appended {
                base_offset: planned.header.base_offset,
                last_offset: planned.header.last_offset(),
                log_start_offset: state.log.log_start_offset(),
                duplicate: false,
            });
            state.sequenced_end.store(end, Ordering::Release);
            state.view.lock().in_flight.push_back(InFlight {
                batch: entry.batch.clone(),
                frame: Arc::clone(&frame),
                event: planned.event,
            });
            if !journaled && let Some(partition) = self.partitions.get_mut(&planned.id) {
                partition.plain_end = end;
            }
        }
        let plain = if journaled { Vec::new() } else { frame.partitions.clone() };
        let batch_bytes = frame.body.entries.iter().map(|entry| entry.batch.size() as u64).sum();
        if journaled {
            self.queued_bytes += bytes;
            self.queue.push_back(frame);
        }
        Sequencing {
            committed: Committed { sequence, appends: appended },
            bytes: batch_bytes,
            plain,
            duplicate: None,
        }
    }

    /// Plain produce to partitions in page-cache mode skips the journal: only what must be atomic or ordered with other
    /// partitions needs it.
    fn needs_journal(&self, appends: &[Prepared], requires: &[(PartitionId, i64)]) -> bool {
        let alone = appends.len() == 1;
        !requires.is_empty()
            || appends.iter().any(|prepared| {
                let plain_check = match prepared.append.check {
                    Check::Client { begins, .. } => !begins,
                    Check::Internal { .. } => alone,
                    Check::Marker { .. } => false,
                };
                let partition = self.partitions.get(&prepared.append.partition);
                let page_cache = partition.is_some_and(|p| p.state.page_cache.load(Ordering::Relaxed));
                !(plain_check && page_cache)
            })
    }

    /// What skipped the journal, and the frame depends on: those bytes must be flushed first.
    fn requirements(
        &self,
        planned: &[Planned],
        requires: &[(PartitionId, i64)],
    ) -> Vec<(Arc<PartitionState>, i64)> {
        let own = planned.iter().map(|planned| (planned.id, planned.header.base_offset));
        own.chain(requires.iter().copied())
            .filter_map(|(id, offset)| {
                let partition = self.partitions.get(&id)?;
                let offset = offset.min(partition.plain_end);
                let flushed_end = partition.state.view.lock().flushed_end;
                (offset > flushed_end).then(|| (Arc::clone(&partition.state), offset))
            })
            .collect()
    }
}
