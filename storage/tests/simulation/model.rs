//! What is true: partitions as lists of batches, and the rules of producers and transactions, written again from the
//! protocol and not from the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use logmill_record::{Batch, BatchHeader, EndTxnMarker};
use logmill_storage::PartitionId;
use logmill_storage::log::AbortedTransaction;

use crate::profile::{DATA_DIR, Policy};

/// Why a frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownPartition,
    OutOfOrderSequence,
    DuplicateSequence,
    InvalidProducerEpoch,
    TransactionNotOpen,
    OutsideOpenTransaction,
    ExpectedEnd,
    CoordinatorFenced,
    TrimOutOfRange,
}

/// The precondition of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Client { begins: bool, v2: bool },
    Internal { expected_end: Option<i64> },
    Marker { coordinator_epoch: i32, v2: bool },
}

/// One append of a frame that is to be committed.
#[derive(Debug, Clone)]
pub(crate) struct PlannedAppend {
    pub partition: PartitionId,
    pub batch: Batch,
    pub condition: Condition,
}

/// A frame that is to be committed.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlannedFrame {
    pub what: &'static str,
    pub appends: Vec<PlannedAppend>,
    /// Offsets of page-cache partitions that must be durable before.
    pub requires: Vec<(PartitionId, i64)>,
    /// Partitions and the first offsets to keep.
    pub trims: Vec<(PartitionId, i64)>,
}

/// What the rules say about a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// First and last offset of each append.
    Accept(Vec<(i64, i64)>),
    /// The only append was made before.
    Duplicate(Recent),
    Refuse(Refusal),
}

/// A batch that a producer appended: first and last sequence, base and last offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recent {
    /// Its offsets are known for certain. After a start that is so for the newest batch of each producer only: the
    /// snapshot's format has room for no more, and the log is searched for the others within bounds. A duplicate of one
    /// that was not found is refused as what it is, a duplicate.
    pub(crate) certain: bool,
    pub first: i32,
    pub last: i32,
    pub base_offset: i64,
    pub last_offset: i64,
}

/// A producer of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub last_timestamp: i64,
    /// Where its open transaction begins.
    pub transaction: Option<i64>,
    /// The last five batches of the epoch.
    pub recent: VecDeque<Recent>,
}

impl Producer {
    fn new(epoch: i16) -> Producer {
        Producer {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            transaction: None,
            recent: VecDeque::new(),
        }
    }

    pub(crate) fn last_sequence(&self) -> i32 {
        self.recent.back().map_or(-1, |batch| batch.last)
    }

    pub(crate) fn next_sequence(&self) -> i32 {
        following(self.last_sequence())
    }

    fn enter(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.recent.clear();
        }
    }
}

fn following(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}

/// What follows from the batches of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogState {
    pub end: i64,
    pub producers: BTreeMap<i64, Producer>,
    /// In the order of their markers.
    pub aborted: Vec<AbortedTransaction>,
}

