//! ListOffsets: where a partition begins and ends, and what lies at a time.

use std::collections::BTreeSet;

use logmill_storage::Isolation;
use logmill_storage::log::ReadError;
use logmill_wire::ErrorCode;
use logmill_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use logmill_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::Call;
use super::fetch::check_epoch;
use crate::blocking::blocking;
use crate::partitions::Partition;

/// Kafka's special timestamps, each with the first version that knows it.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: (i64, i16) = (-3, 7);
const EARLIEST_LOCAL: (i64, i16) = (-4, 8);
const LATEST_TIERED: (i64, i16) = (-5, 9);
const EARLIEST_PENDING_UPLOAD: (i64, i16) = (-6, 11);

/// From this version on a response has a place for the leader epoch.
const EPOCH_FROM: i16 = 4;

pub(crate) async fn handle(call: Call<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = if request.isolation_level == 1 { Isolation::Committed } else { Isolation::Uncommitted };
    let version = call.version;
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let indexes: Vec<i32> = asked.partitions.iter().map(|wanted| wanted.partition_index).collect();
        call.context.topics.open_for_reading(&asked.name, &indexes).await;
        let topic = call.context.topics.get(&asked.name);
        let mut seen = BTreeSet::new();
        let repeated: BTreeSet<i32> = indexes.iter().copied().filter(|index| !seen.insert(*index)).collect();
        let mut answered = BTreeSet::new();
        let partitions = asked
            .partitions
            .iter()
            .filter(|wanted| answered.insert(wanted.partition_index))
            .map(|wanted| {
                let found = match topic.as_ref().and_then(|topic| topic.partition(wanted.partition_index)) {
                    _ if repeated.contains(&wanted.partition_index) => Err(ErrorCode::INVALID_REQUEST),
                    Some(partition) => find(partition, wanted, isolation, version),
                    None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                };
                respond(wanted.partition_index, found, version)
            })
            .collect();
        topics.push(ListOffsetsTopicResponse { name: asked.name, partitions });
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

/// An offset with its timestamp and leader epoch; all -1 when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

const NOTHING: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };

fn respond(
    partition_index: i32,
    found: Result<Found, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let (error_code, found) = match found {
        Ok(found) => (ErrorCode::NONE, found),
        Err(code) => (code, NOTHING),
    };
    ListOffsetsPartitionResponse {
        partition_index,
        error_code,
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: if version >= EPOCH_FROM { found.leader_epoch } else { -1 },
    }
}

fn find(
    partition: &Partition,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> Result<Found, ErrorCode> {
    check_epoch(wanted.current_leader_epoch, partition.leader_epoch())?;
    let published = partition.published();
    let end = match isolation {
        Isolation::Uncommitted => published.high_watermark,
        Isolation::Committed => published.last_stable_offset,
    };
    let at = |offset: i64| Found { offset, timestamp: -1, leader_epoch: epoch_at(partition, offset) };
    let known = |(timestamp, since): (i64, i16)| wanted.timestamp == timestamp && version >= since;
    match wanted.timestamp {
        LATEST => Ok(Found { leader_epoch: partition.leader_epoch(), ..at(end) }),
        EARLIEST => Ok(at(published.log_start_offset)),
        // There is no second tier: everything is local, and nothing waits to be uploaded.
        _ if known(EARLIEST_LOCAL) => Ok(at(published.log_start_offset)),
        _ if known(LATEST_TIERED) || known(EARLIEST_PENDING_UPLOAD) => Ok(NOTHING),
        _ if known(MAX_TIMESTAMP) => by_time(partition, end, || partition.max_timestamp()),
        timestamp if timestamp >= 0 => by_time(partition, end, || partition.offset_for_timestamp(timestamp)),
        _ => Err(ErrorCode::UNSUPPORTED_VERSION),
    }
}

/// A search through the time index and a segment. What readers may not see yet is not found.
fn by_time(
    partition: &Partition,
    end: i64,
    search: impl FnOnce() -> Result<Option<(i64, i64)>, ReadError>,
) -> Result<Found, ErrorCode> {
    match blocking(search) {
        Ok(Some((offset, timestamp))) if offset < end => {
            Ok(Found { offset, timestamp, leader_epoch: epoch_at(partition, offset) })
        }
        Ok(_) => Ok(NOTHING),
        Err(ReadError::Deleted { .. }) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Err(error) => {
            tracing::error!(?partition, %error, "the partition cannot be searched by time");
            Err(ErrorCode::KAFKA_STORAGE_ERROR)
        }
    }
}

/// The epoch in which the record at `offset` was appended, which may be older than the leader's own; in an empty partition
/// that of the next record.
fn epoch_at(partition: &Partition, offset: i64) -> i32 {
    let published = partition.published();
    let is_empty = published.log_start_offset == published.high_watermark;
    partition.leader_epoch_at(offset).or(is_empty.then(|| partition.leader_epoch())).unwrap_or(-1)
}
