//! Groups that belong to a part of the broker: a pipeline shows its progress as one, so that every tool
//! that knows lag knows it.

use super::command::{Disown, Own};
use super::consumer_protocol;
use super::durable::OWNER_HOST;
use super::record::{Record, StoredGroup, StoredMember};
use super::reply::Reply;
use super::state::GroupState;
use super::turn::{Turn, is_group_id};
use super::waiting::Timer;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    pub(super) fn own(&mut self, request: RequestId, own: &Own) {
        let error = match self.check_own(own) {
            Ok(true) => ErrorCode::NONE,
            Ok(false) => {
                self.take_over(own);
                ErrorCode::NONE
            }
            Err(error) => error,
        };
        self.reply(request, Reply::Owned(error));
    }

    /// Whether there is nothing to do.
    fn check_own(&self, own: &Own) -> Result<bool, ErrorCode> {
        if !is_group_id(&own.group) {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let stored = self.groups.get(&own.group).filter(|durable| durable.owner().is_some());
        if let Some(member) = stored.and_then(|durable| durable.stored.as_ref()?.members.first()) {
            return match member.member_id == own.owner {
                true => Ok(member.assignment == consumer_protocol::assignment(&own.assignment)),
                false => Err(ErrorCode::NON_EMPTY_GROUP),
            };
        }
        match self.state_of(&own.group).0 {
            GroupState::Empty | GroupState::Dead => Ok(false),
            _ => Err(ErrorCode::NON_EMPTY_GROUP),
        }
    }

    fn take_over(&mut self, own: &Own) {
        if let Some(live) = self.waiting.live.remove(&own.group) {
            for member_id in live.expected {
                self.cancel_timer(&own.group, Timer::Session(member_id));
            }
        }
        self.cancel_timer(&own.group, Timer::Expiry);
        self.delete_consumer_group(&own.group);
        let owner = own.owner.detached();
        self.record(Record::Group {
            group: own.group.detached(),
            value: Some(StoredGroup {
                protocol_type: Str::from_static(consumer_protocol::PROTOCOL_TYPE),
                generation: self.next_generation(&own.group),
                protocol: Some(Str::from_static("owned")),
                leader: Some(owner.clone()),
                since: self.now,
                members: vec![StoredMember {
                    member_id: owner.clone(),
                    instance_id: None,
                    client_id: owner,
                    client_host: Str::from_static(OWNER_HOST),
                    rebalance_timeout_ms: 0,
                    session_timeout_ms: 0,
                    subscription: consumer_protocol::subscription(&own.assignment),
                    assignment: consumer_protocol::assignment(&own.assignment),
                }],
            }),
        });
    }

    pub(super) fn disown(&mut self, request: RequestId, disown: &Disown) {
        let owner = self.groups.get(&disown.group).and_then(|durable| durable.owner());
        let error = match owner {
            Some(owner) if *owner == disown.owner => {
                self.record(Record::Group {
                    group: disown.group.detached(),
                    value: Some(StoredGroup {
                        protocol_type: Str::from_static(consumer_protocol::PROTOCOL_TYPE),
                        generation: self.next_generation(&disown.group),
                        protocol: None,
                        leader: None,
                        since: self.now,
                        members: Vec::new(),
                    }),
                });
                self.watch_expiry(&disown.group.detached());
                ErrorCode::NONE
            }
            Some(_) => ErrorCode::NON_EMPTY_GROUP,
            None => ErrorCode::GROUP_ID_NOT_FOUND,
        };
        self.reply(request, Reply::Owned(error));
    }

    fn next_generation(&self, group: &str) -> i32 {
        let stored = self.groups.get(group).and_then(|durable| durable.stored.as_ref());
        stored.and_then(|group| group.generation.checked_add(1)).unwrap_or(0)
    }
}