impl LogState {
    pub(crate) fn of<'a>(batches: impl IntoIterator<Item = &'a Placed>) -> LogState {
        let mut state = LogState::default();
        for placed in batches {
            state.apply(&placed.header, placed.marker);
        }
        state
    }

    /// The store was started.
    pub(crate) fn restarted(&mut self) {
        for producer in self.producers.values_mut() {
            producer.recent.iter_mut().rev().skip(1).for_each(|recent| recent.certain = false);
        }
    }

    /// Offset after the last that readers of committed data may see.
    pub(crate) fn last_stable(&self) -> i64 {
        self.producers.values().filter_map(|producer| producer.transaction).min().unwrap_or(self.end)
    }

    fn apply(&mut self, header: &BatchHeader, marker: Option<EndTxnMarker>) {
        self.end = header.base_offset + i64::from(header.last_offset_delta) + 1;
        if header.producer_id < 0 {
            return;
        }
        let producer =
            self.producers.entry(header.producer_id).or_insert_with(|| Producer::new(header.producer_epoch));
        producer.enter(header.producer_epoch);
        producer.last_timestamp = header.max_timestamp;
        if let Some(marker) = marker {
            producer.coordinator_epoch = marker.coordinator_epoch;
            let Some(first_offset) = producer.transaction.take() else { return };
            if !marker.commit {
                let last_stable_offset = self.last_stable();
                self.aborted.push(AbortedTransaction {
                    producer_id: header.producer_id,
                    first_offset,
                    last_offset: header.base_offset,
                    last_stable_offset,
                });
            }
            return;
        }
        if header.is_transactional() && producer.transaction.is_none() {
            producer.transaction = Some(header.base_offset);
        }
        if producer.recent.len() == 5 {
            producer.recent.pop_front();
        }
        producer.recent.push_back(Recent {
            certain: true,
            first: header.base_sequence,
            last: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: self.end - 1,
        });
    }

    /// Says what would happen to a batch: the original when it is a duplicate.
    fn check(&self, header: &BatchHeader, condition: Condition) -> Result<Option<Recent>, Refusal> {
        let known = self.producers.get(&header.producer_id);
        match condition {
            Condition::Marker { coordinator_epoch, v2 } => {
                let Some(known) = known else { return Ok(None) };
                let again = header.producer_epoch == known.epoch && known.transaction.is_none();
                let enough = header.producer_epoch > known.epoch
                    || again
                    || (!v2 && header.producer_epoch == known.epoch);
                if !enough {
                    return Err(Refusal::InvalidProducerEpoch);
                }
                if coordinator_epoch < known.coordinator_epoch {
                    return Err(Refusal::CoordinatorFenced);
                }
                Ok(None)
            }
            Condition::Internal { expected_end } => {
                if expected_end.is_some_and(|expected| expected != self.end) {
                    return Err(Refusal::ExpectedEnd);
                }
                Self::check_epoch(known, header).map(|()| None)
            }
            Condition::Client { .. } if header.producer_id < 0 => Ok(None),
            Condition::Client { begins, v2 } => {
                let same = |recent: &&Recent| {
                    (recent.first, recent.last) == (header.base_sequence, header.last_sequence())
                };
                let in_epoch = known.filter(|known| known.epoch == header.producer_epoch);
                if let Some(recent) = in_epoch.and_then(|known| known.recent.iter().find(same)) {
                    return Ok(Some(*recent));
                }
                if known.is_some_and(|known| header.producer_epoch < known.epoch) {
                    return Err(Refusal::InvalidProducerEpoch);
                }
                let open = known.and_then(|known| known.transaction);
                if header.is_transactional() && open.is_none() && !begins {
                    return Err(Refusal::TransactionNotOpen);
                }
                Self::check_epoch(known, header)?;
                match (known, in_epoch) {
                    (None, _) if v2 && header.base_sequence != 0 => Err(Refusal::OutOfOrderSequence),
                    (None, _) => Ok(None),
                    (Some(_), None) if header.base_sequence == 0 => Ok(None),
                    (Some(_), None) => Err(Refusal::OutOfOrderSequence),
                    (Some(_), Some(known)) if header.base_sequence == known.next_sequence() => Ok(None),
                    (Some(_), Some(_)) => Err(Refusal::OutOfOrderSequence),
                }
            }
        }
    }

    fn check_epoch(known: Option<&Producer>, header: &BatchHeader) -> Result<(), Refusal> {
        let Some(known) = known.filter(|_| header.producer_id >= 0) else { return Ok(()) };
        if header.producer_epoch < known.epoch {
            return Err(Refusal::InvalidProducerEpoch);
        }
        let inside = header.is_transactional() && header.producer_epoch == known.epoch;
        if known.transaction.is_some() && !inside {
            return Err(Refusal::OutsideOpenTransaction);
        }
        Ok(())
    }
}

/// A batch in its place.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// Number of its frame.
    pub frame: usize,
    pub bytes: Bytes,
    pub header: BatchHeader,
    pub marker: Option<EndTxnMarker>,
}

