//! OffsetDelete: delete the committed offsets of a group for some topics.

use crate::schema::{NEVER, schema};
use crate::{ErrorCode, Str};

schema! {
    request OffsetDeleteRequest(OffsetDelete, 0..=0, flexible NEVER) -> OffsetDeleteResponse {
        group_id: Str;
        topics: Vec<OffsetDeleteRequestTopic>;
    }

    struct OffsetDeleteRequestTopic {
        name: Str;
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    struct OffsetDeleteRequestPartition {
        partition_index: i32;
    }

    response OffsetDeleteResponse(OffsetDelete, 0..=0, flexible NEVER) {
        error_code: ErrorCode;
        throttle_time_ms: i32;
        topics: Vec<OffsetDeleteResponseTopic>;
    }

    struct OffsetDeleteResponseTopic {
        name: Str;
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    struct OffsetDeleteResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
