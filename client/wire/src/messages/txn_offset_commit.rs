//! TxnOffsetCommit: commit offsets of a group as part of a transaction (KIP-447).

use uuid::Uuid;

use crate::schema::{schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// Offsets that count once the transaction is committed: by topic name, from version 6 by topic id (KIP-1319).
    request TxnOffsetCommitRequest(TxnOffsetCommit, 0..=6, flexible 3) -> TxnOffsetCommitResponse {
        transactional_id: Str;
        group_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        generation_id: i32 = -1,        since(3);
        member_id: Str,                 since(3);
        group_instance_id: Option<Str>, since(3);
        topics: Vec<TxnOffsetCommitRequestTopic>;
    }

    /// Partitions of one topic.
    struct TxnOffsetCommitRequestTopic {
        name: Str,      until(5).ignorable();
        topic_id: Uuid, since(6).ignorable();
        partitions: Vec<TxnOffsetCommitRequestPartition>;
    }

    /// The offset to read next.
    struct TxnOffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1, since(2).ignorable();
        committed_metadata: Option<Str> = Some(Str::default());
    }

    /// What became of each.
    response TxnOffsetCommitResponse(TxnOffsetCommit, 0..=6, flexible 3) {
        throttle_time_ms: i32;
        topics: Vec<TxnOffsetCommitResponseTopic>;
    }

    /// Partitions of one topic.
    struct TxnOffsetCommitResponseTopic {
        name: Str,      until(5).ignorable();
        topic_id: Uuid, since(6).ignorable();
        partitions: Vec<TxnOffsetCommitResponsePartition>;
    }

    /// One partition.
    struct TxnOffsetCommitResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
