//! The target assignment: what everybody is to hold.

use std::collections::BTreeMap;

use super::assignor::{Assignor, Spec, SpecMember};
use super::draft::Draft;
use super::group::ConsumerGroup;
use super::record::ConsumerRecord;
use super::settings::ConsumerSettings;
use crate::groups::topics::TopicView;
use crate::groups::turn::Turn;

impl Turn<'_> {
    /// Makes a new target assignment if the group has changed since the last one, and that is long enough ago.
    pub(super) fn assign_when_due(&mut self, draft: &mut Draft) {
        if draft.group.stored.epoch <= draft.group.target_epoch {
            return;
        }
        let interval = i64::from(self.times.of(&draft.id).assignment_interval_ms);
        let since = self.waiting.assigned.get(&draft.id).map(|last| self.now.saturating_sub(*last));
        // A clock that was set back holds nobody up.
        if since.is_some_and(|since| (0..interval).contains(&since)) {
            return;
        }
        draft.assign(self.topics, &self.settings.consumer);
        self.waiting.assigned.insert(draft.id.clone(), self.now);
    }
}

impl Draft {
    /// Makes a new target assignment.
    fn assign(&mut self, topics: &dyn TopicView, settings: &ConsumerSettings) {
        let epoch = self.group.stored.epoch;
        let mut spec = Spec::default();
        for (member_id, member) in &self.group.members {
            let wanted = self.topics_of(member, topics);
            spec.topics.extend(wanted.values().map(|topic| (topic.id, topic.partitions)));
            spec.members.insert(
                member_id.clone(),
                SpecMember {
                    instance_id: member.instance_id.clone(),
                    topics: wanted.values().map(|topic| topic.id).collect(),
                    before: self.group.target(member_id),
                },
            );
        }
        for (member_id, partitions) in self.group.assignor(settings).assign(&spec) {
            if self.group.targets.get(&member_id).is_none_or(|before| **before != partitions) {
                self.write(ConsumerRecord::Target { member_id, value: Some(partitions) });
            }
        }
        self.write(ConsumerRecord::TargetEpoch(Some(epoch)));
    }
}

impl ConsumerGroup {
    /// The assignor that most of the members ask for; the default one when nobody asks.
    pub(super) fn assignor(&self, settings: &ConsumerSettings) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        let asked = self.members.values().filter_map(|member| Assignor::by_name(member.assignor.as_deref()?));
        for assignor in asked.filter(|assignor| settings.assignors.contains(assignor)) {
            *votes.entry(assignor).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(assignor, votes)| (*votes, std::cmp::Reverse(*assignor)));
        let default = settings.assignors.first().copied().unwrap_or(Assignor::Uniform);
        most.map_or(default, |(assignor, _)| assignor)
    }
}
