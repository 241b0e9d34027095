//! DeleteRecords: delete the records of partitions before an offset.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    request DeleteRecordsRequest(DeleteRecords, 0..=2, flexible 2) -> DeleteRecordsResponse {
        topics: Vec<DeleteRecordsTopic>;
        timeout_ms: i32;
    }

    struct DeleteRecordsTopic {
        name: Str;
        partitions: Vec<DeleteRecordsPartition>;
    }

    struct DeleteRecordsPartition {
        partition_index: i32;
        offset: i64;
    }

    response DeleteRecordsResponse(DeleteRecords, 0..=2, flexible 2) {
        throttle_time_ms: i32;
        topics: Vec<DeleteRecordsTopicResult>;
    }

    struct DeleteRecordsTopicResult {
        name: Str;
        partitions: Vec<DeleteRecordsPartitionResult>;
    }

    struct DeleteRecordsPartitionResult {
        partition_index: i32;
        low_watermark: i64;
        error_code: ErrorCode;
    }
}
