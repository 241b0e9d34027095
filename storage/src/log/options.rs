//! What can be set for one partition log.

use super::retention::Retention;

/// When an acknowledged append is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On the device: through the journal.
    #[default]
    Disk,
    /// In the page cache, as Apache Kafka does it: survives the process, not the machine.
    PageCache,
}

/// What becomes of old segments (`cleanup.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// They are deleted as [`LogOptions::retention`] says.
    pub delete: bool,
    /// Of the records with one key only the last is kept.
    pub compact: bool,
}

/// When compaction is due, and how long it keeps what only says that something is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compaction {
    /// Part of the log, from 0 to 1, that must not have been compacted before it is worth it
    /// (`min.cleanable.dirty.ratio`).
    pub min_dirty_ratio: f64,
    /// Records younger than this stay as they are, ms (`min.compaction.lag.ms`).
    pub min_lag_ms: i64,
    /// A record older than this makes compaction due whatever the ratio is, and closes the active segment when something
    /// is appended to it, ms (`max.compaction.lag.ms`).
    pub max_lag_ms: i64,
    /// How long tombstones and the markers of transactions stay after they were first compacted, so that readers who are
    /// behind still see them, ms (`delete.retention.ms`).
    pub delete_retention_ms: i64,
}

/// Settings of one partition log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogOptions {
    /// Bytes after which a segment is closed (`segment.bytes`). Larger: fewer files; smaller: retention and compaction
    /// get at old records sooner.
    pub segment_bytes: u32,
    /// Time span of a segment by its batches' timestamps, in ms (`segment.ms`).
    pub segment_ms: i64,
    /// At most so many ms are taken off `segment_ms`, differently for each segment, so that the segments of many
    /// partitions are not all closed at once (`segment.jitter.ms`).
    pub segment_jitter_ms: i64,
    /// Bytes of log per entry of the sparse indexes (`index.interval.bytes`). Smaller: less to walk on a read, larger
    /// indexes.
    pub index_interval_bytes: u32,
    /// Largest index file in bytes (`segment.index.bytes`); a segment whose index is full is closed.
    pub index_max_bytes: u32,
    /// When an append is safe.
    pub durability: Durability,
    /// What becomes of old segments.
    pub cleanup: Cleanup,
    /// How long and how much is kept, where segments are deleted.
    pub retention: Retention,
    /// When a log is compacted, where it is.
    pub compaction: Compaction,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_max_bytes: 10 << 20,
            durability: Durability::Disk,
            cleanup: Cleanup { delete: true, compact: false },
            retention: Retention::default(),
            compaction: Compaction {
                min_dirty_ratio: 0.5,
                min_lag_ms: 0,
                max_lag_ms: i64::MAX,
                delete_retention_ms: 24 * 60 * 60 * 1000,
            },
        }
    }
}
