//! One pass over the partitions of a fetch, within its limits.

use bytes::Bytes;
use logmill_record::BatchHeader;
use logmill_storage::{Isolation, Published, ReadError, ReadRequest, ReadResult};
use logmill_wire::messages::FetchRequest;
use logmill_wire::messages::fetch::{AbortedTransaction, EpochEndOffset, PartitionData};
use logmill_wire::{Chunks, ErrorCode};

use super::Wanted;
use crate::blocking::blocking;
use crate::net::{HeldMemory, MemoryBudget};
use crate::partitions::Partition;

/// What a response may hold, and what it should.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    max_bytes: usize,
    min_bytes: usize,
    isolation: Isolation,
}

impl Limits {
    pub(super) fn of(request: &FetchRequest, broker_max: usize) -> Self {
        let bytes = |count: i32| usize::try_from(count).unwrap_or(0);
        let max_bytes = bytes(request.max_bytes).min(broker_max);
        Self {
            max_bytes,
            min_bytes: bytes(request.min_bytes).min(max_bytes),
            isolation: if request.isolation_level == 1 {
                Isolation::Committed
            } else {
                Isolation::Uncommitted
            },
        }
    }
}

/// Reads the partitions of one fetch, as often as it takes.
pub(super) struct Reader<'a> {
    pub(super) wanted: &'a [Wanted],
    pub(super) partitions: &'a [Result<Partition, ErrorCode>],
    pub(super) limits: Limits,
    /// Bounds what all responses together hold of records.
    pub(super) response_memory: &'a MemoryBudget,
}

/// What one pass gave.
pub(super) struct Round {
    pub(super) data: Vec<PartitionData>,
    /// What is held of the responses' memory, until the response is written.
    pub(super) held: Option<HeldMemory>,
    /// The response need not wait: there are bytes enough, or something to tell at once.
    pub(super) enough: bool,
}

/// What a pass has taken so far.
#[derive(Default)]
struct Taken {
    held: Option<HeldMemory>,
    /// A batch is there for which the response has no room left.
    full: bool,
}

impl Reader<'_> {
    pub(super) fn round(&self) -> Round {
        let mut left = self.limits.max_bytes.min(self.response_memory.share());
        let mut total = 0;
        // A partition that is not there does not end the wait for the others, or its client would ask without
        // a pause.
        let mut tell = self.partitions.iter().all(Result::is_err);
        let mut data = Vec::with_capacity(self.wanted.len());
        let mut taken = Taken::default();
        for (wanted, partition) in self.wanted.iter().zip(self.partitions) {
            // At least one batch in a response, however large, or a client could never go on (KIP-74).
            let answer = match partition {
                Ok(partition) => {
                    let read = self.read(partition, wanted, left, total == 0, &mut taken);
                    tell |= read.as_ref().map_or(true, |answer| answer.diverging_epoch.epoch >= 0);
                    read.unwrap_or_else(failed)
                }
                Err(code) => failed(*code),
            };
            let bytes = answer.records.as_ref().map_or(0, Chunks::len);
            left = left.saturating_sub(bytes);
            total += bytes;
            data.push(PartitionData { partition_index: wanted.partition, ..answer });
        }
        // What a response may not hold is not waited for.
        let Taken { held, full } = taken;
        let full = total > 0 && (full || left == 0);
        Round { data, held, enough: tell || full || total >= self.limits.min_bytes }
    }

    fn read(
        &self,
        partition: &Partition,
        wanted: &Wanted,
        left: usize,
        first: bool,
        taken: &mut Taken,
    ) -> Result<PartitionData, ErrorCode> {
        let isolation = self.limits.isolation;
        check_epoch(wanted.leader_epoch, partition.leader_epoch())?;
        let published = partition.published();
        if let Some(diverging_epoch) = diverging(partition, wanted)? {
            return Ok(PartitionData { diverging_epoch, ..answer(published, isolation) });
        }
        // What is on its way to the disk is "nothing yet" to who knows of it, not "out of range".
        if wanted.offset < published.log_start_offset || wanted.offset > partition.sequenced_end() {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let end = match isolation {
            Isolation::Uncommitted => published.high_watermark,
            Isolation::Committed => published.last_stable_offset,
        };
        let wanted_bytes = usize::try_from(wanted.max_bytes).unwrap_or(0);
        let max_bytes = wanted_bytes.min(left);
        if wanted.offset >= end || (max_bytes == 0 && !first) {
            return Ok(answer(published, isolation));
        }
        let request = ReadRequest { offset: wanted.offset, max_bytes, isolation, min_one_batch: first };
        let read = self.read_within_budget(partition, request, &mut taken.held);
        let Some((result, room)) = read.map_err(|error| read_error(partition, wanted.offset, &error))? else {
            taken.full = true;
            return Ok(answer(published, isolation));
        };
        // Where the partition's own limit ends it, nothing more of it is to be had.
        taken.full |= room < wanted_bytes && next_offset(&result.chunks).is_some_and(|next| next < end);
        let kafkas = |aborted: &logmill_storage::AbortedTransaction| AbortedTransaction {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset,
        };
        let aborted = || result.aborted.iter().map(kafkas).collect();
        Ok(PartitionData {
            aborted_transactions: matches!(isolation, Isolation::Committed).then(aborted),
            records: Some(Chunks::from(result.chunks)),
            ..answer(result.published, isolation)
        })
    }

    /// Reads no more than the memory of responses has room for by now, and takes that room until the response is written.
    /// When there is none, the first partition gets its one batch all the same, and the others wait for the next
    /// fetch. Says how many bytes there was room for.
    fn read_within_budget(
        &self,
        partition: &Partition,
        request: ReadRequest,
        held: &mut Option<HeldMemory>,
    ) -> Result<Option<(ReadResult, usize)>, ReadError> {
        let taken = self.response_memory.take_up_to(request.max_bytes);
        let max_bytes = taken.as_ref().map_or(0, HeldMemory::bytes);
        if max_bytes == 0 && !request.min_one_batch {
            return Ok(None);
        }
        let request = ReadRequest { max_bytes, ..request };
        let result = if partition.in_tail(request.offset) {
            partition.read(request)?
        } else {
            blocking(|| partition.read(request))?
        };
        if let Some(mut taken) = taken {
            taken.shrink_to(result.chunks.iter().map(Bytes::len).sum());
            match held {
                Some(held) => held.merge(taken),
                None => *held = Some(taken),
            }
        }
        Ok(Some((result, max_bytes)))
    }
}