impl Placed {
    pub(crate) fn batch(&self) -> Batch {
        Batch::trusted(self.bytes.clone()).expect("the generator makes batches")
    }
}

/// Whether a partition has to be there after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Its creation was acknowledged.
    Certain,
    /// It was being made, or deleted, when the machine went down.
    Possible,
    /// Its deletion was acknowledged, or it was never made after all.
    Deleted,
}

/// A partition.
#[derive(Debug, Clone)]
pub(crate) struct PartitionModel {
    pub topic: &'static str,
    pub page_cache: bool,
    pub presence: Presence,
    pub leader_epoch: i32,
    pub batches: Vec<Placed>,
    /// So many batches have to be there after a crash, whatever became of their frames.
    pub flushed: usize,
    pub policy: Policy,
    /// Passes of compaction: the time, and the offset that it does not reach.
    pub passes: Vec<(i64, i64)>,
    /// Places of batches that rotted on the medium.
    pub damaged: BTreeSet<usize>,
    /// A file derived from the batches has rotted.
    pub rotten: bool,
    /// It begins here at least: so it was seen, or acknowledged.
    pub start: i64,
    /// What follows from all batches.
    pub state: LogState,
}

impl PartitionModel {
    /// How many batches lie wholly before an offset.
    pub(crate) fn before(&self, offset: i64) -> usize {
        self.batches.partition_point(|placed| placed.header.next_offset() <= offset)
    }

    /// Compaction may have taken something away.
    pub(crate) fn is_compacted(&self) -> bool {
        !self.passes.is_empty()
    }

    /// The damaged batch that holds an offset.
    pub(crate) fn damaged_at(&self, offset: i64) -> Option<&Placed> {
        let place = self.before(offset);
        self.damaged.contains(&place).then(|| &self.batches[place])
    }

    /// Where its files are.
    pub(crate) fn directory(&self, index: i32) -> PathBuf {
        Path::new(DATA_DIR).join(format!("{}-{index}", self.topic))
    }

    /// An offset before which everything is published.
    pub(crate) fn done_end(&self, frames: &[FrameModel]) -> i64 {
        let last = self.batches.iter().rev().find(|placed| frames[placed.frame].done);
        last.map_or(0, |placed| placed.header.next_offset())
    }

    pub(crate) fn is_live(&self) -> bool {
        self.presence == Presence::Certain
    }

    pub(crate) fn truncate(&mut self, batches: usize) {
        if batches < self.batches.len() {
            self.batches.truncate(batches);
            self.state = LogState::of(&self.batches);
        }
    }
}

/// A committed frame.
#[derive(Debug, Clone)]
pub(crate) struct FrameModel {
    pub what: &'static str,
    /// Partition and place among its batches.
    pub appends: Vec<(PartitionId, usize)>,
    pub requires: Vec<(PartitionId, i64)>,
    /// Trims whose fate is not settled by a start yet.
    pub trims: Vec<(PartitionId, i64)>,
    /// Goes through the journal: is atomic, and durable when done.
    pub journaled: bool,
    pub done: bool,
    /// It has been seen, or acknowledged: it must stay.
    pub must_stay: bool,
    /// It did not survive.
    pub lost: bool,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub partitions: BTreeMap<PartitionId, PartitionModel>,
    pub frames: Vec<FrameModel>,
    /// The frames before this one were committed before the last start, which settled them.
    pub settled: usize,
}

impl Model {
    pub(crate) fn live(&self) -> impl Iterator<Item = (PartitionId, &PartitionModel)> {
        self.partitions.iter().filter(|(_, partition)| partition.is_live()).map(|(id, p)| (*id, p))
    }

    /// Batches of this file have rotted.
    pub(crate) fn is_damaged(&self, file: &Path) -> bool {
        self.live().any(|(id, partition)| {
            !partition.damaged.is_empty() && file.starts_with(partition.directory(id.partition))
        })
    }

