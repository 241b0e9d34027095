//! AlterPartitionReassignments: moves replicas to other brokers.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Where replicas are to be.
    request AlterPartitionReassignmentsRequest(AlterPartitionReassignments, 0..=1, flexible 0)
        -> AlterPartitionReassignmentsResponse {
        timeout_ms: i32 = 60000;
        allow_replication_factor_change: bool = true, since(1);
        topics: Vec<ReassignableTopic>;
    }

    /// Partitions of a topic.
    struct ReassignableTopic {
        name: Str;
        partitions: Vec<ReassignablePartition>;
    }

    /// One partition; null replicas cancel what is under way.
    struct ReassignablePartition {
        partition_index: i32;
        replicas: Option<Vec<i32>>;
    }

    /// What became of each.
    response AlterPartitionReassignmentsResponse(AlterPartitionReassignments, 0..=1, flexible 0) {
        throttle_time_ms: i32;
        allow_replication_factor_change: bool = true, since(1).ignorable();
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        responses: Vec<ReassignableTopicResponse>;
    }

    /// Partitions of a topic.
    struct ReassignableTopicResponse {
        name: Str;
        partitions: Vec<ReassignablePartitionResponse>;
    }

    /// One partition.
    struct ReassignablePartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
    }
}
