//! What goes by itself: offsets whose time is up, empty groups with nothing in them, offsets of topics that
//! no longer exist.

use super::command::ForgetTopic;
use super::durable::Group;
use super::record::StoredOffset;
use super::reply::Reply;
use super::turn::Turn;
use super::waiting::Timer;
use crate::{RequestId, Str};

impl Turn<'_> {
    /// Looks at an empty group again after a while. Whether there is anything to expire is seen then.
    pub(super) fn watch_expiry(&mut self, group: &Str) {
        let key = (group.clone(), Timer::Expiry);
        if self.waiting.deadlines.get(&key).is_none() {
            let at = self.now.saturating_add(self.settings.expiry_check_interval_ms.max(1));
            self.waiting.deadlines.set(key, at);
        }
    }

    pub(super) fn expiry_deadline(&mut self, group: &Str) {
        let Some(durable) = self.groups.get(group) else { return };
        if self.waiting.live.contains_key(group) || durable.owner().is_some() {
            return;
        }
        if durable.consumer.as_ref().is_some_and(|consumer| !consumer.is_empty()) {
            return;
        }
        let mut kept = durable.pending.len();
        let mut expiring = false;
        for (topic, partitions) in &durable.offsets {
            for (partition, offset) in partitions {
                match self.expires_at(durable, &offset.stored) {
                    Some(at) if at <= self.now && !durable.is_pending(topic, *partition) => {
                        self.forget_offset(group, topic.clone(), *partition);
                    }
                    expires => {
                        kept += 1;
                        expiring |= expires.is_some();
                    }
                }
            }
        }
        if kept == 0 && durable.consumer.is_some() {
            self.delete_consumer_group(group);
        } else if kept == 0 && durable.stored.is_some() {
            self.record(super::record::Record::Group { group: group.clone(), value: None });
        } else if expiring || !durable.pending.is_empty() {
            self.watch_expiry(group);
        }
    }

    /// When an offset of an empty group expires, if ever: when its client said, or so long after the group
    /// became empty or, without members ever, after the commit.
    fn expires_at(&self, durable: &Group, offset: &StoredOffset) -> Option<i64> {
        let since = durable.stored.as_ref().map_or(offset.commit_timestamp, |group| group.since);
        let retained = |retention_ms| since.max(offset.commit_timestamp).saturating_add(retention_ms);
        offset.expire_timestamp.or_else(|| self.settings.offsets_retention_ms.map(retained))
    }

    pub(super) fn forget_topic(&mut self, request: RequestId, forget: &ForgetTopic) {
        let groups = self.groups;
        for (group, durable) in groups.iter() {
            for (topic, partition) in durable.partitions() {
                if topic == forget.topic {
                    self.forget_offset(group, topic, partition);
                }
            }
        }
        self.reply(request, Reply::Forgotten);
    }
}
