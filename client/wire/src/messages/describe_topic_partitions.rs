//! DescribeTopicPartitions: topics with their partitions, page by page.

use uuid::Uuid;

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Topics by name, none for all; from the cursor on, at most so many partitions.
    request DescribeTopicPartitionsRequest(DescribeTopicPartitions, 0..=0, flexible 0)
        -> DescribeTopicPartitionsResponse {
        topics: Vec<TopicRequest>;
        response_partition_limit: i32 = 2000;
        cursor: Option<Cursor>;
    }

    /// One topic.
    struct TopicRequest {
        name: Str;
    }

    /// The first partition of a page.
    struct Cursor {
        topic_name: Str;
        partition_index: i32;
    }

    /// A page, and where the next one begins.
    response DescribeTopicPartitionsResponse(DescribeTopicPartitions, 0..=0, flexible 0) {
        throttle_time_ms: i32;
        topics: Vec<DescribeTopicPartitionsResponseTopic>;
        next_cursor: Option<Cursor>;
    }

    /// One topic with the partitions that fit this page.
    struct DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode;
        name: Option<Str> = Some(Str::default());
        topic_id: Uuid;
        is_internal: bool;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN;
    }

    /// One partition.
    struct DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 = -1;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        eligible_leader_replicas: Option<Vec<i32>>;
        last_known_elr: Option<Vec<i32>>;
        offline_replicas: Vec<i32>;
    }
}
