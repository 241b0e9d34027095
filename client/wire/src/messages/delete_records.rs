//! DeleteRecords: delete the records of partitions before an offset.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Partitions and the first offsets to keep.
    request DeleteRecordsRequest(DeleteRecords, 0..=2, flexible 2) -> DeleteRecordsResponse {
        topics: Vec<DeleteRecordsTopic>;
        timeout_ms: i32;
    }

    /// Partitions of one topic.
    struct DeleteRecordsTopic {
        name: Str;
        partitions: Vec<DeleteRecordsPartition>;
    }

    /// A partition and the first offset to keep; -1 deletes all.
    struct DeleteRecordsPartition {
        partition_index: i32;
        offset: i64;
    }

    /// What became of each.
    response DeleteRecordsResponse(DeleteRecords, 0..=2, flexible 2) {
        throttle_time_ms: i32;
        topics: Vec<DeleteRecordsTopicResult>;
    }

    /// Partitions of one topic.
    struct DeleteRecordsTopicResult {
        name: Str;
        partitions: Vec<DeleteRecordsPartitionResult>;
    }

    /// One partition, and where it starts now.
    struct DeleteRecordsPartitionResult {
        partition_index: i32;
        low_watermark: i64;
        error_code: ErrorCode;
    }
}
