//! ListPartitionReassignments: replicas that are on their way to other brokers.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Partitions to look for; null for all.
    request ListPartitionReassignmentsRequest(ListPartitionReassignments, 0..=0, flexible 0)
        -> ListPartitionReassignmentsResponse {
        timeout_ms: i32 = 60000;
        topics: Option<Vec<ListPartitionReassignmentsTopics>>;
    }

    /// Partitions of a topic.
    struct ListPartitionReassignmentsTopics {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// What is under way.
    response ListPartitionReassignmentsResponse(ListPartitionReassignments, 0..=0, flexible 0) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        topics: Vec<OngoingTopicReassignment>;
    }

    /// Partitions of a topic.
    struct OngoingTopicReassignment {
        name: Str;
        partitions: Vec<OngoingPartitionReassignment>;
    }

    /// One partition, with those of its replicas that come and go.
    struct OngoingPartitionReassignment {
        partition_index: i32;
        replicas: Vec<i32>;
        adding_replicas: Vec<i32>;
        removing_replicas: Vec<i32>;
    }
}
