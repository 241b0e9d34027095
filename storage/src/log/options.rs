//! What can be set for one partition log.

/// When an acknowledged append is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On the device: through the journal.
    #[default]
    Disk,
    /// In the page cache, as Apache Kafka does it: survives the process, not the machine.
    PageCache,
}

/// Settings of one partition log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes after which a segment is closed (`segment.bytes`). Larger: fewer files; smaller: retention and compaction
    /// get at old records sooner.
    pub segment_bytes: u32,
    /// Time span of a segment by its batches' timestamps, in ms (`segment.ms`).
    pub segment_ms: i64,
    /// Bytes of log per entry of the sparse indexes (`index.interval.bytes`). Smaller: less to walk on a read, larger
    /// indexes.
    pub index_interval_bytes: u32,
    /// Largest index file in bytes (`segment.index.bytes`); a segment whose index is full is closed.
    pub index_max_bytes: u32,
    /// When an append is safe.
    pub durability: Durability,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            index_interval_bytes: 4096,
            index_max_bytes: 10 << 20,
            durability: Durability::Disk,
        }
    }
}
