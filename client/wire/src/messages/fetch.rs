//! Fetch: read record batches from partitions, waiting for them when there are none (KIP-227: sessions).

use uuid::Uuid;

use crate::schema::{schema, since, until};
use crate::{Chunks, ErrorCode, Str};

schema! {
    /// Partitions to read, or the change to those of the session.
    request FetchRequest(Fetch, 4..=18, flexible 12) -> FetchResponse {
        cluster_id: Option<Str>,                    since(12).tag(0).ignorable();
        replica_id: i32 = -1,                       until(14);
        replica_state: ReplicaState,                since(15).tag(1);
        max_wait_ms: i32;
        min_bytes: i32;
        max_bytes: i32 = i32::MAX;
        isolation_level: i8;
        session_id: i32,                            since(7).ignorable();
        session_epoch: i32 = -1,                    since(7).ignorable();
        topics: Vec<FetchTopic>;
        forgotten_topics_data: Vec<ForgottenTopic>, since(7);
        rack_id: Str,                               since(11).ignorable();
    }

    /// Who asks, when it is a follower.
    struct ReplicaState {
        replica_id: i32 = -1;
        replica_epoch: i64 = -1;
    }

    /// Partitions of one topic: by name, from version 13 by id.
    struct FetchTopic {
        topic: Str,     until(12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partitions: Vec<FetchPartition>;
    }

    /// From where and how much to read of one partition.
    struct FetchPartition {
        partition: i32;
        current_leader_epoch: i32 = -1, since(9).ignorable();
        fetch_offset: i64;
        last_fetched_epoch: i32 = -1,   since(12);
        log_start_offset: i64 = -1,     since(5).ignorable();
        partition_max_bytes: i32;
        replica_directory_id: Uuid,     since(17).tag(0).ignorable();
        high_watermark: i64 = i64::MAX, since(18).tag(1).ignorable();
    }

    /// Partitions the session need no longer read.
    struct ForgottenTopic {
        topic: Str,     until(12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partitions: Vec<i32>;
    }

    /// Batches, and what has changed since the last response of the session.
    response FetchResponse(Fetch, 4..=18, flexible 12) {
        throttle_time_ms: i32;
        error_code: ErrorCode,             since(7).ignorable();
        session_id: i32,                   since(7);
        responses: Vec<FetchableTopicResponse>;
        node_endpoints: Vec<NodeEndpoint>, since(16).tag(0);
    }

    /// Partitions of one topic.
    struct FetchableTopicResponse {
        topic: Str,     until(12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partitions: Vec<PartitionData>;
    }

    /// Batches of one partition, in as many slices as the log had them.
    struct PartitionData {
        partition_index: i32;
        error_code: ErrorCode;
        high_watermark: i64;
        last_stable_offset: i64 = -1;
        log_start_offset: i64 = -1,       since(5).ignorable();
        diverging_epoch: EpochEndOffset,  since(12).tag(0);
        current_leader: LeaderIdAndEpoch, since(12).tag(1);
        snapshot_id: SnapshotId,          since(12).tag(2);
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new());
        preferred_read_replica: i32 = -1, since(11);
        records: Option<Chunks> = Some(Chunks::default());
    }

    /// Where the log parts from what the reader knows (KIP-595).
    struct EpochEndOffset {
        epoch: i32 = -1;
        end_offset: i64 = -1;
    }

    /// Who leads the partition now, to save the client a Metadata request (KIP-951).
    struct LeaderIdAndEpoch {
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }

    /// From which snapshot a follower should start.
    struct SnapshotId {
        end_offset: i64 = -1;
        epoch: i32 = -1;
    }

    /// A transaction whose records, from this offset to its marker, a `read_committed` reader must skip.
    struct AbortedTransaction {
        producer_id: i64;
        first_offset: i64;
    }

    /// Where to reach a leader named above.
    struct NodeEndpoint {
        node_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>;
    }
}
