//! What of one batch is kept.

use logmill_record::{
    Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, EndTxnMarker, OpenBatch, ProducerStamp,
    RecordView, TimestampType,
};

use super::key_map::KeyMap;
use super::transactions::TransactionsSeen;
use crate::log::producers::LastAppends;
use crate::log::transactions::AbortedTransaction;

/// What decompressing one batch may take. A larger one is left as it is.
pub(super) const DECOMPRESSION_BUDGET_BYTES: usize = 64 << 20;

/// What becomes of a batch. Its offsets, and those of its records, never change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It stays as it is, byte for byte.
    AsIs,
    /// It stays with fewer records, possibly none, or with the time at which its tombstones may go.
    Changed(Batch),
    /// It goes.
    Nothing,
}

/// The rules of one pass.
pub(super) struct Filter<'a> {
    pub(super) newest: &'a KeyMap,
    /// Everything before this offset is in the map; records from here on are kept.
    pub(super) map_end: i64,
    /// Offset after the last that the pass looks at: the batch that ends there is kept, as it says how far the log goes.
    pub(super) upper: i64,
    /// The newest batches of producers are kept, if only as empty ones, for their sequences and epochs.
    pub(super) producers: &'a LastAppends,
    pub(super) seen: TransactionsSeen,
    pub(super) now: i64,
    pub(super) delete_retention_ms: i64,
}

/// What a pass learned of a batch besides what is kept of it.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// An aborted transaction with data in the log ends here.
    pub(super) aborted: Option<AbortedTransaction>,
    /// From this time on more of the batch may go.
    pub(super) delete_horizon: Option<i64>,
    /// Records that go.
    pub(super) dropped: u64,
}

impl Filter<'_> {
    /// Decides on a batch; to be called with every batch of the range, in order.
    pub(super) fn apply(&mut self, batch: &Batch) -> (Kept, Noted) {
        let mut noted = Noted::default();
        let header = batch.header();
        let kept = if header.is_control() {
            self.control(batch, &mut noted)
        } else if self.seen.data(header) || header.count == 0 {
            noted.dropped = header.count.max(0) as u64;
            self.nothing_of(batch)
        } else {
            self.data(batch, &mut noted)
        };
        let stays = match &kept {
            Kept::AsIs => Some(header),
            Kept::Changed(changed) => Some(changed.header()),
            Kept::Nothing => None,
        };
        noted.delete_horizon = stays.filter(|header| header.count > 0).and_then(delete_horizon);
        (kept, noted)
    }

    fn control(&mut self, batch: &Batch, noted: &mut Noted) -> Kept {
        let header = batch.header();
        if header.count == 0 {
            return self.nothing_of(batch);
        }
        // Control records of other kinds are none of compaction's business.
        let Ok(marker) = EndTxnMarker::from_batch(batch) else { return Kept::AsIs };
        let ends = self.seen.marker(header, marker);
        noted.aborted = ends.aborted;
        match delete_horizon(header) {
            _ if !ends.is_empty => Kept::AsIs,
            Some(horizon) if horizon <= self.now => {
                noted.dropped = 1;
                self.nothing_of(batch)
            }
            Some(_) => Kept::AsIs,
            None => self.rebuilt(batch, |_| true, Some(self.horizon())),
        }
    }

    fn data(&self, batch: &Batch, noted: &mut Noted) -> Kept {
        let header = batch.header();
        let Ok(open) = batch.open(DECOMPRESSION_BUDGET_BYTES) else { return Kept::AsIs };
        let tombstones_go = delete_horizon(header).is_some_and(|horizon| horizon <= self.now);
        let is_kept = |record: &RecordView<'_>| {
            let Some(key) = record.key else { return record.offset >= self.map_end };
            if record.offset >= self.map_end {
                return true;
            }
            let newest = self.newest.newest(key).is_none_or(|newest| record.offset >= newest);
            newest && (record.value.is_some() || !tombstones_go)
        };
        let (mut kept, mut tombstones) = (0, false);
        for record in open.records() {
            // What does not decode is not ours to judge.
            let Ok(record) = record else { return Kept::AsIs };
            if is_kept(&record) {
                kept += 1;
                tombstones |= record.value.is_none();
            }
        }
        let horizon = (tombstones && !header.attributes.has_delete_horizon()).then(|| self.horizon());
        if kept == header.count && horizon.is_none() {
            return Kept::AsIs;
        }
        noted.dropped = (header.count - kept) as u64;
        if kept == 0 {
            return self.nothing_of(batch);
        }
        self.rebuilt(batch, is_kept, horizon)
    }

    /// When tombstones and markers that this pass meets for the first time may go.
    fn horizon(&self) -> i64 {
        self.now.saturating_add(self.delete_retention_ms)
    }

    /// No record of the batch is kept; the batch itself may have to be.
    fn nothing_of(&self, batch: &Batch) -> Kept {
        let header = batch.header();
        if header.next_offset() != self.upper && !self.producers.is_last(header) {
            Kept::Nothing
        } else if header.count == 0 {
            Kept::AsIs
        } else {
            Kept::Changed(batch.without_records())
        }
    }

    fn rebuilt(
        &self,
        batch: &Batch,
        is_kept: impl Fn(&RecordView<'_>) -> bool,
        horizon: Option<i64>,
    ) -> Kept {
        let open = batch.open(DECOMPRESSION_BUDGET_BYTES);
        // A batch that cannot be made smaller stays as it is: nobody loses anything by that.
        open.and_then(|open| rebuild(batch, &open, is_kept, horizon)).map_or(Kept::AsIs, Kept::Changed)
    }
}

fn delete_horizon(header: &BatchHeader) -> Option<i64> {
    header.attributes.has_delete_horizon().then_some(header.base_timestamp)
}

fn rebuild(
    batch: &Batch,
    open: &OpenBatch,
    is_kept: impl Fn(&RecordView<'_>) -> bool,
    horizon: Option<i64>,
) -> Result<Batch, BatchError> {
    let header = batch.header();
    let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    let mut builder = BatchBuilder::new(BatchOptions {
        codec: header.codec()?,
        producer: header.has_producer().then_some(ProducerStamp {
            id: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
        }),
        transactional: header.is_transactional(),
        control: header.is_control(),
        log_append_time: append_time.then_some(header.max_timestamp),
        delete_horizon: horizon.or(delete_horizon(header)),
    });
    let mut headers = Vec::new();
    for record in open.records() {
        let record = record?;
        if is_kept(&record) {
            headers.clear();
            for header in record.headers() {
                headers.push(header?);
            }
            builder.push_at(record.offset_delta, record.timestamp, record.key, record.value, &headers);
        }
    }
    let rebuilt = builder.try_build_spanning(header.last_offset_delta)?;
    Ok(rebuilt.stamped(header.base_offset, header.leader_epoch))
}
