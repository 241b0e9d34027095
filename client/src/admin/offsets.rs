//! Where a partition's log begins and ends, which offset a time has, and deleting what lies before an offset.

use logmill_wire::Str;
use logmill_wire::messages::DeleteRecordsRequest;
use logmill_wire::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use logmill_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use super::Admin;
use crate::cluster::{Ask, Cluster, Lane, To};
use crate::error::{Error, Result};
use crate::transport::backoff::Deadline;

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Every durable record, also of transactions that are open or were aborted.
    Uncommitted,
    /// Only records outside transactions and of committed ones, up to the first open transaction.
    #[default]
    Committed,
}

impl Isolation {
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Uncommitted => 0,
            Self::Committed => 1,
        }
    }
}

/// An offset named by what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first that still exists.
    Earliest,
    /// The one the next record will have; with [`Isolation::Committed`] the first that is not committed yet.
    Latest,
    /// The first record with this timestamp or a later one, in milliseconds since the epoch.
    Timestamp(i64),
    /// The record with the newest timestamp (KIP-734).
    MaxTimestamp,
}

impl OffsetSpec {
    fn code(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            Self::MaxTimestamp => -3,
            Self::Timestamp(timestamp) => timestamp,
        }
    }
}

/// The range of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// The first offset that still exists.
    pub start: i64,
    /// The offset the next record will have, or the first that is not committed yet.
    pub end: i64,
}

impl Admin {
    /// The offset that `spec` means in a partition; `None` when no record is that late.
    ///
    /// # Errors
    /// When the topic or partition does not exist, or the time is over.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn list_offset(
        &self,
        topic: &str,
        partition: i32,
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<Option<i64>> {
        let mut deadline = self.deadline(format!("finding an offset of {topic}-{partition}"));
        find_offset(&self.cluster, Lane::GENERAL, topic, partition, spec, isolation, &mut deadline).await
    }

    /// Where a partition begins and ends.
    ///
    /// # Errors
    /// As [`list_offset`](Self::list_offset).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn offsets(&self, topic: &str, partition: i32, isolation: Isolation) -> Result<Offsets> {
        let start = self.list_offset(topic, partition, OffsetSpec::Earliest, isolation);
        let end = self.list_offset(topic, partition, OffsetSpec::Latest, isolation);
        let (start, end) = futures::try_join!(start, end)?;
        Ok(Offsets { start: start.unwrap_or(0), end: end.unwrap_or(0) })
    }

    /// Deletes the records of a partition before an offset; without one, all that are there now. Returns the first offset
    /// that still exists, which is higher when more had been deleted before. Deleted records do not come back.
    ///
    /// # Errors
    /// When the topic or partition does not exist, the offset is beyond the partition's end, the topic is compacted only,
    /// or the time is over.
    ///
    /// # Cancel safety
    /// The records may be deleted or not.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: Option<i64>) -> Result<i64> {
        /// Kafka's number for all that is there.
        const EVERYTHING: i64 = -1;
        let operation = || format!("deleting records of {topic}-{partition}");
        let timeout_ms = self.timeout_ms();
        let request = |_| DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: Str::from(topic),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: partition,
                    offset: before.unwrap_or(EVERYTHING),
                }],
            }],
            timeout_ms,
        };
        let ask = Ask::new(To::Leader(topic.to_owned(), partition));
        self.cluster
            .ask(&ask, &mut self.deadline(operation()), request, |response, _| {
                let done =
                    response.topics.into_iter().flat_map(|topic| topic.partitions).next().unwrap_or_default();
                Error::check(done.error_code, None, operation)?;
                Ok(done.low_watermark)
            })
            .await
    }
}

pub(crate) async fn find_offset(
    cluster: &Cluster,
    lane: Lane,
    topic: &str,
    partition: i32,
    spec: OffsetSpec,
    isolation: Isolation,
    deadline: &mut Deadline,
) -> Result<Option<i64>> {
    let request = |_| ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation.code(),
        topics: vec![ListOffsetsTopic {
            name: Str::from(topic),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition,
                timestamp: spec.code(),
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let ask = Ask::new(To::Leader(topic.to_owned(), partition)).on(lane);
    cluster
        .ask(&ask, deadline, request, |response, _| {
            let found =
                response.topics.into_iter().flat_map(|topic| topic.partitions).next().unwrap_or_default();
            Error::check(found.error_code, None, || format!("finding an offset of {topic}-{partition}"))?;
            Ok((found.offset >= 0).then_some(found.offset))
        })
        .await
}
