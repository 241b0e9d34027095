//! ListOffsets: the offset at a point in time, or at the start or end of a partition.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Points in time of partitions.
    request ListOffsetsRequest(ListOffsets, 1..=11, flexible 6) -> ListOffsetsResponse {
        replica_id: i32;
        isolation_level: i8, since(2);
        topics: Vec<ListOffsetsTopic>;
        timeout_ms: i32,     since(10).ignorable();
    }

    /// Partitions of one topic.
    struct ListOffsetsTopic {
        name: Str;
        partitions: Vec<ListOffsetsPartition>;
    }

    /// A partition, and a time in milliseconds, or -1 latest, -2 earliest, -3 largest timestamp, -4
    /// earliest local, -5 latest tiered, -6 earliest pending upload.
    struct ListOffsetsPartition {
        partition_index: i32;
        current_leader_epoch: i32 = -1, since(4).ignorable();
        timestamp: i64;
    }

    /// The offsets.
    response ListOffsetsResponse(ListOffsets, 1..=11, flexible 6) {
        throttle_time_ms: i32, since(2).ignorable();
        topics: Vec<ListOffsetsTopicResponse>;
    }

    /// Partitions of one topic.
    struct ListOffsetsTopicResponse {
        name: Str;
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    /// The offset with its timestamp; -1 and -1 if there is none.
    struct ListOffsetsPartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        timestamp: i64 = -1;
        offset: i64 = -1;
        leader_epoch: i32 = -1, since(4);
    }
}