    /// Offsets to which frames trim the partition that no start has settled.
    pub(crate) fn trims_of(&self, id: PartitionId) -> impl Iterator<Item = i64> + '_ {
        let trims = self.frames.iter().flat_map(|frame| &frame.trims);
        trims.filter(move |(trimmed, _)| *trimmed == id).map(|(_, offset)| *offset)
    }

    /// What has to become of a frame.
    pub(crate) fn judge(&self, frame: &PlannedFrame) -> Verdict {
        let mut states: BTreeMap<PartitionId, LogState> = BTreeMap::new();
        let mut places = Vec::with_capacity(frame.appends.len());
        for append in &frame.appends {
            let Some(partition) = self.partitions.get(&append.partition).filter(|p| p.is_live()) else {
                return Verdict::Refuse(Refusal::UnknownPartition);
            };
            let begun = states.contains_key(&append.partition);
            let state = states.entry(append.partition).or_insert_with(|| partition.state.clone());
            let condition = match append.condition {
                // Speaks of the partition before the frame.
                Condition::Internal { expected_end: Some(expected) } if begun => {
                    if expected != partition.state.end {
                        return Verdict::Refuse(Refusal::ExpectedEnd);
                    }
                    Condition::Internal { expected_end: None }
                }
                condition => condition,
            };
            match state.check(append.batch.header(), condition) {
                Err(refusal) => return Verdict::Refuse(refusal),
                Ok(Some(original)) if frame.appends.len() == 1 => return Verdict::Duplicate(original),
                Ok(Some(_)) => return Verdict::Refuse(Refusal::DuplicateSequence),
                Ok(None) => {
                    let header = BatchHeader { base_offset: state.end, ..*append.batch.header() };
                    state.apply(&header, marker_of(&append.batch));
                    places.push((header.base_offset, header.last_offset()));
                }
            }
        }
        for (id, offset) in &frame.trims {
            let Some(partition) = self.partitions.get(id).filter(|p| p.is_live()) else {
                return Verdict::Refuse(Refusal::UnknownPartition);
            };
            // The generator asks for what is published, or for what cannot be.
            if *offset > partition.state.end {
                return Verdict::Refuse(Refusal::TrimOutOfRange);
            }
        }
        Verdict::Accept(places)
    }

    /// Lets an accepted frame happen; returns its number.
    pub(crate) fn append(&mut self, planned: &PlannedFrame) -> usize {
        let number = self.frames.len();
        let journaled = self.is_journaled(planned);
        let mut appends = Vec::with_capacity(planned.appends.len());
        for PlannedAppend { partition: id, batch, .. } in &planned.appends {
            let Some(partition) = self.partitions.get_mut(id) else { continue };
            let marker = marker_of(batch);
            let stamped = batch.clone().stamped(partition.state.end, partition.leader_epoch);
            let header = *stamped.header();
            partition.state.apply(&header, marker);
            appends.push((*id, partition.batches.len()));
            partition.batches.push(Placed { frame: number, bytes: stamped.into_bytes(), header, marker });
        }
        self.frames.push(FrameModel {
            what: planned.what,
            appends,
            requires: planned.requires.clone(),
            trims: planned.trims.clone(),
            journaled,
            done: false,
            must_stay: false,
            lost: false,
        });
        number
    }

    /// Only plain produce to page-cache partitions goes past the journal.
    fn is_journaled(&self, frame: &PlannedFrame) -> bool {
        let alone = frame.appends.len() == 1;
        let plain = |append: &PlannedAppend| {
            let plain_condition = match append.condition {
                Condition::Client { begins, .. } => !begins,
                Condition::Internal { .. } => alone,
                Condition::Marker { .. } => false,
            };
            plain_condition && self.partitions.get(&append.partition).is_some_and(|p| p.page_cache)
        };
        !frame.requires.is_empty() || !frame.trims.is_empty() || !frame.appends.iter().all(plain)
    }
}

fn marker_of(batch: &Batch) -> Option<EndTxnMarker> {
    batch.header().is_control().then(|| EndTxnMarker::from_batch(batch).expect("the generator makes markers"))
}
