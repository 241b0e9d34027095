//! Members of the classic protocol in a consumer group: its requests, with the consumer group behind them.
//!
//! Nothing is parked here: a member joins and is told its epoch as the generation at once, fetches its
//! assignment, and is told by its heartbeats to join again when it has something to give up or to get.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::draft::Draft;
use super::heartbeat::{fenced_instance, replace_member, sorted_names};
use super::migrate::subscription_of;
use super::record::{ClassicMember, MemberState, StoredConsumerMember};
use super::refusal::Refusal;
use crate::groups::command::{Heartbeat, Join, Leave, LeavingMember, Sync};
use crate::groups::consumer::ConsumerGroup;
use crate::groups::consumer_protocol;
use crate::groups::join::MEMBER_ID_REQUIRED_FROM;
use crate::groups::reply::{Joined, Left, LeftMember, Reply, Synced};
use crate::groups::turn::Turn;
use crate::groups::waiting::Timer;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    /// JoinGroup to a consumer group that has members.
    pub(in crate::groups) fn join_consumer_group(&mut self, request: RequestId, join: &Join) {
        match self.joined_consumer_group(join) {
            Ok(joined) => self.reply(request, Reply::Joined(joined)),
            Err((error, member_id)) => self.refuse_join(request, &member_id, error),
        }
    }

    fn joined_consumer_group(&mut self, join: &Join) -> Result<Joined, (ErrorCode, Str)> {
        let refused = |error: ErrorCode| (error, join.member_id.clone());
        let Some(consumer) = self.consumer_group(&join.group).cloned() else {
            return Err(refused(ErrorCode::UNKNOWN_MEMBER_ID));
        };
        let mut draft = Draft::of(join.group.detached(), consumer);
        let is_member = draft.group.members.contains_key(&join.member_id);
        if draft.group.members.len() >= self.settings.consumer.max_members && !is_member {
            return Err((ErrorCode::GROUP_MAX_SIZE_REACHED, Str::default()));
        }
        let subscription = subscription_of(&join.protocols);
        let supported = join.protocol_type == consumer_protocol::PROTOCOL_TYPE
            && draft.group.supports(&join.protocols, &join.member_id);
        let Some(subscription) = subscription.filter(|_| supported) else {
            return Err(refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        };
        let is_unknown = join.member_id.is_empty();
        let mut member_id = join.member_id.detached();
        if is_unknown {
            member_id = Str::from(format!("{}-{}", join.client_id, join.fresh));
            if join.instance_id.is_none() && join.version >= MEMBER_ID_REQUIRED_FROM {
                return Err((ErrorCode::MEMBER_ID_REQUIRED, member_id));
            }
        }
        let mut replaced = None;
        if let Some(instance_id) = &join.instance_id {
            match draft.group.member_of_instance(instance_id).cloned() {
                Some(existing) if existing == member_id => {}
                Some(existing) if is_unknown => {
                    replace_member(&mut draft, &existing, &member_id);
                    replaced = Some(existing);
                }
                Some(_) => return Err(refused(ErrorCode::FENCED_INSTANCE_ID)),
                None if is_unknown => {}
                None => return Err(refused(ErrorCode::UNKNOWN_MEMBER_ID)),
            }
        }
        let updated = StoredConsumerMember {
            instance_id: join.instance_id.as_ref().map(Str::detached),
            rack_id: subscription.rack_id.as_ref().map(Str::detached),
            client_id: join.client_id.detached(),
            client_host: join.client_host.detached(),
            topic_names: sorted_names(&subscription.topics),
            topic_regex: None,
            rebalance_timeout_ms: join.rebalance_timeout(),
            assignor: None,
            classic: Some(ClassicMember {
                session_timeout_ms: join.session_timeout_ms,
                protocols: join.owned_protocols(),
            }),
        };
        let owned = subscription.owned_partitions.into_iter();
        let owned = self.by_id(owned.map(|topic| (topic.topic, topic.partitions)).collect());
        let next = self
            .wish(&mut draft, &member_id, updated, Some(&owned))
            .map_err(|refusal| (refusal.code, member_id.clone()))?;
        let joined = Joined {
            error: ErrorCode::NONE,
            generation: next.epoch,
            protocol_type: Some(Str::from_static(consumer_protocol::PROTOCOL_TYPE)),
            protocol_name: join.protocols.first().map(|(name, _)| name.detached()),
            // Nobody leads: the coordinator makes the assignment.
            leader: Str::default(),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: Vec::new(),
        };
        if let Some(replaced) = &replaced {
            self.cancel_member_timers(&draft.id, replaced);
        }
        if replaced.is_some() && self.is_to_be_classic(&draft) {
            self.become_classic(draft, false);
            return Ok(joined);
        }
        self.cancel_timer(&draft.id, Timer::ClassicJoin(member_id.clone()));
        self.renew_consumer_session(&draft, &member_id);
        self.set_timer(&draft.id, Timer::ClassicSync(member_id), join.rebalance_timeout());
        self.save(draft);
        Ok(joined)
    }

    /// SyncGroup to a consumer group.
    pub(in crate::groups) fn sync_consumer_group(&mut self, request: RequestId, sync: &Sync) {
        match self.synced_consumer_group(sync) {
            Ok(synced) => self.reply(request, Reply::Synced(synced)),
            Err(error) => self.refuse_sync(request, error),
        }
    }

    fn synced_consumer_group(&mut self, sync: &Sync) -> Result<Synced, ErrorCode> {
        let (draft, member_id, classic) =
            self.classic_member(&sync.group, &sync.member_id, sync.instance_id.as_ref())?;
        let current = draft.group.current(&member_id);
        if sync.generation != current.epoch {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let protocol = classic.protocols.first().map(|(name, _)| name.clone());
        let kind = Str::from_static(consumer_protocol::PROTOCOL_TYPE);
        let kind_differs = sync.protocol_type.as_ref().is_some_and(|theirs| *theirs != kind);
        if kind_differs || (sync.protocol_name.is_some() && sync.protocol_name != protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if draft.group.stored.epoch > current.epoch && current.state != MemberState::Unrevoked {
            self.expect_classic_join(&draft, &member_id);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.cancel_timer(&draft.id, Timer::ClassicSync(member_id.clone()));
        self.renew_consumer_session(&draft, &member_id);
        Ok(Synced {
            error: ErrorCode::NONE,
            protocol_type: Some(kind),
            protocol_name: protocol,
            assignment: self.assignment_bytes(&classic, &current.assigned),
        })
    }

    /// Heartbeat to a consumer group.
    pub(in crate::groups) fn heartbeat_consumer_group(
        &mut self,
        heartbeat: &Heartbeat,
    ) -> Result<(), ErrorCode> {
        let (draft, member_id, _) =
            self.classic_member(&heartbeat.group, &heartbeat.member_id, heartbeat.instance_id.as_ref())?;
        let current = draft.group.current(&member_id);
        if heartbeat.generation != current.epoch {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        self.renew_consumer_session(&draft, &member_id);
        let may_get_more = current.state == MemberState::Unreleased && !draft.waits_for_others(&member_id);
        let is_behind = current.epoch < draft.group.stored.epoch;
        if is_behind || current.state == MemberState::Unrevoked || may_get_more {
            self.expect_classic_join(&draft, &member_id);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// LeaveGroup to a consumer group. It takes members of both protocols: an administrator removes one by its instance id,
    /// and does not see which it speaks.
    pub(in crate::groups) fn leave_as_classic(&mut self, leave: &Leave) -> Left {
        let mut members = Vec::with_capacity(leave.members.len());
        let mut leaving = BTreeSet::new();
        for LeavingMember { member_id, instance_id } in &leave.members {
            let found = match instance_id {
                Some(instance_id) if member_id.is_empty() => self
                    .consumer_group(&leave.group)
                    .and_then(|group| group.member_of_instance(instance_id).cloned()),
                _ => Some(member_id.clone()),
            };
            let checked = found.ok_or(ErrorCode::UNKNOWN_MEMBER_ID).and_then(|member_id| {
                self.identified(&leave.group, &member_id, instance_id.as_ref())?;
                Ok(member_id.detached())
            });
            let error = match checked {
                Ok(member_id) if leaving.insert(member_id.clone()) => ErrorCode::NONE,
                Ok(_) => ErrorCode::UNKNOWN_MEMBER_ID,
                Err(error) => error,
            };
            members.push(LeftMember {
                member_id: member_id.clone(),
                instance_id: instance_id.clone(),
                error,
            });
        }
        if !leaving.is_empty()
            && let Some(consumer) = self.consumer_group(&leave.group).cloned()
        {
            let leaving: Vec<Str> = leaving.into_iter().collect();
            self.remove_members(Draft::of(leave.group.detached(), consumer), &leaving);
        }
        Left { error: ErrorCode::NONE, members }
    }

    /// It has something to give up or to get, and is to join again in time.
    fn expect_classic_join(&mut self, draft: &Draft, member_id: &Str) {
        let timer = Timer::ClassicJoin(member_id.clone());
        if self.waiting.deadlines.get(&(draft.id.clone(), timer.clone())).is_none()
            && let Some(member) = draft.group.members.get(member_id)
        {
            self.set_timer(&draft.id, timer, member.rebalance_timeout_ms);
        }
    }

    /// A member that speaks the classic protocol, and still is the one of its instance id.
    fn classic_member(
        &self,
        group: &Str,
        member_id: &Str,
        instance_id: Option<&Str>,
    ) -> Result<(Draft, Str, ClassicMember), ErrorCode> {
        let (consumer, member) = self.identified(group, member_id, instance_id)?;
        let classic = member.classic.clone().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        Ok((Draft::of(group.detached(), Arc::clone(consumer)), member_id.detached(), classic))
    }

    /// A member of either protocol that still is the one of its instance id.
    fn identified(
        &self,
        group: &Str,
        member_id: &Str,
        instance_id: Option<&Str>,
    ) -> Result<(&Arc<ConsumerGroup>, &StoredConsumerMember), ErrorCode> {
        let consumer = self.consumer_group(group).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        consumer.check_identity(member_id, instance_id).map_err(|refusal| refusal.code)?;
        let member = consumer.members.get(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        Ok((consumer, member))
    }
}

impl ConsumerGroup {
    fn check_identity(&self, member_id: &Str, instance_id: Option<&Str>) -> Result<(), Refusal> {
        let Some(instance_id) = instance_id else { return Ok(()) };
        match self.member_of_instance(instance_id) {
            Some(existing) if existing == member_id => Ok(()),
            Some(existing) => Err(fenced_instance(member_id, instance_id, existing)),
            None => Err(Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, "The instance id is unknown.")),
        }
    }

    /// Whether one of the protocols is supported by all other members that speak the classic one: they may
    /// be left alone with it.
    fn supports(&self, protocols: &[(Str, Bytes)], joining: &Str) -> bool {
        let others = || {
            let members = self.members.iter().filter(|(member_id, _)| *member_id != joining);
            members.filter_map(|(_, member)| member.classic.as_ref())
        };
        let knows =
            |member: &ClassicMember, name: &Str| member.protocols.iter().any(|(known, _)| known == name);
        protocols.iter().any(|(name, _)| others().all(|member| knows(member, name)))
    }
}
