//! All groups in numbers, for whoever watches them.

use std::collections::BTreeSet;

use super::describe::state_of;
use super::machine::GroupMachine;
use super::state::GroupState;
use crate::Str;

/// One group in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupCensus {
    /// The group.
    pub group: Str,
    /// Where it stands.
    pub state: GroupState,
    /// A group of the new protocol (KIP-848).
    pub is_consumer: bool,
    /// How many members it has.
    pub members: usize,
    /// How often it was rebalanced: its generation, or its epoch.
    pub rebalances: i32,
    /// What is committed: topic, partition, offset.
    pub offsets: Vec<(Str, i32, i64)>,
}

impl GroupMachine {
    /// Every group, by name.
    pub fn census(&self) -> Vec<GroupCensus> {
        let durable = self.groups.iter().map(|(group, _)| group);
        let known: BTreeSet<&Str> = durable.chain(self.waiting.live.keys()).collect();
        known.into_iter().map(|group| self.count(group)).collect()
    }

    fn count(&self, group: &Str) -> GroupCensus {
        let durable = self.groups.get(group);
        let consumer = durable.and_then(|durable| durable.consumer.as_deref());
        let stored = durable.and_then(|durable| durable.stored.as_ref());
        let (members, rebalances) = match (consumer, self.waiting.live.get(group), stored) {
            (Some(consumer), ..) => (consumer.member_count(), consumer.epoch()),
            (None, Some(live), _) => (live.member_count(), live.generation),
            (None, None, Some(stored)) => (stored.members.len(), stored.generation),
            (None, None, None) => (0, 0),
        };
        let offsets =
            durable.into_iter().flat_map(|durable| &durable.offsets).flat_map(|(topic, partitions)| {
                partitions.iter().map(|(partition, placed)| (topic.clone(), *partition, placed.stored.offset))
            });
        GroupCensus {
            group: group.clone(),
            state: state_of(&self.groups, &self.waiting, group).0,
            is_consumer: consumer.is_some(),
            members,
            rebalances,
            offsets: offsets.collect(),
        }
    }
}
