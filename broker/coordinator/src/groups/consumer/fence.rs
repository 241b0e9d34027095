//! Members that go: they leave, or are not heard of, or do not give up in time what they have to.

use super::command::ConsumerHeartbeat;
use super::draft::Draft;
use super::heartbeat::{LEAVE_FOR_A_WHILE, fenced_instance};
use super::record::{ConsumerRecord, CurrentAssignment, MemberState};
use super::refusal::Refusal;
use super::reply::ConsumerBeat;
use crate::groups::turn::Turn;
use crate::groups::waiting::Timer;
use crate::{ErrorCode, Str};

impl Turn<'_> {
    pub(super) fn leave_consumer_group(&mut self, beat: &ConsumerHeartbeat) -> Result<ConsumerBeat, Refusal> {
        let mut draft = self.draft_of_existing(&beat.group)?;
        let member_id = beat.member_id.detached();
        match &beat.instance_id {
            None if draft.group.members.contains_key(&member_id) => {}
            None => return Err(Refusal::unknown_member(&member_id, &beat.group)),
            Some(instance_id) => match draft.group.member_of_instance(instance_id) {
                None => {
                    let message = format!("Instance id {instance_id} is unknown.");
                    return Err(Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, message));
                }
                Some(existing) if *existing != member_id => {
                    return Err(fenced_instance(&member_id, instance_id, existing));
                }
                Some(_) => {}
            },
        }
        if beat.member_epoch == LEAVE_FOR_A_WHILE {
            // Its partitions are kept for it as long as its session lasts.
            let current = draft.group.current(&member_id);
            let kept = (*current).clone().without_revoking();
            let value = Some(CurrentAssignment { epoch: LEAVE_FOR_A_WHILE, ..kept });
            draft.write(ConsumerRecord::Current { member_id: member_id.clone(), value });
            self.cancel_timer(&draft.id, Timer::Rebalance(member_id.clone()));
            self.save(draft);
        } else {
            self.remove_members(draft, std::slice::from_ref(&member_id));
        }
        Ok(ConsumerBeat {
            error: ErrorCode::NONE,
            message: None,
            member_id: Some(member_id),
            member_epoch: beat.member_epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        })
    }

    /// A consumer group by this name, which must be there.
    fn draft_of_existing(&self, group: &Str) -> Result<Draft, Refusal> {
        match self.consumer_group(group) {
            Some(consumer) => Ok(Draft::of(group.detached(), consumer.clone())),
            None => Err(Refusal::new(
                ErrorCode::GROUP_ID_NOT_FOUND,
                match self.exists(group) {
                    true => format!("Group {group} is not a consumer group."),
                    false => format!("Group {group} not found."),
                },
            )),
        }
    }

    /// Takes members out. What they were to hold is given to others with their next heartbeats.
    pub(super) fn remove_members(&mut self, mut draft: Draft, member_ids: &[Str]) {
        for member_id in member_ids {
            draft.remove_member(member_id);
            self.cancel_member_timers(&draft.id, member_id);
        }
        draft.drop_unused_regexes();
        self.follow_topics(&mut draft, true);
        if self.is_to_be_classic(&draft) {
            self.become_classic(draft, true);
        } else {
            self.save(draft);
        }
    }

    /// Something a member of a consumer group had to do was not done in time.
    pub(in crate::groups) fn consumer_deadline(&mut self, group: &Str, timer: &Timer) {
        let Some(consumer) = self.consumer_group(group).cloned() else { return };
        let (Timer::Session(member_id)
        | Timer::Rebalance(member_id)
        | Timer::ClassicJoin(member_id)
        | Timer::ClassicSync(member_id)) = timer
        else {
            return;
        };
        let revoking = consumer.current(member_id).state == MemberState::Unrevoked;
        if !consumer.members.contains_key(member_id) || (matches!(timer, Timer::Rebalance(_)) && !revoking) {
            return;
        }
        self.remove_members(Draft::of(group.clone(), consumer), std::slice::from_ref(member_id));
    }

    pub(super) fn cancel_member_timers(&mut self, group: &Str, member_id: &Str) {
        let timers = [Timer::Session, Timer::Rebalance, Timer::ClassicJoin, Timer::ClassicSync];
        for timer in timers {
            self.cancel_timer(group, timer(member_id.clone()));
        }
    }

    /// Members have their sessions, and the time to give up what they have to, from now on.
    pub(in crate::groups) fn watch_loaded_consumer_group(&mut self, group: &Str) {
        let Some(consumer) = self.consumer_group(group).cloned() else { return };
        let draft = Draft::of(group.clone(), consumer);
        if draft.group.is_empty() {
            self.watch_expiry(group);
        }
        for (member_id, member) in &draft.group.members {
            self.renew_consumer_session(&draft, member_id);
            if draft.group.current(member_id).state == MemberState::Unrevoked && member.classic.is_none() {
                self.set_timer(group, Timer::Rebalance(member_id.clone()), member.rebalance_timeout_ms);
            }
        }
    }
}
