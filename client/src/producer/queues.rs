//! The queues of all partitions that a producer writes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::partitioner::Sticky;
use super::queue::{BatchSettings, Freed, Lost, PartitionQueue, ProducerIdentity};
use crate::error::Error;

/// The queues, and what they have in common.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) batches: BatchSettings,
    pub(super) identity: Option<ProducerIdentity>,
    pub(super) topics: BTreeMap<Arc<str>, BTreeMap<i32, PartitionQueue>>,
    pub(super) sticky: Sticky,
    pub(super) failed: Failed,
}

/// Batches that have failed for good.
#[derive(Debug, Default)]
pub(super) struct Failed {
    /// The first since the last [`Engine::set_identity`](super::engine::Engine::set_identity).
    pub(super) first: Option<Arc<Error>>,
    /// The first since the last flush told of one.
    pub(super) untold: Option<Arc<Error>>,
}

impl Failed {
    /// Gives the room that is free.
    pub(super) fn note(&mut self, lost: Lost) -> Freed {
        if let Some(error) = lost.error {
            self.untold.get_or_insert_with(|| Arc::clone(&error));
            self.first.get_or_insert(error);
        }
        lost.freed
    }
}

impl Queues {
    /// The queue of a partition, which is made when it is first written to, and the topic's name to keep.
    pub(super) fn of(&mut self, topic: &str, partition: i32) -> (Arc<str>, &mut PartitionQueue) {
        let (batches, identity) = (self.batches, self.identity);
        let topic = match self.topics.get_key_value(topic) {
            Some((topic, _)) => Arc::clone(topic),
            None => Arc::from(topic),
        };
        let partitions = self.topics.entry(Arc::clone(&topic)).or_default();
        let queue = partitions.entry(partition).or_insert_with(|| PartitionQueue::new(batches, identity));
        (topic, queue)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.all().all(PartitionQueue::is_idle)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &PartitionQueue> {
        self.topics.values().flat_map(BTreeMap::values)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut PartitionQueue> {
        self.topics.values_mut().flat_map(BTreeMap::values_mut)
    }
}
