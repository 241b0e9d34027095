//! Heartbeat: still there; and is the generation still the same?

use super::command::Heartbeat;
use super::live::Live;
use super::reply::Reply;
use super::state::GroupState;
use super::turn::Turn;
use crate::{ErrorCode, RequestId};

impl Turn<'_> {
    pub(super) fn heartbeat(&mut self, request: RequestId, heartbeat: &Heartbeat) {
        if heartbeat.group.is_empty() {
            return self.reply(request, Reply::Heartbeat(ErrorCode::INVALID_GROUP_ID));
        }
        if self.consumer_group(&heartbeat.group).is_some() {
            let error = self.heartbeat_consumer_group(heartbeat).err().unwrap_or(ErrorCode::NONE);
            return self.reply(request, Reply::Heartbeat(error));
        }
        let group = self.open(&heartbeat.group);
        let error = match check(&group, heartbeat) {
            Err(error) => error,
            Ok(()) => {
                self.renew_session(&group, &heartbeat.member_id);
                match group.state {
                    GroupState::PreparingRebalance => ErrorCode::REBALANCE_IN_PROGRESS,
                    _ => ErrorCode::NONE,
                }
            }
        };
        self.close(group);
        self.reply(request, Reply::Heartbeat(error));
    }
}

fn check(group: &Live, heartbeat: &Heartbeat) -> Result<(), ErrorCode> {
    group.check_member(&heartbeat.member_id, heartbeat.instance_id.as_ref())?;
    if heartbeat.generation == group.generation { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
}
