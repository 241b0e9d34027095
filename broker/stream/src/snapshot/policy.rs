//! When the next snapshot is due.

/// How many snapshots stay.
pub const SNAPSHOTS_KEPT: usize = 2;

/// A snapshot is due when what came behind the last one has grown to so many bytes, or to its size, whichever is more: so
/// what is written for snapshots, and what is read of the logs at a restart, are both in proportion to what is processed.
#[derive(Debug, Clone)]
pub struct SnapshotPolicy {
    interval_bytes: u64,
    /// Bytes of the pipeline's own logs since the last snapshot.
    since: u64,
    /// The size of the last snapshot.
    last: u64,
}

impl SnapshotPolicy {
    /// For so many bytes at least.
    pub fn new(interval_bytes: u64) -> Self {
        Self { interval_bytes, since: 0, last: 0 }
    }

    /// The pipeline was restored from a snapshot of so many bytes, and so many of its logs.
    pub fn restored(&mut self, snapshot_bytes: u64, log_bytes: u64) {
        (self.last, self.since) = (snapshot_bytes, log_bytes);
    }

    /// An epoch has added so many bytes to the pipeline's own logs.
    pub fn grown(&mut self, log_bytes: u64) {
        self.since += log_bytes;
    }

    /// Whether the next one is to be made.
    pub fn is_due(&self) -> bool {
        self.since >= self.interval_bytes.max(self.last)
    }

    /// Whether anything came behind the last one.
    pub fn has_grown(&self) -> bool {
        self.since > 0
    }

    /// One is begun. One that fails is tried again after as many bytes.
    pub fn begun(&mut self) {
        self.since = 0;
    }

    /// One of so many bytes was made.
    pub fn made(&mut self, bytes: u64) {
        self.last = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_due_behind_as_many_bytes_as_the_last_one_has() {
        let mut policy = SnapshotPolicy::new(100);
        policy.grown(99);
        assert!(!policy.is_due());
        policy.grown(1);
        assert!(policy.is_due());
        policy.begun();
        assert!(!policy.is_due() && !policy.has_grown());
        policy.made(250);
        policy.grown(249);
        assert!(!policy.is_due() && policy.has_grown());
        policy.grown(1);
        assert!(policy.is_due());
        policy.restored(10, 100);
        assert!(policy.is_due(), "what a restart had to read counts");
    }
}
