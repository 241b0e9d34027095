//! One pass over the partitions of a fetch, within its limits.

use logmill_storage::{Isolation, Published, ReadError, ReadRequest, ReadResult};
use logmill_wire::messages::FetchRequest;
use logmill_wire::messages::fetch::{AbortedTransaction, EpochEndOffset, PartitionData};
use logmill_wire::{Chunks, ErrorCode};

use super::Wanted;
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
}

/// What one pass gave.
pub(super) struct Round {
    pub(super) data: Vec<PartitionData>,
    /// The response need not wait: there are bytes enough, or something to tell at once.
    pub(super) enough: bool,
}

impl Reader<'_> {
    pub(super) fn round(&self) -> Round {
        let mut left = self.limits.max_bytes;
        let mut total = 0;
        let mut tell = self.wanted.is_empty();
        let mut data = Vec::with_capacity(self.wanted.len());
        for (wanted, partition) in self.wanted.iter().zip(self.partitions) {
            // At least one batch in a response, however large, or a client could never go on (KIP-74).
            let read = match partition {
                Ok(partition) => read(partition, wanted, self.limits.isolation, left, total == 0),
                Err(code) => Err(*code),
            };
            let answer = read.unwrap_or_else(failed);
            let bytes = answer.records.as_ref().map_or(0, Chunks::len);
            left = left.saturating_sub(bytes);
            total += bytes;
            tell |= answer.error_code != ErrorCode::NONE || answer.diverging_epoch.epoch >= 0;
            data.push(PartitionData { partition_index: wanted.partition, ..answer });
        }
        Round { data, enough: tell || total >= self.limits.min_bytes }
    }
}

fn failed(error_code: ErrorCode) -> PartitionData {
    PartitionData { error_code, high_watermark: -1, aborted_transactions: None, ..PartitionData::default() }
}

fn read(
    partition: &Partition,
    wanted: &Wanted,
    isolation: Isolation,
    left: usize,
    first: bool,
) -> Result<PartitionData, ErrorCode> {
    check_epoch(wanted.leader_epoch, partition.leader_epoch())?;
    if let Some(diverging_epoch) = diverging(partition, wanted) {
        let published = partition.published();
        return Ok(PartitionData { diverging_epoch, ..answer(published, isolation) });
    }
    let published = partition.published();
    // A producer with acks=1 may know of an offset before readers do: that is "nothing yet", not "out of range".
    if wanted.offset < published.log_start_offset || wanted.offset > partition.sequenced_end() {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let end = match isolation {
        Isolation::Uncommitted => published.high_watermark,
        Isolation::Committed => published.last_stable_offset,
    };
    let max_bytes = usize::try_from(wanted.max_bytes).unwrap_or(0).min(left);
    if wanted.offset >= end || (max_bytes == 0 && !first) {
        return Ok(answer(published, isolation));
    }
    let request = ReadRequest { offset: wanted.offset, max_bytes, isolation, min_one_batch: first };
    let result = if partition.in_tail(wanted.offset) {
        partition.read(request)
    } else {
        blocking(|| partition.read(request))
    };
    let ReadResult { chunks, aborted, published, .. } =
        result.map_err(|error| read_error(partition, wanted.offset, &error))?;
    let aborted = || {
        let kafkas = |a: &logmill_storage::AbortedTransaction| AbortedTransaction {
            producer_id: a.producer_id,
            first_offset: a.first_offset,
        };
        aborted.iter().map(kafkas).collect()
    };
    Ok(PartitionData {
        aborted_transactions: matches!(isolation, Isolation::Committed).then(aborted),
        records: Some(Chunks::from(chunks)),
        ..answer(published, isolation)
    })
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
fn diverging(partition: &Partition, wanted: &Wanted) -> Option<EpochEndOffset> {
    if wanted.last_epoch < 0 {
        return None;
    }
    let (epoch, end_offset) = partition.leader_epoch_for(wanted.last_epoch)?;
    (epoch < wanted.last_epoch || end_offset < wanted.offset).then_some(EpochEndOffset { epoch, end_offset })
}

/// The one place where Fetch's error codes for a failed read are chosen.
fn read_error(partition: &Partition, offset: i64, error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
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

/// Runs something that may wait for a file without holding up the worker's other tasks.
pub(in crate::handlers) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
