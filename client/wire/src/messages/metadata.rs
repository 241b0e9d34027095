//! Metadata: brokers, topics and the leaders of their partitions; may create topics (auto-create).

use uuid::Uuid;

use crate::schema::{always, between, schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Asks for topics, or all of them (`None`; in version 0 an empty list), and for the brokers.
    request MetadataRequest(Metadata, 0..=13, flexible 9) -> MetadataResponse {
        topics: Option<Vec<MetadataRequestTopic>> = Some(Vec::new()), always().nullable_since(1);
        allow_auto_topic_creation: bool = true,                       since(4);
        include_cluster_authorized_operations: bool,                  between(8, 10);
        include_topic_authorized_operations: bool,                    since(8);
    }

    /// A topic by name, or by id.
    struct MetadataRequestTopic {
        topic_id: Uuid,                           since(10).ignorable();
        name: Option<Str> = Some(Str::default()), always().nullable_since(10);
    }

    /// Brokers and topics.
    response MetadataResponse(Metadata, 0..=13, flexible 9) {
        throttle_time_ms: i32,                         since(3).ignorable();
        brokers: Vec<MetadataResponseBroker>;
        cluster_id: Option<Str>,                       since(2).ignorable();
        controller_id: i32 = -1,                       since(1).ignorable();
        topics: Vec<MetadataResponseTopic>;
        cluster_authorized_operations: i32 = i32::MIN, between(8, 10);
        error_code: ErrorCode,                         since(13).ignorable();
    }

    /// A broker and where to reach it.
    struct MetadataResponseBroker {
        node_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>, since(1).ignorable();
    }

    /// A topic with its partitions, or why there is none.
    struct MetadataResponseTopic {
        error_code: ErrorCode;
        name: Option<Str> = Some(Str::default()),    always().nullable_since(12);
        topic_id: Uuid,                              since(10).ignorable();
        is_internal: bool,                           since(1).ignorable();
        partitions: Vec<MetadataResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN, since(8);
    }

    /// A partition and who leads it.
    struct MetadataResponsePartition {
        error_code: ErrorCode;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 = -1,     since(7).ignorable();
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        offline_replicas: Vec<i32>, since(5).ignorable();
    }
}
