//! What is behind the port, put together: everything but threads, sockets and pipelines.

use std::sync::Arc;

use logmill_config::Config;
use logmill_storage::Store;
use tokio::sync::{Mutex, Notify};

use crate::clock::Clock;
use crate::context::{Context, HandlerLimits, NodeInfo};
use crate::coordinators::Coordinators;
use crate::entropy::Entropy;
use crate::features::Features;
use crate::loggers::Loggers;
use crate::node::{self, StartError};
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::topics::{MetadataLog, MetadataRecord, Topics};

/// The most bytes one fetch response carries.
pub(crate) const FETCH_BYTES: usize = 64 << 20;
/// The most partitions of one page of DescribeTopicPartitions, as with Kafka.
pub(crate) const PAGE_PARTITIONS: usize = 2000;
/// The longest a fetch waits for data.
const FETCH_WAIT_MS: i32 = 30_000;

/// The parts of a broker, as the metadata of its data directory says.
pub(crate) struct Assembly {
    pub(crate) partitions: Partitions,
    pub(crate) topics: Topics,
    pub(crate) coordinators: Coordinators,
    pub(crate) cluster_id: String,
    /// What the metadata log held.
    pub(crate) records: Vec<MetadataRecord>,
    features: Features,
    metadata: Arc<Mutex<MetadataLog>>,
    clock: Clock,
    entropy: Entropy,
}

impl Assembly {
    /// Reads the metadata of a store, whose rounds must be running: a new directory is given its first record. `progress`
    /// is notified after every round.
    pub(crate) async fn open(
        store: &Arc<Store>,
        progress: Arc<Notify>,
        config: &Config,
        clock: &Clock,
        entropy: &Entropy,
    ) -> Result<Self, StartError> {
        let partitions = Partitions::new(Arc::clone(store), progress);
        let (metadata, records, cluster_id) = node::open_metadata(store, &partitions, clock, entropy).await?;
        let topics = Topics::load(
            Arc::clone(store),
            Arc::clone(&metadata),
            &records,
            node::topic_defaults(config),
            clock.clone(),
            entropy.clone(),
        )?;
        let features = Features::load(Arc::clone(&metadata), &records, clock.clone());
        let coordinators = Coordinators::new(
            partitions.clone(),
            topics.clone(),
            features.clone(),
            node::coordinator_settings(config),
            clock.clone(),
        );
        let (clock, entropy) = (clock.clone(), entropy.clone());
        Ok(Self { partitions, topics, coordinators, cluster_id, records, features, metadata, clock, entropy })
    }

    /// What handlers may use.
    pub(crate) fn context(&self, node: Arc<NodeInfo>, loggers: Loggers) -> Context {
        let metadata = Arc::clone(&self.metadata);
        Context {
            producer_ids: ProducerIds::load(metadata, &self.records, self.clock.clone()),
            topics: self.topics.clone(),
            partitions: self.partitions.clone(),
            coordinators: self.coordinators.clone(),
            features: self.features.clone(),
            loggers,
            node,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            limits: HandlerLimits {
                fetch_bytes: FETCH_BYTES,
                fetch_wait_ms: FETCH_WAIT_MS,
                page_partitions: PAGE_PARTITIONS,
            },
        }
    }
}
