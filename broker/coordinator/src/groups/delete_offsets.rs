//! OffsetDelete: some of a group's offsets go, except in topics its members read.

use std::collections::BTreeSet;

use super::command::DeleteOffsets;
use super::consumer_protocol;
use super::reply::{OffsetsDeleted, Reply};
use super::state::GroupState;
use super::turn::Turn;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    pub(super) fn delete_offsets(&mut self, request: RequestId, delete: &DeleteOffsets) {
        let (state, protocol_type) = self.state_of(&delete.group);
        let error = match state {
            _ if delete.group.is_empty() => ErrorCode::INVALID_GROUP_ID,
            GroupState::Dead => ErrorCode::GROUP_ID_NOT_FOUND,
            GroupState::Empty => ErrorCode::NONE,
            _ if self.is_owned(&delete.group) => ErrorCode::NON_EMPTY_GROUP,
            _ if protocol_type != consumer_protocol::PROTOCOL_TYPE => ErrorCode::NON_EMPTY_GROUP,
            _ => ErrorCode::NONE,
        };
        let mut topics = Vec::new();
        if error == ErrorCode::NONE {
            let subscribed =
                self.subscribed_topics(&delete.group, delete.topics.iter().map(|(topic, _)| topic));
            let group = delete.group.detached();
            for (topic, partitions) in &delete.topics {
                let refused = subscribed.as_ref().is_none_or(|subscribed| subscribed.contains(topic));
                let mut answers = Vec::with_capacity(partitions.len());
                for &partition in partitions {
                    if refused {
                        answers.push((partition, ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC));
                        continue;
                    }
                    if self.has_offset(&group, topic, partition) {
                        self.forget_offset(&group, topic.detached(), partition);
                    }
                    answers.push((partition, ErrorCode::NONE));
                }
                topics.push((topic.clone(), answers));
            }
            self.watch_expiry(&group);
        }
        self.reply(request, Reply::OffsetsDeleted(OffsetsDeleted { error, topics }));
    }

    fn has_offset(&self, group: &str, topic: &Str, partition: i32) -> bool {
        self.groups.get(group).is_some_and(|durable| {
            durable.offset(topic, partition).is_some() || durable.is_pending(topic, partition)
        })
    }

    /// Topics the members read, of a consumer group only of those asked; `None` when a member's subscription cannot be read, and any topic may be.
    fn subscribed_topics<'t>(
        &self,
        group: &str,
        asked: impl Iterator<Item = &'t Str>,
    ) -> Option<BTreeSet<Str>> {
        if let Some(consumer) = self.consumer_group(group) {
            return Some(asked.filter(|topic| consumer.is_subscribed_to(topic)).cloned().collect());
        }
        let Some(live) = self.waiting.live.get(group) else { return Some(BTreeSet::new()) };
        let mut topics = BTreeSet::new();
        for member in live.members() {
            for (_, metadata) in &member.protocols {
                topics.extend(consumer_protocol::subscribed_topics(metadata)?);
            }
        }
        Some(topics)
    }
}
