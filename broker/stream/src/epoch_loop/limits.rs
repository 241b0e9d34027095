//! How large epochs grow.

/// How large epochs grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochLimits {
    /// About this many bytes of batches are read for one epoch, shared by the partitions that have some; at least one
    /// batch of each.
    pub input_bytes: usize,
    /// About this many records are taken into one epoch, shared in the same way.
    pub input_records: u64,
    /// The keys, values and headers of an epoch's records are at most this many bytes when they are unpacked, or it is
    /// one record. It bounds what a batch that is packed well can make the engine hold.
    pub unpacked_bytes: usize,
    /// An epoch's outputs and changes of state should be at most this many bytes. One that is larger is committed, and
    /// the epochs behind it are made smaller; see [`Pace`](crate::Pace).
    pub output_bytes: usize,
    /// The same, for epochs that rather records than closed windows gave: with a backlog they come one after another, and
    /// whoever writes to the same journal waits behind each. No more than `output_bytes` holds.
    pub steady_bytes: usize,
    /// At most this many rows of closed windows are written in one epoch.
    pub emit_rows: u32,
}

impl Default for EpochLimits {
    /// 8 MiB or 65,536 records in, which unpack to 32 MiB; 16 MiB or 50,000 rows of closed windows out.
    fn default() -> Self {
        Self {
            input_bytes: 8 * 1024 * 1024,
            input_records: 65_536,
            unpacked_bytes: 32 * 1024 * 1024,
            output_bytes: 16 * 1024 * 1024,
            steady_bytes: 16 * 1024 * 1024,
            emit_rows: 50_000,
        }
    }
}
