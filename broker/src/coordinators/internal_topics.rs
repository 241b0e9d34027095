//! Where groups and transactional ids live: partitions of two internal topics, made when they are first used.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_coordinator::partition_for;
use logmill_wire::ErrorCode;

use super::driver::Coordinators;
use super::starting::Patience;
use crate::topics::{CreateTopicError, NewTopic, OFFSETS_TOPIC, TRANSACTIONS_TOPIC, Topic};

/// Segments of the internal topics, as in Kafka: compaction gets at a record only when its segment is closed.
const INTERNAL_SEGMENT_BYTES: u32 = 100 << 20;

/// Partitions of each internal topic, as in Kafka.
const INTERNAL_PARTITIONS: i32 = 50;

impl Coordinators {
    /// The partition of `__consumer_offsets` a group lives in.
    #[must_use]
    pub fn group_partition(&self, group: &str) -> i32 {
        partition_for(group, self.partition_count(OFFSETS_TOPIC))
    }

    /// Makes sure that the partition of `__consumer_offsets` a group lives in is there, and says which it is.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE when it cannot be created now.
    pub async fn ensure_group(&self, group: &str, patience: &Patience) -> Result<i32, ErrorCode> {
        self.ensure(OFFSETS_TOPIC).await?;
        let partition = self.group_partition(group);
        self.ensure_partition(OFFSETS_TOPIC, partition, patience).await?;
        Ok(partition)
    }

    /// Makes sure that the partition of `__transaction_state` a transactional id lives in is there, and says which it
    /// is.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE when it cannot be created now.
    pub async fn ensure_transaction(
        &self,
        transactional_id: &str,
        patience: &Patience,
    ) -> Result<i32, ErrorCode> {
        self.ensure(TRANSACTIONS_TOPIC).await?;
        let partition = self.transaction_partition(transactional_id);
        self.ensure_partition(TRANSACTIONS_TOPIC, partition, patience).await?;
        Ok(partition)
    }

    async fn ensure_partition(
        &self,
        topic: &'static str,
        partition: i32,
        patience: &Patience,
    ) -> Result<(), ErrorCode> {
        self.await_machine((topic, partition), patience).await;
        self.0.topics.open_partition(topic, partition).await.map_err(|error| {
            tracing::error!(topic, partition, %error, "a partition of an internal topic could not be created");
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        })
    }

    async fn ensure(&self, name: &str) -> Result<Arc<Topic>, ErrorCode> {
        let new = NewTopic {
            name: name.to_owned(),
            partitions: Some(INTERNAL_PARTITIONS),
            configs: BTreeMap::from([
                ("cleanup.policy".to_owned(), "compact".to_owned()),
                ("segment.bytes".to_owned(), INTERNAL_SEGMENT_BYTES.to_string()),
                // Commits and transactions are on disk whatever the broker's default is.
                ("logmill.durability".to_owned(), "disk".to_owned()),
            ]),
            on_demand: true,
            ..NewTopic::default()
        };
        self.0.topics.ensure_internal(new).await.map_err(|error: CreateTopicError| {
            tracing::error!(topic = name, %error, "an internal topic could not be created");
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        })
    }

    pub(super) fn transaction_partition(&self, transactional_id: &str) -> i32 {
        partition_for(transactional_id, self.partition_count(TRANSACTIONS_TOPIC))
    }

    fn partition_count(&self, topic: &str) -> i32 {
        self.0.topics.get(topic).map_or(INTERNAL_PARTITIONS, |topic| topic.count)
    }
}
