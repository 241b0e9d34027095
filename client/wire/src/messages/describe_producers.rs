//! DescribeProducers: the producers a partition knows, with their open transactions.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Partitions asked for.
    request DescribeProducersRequest(DescribeProducers, 0..=0, flexible 0) -> DescribeProducersResponse {
        topics: Vec<TopicRequest>;
    }

    /// Partitions of one topic.
    struct TopicRequest {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// Their producers.
    response DescribeProducersResponse(DescribeProducers, 0..=0, flexible 0) {
        throttle_time_ms: i32;
        topics: Vec<TopicResponse>;
    }

    /// Partitions of one topic.
    struct TopicResponse {
        name: Str;
        partitions: Vec<PartitionResponse>;
    }

    /// The producers of one partition.
    struct PartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        active_producers: Vec<ProducerState>;
    }

    /// A producer and where it stands; -1 when it has no open transaction.
    struct ProducerState {
        producer_id: i64;
        producer_epoch: i32;
        last_sequence: i32 = -1;
        last_timestamp: i64 = -1;
        coordinator_epoch: i32;
        current_txn_start_offset: i64 = -1;
    }
}
