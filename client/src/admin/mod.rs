//! Topics, groups, offsets, configs, brokers, transactions.

mod brokers;
mod configs;
pub(crate) mod groups;
pub(crate) mod offsets;
mod topics;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

pub use brokers::{Feature, LogDir, LogDirPartition};
pub use configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
pub use groups::{GroupDescription, GroupListing, GroupOffset, MemberDescription};
pub use offsets::{Isolation, OffsetSpec, Offsets};
pub use topics::{BrokerDescription, ClusterDescription, NewTopic, PartitionDescription, TopicDescription};
pub use transactions::{ProducerDescription, TransactionDescription, TransactionListing};

use crate::cluster::Cluster;
use crate::transport::backoff::Deadline;

/// Asks about and changes what a cluster has. Cheap to clone.
///
/// Every call tries again until it succeeds, fails for good, or its time is over (default: 30 s).
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Arc<Cluster>,
    timeout: Duration,
}

impl Admin {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, timeout: Duration::from_secs(30) }
    }

    /// The time each call has.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn deadline(&self, operation: impl Into<String>) -> Deadline {
        Deadline::new(operation, self.timeout)
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
