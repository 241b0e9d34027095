//! Long polls: a fetch waits until one of its partitions publishes, or until its time is up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Partition;

/// One fetch's interest in several partitions. Register first, then read, then wait: a publication
/// between the read and the wait is remembered and ends the wait at once.
pub struct DataWait {
    partitions: Vec<Partition>,
    notify: Arc<Notify>,
}

impl DataWait {
    /// Registers the interest; dropping the value takes it back.
    #[must_use]
    pub fn register(partitions: Vec<Partition>) -> Self {
        let notify = Arc::new(Notify::new());
        for partition in &partitions {
            partition.remember(&notify);
        }
        Self { partitions, notify }
    }

    /// Resolves to `true` after a publication in any of the partitions, to `false` when `limit` has passed.
    ///
    /// Cancel safe: a publication that is not consumed is kept for the next call.
    pub async fn published(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.notify.notified()).await.is_ok()
    }
}

impl Drop for DataWait {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.forget(&self.notify);
        }
    }
}