/// The offset behind the batches that were read, if there are any.
fn next_offset(chunks: &[Bytes]) -> Option<i64> {
    let mut rest = &chunks.last()?[..];
    let mut next = None;
    while let Ok(header) = BatchHeader::parse(rest) {
        next = Some(header.next_offset());
        rest = rest.get(header.size()..)?;
    }
    next
}

fn failed(error_code: ErrorCode) -> PartitionData {
    PartitionData { error_code, high_watermark: -1, aborted_transactions: None, ..PartitionData::default() }
}

/// Where the partition stands, without records.
fn answer(published: Published, isolation: Isolation) -> PartitionData {
    PartitionData {
        error_code: ErrorCode::NONE,
        high_watermark: published.high_watermark,
        last_stable_offset: published.last_stable_offset,
        log_start_offset: published.log_start_offset,
        aborted_transactions: matches!(isolation, Isolation::Committed).then(Vec::new),
        ..PartitionData::default()
    }
}

/// A client that believes in another leader epoch than ours must look again (KIP-320).
pub(in crate::handlers) fn check_epoch(believed: i32, actual: i32) -> Result<(), ErrorCode> {
    match believed {
        ..0 => Ok(()),
        _ if believed < actual => Err(ErrorCode::FENCED_LEADER_EPOCH),
        _ if believed > actual => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}

/// Where the client's log parts from ours, when its last record is not on our branch (KIP-595).
fn diverging(partition: &Partition, wanted: &Wanted) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if wanted.last_epoch < 0 {
        return Ok(None);
    }
    // An epoch that has not been yet: nothing can be said of where it ended.
    let (epoch, end_offset) =
        partition.leader_epoch_for(wanted.last_epoch).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
    let parts = epoch < wanted.last_epoch || end_offset < wanted.offset;
    Ok(parts.then_some(EpochEndOffset { epoch, end_offset }))
}

/// The one place where Fetch's error codes for a failed read are chosen.
fn read_error(partition: &Partition, offset: i64, error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        ReadError::Deleted { .. } => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ReadError::Corrupt(_) => {
            tracing::error!(?partition, offset, %error, "stored records are corrupt");
            ErrorCode::CORRUPT_MESSAGE
        }
        _ => {
            tracing::error!(?partition, offset, %error, "stored records cannot be read");
            ErrorCode::KAFKA_STORAGE_ERROR
        }
    }
}
