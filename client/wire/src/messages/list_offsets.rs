//! ListOffsets: the offset at a point in time, or at the start or end of a partition.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    request ListOffsetsRequest(ListOffsets, 1..=11, flexible 6) -> ListOffsetsResponse {
        replica_id: i32;
        isolation_level: i8, since(2);
        topics: Vec<ListOffsetsTopic>;
        timeout_ms: i32,     since(10).ignorable();
    }

    struct ListOffsetsTopic {
        name: Str;
        partitions: Vec<ListOffsetsPartition>;
    }

    struct ListOffsetsPartition {
        partition_index: i32;
        current_leader_epoch: i32 = -1, since(4).ignorable();
        timestamp: i64;
    }

    response ListOffsetsResponse(ListOffsets, 1..=11, flexible 6) {
        throttle_time_ms: i32, since(2).ignorable();
        topics: Vec<ListOffsetsTopicResponse>;
    }

    struct ListOffsetsTopicResponse {
        name: Str;
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    struct ListOffsetsPartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        timestamp: i64 = -1;
        offset: i64 = -1;
        leader_epoch: i32 = -1, since(4);
    }
}
