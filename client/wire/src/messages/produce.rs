//! Produce: append record batches to partitions.

use bytes::Bytes;
use uuid::Uuid;

use crate::schema::{schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// Batches to append. Without `acks` there is no response.
    request ProduceRequest(Produce, 3..=13, flexible 9) -> ProduceResponse {
        transactional_id: Option<Str>;
        acks: i16;
        timeout_ms: i32;
        topic_data: Vec<TopicProduceData>;
    }

    /// The batches for one topic: by name, from version 13 by id.
    struct TopicProduceData {
        name: Str,      until(12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partition_data: Vec<PartitionProduceData>;
    }

    /// One batch, for one partition; opaque here.
    struct PartitionProduceData {
        index: i32;
        records: Option<Bytes> = Some(Bytes::default());
    }

    /// Where each batch ended up.
    response ProduceResponse(Produce, 3..=13, flexible 9) {
        responses: Vec<TopicProduceResponse>;
        throttle_time_ms: i32;
        node_endpoints: Vec<NodeEndpoint>, since(10).tag(0);
    }

    /// What happened to the batches of one topic.
    struct TopicProduceResponse {
        name: Str,      until(12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partition_responses: Vec<PartitionProduceResponse>;
    }

    /// Offset of the first record, or what went wrong.
    struct PartitionProduceResponse {
        index: i32;
        error_code: ErrorCode;
        base_offset: i64;
        log_append_time_ms: i64 = -1;
        log_start_offset: i64 = -1,                    since(5).ignorable();
        record_errors: Vec<BatchIndexAndErrorMessage>, since(8).ignorable();
        error_message: Option<Str>,                    since(8).ignorable();
        current_leader: LeaderIdAndEpoch,              since(10).tag(0);
    }

    /// A record that made its batch be refused.
    struct BatchIndexAndErrorMessage {
        batch_index: i32;
        batch_index_error_message: Option<Str>;
    }

    /// Who leads the partition now, to save the client a Metadata request (KIP-951).
    struct LeaderIdAndEpoch {
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }

    /// Where to reach a leader named above.
    struct NodeEndpoint {
        node_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>;
    }
}
