//! JoinGroup: become a member, or stay one in the next generation.

use super::command::Join;
use super::live::Live;
use super::member::Member;
use super::reply::{Joined, Reply};
use super::state::GroupState;
use super::turn::{Turn, is_group_id};
use super::waiting::Timer;
use crate::{ErrorCode, RequestId, Str};

/// From this version a member without an id is first told one (KIP-394).
pub(super) const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version a static leader that comes back leads on without making a new assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

impl Turn<'_> {
    pub(super) fn join(&mut self, request: RequestId, join: &Join) {
        if let Err(error) = self.check_join(join) {
            return self.refuse_join(request, &join.member_id, error);
        }
        if let Some(consumer) = self.consumer_group(&join.group) {
            if !consumer.is_empty() {
                return self.join_consumer_group(request, join);
            }
            self.delete_consumer_group(&join.group);
        }
        let mut group = self.open(&join.group);
        if !accepts(&group, join, self.settings.max_members) {
            self.refuse_join(request, &Str::default(), ErrorCode::GROUP_MAX_SIZE_REACHED);
            if group.member(&join.member_id).is_some() {
                self.remove_member(&mut group, &join.member_id);
                self.members_changed(&mut group);
            }
        } else if !group.is_compatible(&join.protocol_type, &join.protocols) {
            self.refuse_join(request, &join.member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        } else if join.member_id.is_empty() {
            self.join_as_new(request, join, &mut group);
        } else if group.expected.contains(&join.member_id) && join.instance_id.is_none() {
            self.add_member(request, join, &mut group, join.member_id.detached());
        } else if let Err(error) = group.check_member(&join.member_id, join.instance_id.as_ref()) {
            self.refuse_join(request, &join.member_id, error);
        } else {
            self.join_again(request, join, &mut group);
        }
        self.close(group);
    }

    fn check_join(&self, join: &Join) -> Result<(), ErrorCode> {
        let settings = self.settings;
        let sessions = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
        if !is_group_id(&join.group) {
            Err(ErrorCode::INVALID_GROUP_ID)
        } else if join.is_too_large(settings.max_member_bytes) {
            Err(ErrorCode::INVALID_REQUEST)
        } else if !sessions.contains(&join.session_timeout_ms) {
            Err(ErrorCode::INVALID_SESSION_TIMEOUT)
        } else if self.is_owned(&join.group) {
            Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
        } else if !join.member_id.is_empty() && !self.exists(&join.group) {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        } else {
            Ok(())
        }
    }

    fn join_as_new(&mut self, request: RequestId, join: &Join, group: &mut Live) {
        let fresh = join.fresh;
        match &join.instance_id {
            Some(instance_id) => {
                let id = Str::from(format!("{instance_id}-{fresh}"));
                match group.member_of_instance(instance_id).cloned() {
                    Some(old_id) => self.replace_static(request, join, group, &old_id, id),
                    None => self.add_member(request, join, group, id),
                }
            }
            None => {
                let id = Str::from(format!("{}-{fresh}", join.client_id));
                if join.version >= MEMBER_ID_REQUIRED_FROM {
                    group.expected.insert(id.clone());
                    self.set_timer(&group.id, Timer::Session(id.clone()), join.session_timeout_ms);
                    self.refuse_join(request, &id, ErrorCode::MEMBER_ID_REQUIRED);
                } else {
                    self.add_member(request, join, group, id);
                }
            }
        }
    }

    fn add_member(&mut self, request: RequestId, join: &Join, group: &mut Live, id: Str) {
        if group.member_count() == 0 {
            group.protocol_type = Some(join.protocol_type.detached());
        }
        if let Some(initial) = &mut group.initial {
            initial.grew = true;
        }
        group.add(Member::joining(id.clone(), join, request));
        // A new member cannot send heartbeats before it has been told its id, and nothing tells us that its
        // client has gone: its join is not parked for ever.
        let timeout_ms = self.settings.new_member_join_timeout_ms;
        self.set_timer(&group.id, Timer::Session(id), timeout_ms);
        self.members_changed(group);
    }

    /// A member of the group joins again.
    fn join_again(&mut self, request: RequestId, join: &Join, group: &mut Live) {
        let changed = group.member(&join.member_id).is_some_and(|member| member.protocols != join.protocols);
        let rebalances = match group.state {
            // Told the generation already, it asks for it again: its answer was lost.
            GroupState::CompletingRebalance => changed,
            // The leader asks for a new assignment by joining; a follower that brings nothing new does not.
            GroupState::Stable => changed || group.is_leader(&join.member_id),
            _ => true,
        };
        if rebalances {
            self.park_join(request, join, group, &join.member_id);
            self.members_changed(group);
        } else {
            let joined = group.joined(&join.member_id.detached());
            self.renew_session(group, &join.member_id);
            self.reply(request, Reply::Joined(joined));
        }
    }

    /// Takes over what a member's new join says and parks it. An earlier join still parked is a request its
    /// client has given up: it is told to try again.
    fn park_join(&mut self, request: RequestId, join: &Join, group: &mut Live, member_id: &Str) {
        group.set_protocols(member_id, join.owned_protocols());
        let Some(member) = group.member_mut(member_id) else { return };
        member.rebalance_timeout_ms = join.rebalance_timeout();
        member.session_timeout_ms = join.session_timeout_ms;
        if let Some(earlier) = member.joining.replace(request) {
            let id = member.id.clone();
            self.refuse_join(earlier, &id, ErrorCode::REBALANCE_IN_PROGRESS);
        }
    }

    /// A static member comes back without its member id: the old id is fenced, the new one takes its place,
    /// and nothing moves unless it changes what the group can agree on (KIP-345).
    fn replace_static(&mut self, request: RequestId, join: &Join, group: &mut Live, old_id: &Str, id: Str) {
        let old_leader = group.leader.clone().unwrap_or_default();
        let mut member = Member::joining(id.clone(), join, request);
        member.is_new = false;
        let Some(old) = group.replace(old_id, member) else { return };
        self.cancel_timer(&group.id, Timer::Session(old_id.clone()));
        self.answer_parked(old.joining, old.syncing, ErrorCode::FENCED_INSTANCE_ID, old_id);
        self.renew_session(group, &id);
        let keeps_protocol = group.protocol == group.select_protocol();
        match group.state {
            GroupState::Stable if keeps_protocol => {
                if let Some(member) = group.member_mut(&id) {
                    member.joining = None;
                }
                self.record(group.record(self.now));
                let joined = rejoined(group, &id, old_leader, join.version);
                self.reply(request, Reply::Joined(joined));
            }
            // The leader may have been given the old id to assign to: begin again.
            _ => self.members_changed(group),
        }
    }
}

/// What a static member that came back to a stable group is told. Clients that do not know
/// `skip_assignment` are not told that they lead, or they would make an assignment nobody waits for.
fn rejoined(group: &Live, id: &Str, old_leader: Str, version: i16) -> Joined {
    let joined = group.joined(id);
    if version >= SKIP_ASSIGNMENT_FROM {
        Joined { skip_assignment: group.is_leader(id), ..joined }
    } else {
        Joined { leader: old_leader, members: Vec::new(), ..joined }
    }
}

/// Whether there is room. In a rebalance those count who have joined, so that the last to come are turned
/// away when the limit was lowered.
fn accepts(group: &Live, join: &Join, max_members: usize) -> bool {
    let known = group.member(&join.member_id);
    let returns =
        join.instance_id.as_ref().is_some_and(|instance| group.member_of_instance(instance).is_some());
    match group.state {
        GroupState::CompletingRebalance | GroupState::Stable => {
            known.is_some() || returns || group.member_count() < max_members
        }
        GroupState::PreparingRebalance => {
            known.is_some_and(|member| member.joining.is_some()) || group.joining_count() < max_members
        }
        _ => true,
    }
}
