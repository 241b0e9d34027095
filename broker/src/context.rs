//! What a handler may use: narrow handles, cheap to clone.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::coordinators::Coordinators;
use crate::entropy::Entropy;
use crate::features::Features;
use crate::loggers::Loggers;
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::topics::Topics;

/// Who this broker is.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// This broker's id, as clients see it.
    pub node_id: i32,
    /// The cluster's id, as clients see it.
    pub cluster_id: String,
    /// The host and port told to clients.
    pub advertised: (String, u16),
    /// Where the partitions are: an absolute path.
    pub data_dir: PathBuf,
}

/// Everything a request's handler can reach.
#[derive(Clone)]
pub struct Context {
    /// Topics and their configs.
    pub topics: Topics,
    /// Appending and waiting for data.
    pub partitions: Partitions,
    /// Consumer groups and transactions.
    pub coordinators: Coordinators,
    /// Ids for idempotent producers without a transaction.
    pub producer_ids: ProducerIds,
    /// Which levels of features clients may count on.
    pub features: Features,
    /// The levels of log lines.
    pub loggers: Loggers,
    /// Who this broker is.
    pub node: Arc<NodeInfo>,
    /// The time.
    pub clock: Clock,
    /// Fresh ids.
    pub entropy: Entropy,
    /// The broker's limits that handlers apply.
    pub limits: HandlerLimits,
}

/// The limits that handlers apply.
#[derive(Clone, Copy, Debug)]
pub struct HandlerLimits {
    /// The most bytes one fetch response carries, whatever its client asks.
    pub fetch_bytes: usize,
    /// The longest a fetch may wait for data, in ms.
    pub fetch_wait_ms: i32,
    /// The most partitions of one page of DescribeTopicPartitions.
    pub page_partitions: usize,
}
