//! DescribeLogDirs: where partitions lie on disk and how much room they take.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Partitions to look for; null for all.
    request DescribeLogDirsRequest(DescribeLogDirs, 1..=5, flexible 2) -> DescribeLogDirsResponse {
        topics: Option<Vec<DescribableLogDirTopic>> = Some(Vec::new());
    }

    /// Partitions of a topic.
    struct DescribableLogDirTopic {
        topic: Str;
        partitions: Vec<i32>;
    }

    /// The directories of the broker.
    response DescribeLogDirsResponse(DescribeLogDirs, 1..=5, flexible 2) {
        throttle_time_ms: i32;
        error_code: ErrorCode, since(3).ignorable();
        results: Vec<DescribeLogDirsResult>;
    }

    /// A directory by its absolute path; sizes of its file system in bytes, -1 when unknown. A cordoned one
    /// takes no new partitions (KIP-1066).
    struct DescribeLogDirsResult {
        error_code: ErrorCode;
        log_dir: Str;
        topics: Vec<DescribeLogDirsTopic>;
        total_bytes: i64 = -1,  since(4).ignorable();
        usable_bytes: i64 = -1, since(4).ignorable();
        is_cordoned: bool,      since(5).ignorable();
    }

    /// Partitions of a topic.
    struct DescribeLogDirsTopic {
        name: Str;
        partitions: Vec<DescribeLogDirsPartition>;
    }

    /// A partition: bytes of its segments, how far it lags behind, and whether it is on its way in from
    /// another directory.
    struct DescribeLogDirsPartition {
        partition_index: i32;
        partition_size: i64;
        offset_lag: i64;
        is_future_key: bool;
    }
}
