//! OffsetCommit: store how far a group has read.

use uuid::Uuid;

use crate::schema::{schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// Offsets of a group to store: by topic name, from version 10 by topic id.
    request OffsetCommitRequest(OffsetCommit, 2..=10, flexible 8) -> OffsetCommitResponse {
        group_id: Str;
        generation_id_or_member_epoch: i32 = -1;
        member_id: Str;
        group_instance_id: Option<Str>, since(7);
        retention_time_ms: i64 = -1,    until(4).ignorable();
        topics: Vec<OffsetCommitRequestTopic>;
    }

    /// Partitions of one topic.
    struct OffsetCommitRequestTopic {
        name: Str,      until(9).ignorable();
        topic_id: Uuid, since(10).ignorable();
        partitions: Vec<OffsetCommitRequestPartition>;
    }

    /// The offset to read next.
    struct OffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1, since(6).ignorable();
        committed_metadata: Option<Str> = Some(Str::default());
    }

    /// What became of each.
    response OffsetCommitResponse(OffsetCommit, 2..=10, flexible 8) {
        throttle_time_ms: i32, since(3).ignorable();
        topics: Vec<OffsetCommitResponseTopic>;
    }

    /// Partitions of one topic.
    struct OffsetCommitResponseTopic {
        name: Str,      until(9).ignorable();
        topic_id: Uuid, since(10).ignorable();
        partitions: Vec<OffsetCommitResponsePartition>;
    }

    /// One partition.
    struct OffsetCommitResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
