//! OffsetDelete: delete the committed offsets of a group for some topics.

use crate::schema::{NEVER, schema};
use crate::{ErrorCode, Str};

schema! {
    /// A group and the partitions whose offsets to delete.
    request OffsetDeleteRequest(OffsetDelete, 0..=0, flexible NEVER) -> OffsetDeleteResponse {
        group_id: Str;
        topics: Vec<OffsetDeleteRequestTopic>;
    }

    /// Partitions of one topic.
    struct OffsetDeleteRequestTopic {
        name: Str;
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    /// One partition.
    struct OffsetDeleteRequestPartition {
        partition_index: i32;
    }

    /// What became of each.
    response OffsetDeleteResponse(OffsetDelete, 0..=0, flexible NEVER) {
        error_code: ErrorCode;
        throttle_time_ms: i32;
        topics: Vec<OffsetDeleteResponseTopic>;
    }

    /// Partitions of one topic.
    struct OffsetDeleteResponseTopic {
        name: Str;
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    /// One partition.
    struct OffsetDeleteResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
