//! The handle of a partition.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use logmill_record::{Batch, TimestampType};

use super::publish::{PartitionState, Published};
use super::sequencer::Sequencer;
use crate::PartitionId;
use crate::log::{AbortedTransaction, Corruption, ProducerView, ReadError, TimestampOffset};

/// What decompressing one batch may take while looking for a record in it by time.
const DECOMPRESSION_BUDGET_BYTES: usize = 64 << 20;

/// One partition: reads, and what there is to know. Cheap to clone. Goes on to answer from memory and open files for a
/// moment after the partition was deleted; `Store::partition` says whether it still exists.
#[derive(Clone)]
pub struct Partition {
    pub(crate) state: Arc<PartitionState>,
    pub(crate) sequencer: Arc<Sequencer>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// First offset wanted. The batch that holds it is given whole.
    pub offset: i64,
    /// Bytes wanted at most.
    pub max_bytes: usize,
    /// Up to where.
    pub isolation: Isolation,
    /// Give the first batch even when it is larger than `max_bytes`.
    pub min_one_batch: bool,
}

/// Which records a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Everything below the high watermark.
    #[default]
    Uncommitted,
    /// Everything below the last stable offset, and the list of what was aborted in it.
    Committed,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadResult {
    /// Whole batches, back to back. Empty when there is nothing to read yet, or nothing that fits.
    pub chunks: Vec<Bytes>,
    /// For [`Isolation::Committed`]: the aborted transactions that the batches can be part of, by the order of their
    /// markers. A reader leaves out a producer's records from `first_offset` on, until its abort marker.
    pub aborted: Vec<AbortedTransaction>,
    /// The partition as it was when it was read.
    pub published: Published,
}

impl Partition {
    /// Which partition.
    pub fn id(&self) -> PartitionId {
        self.state.id
    }

    /// The topic's name.
    pub fn topic_name(&self) -> &str {
        &self.state.topic_name
    }

    /// The leader epoch that appends get. Changes only when the store is opened.
    pub fn leader_epoch(&self) -> i32 {
        self.state.leader_epoch
    }

    /// What readers may see, as one snapshot.
    pub fn published(&self) -> Published {
        self.state.published()
    }

    /// Offset after the last sequenced record, durable or not.
    pub fn sequenced_end(&self) -> i64 {
        self.state.sequenced_end.load(Ordering::Acquire)
    }

    /// Sets what is called after each publication; only the first call counts. It runs on the thread of the journal or of
    /// an applier, without a lock held, so keep it short. In page-cache mode two calls may overtake each other: take the
    /// larger offsets, or ask [`Partition::published`].
    pub fn observe(&self, observer: Box<dyn Fn(Published) + Send + Sync>) {
        self.state.set_observer(observer);
    }

    /// A read from this offset on is served from memory.
    pub fn in_tail(&self, offset: i64) -> bool {
        let view = self.state.view.lock();
        offset >= view.tail.start_offset().unwrap_or(view.high_watermark) && offset <= view.high_watermark
    }

    /// Reads whole batches, never past the high watermark or the last stable offset.
    ///
    /// [`ReadError::OutOfRange`] below the start of the log and above the high watermark; at the end the result is empty.
    /// [`ReadError::Deleted`] when the partition went away before its files were read.
    pub fn read(&self, request: ReadRequest) -> Result<ReadResult, ReadError> {
        self.read_if_there(request).map_err(|error| self.unless_deleted(error))
    }

    fn read_if_there(&self, request: ReadRequest) -> Result<ReadResult, ReadError> {
        let ReadRequest { offset, max_bytes, isolation, min_one_batch } = request;
        let view = self.state.view.lock();
        let published = self.state.published_of(&view);
        let Published { log_start_offset, high_watermark, last_stable_offset } = published;
        if offset < log_start_offset || offset > high_watermark {
            return Err(ReadError::OutOfRange { offset, log_start_offset, end_offset: high_watermark });
        }
        let upper = match isolation {
            Isolation::Uncommitted => high_watermark,
            Isolation::Committed => last_stable_offset,
        };
        let mut result = ReadResult { chunks: Vec::new(), aborted: Vec::new(), published };
        if offset >= upper {
            return Ok(result);
        }
        let tail_start = view.tail.start_offset().unwrap_or(high_watermark);
        let in_memory = offset >= tail_start;
        if in_memory {
            let mut bytes = 0;
            for batch in view.tail.from(offset).take_while(|batch| batch.header().base_offset < upper) {
                let first = result.chunks.is_empty() && min_one_batch;
                if !first && bytes + batch.size() > max_bytes {
                    break;
                }
                bytes += batch.size();
                result.chunks.push(batch.bytes().clone());
            }
        }
        if isolation == Isolation::Committed {
            result.aborted.extend(view.aborted_between(offset, upper));
        }
        // Not only up to the tail: compaction may have left nothing between here and there.
        let until = upper.min(view.applied_end);
        drop(view);
        if !in_memory {
            // What lies before the tail is applied, and stays so.
            let log = &self.state.log;
            if isolation == Isolation::Uncommitted {
                result.chunks = log.read(offset, max_bytes, until, min_one_batch)?;
                return Ok(result);
            }
            let (chunks, on_disk) = log.read_committed(offset, max_bytes, until, min_one_batch, upper)?;
            result.chunks = chunks;
            if !result.chunks.is_empty() {
                let in_memory = std::mem::replace(&mut result.aborted, on_disk);
                for aborted in in_memory {
                    if !result.aborted.contains(&aborted) {
                        result.aborted.push(aborted);
                    }
                }
                result.aborted.sort_by_key(|aborted| aborted.last_offset);
            }
        }
        if result.chunks.is_empty() {
            result.aborted.clear();
        }
        Ok(result)
    }

