//! ConsumerGroupHeartbeat: everything a member of the new protocol says, except its offsets.

use std::sync::Arc;

use super::assignor::Assignor;
use super::command::ConsumerHeartbeat;
use super::draft::Draft;
use super::partitions::Partitions;
use super::record::{ConsumerRecord, CurrentAssignment, MemberState, StoredConsumerMember};
use super::refusal::Refusal;
use super::reply::ConsumerBeat;
use super::subscription::check_regex;
use crate::groups::reply::Reply;
use crate::groups::turn::{Turn, is_group_id};
use crate::groups::waiting::Timer;
use crate::limits::{MAX_NAME_BYTES, MAX_TOPIC_BYTES};
use crate::{ErrorCode, RequestId, Str};

/// The epoch of a member that is about to join.
pub(super) const JOIN: i32 = 0;
/// The epoch of a member that leaves.
pub(super) const LEAVE: i32 = -1;
/// The epoch of a static member that leaves for a while.
pub(super) const LEAVE_FOR_A_WHILE: i32 = -2;

/// From this version on the client chooses the member's id (KIP-1082).
const MEMBER_ID_CHOSEN_FROM: i16 = 1;

impl Turn<'_> {
    pub(in crate::groups) fn consumer_heartbeat(&mut self, request: RequestId, beat: &ConsumerHeartbeat) {
        let done = self.check_heartbeat(beat).and_then(|()| match beat.member_epoch {
            LEAVE | LEAVE_FOR_A_WHILE => self.leave_consumer_group(beat),
            _ => self.stay(beat),
        });
        let answer = done.unwrap_or_else(ConsumerBeat::refused);
        self.reply(request, Reply::ConsumerHeartbeat(answer));
    }

    fn check_heartbeat(&self, beat: &ConsumerHeartbeat) -> Result<(), Refusal> {
        let needs_id = beat.version >= MEMBER_ID_CHOSEN_FROM || beat.member_epoch != JOIN;
        if beat.group.is_empty() {
            return Err(Refusal::invalid("GroupId can't be empty."));
        }
        for (name, text) in [("InstanceId", &beat.instance_id), ("RackId", &beat.rack_id)] {
            if text.as_ref().is_some_and(|text| text.is_empty()) {
                return Err(Refusal::invalid(format!("{name} can't be empty.")));
            }
        }
        if needs_id && beat.member_id.is_empty() {
            return Err(Refusal::invalid("MemberId can't be empty."));
        }
        match beat.member_epoch {
            1.. | LEAVE => {}
            JOIN => {
                if beat.rebalance_timeout_ms == -1 {
                    return Err(Refusal::invalid("RebalanceTimeoutMs must be provided in first request."));
                }
                if !beat.owned.as_ref().is_some_and(Partitions::is_empty) {
                    return Err(Refusal::invalid("TopicPartitions must be empty when (re-)joining."));
                }
                if beat.topic_names.is_none() && beat.topic_regex.is_none() {
                    let missing = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
                                   (re-)joining.";
                    return Err(Refusal::invalid(missing));
                }
            }
            LEAVE_FOR_A_WHILE if beat.instance_id.is_none() => {
                return Err(Refusal::invalid("InstanceId can't be null."));
            }
            LEAVE_FOR_A_WHILE => {}
            _ => return Err(Refusal::invalid("MemberEpoch is invalid.")),
        }
        self.check_size(beat)?;
        match &beat.assignor {
            Some(name) if !self.is_supported(name) => {
                let supported: Vec<&str> =
                    self.settings.consumer.assignors.iter().map(|assignor| assignor.name()).collect();
                Err(Refusal::new(
                    ErrorCode::UNSUPPORTED_ASSIGNOR,
                    format!(
                        "ServerAssignor {name} is not supported. Supported assignors: {}.",
                        supported.join(", ")
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    fn is_supported(&self, assignor: &str) -> bool {
        let named = Assignor::by_name(assignor);
        named.is_some_and(|assignor| self.settings.consumer.assignors.contains(&assignor))
    }

    /// Refuses what could not be kept.
    fn check_size(&self, beat: &ConsumerHeartbeat) -> Result<(), Refusal> {
        if !is_group_id(&beat.group) {
            return Err(Refusal::invalid("GroupId is too long."));
        }
        let optional = |text: &Option<Str>| text.as_ref().map_or(0, |text| text.len());
        let names = [
            beat.member_id.len(),
            optional(&beat.instance_id),
            optional(&beat.rack_id),
            optional(&beat.topic_regex),
            beat.client_id.len(),
            beat.client_host.len(),
        ];
        let topics = beat.topic_names.as_deref().unwrap_or_default();
        let bytes: usize = topics.iter().map(|topic| topic.len() + size_of::<Str>()).sum();
        if names.into_iter().any(|bytes| bytes > MAX_NAME_BYTES) {
            Err(Refusal::invalid("An id, a name or the regular expression is too long."))
        } else if topics.iter().any(|topic| topic.is_empty() || topic.len() > MAX_TOPIC_BYTES) {
            Err(Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, "SubscribedTopicNames has an invalid name."))
        } else if bytes > self.settings.max_member_bytes {
            Err(Refusal::invalid("SubscribedTopicNames is too large."))
        } else {
            Ok(())
        }
    }

    /// A member joins or is still there.
    fn stay(&mut self, beat: &ConsumerHeartbeat) -> Result<ConsumerBeat, Refusal> {
        let mut draft = self.draft_to_join(&beat.group, beat.member_epoch == JOIN)?;
        let is_member = draft.group.members.contains_key(&beat.member_id);
        if draft.group.members.len() >= self.settings.consumer.max_members && !is_member {
            let message = format!(
                "The consumer group has reached its maximum capacity of {} members.",
                self.settings.consumer.max_members
            );
            return Err(Refusal::new(ErrorCode::GROUP_MAX_SIZE_REACHED, message));
        }
        let member_id = match &*beat.member_id {
            "" => Str::from(beat.fresh.to_string()),
            _ => beat.member_id.detached(),
        };
        let replaced = self.admit(&mut draft, &member_id, beat)?;
        let before = draft.group.current(&member_id);
        let updated = updated_member(draft.group.members.get(&member_id).map(Arc::as_ref), beat);
        let assignment = self.wish(&mut draft, &member_id, updated, beat.owned.as_ref())?;

        self.renew_consumer_session(&draft, &member_id);
        if let Some(replaced) = replaced {
            self.cancel_member_timers(&draft.id, &replaced);
        }
        let full = beat.member_epoch == JOIN
            || (beat.rebalance_timeout_ms != -1
                && (beat.topic_names.is_some() || beat.topic_regex.is_some())
                && beat.owned.is_some());
        let changed = before.assigned != assignment.assigned;
        let heartbeat_interval_ms = self.times.of(&draft.id).heartbeat_interval_ms;
        self.save(draft);
        Ok(ConsumerBeat {
            error: ErrorCode::NONE,
            message: None,
            member_id: Some(member_id),
            member_epoch: assignment.epoch,
            heartbeat_interval_ms,
            assignment: (full || changed).then(|| assignment.assigned.clone()),
        })
    }

    /// Lets the sender in: as the member it was, as a new one, or in the place of a static member that was.
    /// Returns the id of the member that was replaced.
    fn admit(
        &self,
        draft: &mut Draft,
        member_id: &Str,
        beat: &ConsumerHeartbeat,
    ) -> Result<Option<Str>, Refusal> {
        let joins = beat.member_epoch == JOIN;
        let Some(instance_id) = &beat.instance_id else {
            return if draft.group.members.contains_key(member_id) {
                check_epoch(draft, member_id, beat).map(|()| None)
            } else if joins {
                Ok(None)
            } else {
                Err(Refusal::unknown_member(member_id, &beat.group))
            };
        };
        match draft.group.member_of_instance(instance_id).cloned() {
            None if joins => Ok(None),
            None => {
                let message = format!("Instance id {instance_id} is unknown.");
                Err(Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, message))
            }
            Some(existing) if existing == *member_id => {
                check_epoch(draft, member_id, beat)?;
                if draft.group.current(member_id).epoch == LEAVE_FOR_A_WHILE {
                    // It is back under the same id: it begins anew with what was kept for it.
                    let current = CurrentAssignment {
                        epoch: 0,
                        previous_epoch: 0,
                        ..(*draft.group.current(member_id)).clone()
                    };
                    let value = Some(current);
                    draft.write(ConsumerRecord::Current { member_id: member_id.clone(), value });
                }
                Ok(None)
            }
            Some(existing) if joins => {
                let is_classic =
                    draft.group.members.get(&existing).is_some_and(|member| member.classic.is_some());
                if !is_classic && draft.group.current(&existing).epoch != LEAVE_FOR_A_WHILE {
                    let message = format!(
                        "Static member {member_id} with instance id {instance_id} cannot join the group because \
                         the instance id is owned by {existing} member."
                    );
                    return Err(Refusal::new(ErrorCode::UNRELEASED_INSTANCE_ID, message));
                }
                replace_member(draft, &existing, member_id);
                Ok(Some(existing))
            }
            Some(existing) => Err(fenced_instance(member_id, instance_id, &existing)),
        }
    }

    /// Takes over what a member is and wants, and everything that follows: a new epoch, a search for what
    /// patterns stand for, a new target, the member's next step. Returns what it may hold then.
    pub(super) fn wish(
        &mut self,
        draft: &mut Draft,
        member_id: &Str,
        updated: StoredConsumerMember,
        owned: Option<&Partitions>,
    ) -> Result<Arc<CurrentAssignment>, Refusal> {
        let before = draft.group.members.get(member_id).cloned();
        let mut wants_other = before.is_none();
        if before.as_deref() != Some(&updated) {
            if let Some(before) = &before {
                // A pattern changes nothing before it is known what it stands for.
                let regex = updated.topic_regex.as_ref();
                let is_known = regex.is_none_or(|regex| draft.group.regexes.contains_key(regex));
                let other_regex = before.topic_regex != updated.topic_regex;
                wants_other = before.topic_names != updated.topic_names || (other_regex && is_known);
            }
            if let Some(regex) = &updated.topic_regex
                && !draft.group.regexes.contains_key(regex)
            {
                check_regex(regex)?;
            }
            draft.write(ConsumerRecord::Member { member_id: member_id.clone(), value: Some(updated) });
            draft.drop_unused_regexes();
        }
        self.follow_topics(draft, wants_other);
        self.search_when_due(draft);
        self.assign_when_due(draft);
        let current = draft.group.current(member_id);
        draft.reconcile(member_id, owned);
        let next = draft.group.current(member_id);
        if next != current {
            let timer = Timer::Rebalance(member_id.clone());
            let member = draft.group.members.get(member_id);
            match member.filter(|member| next.state == MemberState::Unrevoked && member.classic.is_none()) {
                Some(member) => self.set_timer(&draft.id, timer, member.rebalance_timeout_ms),
                None => self.cancel_timer(&draft.id, timer),
            }
        }
        Ok(next)
    }

    /// Gives the group a new epoch if what its members read has changed: their wishes (`wants_other`), or
    /// the topics since the group was last looked at.
    pub(super) fn follow_topics(&mut self, draft: &mut Draft, wants_other: bool) {
        let seen = self.waiting.seen_topics.get(&draft.id).copied();
        if !wants_other && seen == Some(self.topics_version) {
            return;
        }
        let hash = draft.metadata_hash(self.topics);
        if wants_other || hash != draft.group.stored.metadata_hash {
            draft.bump(hash);
        }
        self.waiting.seen_topics.insert(draft.id.clone(), self.topics_version);
    }

    /// The member was heard of.
    pub(super) fn renew_consumer_session(&mut self, draft: &Draft, member_id: &Str) {
        let classic = draft.group.members.get(member_id).and_then(|member| member.classic.as_ref());
        let timeout_ms = classic.map_or_else(
            || self.times.of(&draft.id).session_timeout_ms,
            |classic| classic.session_timeout_ms,
        );
        self.set_timer(&draft.id, Timer::Session(member_id.clone()), timeout_ms);
    }
}

/// The epoch has to be the member's, or the one before when the member holds nothing that it may not: then
/// the answer that raised it was lost. With epoch 0 a member that is known joins anew (KAFKA-19233).
fn check_epoch(draft: &Draft, member_id: &Str, beat: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let current = draft.group.current(member_id);
    let fenced = |message: String| Err(Refusal::new(ErrorCode::FENCED_MEMBER_EPOCH, message));
    if beat.member_epoch == JOIN {
        return Ok(());
    }
    if current.state == MemberState::Unknown {
        return fenced(
            "The consumer group member is in a unknown state. The member must abandon all its partitions and \
             rejoin."
                .to_owned(),
        );
    }
    let is_previous = beat.member_epoch == current.previous_epoch
        && beat.owned.as_ref().is_some_and(|owned| owned.is_subset(&current.assigned));
    if beat.member_epoch == current.epoch || (beat.member_epoch < current.epoch && is_previous) {
        return Ok(());
    }
    let relation = if beat.member_epoch > current.epoch { "greater" } else { "smaller" };
    fenced(format!(
        "The consumer group member has a {relation} member epoch ({}) than the one known by the group \
         coordinator ({}). The member must abandon all its partitions and rejoin.",
        beat.member_epoch, current.epoch
    ))
}

/// Puts a new member in the place of a static one that was: it keeps what that was to hold and held.
pub(super) fn replace_member(draft: &mut Draft, old_id: &Str, new_id: &Str) {
    let member = draft.group.members.get(old_id).map(|member| (**member).clone());
    let target = (*draft.group.target(old_id)).clone();
    let current = (*draft.group.current(old_id)).clone();
    draft.remove_member(old_id);
    draft.write(ConsumerRecord::Member { member_id: new_id.clone(), value: member });
    draft.write(ConsumerRecord::Target { member_id: new_id.clone(), value: Some(target) });
    let value = Some(CurrentAssignment { epoch: 0, previous_epoch: 0, ..current });
    draft.write(ConsumerRecord::Current { member_id: new_id.clone(), value });
}

pub(super) fn fenced_instance(member_id: &str, instance_id: &str, existing: &str) -> Refusal {
    Refusal::new(
        ErrorCode::FENCED_INSTANCE_ID,
        format!("Static member {member_id} with instance id {instance_id} was fenced by member {existing}."),
    )
}

/// The member as its heartbeat says, in memory of its own; what that leaves out stays.
fn updated_member(before: Option<&StoredConsumerMember>, beat: &ConsumerHeartbeat) -> StoredConsumerMember {
    let before = before.cloned().unwrap_or_else(|| StoredConsumerMember {
        rebalance_timeout_ms: -1,
        ..StoredConsumerMember::default()
    });
    let newer = |new: &Option<Str>, old: Option<Str>| new.as_ref().map(Str::detached).or(old);
    StoredConsumerMember {
        instance_id: newer(&beat.instance_id, before.instance_id),
        rack_id: newer(&beat.rack_id, before.rack_id),
        client_id: beat.client_id.detached(),
        client_host: beat.client_host.detached(),
        topic_names: match &beat.topic_names {
            Some(names) => sorted_names(names),
            None => before.topic_names,
        },
        topic_regex: newer(&beat.topic_regex, before.topic_regex).filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: match beat.rebalance_timeout_ms {
            -1 => before.rebalance_timeout_ms,
            given => given,
        },
        assignor: newer(&beat.assignor, before.assignor),
        classic: None,
    }
}

/// Sorted, each once, in memory of their own.
pub(super) fn sorted_names(names: &[Str]) -> Vec<Str> {
    let mut names: Vec<Str> = names.iter().map(Str::detached).collect();
    names.sort();
    names.dedup();
    names
}
