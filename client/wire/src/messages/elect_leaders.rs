//! ElectLeaders: asks for new leaders of partitions.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Partitions; null for all. `election_type` 0 the preferred replica, 1 any that is alive.
    request ElectLeadersRequest(ElectLeaders, 0..=2, flexible 2) -> ElectLeadersResponse {
        election_type: i8, since(1);
        topic_partitions: Option<Vec<TopicPartitions>> = Some(Vec::new());
        timeout_ms: i32 = 60000;
    }

    /// Partitions of a topic.
    struct TopicPartitions {
        topic: Str;
        partitions: Vec<i32>;
    }

    /// What became of each.
    response ElectLeadersResponse(ElectLeaders, 0..=2, flexible 2) {
        throttle_time_ms: i32;
        error_code: ErrorCode, since(1);
        replica_election_results: Vec<ReplicaElectionResult>;
    }

    /// Partitions of a topic.
    struct ReplicaElectionResult {
        topic: Str;
        partition_result: Vec<PartitionResult>;
    }

    /// One partition.
    struct PartitionResult {
        partition_id: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
    }
}