    /// The first record whose timestamp is at or behind `timestamp` (ms), with its timestamp.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<(i64, i64)>, ReadError> {
        self.search_timestamp(timestamp).map_err(|error| self.unless_deleted(error))
    }

    fn search_timestamp(&self, timestamp: i64) -> Result<Option<(i64, i64)>, ReadError> {
        let (applied_end, unapplied) = self.unapplied();
        if let Some(TimestampOffset { offset, timestamp }) =
            self.state.log.offset_for_timestamp(timestamp, applied_end)?
        {
            return Ok(Some((offset, timestamp)));
        }
        for batch in unapplied.iter().filter(|batch| batch.header().max_timestamp >= timestamp) {
            let found = self.first_record(batch, |found| found >= timestamp)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first of the records with the largest timestamp (ms), with it; none when no record has one (KIP-734).
    pub fn max_timestamp(&self) -> Result<Option<(i64, i64)>, ReadError> {
        self.search_max_timestamp().map_err(|error| self.unless_deleted(error))
    }

    fn search_max_timestamp(&self) -> Result<Option<(i64, i64)>, ReadError> {
        let (applied_end, unapplied) = self.unapplied();
        let mut best =
            self.state.log.max_timestamp(applied_end)?.map(|found| (found.offset, found.timestamp));
        for batch in &unapplied {
            let largest = batch.header().max_timestamp;
            if largest >= 0 && best.is_none_or(|(_, best)| largest > best) {
                best = self.first_record(batch, |found| found >= largest)?.or(best);
            }
        }
        Ok(best)
    }

    /// For a client that last saw `epoch`: the largest leader epoch that is not above it, and the offset at which it
    /// ended (KIP-320): where a later one began, for an epoch of which nothing is left. None for an epoch from the future.
    pub fn leader_epoch_for(&self, epoch: i32) -> Option<(i32, i64)> {
        let high_watermark = self.published().high_watermark;
        let current = self.leader_epoch();
        // The current epoch may have no batch in the segments yet.
        if epoch == current {
            return Some((current, high_watermark));
        }
        if epoch > current || epoch < 0 {
            return None;
        }
        let log = &self.state.log;
        let began = self.state.epoch_start_offset;
        match log.last_leader_epoch() {
            // The segments have nothing of the current epoch yet: the newest they have ended where it began.
            Some(newest) if newest < current => log.end_offset_for_epoch(epoch.min(newest), began),
            Some(_) => log.end_offset_for_epoch(epoch, high_watermark),
            // Nothing is left of what this client read. If it heard nothing it would start where its policy says, and
            // that may be behind records it has never seen.
            None => Some((epoch, began)),
        }
    }

    /// The leader epoch in which the record at `offset` was appended.
    pub fn leader_epoch_at(&self, offset: i64) -> Option<i32> {
        {
            let view = self.state.view.lock();
            let batch = view.tail.from(offset).next();
            if let Some(batch) = batch.filter(|batch| batch.header().base_offset <= offset) {
                return Some(batch.header().leader_epoch);
            }
        }
        self.state.log.leader_epoch_at(offset)
    }

    /// The producers, as the sequencer knows them.
    pub fn producers(&self) -> Vec<ProducerView> {
        self.sequencer.producers(self.state.id)
    }

    /// One of them, if it is known.
    pub fn producer(&self, producer_id: i64) -> Option<ProducerView> {
        self.sequencer.producer(self.state.id, producer_id)
    }

    /// Bytes in the segments.
    pub fn size_bytes(&self) -> u64 {
        self.state.log.size_bytes()
    }

    /// A file that is not there, or whatever else fails, is no damage when the partition's directory has moved away.
    fn unless_deleted(&self, error: ReadError) -> ReadError {
        let state = &self.state;
        let gone = state.leaving.load(Ordering::Acquire) || state.deleted.load(Ordering::Acquire);
        match error {
            ReadError::Corrupt(_) | ReadError::Io { .. } if gone => {
                ReadError::Deleted { directory: state.directory().to_owned() }
            }
            other => other,
        }
    }

    /// Published batches that may not be in the segments yet, and the offset before which all are.
    fn unapplied(&self) -> (i64, Vec<Batch>) {
        let view = self.state.view.lock();
        let applied_end = view.applied_end.min(view.high_watermark);
        let batches =
            view.tail.from(applied_end).filter(|batch| batch.header().base_offset >= applied_end).cloned();
        (applied_end, batches.collect())
    }

    fn first_record(
        &self,
        batch: &Batch,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<(i64, i64)>, ReadError> {
        let header = batch.header();
        let start = self.state.log.log_start_offset();
        if header.timestamp_type() == TimestampType::LogAppendTime {
            let first = header.base_offset.max(start);
            let found = first <= header.last_offset() && wanted(header.max_timestamp);
            return Ok(found.then_some((first, header.max_timestamp)));
        }
        let records = batch.records(DECOMPRESSION_BUDGET_BYTES).map_err(|error| {
            ReadError::Corrupt(Corruption {
                file: self.state.directory().to_owned(),
                position: 0,
                offset: header.base_offset,
                reason: format!("the batch in memory does not decode: {error}"),
            })
        })?;
        Ok(records
            .into_iter()
            .find(|record| record.offset >= start && wanted(record.timestamp))
            .map(|record| (record.offset, record.timestamp)))
    }
}
