//! ConsumerGroupDescribe.

use super::command::ConsumerDescribe;
use super::reply::{ConsumerDescription, ConsumerMemberDescription};
use crate::groups::GroupState;
use crate::groups::reply::Reply;
use crate::groups::turn::Turn;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    pub(in crate::groups) fn consumer_describe(&mut self, request: RequestId, describe: &ConsumerDescribe) {
        let described = describe.groups.iter().map(|group| self.describe_consumer_group(group)).collect();
        self.reply(request, Reply::ConsumerDescribed(described));
    }

    fn describe_consumer_group(&self, group: &Str) -> ConsumerDescription {
        let Some(consumer) = self.consumer_group(group) else {
            let message = match self.exists(group) {
                true => format!("Group {group} is not a consumer group."),
                false => format!("Group {group} not found."),
            };
            return ConsumerDescription {
                error: ErrorCode::GROUP_ID_NOT_FOUND,
                message: Some(Str::from(message)),
                group: group.clone(),
                state: GroupState::Dead,
                epoch: 0,
                assignment_epoch: 0,
                assignor: Str::default(),
                members: Vec::new(),
            };
        };
        let members = consumer.members.iter().map(|(member_id, member)| {
            let current = consumer.current(member_id);
            ConsumerMemberDescription {
                member_id: member_id.clone(),
                epoch: current.epoch,
                member: (**member).clone(),
                assigned: current.assigned.clone(),
                target: (*consumer.target(member_id)).clone(),
            }
        });
        ConsumerDescription {
            error: ErrorCode::NONE,
            message: None,
            group: group.clone(),
            state: consumer.state(),
            epoch: consumer.stored.epoch,
            assignment_epoch: consumer.target_epoch,
            assignor: Str::from_static(consumer.assignor(&self.settings.consumer).name()),
            members: members.collect(),
        }
    }
}
