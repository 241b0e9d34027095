//! A consumer group's durable state: the sum of its records.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::partitions::Partitions;
use super::record::{
    ConsumerRecord, CurrentAssignment, MemberState, ResolvedRegex, StoredConsumerGroup, StoredConsumerMember,
};
use crate::Str;
use crate::groups::state::GroupState;

/// One consumer group. Copies share what they do not change.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::groups) struct ConsumerGroup {
    pub(super) stored: StoredConsumerGroup,
    pub(super) partition_metadata: Option<Bytes>,
    pub(super) members: BTreeMap<Str, Arc<StoredConsumerMember>>,
    pub(super) target_epoch: i32,
    pub(super) targets: BTreeMap<Str, Arc<Partitions>>,
    current: BTreeMap<Str, Arc<CurrentAssignment>>,
    pub(super) regexes: BTreeMap<Str, Arc<ResolvedRegex>>,
    /// Who holds a partition, or has not given it up yet.
    holders: BTreeMap<(Uuid, i32), Str>,
    /// Member id by instance id.
    instances: BTreeMap<Str, Str>,
}

impl ConsumerGroup {
    /// Takes in one record, unless it deletes the group: then there is nothing to take it in.
    pub(in crate::groups) fn apply(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Group(value) => self.stored = value.unwrap_or_default(),
            ConsumerRecord::PartitionMetadata(value) => self.partition_metadata = value.clone(),
            ConsumerRecord::Member { member_id, value } => self.set_member(member_id, value.as_ref()),
            ConsumerRecord::TargetEpoch(value) => self.target_epoch = value.unwrap_or_default(),
            ConsumerRecord::Target { member_id, value } => {
                set(&mut self.targets, member_id, value.as_ref());
            }
            ConsumerRecord::Current { member_id, value } => self.set_current(member_id, value.as_ref()),
            ConsumerRecord::Regex { regex, value } => set(&mut self.regexes, regex, value.as_ref()),
        }
    }

    fn set_member(&mut self, member_id: &Str, value: Option<&StoredConsumerMember>) {
        let before = self.members.get(member_id).and_then(|member| member.instance_id.clone());
        if let Some(instance) = before
            && self.instances.get(&instance) == Some(member_id)
        {
            self.instances.remove(&instance);
        }
        if let Some(instance) = value.and_then(|member| member.instance_id.clone()) {
            self.instances.insert(instance, member_id.clone());
        }
        set(&mut self.members, member_id, value);
    }

    fn set_current(&mut self, member_id: &Str, value: Option<&CurrentAssignment>) {
        if let Some(before) = self.current.get(member_id) {
            for partition in before.assigned.iter().chain(before.revoking.iter()) {
                if self.holders.get(&partition) == Some(member_id) {
                    self.holders.remove(&partition);
                }
            }
        }
        if let Some(value) = value {
            for partition in value.assigned.iter().chain(value.revoking.iter()) {
                self.holders.insert(partition, member_id.clone());
            }
        }
        set(&mut self.current, member_id, value);
    }

    /// How far a member has come; nowhere, when it is new.
    pub(super) fn current(&self, member_id: &str) -> Arc<CurrentAssignment> {
        self.current.get(member_id).cloned().unwrap_or_default()
    }

    /// Who holds a partition, or has not given it up yet.
    pub(super) fn holder(&self, topic: Uuid, partition: i32) -> Option<&Str> {
        self.holders.get(&(topic, partition))
    }

    /// What a member is to hold.
    pub(super) fn target(&self, member_id: &str) -> Arc<Partitions> {
        self.targets.get(member_id).cloned().unwrap_or_default()
    }

    pub(super) fn member_of_instance(&self, instance_id: &str) -> Option<&Str> {
        self.instances.get(instance_id)
    }

    pub(in crate::groups) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.stored.epoch > self.target_epoch {
            GroupState::Assigning
        } else if self.members.keys().all(|member_id| self.is_reconciled(member_id)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    pub(in crate::groups) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(in crate::groups) fn epoch(&self) -> i32 {
        self.stored.epoch
    }

    pub(in crate::groups) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn is_reconciled(&self, member_id: &str) -> bool {
        let current = self.current(member_id);
        current.state == MemberState::Stable && current.epoch == self.target_epoch
    }

    /// The records that delete the group with everything in it, except its offsets.
    pub(in crate::groups) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let gone = |member_id: &Str| member_id.clone();
        let mut records = Vec::new();
        let members = self.current.keys().map(gone);
        records.extend(members.map(|member_id| ConsumerRecord::Current { member_id, value: None }));
        let members = self.targets.keys().map(gone);
        records.extend(members.map(|member_id| ConsumerRecord::Target { member_id, value: None }));
        records.push(ConsumerRecord::TargetEpoch(None));
        let members = self.members.keys().map(gone);
        records.extend(members.map(|member_id| ConsumerRecord::Member { member_id, value: None }));
        let regexes = self.regexes.keys().cloned();
        records.extend(regexes.map(|regex| ConsumerRecord::Regex { regex, value: None }));
        if self.partition_metadata.is_some() {
            records.push(ConsumerRecord::PartitionMetadata(None));
        }
        records.push(ConsumerRecord::Group(None));
        records
    }

    /// Every partition that is held, with its holder, for checks.
    #[cfg(test)]
    pub(super) fn holders(&self) -> &BTreeMap<(Uuid, i32), Str> {
        &self.holders
    }
}

fn set<V: Clone>(map: &mut BTreeMap<Str, Arc<V>>, key: &Str, value: Option<&V>) {
    match value {
        Some(value) => _ = map.insert(key.clone(), Arc::new(value.clone())),
        None => _ = map.remove(key),
    }
}
