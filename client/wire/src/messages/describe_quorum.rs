//! DescribeQuorum: who votes about the metadata, and how far each voter is.

use uuid::Uuid;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Partitions of the metadata log.
    request DescribeQuorumRequest(DescribeQuorum, 0..=2, flexible 0) -> DescribeQuorumResponse {
        topics: Vec<TopicRequest>;
    }

    /// Partitions of a topic.
    struct TopicRequest {
        topic_name: Str;
        partitions: Vec<PartitionRequest>;
    }

    /// One partition.
    struct PartitionRequest {
        partition_index: i32;
    }

    /// The quorum.
    response DescribeQuorumResponse(DescribeQuorum, 0..=2, flexible 0) {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default()), since(2).ignorable();
        topics: Vec<TopicData>;
        nodes: Vec<Node>,                                  since(2);
    }

    /// Partitions of a topic.
    struct TopicData {
        topic_name: Str;
        partitions: Vec<PartitionData>;
    }

    /// One partition.
    struct PartitionData {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default()), since(2).ignorable();
        leader_id: i32;
        leader_epoch: i32;
        high_watermark: i64;
        current_voters: Vec<ReplicaState>;
        observers: Vec<ReplicaState>;
    }

    /// How far a replica is; times in ms since the epoch, -1 when unknown.
    struct ReplicaState {
        replica_id: i32;
        replica_directory_id: Uuid,         since(2);
        log_end_offset: i64;
        last_fetch_timestamp: i64 = -1,     since(1).ignorable();
        last_caught_up_timestamp: i64 = -1, since(1).ignorable();
    }

    /// A voter and where it listens for other controllers.
    struct Node {
        node_id: i32;
        listeners: Vec<Listener>;
    }

    /// One address.
    struct Listener {
        name: Str;
        host: Str;
        port: u16;
    }
}
