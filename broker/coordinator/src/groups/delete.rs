//! DeleteGroups: empty groups go, with their offsets.

use super::command::Delete;
use super::record::Record;
use super::reply::Reply;
use super::state::GroupState;
use super::turn::Turn;
use super::waiting::Timer;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    pub(super) fn delete(&mut self, request: RequestId, delete: &Delete) {
        let mut answers: Vec<(Str, ErrorCode)> = Vec::with_capacity(delete.groups.len());
        for group in &delete.groups {
            let again = answers.iter().any(|(before, _)| before == group);
            let error = match self.state_of(group).0 {
                _ if again => ErrorCode::GROUP_ID_NOT_FOUND,
                GroupState::Dead => ErrorCode::GROUP_ID_NOT_FOUND,
                GroupState::Empty => {
                    self.delete_one(group);
                    ErrorCode::NONE
                }
                _ => ErrorCode::NON_EMPTY_GROUP,
            };
            answers.push((group.clone(), error));
        }
        self.reply(request, Reply::Deleted(answers));
    }

    /// Deletes an empty group: its committed and pending offsets, and what was expected of it.
    pub(super) fn delete_one(&mut self, group: &Str) {
        if let Some(live) = self.waiting.live.remove(group) {
            for member_id in live.expected {
                self.cancel_timer(group, Timer::Session(member_id));
            }
        }
        self.cancel_timer(group, Timer::Expiry);
        let group = group.detached();
        let Some(durable) = self.groups.get(&group) else { return };
        let has_record = durable.stored.is_some();
        for (topic, partition) in durable.partitions() {
            self.forget_offset(&group, topic, partition);
        }
        self.delete_consumer_group(&group);
        if has_record {
            self.record(Record::Group { group, value: None });
        }
    }

    pub(super) fn forget_offset(&mut self, group: &Str, topic: Str, partition: i32) {
        self.record(Record::Offset { group: group.clone(), topic, partition, value: None, producer: None });
    }
}
