//! CreatePartitions: add partitions to topics.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    request CreatePartitionsRequest(CreatePartitions, 0..=3, flexible 2) -> CreatePartitionsResponse {
        topics: Vec<CreatePartitionsTopic>;
        timeout_ms: i32;
        validate_only: bool;
    }

    struct CreatePartitionsTopic {
        name: Str;
        count: i32;
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new());
    }

    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>;
    }

    response CreatePartitionsResponse(CreatePartitions, 0..=3, flexible 2) {
        throttle_time_ms: i32;
        results: Vec<CreatePartitionsTopicResult>;
    }

    struct CreatePartitionsTopicResult {
        name: Str;
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
