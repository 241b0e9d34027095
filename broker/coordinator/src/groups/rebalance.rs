//! Putting a group together: who decides that a rebalance begins, and that it is over.

use super::live::{InitialRebalance, Live};
use super::reply::{Reply, Synced};
use super::state::GroupState;
use super::turn::Turn;
use super::waiting::Timer;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    /// Something changed about the members: begin a rebalance, or see whether the one under way is over.
    pub(super) fn members_changed(&mut self, group: &mut Live) {
        match group.state {
            GroupState::PreparingRebalance => self.end_join_phase_if_all_joined(group),
            _ => self.prepare_rebalance(group),
        }
    }

    /// Asks everybody to join again.
    pub(super) fn prepare_rebalance(&mut self, group: &mut Live) {
        self.cancel_timer(&group.id, Timer::Sync);
        group.unsynced.clear();
        if group.state == GroupState::CompletingRebalance {
            self.cancel_syncs(group);
        }
        if group.state == GroupState::Empty {
            self.cancel_timer(&group.id, Timer::Expiry);
            group.state = GroupState::PreparingRebalance;
            return self.begin_initial_rebalance(group);
        }
        group.state = GroupState::PreparingRebalance;
        if group.has_all_joined() {
            self.end_join_phase(group);
        } else {
            self.set_timer(&group.id, Timer::Join, group.rebalance_timeout_ms());
        }
    }

    /// The group was empty: give more members the time to come.
    fn begin_initial_rebalance(&mut self, group: &mut Live) {
        let delay_ms = self.settings.initial_rebalance_delay_ms;
        if delay_ms <= 0 {
            return self.end_join_phase(group);
        }
        let remaining_ms = group.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
        group.initial = Some(InitialRebalance { delay_ms, remaining_ms, grew: false });
        self.set_timer(&group.id, Timer::Join, delay_ms);
    }

    /// Time is up for those who have not joined; in an initial rebalance, unless somebody just came.
    pub(super) fn join_deadline(&mut self, group: &mut Live) {
        if group.state != GroupState::PreparingRebalance {
            return;
        }
        match group.initial {
            Some(initial) if initial.grew && initial.remaining_ms > 0 => {
                let delay_ms = self.settings.initial_rebalance_delay_ms.min(initial.remaining_ms);
                let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
                group.initial = Some(InitialRebalance { delay_ms, remaining_ms, grew: false });
                self.set_timer(&group.id, Timer::Join, delay_ms);
            }
            _ => self.end_join_phase(group),
        }
    }

    /// In an initial rebalance only time ends the phase: everybody may have joined who was there.
    pub(super) fn end_join_phase_if_all_joined(&mut self, group: &mut Live) {
        let may_end = group.state == GroupState::PreparingRebalance && group.initial.is_none();
        if may_end && group.has_all_joined() {
            self.end_join_phase(group);
        }
    }

    /// Begins the next generation with those who have joined, and with static members, who may be absent
    /// as long as their session lasts.
    fn end_join_phase(&mut self, group: &mut Live) {
        self.cancel_timer(&group.id, Timer::Join);
        let absent: Vec<Str> = group
            .members()
            .filter(|member| member.joining.is_none() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for member_id in absent {
            self.remove_member(group, &member_id);
        }
        if !group.elect_joined_leader() && group.member_count() > 0 {
            // Only absent static members are left: wait until one joins or their sessions end.
            group.initial = None;
            return self.set_timer(&group.id, Timer::Join, group.rebalance_timeout_ms());
        }
        group.initial = None;
        group.generation = group.generation.checked_add(1).unwrap_or(0);
        if group.member_count() == 0 {
            group.state = GroupState::Empty;
            group.protocol = None;
            group.leader = None;
            self.record(group.record(self.now));
            return self.watch_expiry(&group.id);
        }
        group.protocol = group.select_protocol();
        group.state = GroupState::CompletingRebalance;
        self.announce_generation(group);
    }

    /// Answers every parked join; from now on members owe a sync.
    fn announce_generation(&mut self, group: &mut Live) {
        let ids: Vec<Str> = group.members().map(|member| member.id.clone()).collect();
        for id in &ids {
            let answer = group.joined(id);
            let Some(member) = group.member_mut(id) else { continue };
            member.is_new = false;
            if let Some(request) = member.joining.take() {
                self.reply(request, Reply::Joined(answer));
            }
            self.renew_session(group, id);
        }
        group.unsynced = ids.into_iter().collect();
        self.set_timer(&group.id, Timer::Sync, group.rebalance_timeout_ms());
    }

    /// Those who did not fetch their assignment in time are gone.
    pub(super) fn sync_deadline(&mut self, group: &mut Live) {
        let silent = std::mem::take(&mut group.unsynced);
        if silent.is_empty() {
            return;
        }
        for member_id in &silent {
            self.remove_member(group, member_id);
        }
        self.members_changed(group);
    }

    /// A member was not heard of for its session timeout.
    pub(super) fn session_deadline(&mut self, group: &mut Live, member_id: &Str) {
        if group.expected.remove(member_id) {
            return self.end_join_phase_if_all_joined(group);
        }
        let Some(member) = group.member(member_id) else { return };
        if member.is_waiting() && !member.is_new {
            return;
        }
        self.remove_member(group, member_id);
        self.members_changed(group);
    }

    /// Takes a member out and answers what it has parked. The caller sees to the rebalance.
    pub(super) fn remove_member(&mut self, group: &mut Live, member_id: &str) {
        let Some(member) = group.remove(member_id) else { return };
        self.cancel_timer(&group.id, Timer::Session(member.id.clone()));
        self.answer_parked(member.joining, member.syncing, ErrorCode::UNKNOWN_MEMBER_ID, &Str::default());
    }

    /// Answers a member's parked requests with an error.
    pub(super) fn answer_parked(
        &mut self,
        joining: Option<RequestId>,
        syncing: Option<RequestId>,
        error: ErrorCode,
        member_id: &Str,
    ) {
        if let Some(request) = joining {
            self.refuse_join(request, member_id, error);
        }
        if let Some(request) = syncing {
            self.refuse_sync(request, error);
        }
    }

    /// The assignment these members wait for will not come: they have to join again.
    fn cancel_syncs(&mut self, group: &mut Live) {
        let mut waiting = Vec::new();
        for member in group.members_mut() {
            member.assignment.clear();
            if let Some(request) = member.syncing.take() {
                waiting.push((member.id.clone(), request));
            }
        }
        for (member_id, request) in waiting {
            self.refuse_sync(request, ErrorCode::REBALANCE_IN_PROGRESS);
            self.renew_session(group, &member_id);
        }
    }

    /// Gives every parked sync its assignment.
    pub(super) fn hand_out_assignments(&mut self, group: &mut Live) {
        let (protocol_type, protocol_name) = (group.protocol_type.clone(), group.protocol.clone());
        let mut waiting = Vec::new();
        for member in group.members_mut() {
            if let Some(request) = member.syncing.take() {
                waiting.push((member.id.clone(), request, member.assignment.clone()));
            }
        }
        for (member_id, request, assignment) in waiting {
            let synced = Synced {
                error: ErrorCode::NONE,
                protocol_type: protocol_type.clone(),
                protocol_name: protocol_name.clone(),
                assignment,
            };
            self.reply(request, Reply::Synced(synced));
            self.renew_session(group, &member_id);
        }
    }
}
