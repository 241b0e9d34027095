//! LeaveGroup: stop being a member, or remove others (KIP-345).

use super::command::{Leave, LeavingMember};
use super::live::Live;
use super::reply::{Left, LeftMember, Reply};
use super::state::GroupState;
use super::turn::Turn;
use super::waiting::Timer;
use crate::{ErrorCode, RequestId};

impl Turn<'_> {
    pub(super) fn leave(&mut self, request: RequestId, leave: &Leave) {
        if leave.group.is_empty() {
            let left = Left { error: ErrorCode::INVALID_GROUP_ID, members: Vec::new() };
            return self.reply(request, Reply::Left(left));
        }
        if self.consumer_group(&leave.group).is_some() {
            let left = self.leave_as_classic(leave);
            return self.reply(request, Reply::Left(left));
        }
        let mut group = self.open(&leave.group);
        let mut members = Vec::with_capacity(leave.members.len());
        let mut any_left = false;
        for leaving in &leave.members {
            let left = self.leave_one(&mut group, leaving);
            any_left |= left.is_ok();
            members.push(LeftMember {
                member_id: leaving.member_id.clone(),
                instance_id: leaving.instance_id.clone(),
                error: left.err().unwrap_or(ErrorCode::NONE),
            });
        }
        if any_left && group.state != GroupState::Empty {
            // As in Kafka this counts for an expected member too, though nobody was assigned to it.
            self.members_changed(&mut group);
        }
        self.close(group);
        self.reply(request, Reply::Left(Left { error: ErrorCode::NONE, members }));
    }

    fn leave_one(&mut self, group: &mut Live, leaving: &LeavingMember) -> Result<(), ErrorCode> {
        let member_id = if leaving.member_id.is_empty() {
            let instance_id = leaving.instance_id.as_ref().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            group.member_of_instance(instance_id).cloned().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?
        } else {
            leaving.member_id.clone()
        };
        if group.expected.remove(&member_id) {
            self.cancel_timer(&group.id, Timer::Session(member_id));
            return Ok(());
        }
        group.check_member(&member_id, leaving.instance_id.as_ref())?;
        self.remove_member(group, &member_id);
        Ok(())
    }
}
