//! OffsetForLeaderEpoch: where a leader epoch ends, to find out about truncation (KIP-320).

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Epochs of partitions.
    request OffsetForLeaderEpochRequest(OffsetForLeaderEpoch, 2..=4, flexible 4)
        -> OffsetForLeaderEpochResponse {
        replica_id: i32 = -2, since(3).ignorable();
        topics: Vec<OffsetForLeaderTopic>;
    }

    /// Partitions of one topic.
    struct OffsetForLeaderTopic {
        topic: Str;
        partitions: Vec<OffsetForLeaderPartition>;
    }

    /// A partition and the epoch whose end is asked for.
    struct OffsetForLeaderPartition {
        partition: i32;
        current_leader_epoch: i32 = -1;
        leader_epoch: i32;
    }

    /// Their ends.
    response OffsetForLeaderEpochResponse(OffsetForLeaderEpoch, 2..=4, flexible 4) {
        throttle_time_ms: i32;
        topics: Vec<OffsetForLeaderTopicResult>;
    }

    /// Partitions of one topic.
    struct OffsetForLeaderTopicResult {
        topic: Str;
        partitions: Vec<EpochEndOffset>;
    }

    /// The largest epoch up to the one asked for, and where it ends; -1 and -1 if there is none.
    struct EpochEndOffset {
        error_code: ErrorCode;
        partition: i32;
        leader_epoch: i32 = -1;
        end_offset: i64 = -1;
    }
}
