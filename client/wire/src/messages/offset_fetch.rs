//! OffsetFetch: how far a group has read.

use uuid::Uuid;

use crate::schema::{between, schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// Asks for offsets of one group, from version 8 of several. No topics (`None`): all that it has.
    request OffsetFetchRequest(OffsetFetch, 1..=10, flexible 6) -> OffsetFetchResponse {
        group_id: Str,                                                   until(7);
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Vec::new()), until(7).nullable_since(2);
        groups: Vec<OffsetFetchRequestGroup>,                            since(8);
        require_stable: bool,                                            since(7);
    }

    /// Partitions of one topic, up to version 7.
    struct OffsetFetchRequestTopic {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// One group, from version 8 on.
    struct OffsetFetchRequestGroup {
        group_id: Str;
        member_id: Option<Str>, since(9).ignorable();
        member_epoch: i32 = -1, since(9).ignorable();
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Vec::new());
    }

    /// Partitions of one topic: by name, from version 10 by id.
    struct OffsetFetchRequestTopics {
        name: Str,      until(9).ignorable();
        topic_id: Uuid, since(10).ignorable();
        partition_indexes: Vec<i32>;
    }

    /// The offsets.
    response OffsetFetchResponse(OffsetFetch, 1..=10, flexible 6) {
        throttle_time_ms: i32,                 since(3).ignorable();
        topics: Vec<OffsetFetchResponseTopic>, until(7);
        error_code: ErrorCode,                 between(2, 7).ignorable();
        groups: Vec<OffsetFetchResponseGroup>, since(8);
    }

    /// Partitions of one topic, up to version 7.
    struct OffsetFetchResponseTopic {
        name: Str;
        partitions: Vec<OffsetFetchResponsePartition>;
    }

    /// One partition, up to version 7; -1 without an error if nothing is committed.
    struct OffsetFetchResponsePartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1, since(5).ignorable();
        metadata: Option<Str> = Some(Str::default());
        error_code: ErrorCode;
    }

    /// One group, from version 8 on.
    struct OffsetFetchResponseGroup {
        group_id: Str;
        topics: Vec<OffsetFetchResponseTopics>;
        error_code: ErrorCode;
    }

    /// Partitions of one topic: by name, from version 10 by id.
    struct OffsetFetchResponseTopics {
        name: Str,      until(9).ignorable();
        topic_id: Uuid, since(10).ignorable();
        partitions: Vec<OffsetFetchResponsePartitions>;
    }

    /// One partition; -1 without an error if nothing is committed.
    struct OffsetFetchResponsePartitions {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1;
        metadata: Option<Str> = Some(Str::default());
        error_code: ErrorCode;
    }
}
