//! OffsetForLeaderEpoch: where a leader epoch ends, to find out about truncation (KIP-320).

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    request OffsetForLeaderEpochRequest(OffsetForLeaderEpoch, 2..=4, flexible 4) -> OffsetForLeaderEpochResponse {
        replica_id: i32 = -2, since(3).ignorable();
        topics: Vec<OffsetForLeaderTopic>;
    }

    struct OffsetForLeaderTopic {
        topic: Str;
        partitions: Vec<OffsetForLeaderPartition>;
    }

    struct OffsetForLeaderPartition {
        partition: i32;
        current_leader_epoch: i32 = -1;
        leader_epoch: i32;
    }

    response OffsetForLeaderEpochResponse(OffsetForLeaderEpoch, 2..=4, flexible 4) {
        throttle_time_ms: i32;
        topics: Vec<OffsetForLeaderTopicResult>;
    }

    struct OffsetForLeaderTopicResult {
        topic: Str;
        partitions: Vec<EpochEndOffset>;
    }

    struct EpochEndOffset {
        error_code: ErrorCode;
        partition: i32;
        leader_epoch: i32 = -1;
        end_offset: i64 = -1;
    }
}
