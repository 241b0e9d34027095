//! What is true about groups: the sum of the records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::consumer::{ConsumerGroup, ConsumerRecord};
use super::record::{Record, StoredGroup, StoredOffset};
use crate::Str;

/// `client_host` of the member that stands for the owner of a group. Hosts of clients come from the broker,
/// never from a client, so nobody else can have it.
pub(super) const OWNER_HOST: &str = "(logmill)";

/// Every group's durable state. Changes only in [`Groups::apply`] and [`Groups::apply_marker`].
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Groups {
    groups: BTreeMap<Str, Group>,
    /// Offsets of open transactions, by producer id. One producer has at most one open transaction.
    pending: BTreeMap<i64, BTreeMap<OffsetKey, Placed>>,
    /// Records applied so far.
    applied: u64,
}

/// An offset, and which record said so. Records are counted, not named by their places in the log: whoever reads the
/// log again when it has been compacted counts fewer, but in the same order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    record: u64,
    pub(super) stored: StoredOffset,
}

/// Group, topic, partition.
pub(super) type OffsetKey = (Str, Str, i32);

/// One group's durable state. It exists while it has anything in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Group {
    pub(super) stored: Option<StoredGroup>,
    /// Set when it is a group of the new protocol; then there is nothing `stored`.
    pub(super) consumer: Option<Arc<ConsumerGroup>>,
    pub(super) offsets: BTreeMap<Str, BTreeMap<i32, Placed>>,
    /// Producers with a pending offset, by partition.
    pub(super) pending: BTreeMap<(Str, i32), BTreeSet<i64>>,
}

impl Groups {
    pub(super) fn get(&self, group: &str) -> Option<&Group> {
        self.groups.get(group)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Str, &Group)> {
        self.groups.iter()
    }

    /// Offsets of open transactions, for checks.
    #[cfg(test)]
    pub(super) fn pending(&self) -> &BTreeMap<i64, BTreeMap<OffsetKey, Placed>> {
        &self.pending
    }

    pub(super) fn apply(&mut self, record: &Record) {
        self.applied += 1;
        let placed = |stored: &StoredOffset| Placed { record: self.applied, stored: stored.clone() };
        match record {
            Record::Group { group, value } => {
                self.change(group, |durable| durable.stored = value.clone());
            }
            Record::Consumer { group, record } => {
                self.change(group, |durable| durable.apply_consumer(record))
            }
            Record::Offset { group, topic, partition, value, producer: None } => match value {
                Some(offset) => {
                    let placed = placed(offset);
                    self.change(group, |durable| durable.put(topic, *partition, placed));
                }
                None => self.forget(group, topic, *partition),
            },
            Record::Offset { group, topic, partition, value, producer: Some((producer, _)) } => {
                if let Some(offset) = value {
                    let placed = placed(offset);
                    self.pending
                        .entry(*producer)
                        .or_default()
                        .insert((group.clone(), topic.clone(), *partition), placed);
                    self.change(group, |durable| {
                        durable.pending.entry((topic.clone(), *partition)).or_default().insert(*producer);
                    });
                }
            }
        }
    }

    /// Ends a producer's transaction. Of the offsets committed for a partition the one whose record is last in the
    /// log counts, whenever its transaction ended: that record is the one that compaction keeps (KAFKA-5247).
    pub(super) fn apply_marker(&mut self, producer: i64, commit: bool) {
        for ((group, topic, partition), offset) in self.pending.remove(&producer).unwrap_or_default() {
            self.change(&group, |durable| {
                durable.no_longer_pending(&topic, partition, producer);
                if commit {
                    durable.put(&topic, partition, offset);
                }
            });
        }
    }

    /// A tombstone takes what is committed and what is pending.
    fn forget(&mut self, group: &Str, topic: &Str, partition: i32) {
        let key = (group.clone(), topic.clone(), partition);
        let producers =
            self.get(group).and_then(|durable| durable.pending.get(&(topic.clone(), partition))).cloned();
        for producer in producers.unwrap_or_default() {
            if let Some(offsets) = self.pending.get_mut(&producer) {
                offsets.remove(&key);
                if offsets.is_empty() {
                    self.pending.remove(&producer);
                }
            }
        }
        self.change(group, |durable| {
            durable.pending.remove(&(topic.clone(), partition));
            if let Some(partitions) = durable.offsets.get_mut(topic) {
                partitions.remove(&partition);
                if partitions.is_empty() {
                    durable.offsets.remove(topic);
                }
            }
        });
    }

    fn change(&mut self, group: &Str, change: impl FnOnce(&mut Group)) {
        let durable = self.groups.entry(group.clone()).or_default();
        change(durable);
        if durable.is_nothing() {
            self.groups.remove(group);
        }
    }
}

impl Group {
    /// The part of the broker that owns the group.
    pub(super) fn owner(&self) -> Option<&Str> {
        let member = self.stored.as_ref()?.members.first()?;
        (member.client_host == OWNER_HOST).then_some(&member.member_id)
    }

    /// A group is there from its first record on that is no tombstone, and gone with the tombstone of its
    /// own: compaction leaves them in any order.
    fn apply_consumer(&mut self, record: &ConsumerRecord) {
        match (&mut self.consumer, record) {
            (consumer, ConsumerRecord::Group(None)) => *consumer = None,
            (Some(consumer), record) => Arc::make_mut(consumer).apply(record),
            (None, record) if record.is_tombstone() => {}
            (None, record) => {
                let mut consumer = ConsumerGroup::default();
                consumer.apply(record);
                self.consumer = Some(Arc::new(consumer));
            }
        }
    }

    pub(super) fn is_pending(&self, topic: &Str, partition: i32) -> bool {
        self.pending.contains_key(&(topic.clone(), partition))
    }

    pub(super) fn offset(&self, topic: &str, partition: i32) -> Option<&StoredOffset> {
        self.offsets.get(topic)?.get(&partition).map(|placed| &placed.stored)
    }

    /// Partitions with a committed or a pending offset, sorted.
    pub(super) fn partitions(&self) -> BTreeSet<(Str, i32)> {
        let committed = self.offsets.iter().flat_map(|(topic, partitions)| {
            partitions.keys().map(move |partition| (topic.clone(), *partition))
        });
        committed.chain(self.pending.keys().cloned()).collect()
    }

    fn put(&mut self, topic: &Str, partition: i32, placed: Placed) {
        let partitions = self.offsets.entry(topic.clone()).or_default();
        if partitions.get(&partition).is_none_or(|there| there.record < placed.record) {
            partitions.insert(partition, placed);
        }
    }

    fn no_longer_pending(&mut self, topic: &Str, partition: i32, producer: i64) {
        let key = (topic.clone(), partition);
        if let Some(producers) = self.pending.get_mut(&key) {
            producers.remove(&producer);
            if producers.is_empty() {
                self.pending.remove(&key);
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.stored.is_none() && self.consumer.is_none() && self.offsets.is_empty() && self.pending.is_empty()
    }
}
