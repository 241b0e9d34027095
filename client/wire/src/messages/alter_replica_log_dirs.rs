//! AlterReplicaLogDirs: moves replicas to other directories of their broker.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Which partitions are to be in which directory.
    request AlterReplicaLogDirsRequest(AlterReplicaLogDirs, 1..=2, flexible 2)
        -> AlterReplicaLogDirsResponse {
        dirs: Vec<AlterReplicaLogDir>;
    }

    /// A directory, by its absolute path.
    struct AlterReplicaLogDir {
        path: Str;
        topics: Vec<AlterReplicaLogDirTopic>;
    }

    /// Partitions of a topic.
    struct AlterReplicaLogDirTopic {
        name: Str;
        partitions: Vec<i32>;
    }

    /// What became of each.
    response AlterReplicaLogDirsResponse(AlterReplicaLogDirs, 1..=2, flexible 2) {
        throttle_time_ms: i32;
        results: Vec<AlterReplicaLogDirTopicResult>;
    }

    /// Partitions of a topic.
    struct AlterReplicaLogDirTopicResult {
        topic_name: Str;
        partitions: Vec<AlterReplicaLogDirPartitionResult>;
    }

    /// One partition.
    struct AlterReplicaLogDirPartitionResult {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
