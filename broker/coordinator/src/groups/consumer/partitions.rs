//! A set of partitions, by topic id.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// Partitions of any topics. Topics without partitions do not show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partitions(BTreeMap<Uuid, BTreeSet<i32>>);

impl Partitions {
    /// No partitions.
    pub fn new() -> Partitions {
        Partitions::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether this one is among them.
    pub fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.0.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    /// By topic, in the order of ids, each with its partitions in order.
    pub fn topics(&self) -> impl Iterator<Item = (Uuid, &BTreeSet<i32>)> {
        self.0.iter().map(|(topic, partitions)| (*topic, partitions))
    }

    /// One by one, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.0.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
    }

    /// The last one of a topic.
    pub(super) fn last_of(&self, topic: Uuid) -> Option<i32> {
        self.0.get(&topic)?.last().copied()
    }

    /// Adds one. False when it was there.
    pub fn insert(&mut self, topic: Uuid, partition: i32) -> bool {
        self.0.entry(topic).or_default().insert(partition)
    }

    /// Takes one out. False when it was not there.
    pub fn remove(&mut self, topic: Uuid, partition: i32) -> bool {
        let Some(partitions) = self.0.get_mut(&topic) else { return false };
        let removed = partitions.remove(&partition);
        if partitions.is_empty() {
            self.0.remove(&topic);
        }
        removed
    }

    /// Whether all of them are in the other set.
    pub(super) fn is_subset(&self, other: &Partitions) -> bool {
        self.0
            .iter()
            .all(|(topic, partitions)| other.0.get(topic).is_some_and(|others| partitions.is_subset(others)))
    }

    /// Whether one of them is in the other set.
    pub(super) fn meets(&self, other: &Partitions) -> bool {
        self.iter().any(|(topic, partition)| other.contains(topic, partition))
    }

    /// Those for which this is true.
    pub(super) fn filtered(&self, mut keep: impl FnMut(Uuid, i32) -> bool) -> Partitions {
        self.iter().filter(|&(topic, partition)| keep(topic, partition)).collect()
    }
}

impl FromIterator<(Uuid, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32)>>(partitions: I) -> Self {
        let mut all = Partitions::new();
        all.extend(partitions);
        all
    }
}

impl Extend<(Uuid, i32)> for Partitions {
    fn extend<I: IntoIterator<Item = (Uuid, i32)>>(&mut self, partitions: I) {
        for (topic, partition) in partitions {
            self.insert(topic, partition);
        }
    }
}
