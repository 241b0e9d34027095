//! DescribeGroups.

use bytes::Bytes;

use super::command::Describe;
use super::consumer_protocol;
use super::durable::{Group, Groups};
use super::reply::{Description, MemberDescription, Reply};
use super::state::GroupState;
use super::turn::Turn;
use super::waiting::Waiting;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    pub(super) fn describe(&mut self, request: RequestId, describe: &Describe) {
        let descriptions = describe.groups.iter().map(|group| self.describe_one(group)).collect();
        self.reply(request, Reply::Described(descriptions));
    }

    fn describe_one(&self, group: &Str) -> Description {
        let (state, protocol_type) = match self.consumer_group(group) {
            // In the classic protocol's eyes there is no such group.
            Some(_) => (GroupState::Dead, Str::default()),
            None => self.state_of(group),
        };
        let mut description = Description {
            error: if state == GroupState::Dead { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::NONE },
            group: group.clone(),
            state,
            protocol_type,
            protocol: Str::default(),
            members: Vec::new(),
        };
        let stable = state == GroupState::Stable;
        if let Some(live) = self.waiting.live.get(group) {
            let protocol = live.protocol.clone().filter(|_| stable).unwrap_or_default();
            for member in live.members() {
                description.members.push(MemberDescription {
                    member_id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    metadata: if stable { member.metadata(&protocol) } else { Bytes::new() },
                    assignment: if stable { member.assignment.clone() } else { Bytes::new() },
                });
            }
            description.protocol = protocol;
        } else if stable && let Some(stored) = self.groups.get(group).and_then(|group| group.stored.as_ref())
        {
            description.protocol = stored.protocol.clone().unwrap_or_default();
            for member in &stored.members {
                description.members.push(MemberDescription {
                    member_id: member.member_id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    metadata: member.subscription.clone(),
                    assignment: member.assignment.clone(),
                });
            }
        }
        description
    }

    /// Where a group stands, and what kind it is: the live group says it, or its owner, or it is empty.
    pub(super) fn state_of(&self, group: &str) -> (GroupState, Str) {
        state_of(self.groups, self.waiting, group)
    }
}

/// Where a group stands, and its kind.
pub(super) fn state_of(groups: &Groups, waiting: &Waiting, group: &str) -> (GroupState, Str) {
    let durable = groups.get(group);
    if let Some(consumer) = durable.and_then(|durable| durable.consumer.as_ref()) {
        return (consumer.state(), Str::from_static(consumer_protocol::PROTOCOL_TYPE));
    }
    if let Some(live) = waiting.live.get(group) {
        return (live.state, live.protocol_type.clone().unwrap_or_default());
    }
    let stored = durable.and_then(|group| group.stored.as_ref());
    let protocol_type = stored.map(|group| group.protocol_type.clone()).unwrap_or_default();
    let state = match durable.map(Group::owner) {
        None => GroupState::Dead,
        Some(None) => GroupState::Empty,
        Some(Some(_)) => GroupState::Stable,
    };
    (state, protocol_type)
}
