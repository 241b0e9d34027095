//! A change to a consumer group, while it is being worked out.

use std::sync::Arc;

use super::group::ConsumerGroup;
use super::record::{ConsumerRecord, StoredConsumerGroup};
use crate::Str;
use crate::groups::record::Record;
use crate::groups::turn::Turn;

/// A group as it is going to be, and the records that make it so. Nothing has happened until
/// [`Turn::save`]; a draft without records costs no copy.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) id: Str,
    pub(super) group: Arc<ConsumerGroup>,
    pub(super) records: Vec<Record>,
    /// A classic group of this name, with members or about to have some, becomes this group.
    pub(super) replaces_classic: bool,
}

impl Draft {
    pub(super) fn of(id: Str, group: Arc<ConsumerGroup>) -> Draft {
        Draft { id, group, records: Vec::new(), replaces_classic: false }
    }

    /// A group that did not exist.
    pub(super) fn new(id: Str, now: i64) -> Draft {
        let mut group = ConsumerGroup::default();
        group.stored.created = now;
        Draft::of(id, Arc::new(group))
    }

    /// Makes something true of the group.
    pub(super) fn write(&mut self, record: ConsumerRecord) {
        Arc::make_mut(&mut self.group).apply(&record);
        self.records.push(Record::Consumer { group: self.id.clone(), record });
    }

    /// Something the target assignment depends on has changed.
    pub(super) fn bump(&mut self, metadata_hash: i64) {
        let StoredConsumerGroup { epoch, created, .. } = self.group.stored;
        self.write(ConsumerRecord::Group(Some(StoredConsumerGroup {
            epoch: epoch.saturating_add(1),
            metadata_hash,
            created,
        })));
    }

    /// Takes a member out. The caller sees to what follows for the group.
    pub(super) fn remove_member(&mut self, member_id: &Str) {
        self.write(ConsumerRecord::Current { member_id: member_id.clone(), value: None });
        self.write(ConsumerRecord::Target { member_id: member_id.clone(), value: None });
        self.write(ConsumerRecord::Member { member_id: member_id.clone(), value: None });
    }
}

impl Turn<'_> {
    /// The consumer group of this name, as it is.
    pub(in crate::groups) fn consumer_group(&self, group: &str) -> Option<&Arc<ConsumerGroup>> {
        self.groups.get(group)?.consumer.as_ref()
    }

    /// Makes the draft's records part of this step.
    pub(super) fn save(&mut self, draft: Draft) {
        if draft.replaces_classic {
            self.retire_classic(&draft);
        }
        if draft.group.is_empty() && !draft.records.is_empty() {
            self.watch_expiry(&draft.id);
        }
        self.step.records.extend(draft.records);
    }

    /// Deletes a consumer group without members that is in the way of a group of another kind.
    pub(in crate::groups) fn delete_consumer_group(&mut self, group: &Str) {
        let Some(consumer) = self.consumer_group(group) else { return };
        let records = consumer.tombstones();
        self.waiting.seen_topics.remove(group);
        self.waiting.assigned.remove(group);
        self.waiting.searches.forget(group);
        let group = group.detached();
        let records = records.into_iter().map(|record| Record::Consumer { group: group.clone(), record });
        self.step.records.extend(records);
    }
}
