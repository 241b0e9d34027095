//! CreatePartitions: add partitions to topics.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// How many partitions topics should have, or only a check of it.
    request CreatePartitionsRequest(CreatePartitions, 0..=3, flexible 2) -> CreatePartitionsResponse {
        topics: Vec<CreatePartitionsTopic>;
        timeout_ms: i32;
        validate_only: bool;
    }

    /// A topic and its new count.
    struct CreatePartitionsTopic {
        name: Str;
        count: i32;
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new());
    }

    /// On which brokers a new partition is to live.
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>;
    }

    /// What became of each.
    response CreatePartitionsResponse(CreatePartitions, 0..=3, flexible 2) {
        throttle_time_ms: i32;
        results: Vec<CreatePartitionsTopicResult>;
    }

    /// One topic.
    struct CreatePartitionsTopicResult {
        name: Str;
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
