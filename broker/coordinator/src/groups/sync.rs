//! SyncGroup: the leader brings the assignment, everybody fetches its part.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::command::Sync;
use super::live::Live;
use super::reply::{Reply, Synced};
use super::state::GroupState;
use super::turn::Turn;
use super::waiting::Timer;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    pub(super) fn sync(&mut self, request: RequestId, sync: &Sync) {
        if sync.group.is_empty() {
            return self.refuse_sync(request, ErrorCode::INVALID_GROUP_ID);
        }
        if self.consumer_group(&sync.group).is_some() {
            return self.sync_consumer_group(request, sync);
        }
        let mut group = self.open(&sync.group);
        match check(&group, sync) {
            Err(error) => self.refuse_sync(request, error),
            Ok(()) if group.state == GroupState::CompletingRebalance => {
                self.park_sync(request, &mut group, sync);
            }
            Ok(()) => {
                self.synced(&mut group, &sync.member_id);
                let assignment =
                    group.member(&sync.member_id).map(|member| member.assignment.clone()).unwrap_or_default();
                let synced = Synced {
                    error: ErrorCode::NONE,
                    protocol_type: group.protocol_type.clone(),
                    protocol_name: group.protocol.clone(),
                    assignment,
                };
                self.renew_session(&group, &sync.member_id);
                self.reply(request, Reply::Synced(synced));
            }
        }
        self.close(group);
    }

    fn park_sync(&mut self, request: RequestId, group: &mut Live, sync: &Sync) {
        if group.is_leader(&sync.member_id) && self.is_too_large(group, sync) {
            return self.refuse_sync(request, ErrorCode::RECORD_LIST_TOO_LARGE);
        }
        self.synced(group, &sync.member_id);
        if let Some(member) = group.member_mut(&sync.member_id)
            && let Some(earlier) = member.syncing.replace(request)
        {
            self.refuse_sync(earlier, ErrorCode::REBALANCE_IN_PROGRESS);
        }
        if group.is_leader(&sync.member_id) {
            self.assign(group, sync);
        }
    }

    /// The group becomes stable. Whom the leader forgot gets an empty assignment.
    fn assign(&mut self, group: &mut Live, sync: &Sync) {
        let mut assignments: BTreeMap<&Str, &Bytes> =
            sync.assignments.iter().map(|(member_id, assignment)| (member_id, assignment)).collect();
        for member in group.members_mut() {
            member.assignment =
                assignments.remove(&member.id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default();
        }
        group.state = GroupState::Stable;
        self.record(group.record(self.now));
        self.hand_out_assignments(group);
    }

    /// Whether the group with this assignment could not be kept.
    fn is_too_large(&self, group: &Live, sync: &Sync) -> bool {
        let assigned = sync.assignments.iter().map(|(_, assignment)| assignment.len());
        let protocol = group.protocol.as_deref().unwrap_or_default();
        let metadata: usize = group.members().map(|member| member.metadata(protocol).len()).sum();
        assigned.clone().any(|bytes| bytes > self.settings.max_member_bytes)
            || assigned.sum::<usize>() + metadata > self.settings.max_group_bytes
    }

    fn synced(&mut self, group: &mut Live, member_id: &Str) {
        if group.unsynced.remove(member_id) && group.unsynced.is_empty() {
            self.cancel_timer(&group.id, Timer::Sync);
        }
    }
}

fn check(group: &Live, sync: &Sync) -> Result<(), ErrorCode> {
    group.check_member(&sync.member_id, sync.instance_id.as_ref())?;
    let differs = |theirs: &Option<Str>, ours: &Option<Str>| theirs.is_some() && theirs != ours;
    if sync.generation != group.generation {
        return Err(ErrorCode::ILLEGAL_GENERATION);
    }
    if differs(&sync.protocol_type, &group.protocol_type) || differs(&sync.protocol_name, &group.protocol) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    match group.state {
        GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        GroupState::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
        _ => Err(ErrorCode::UNKNOWN_MEMBER_ID),
    }
}
