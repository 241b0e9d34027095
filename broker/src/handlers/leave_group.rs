//! LeaveGroup: stop being a member, or remove members.

use logmill_coordinator::groups::{Command, Leave, LeavingMember, Left, Reply};
use logmill_wire::ErrorCode;
use logmill_wire::messages::leave_group::MemberResponse;
use logmill_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::Call;
use super::groups::ask;

/// From this version on several members may leave at once, each with an error of its own.
const SEVERAL_FROM: i16 = 3;

pub(crate) async fn handle(call: Call<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group = request.group_id;
    let members = if call.version >= SEVERAL_FROM {
        let leaving = |member: logmill_wire::messages::leave_group::MemberIdentity| LeavingMember {
            member_id: member.member_id,
            instance_id: member.group_instance_id,
        };
        request.members.into_iter().map(leaving).collect()
    } else {
        vec![LeavingMember { member_id: request.member_id, instance_id: None }]
    };
    let leave = Leave { group: group.clone(), members };
    let left = ask(&call, &group, Command::Leave(leave), |reply| match reply {
        Reply::Left(left) => Some(left),
        _ => None,
    })
    .await;
    respond(left, call.version)
}

fn respond(left: Result<Left, ErrorCode>, version: i16) -> LeaveGroupResponse {
    let left = match left {
        Ok(left) => left,
        Err(error_code) => return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() },
    };
    if version < SEVERAL_FROM {
        let only = left.members.first().map_or(ErrorCode::NONE, |member| member.error);
        let error_code = if left.error == ErrorCode::NONE { only } else { left.error };
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let members = left
        .members
        .into_iter()
        .map(|member| MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.instance_id,
            error_code: member.error,
        })
        .collect();
    LeaveGroupResponse { error_code: left.error, members, ..LeaveGroupResponse::default() }
}

#[cfg(test)]
mod tests {
    use logmill_coordinator::groups::LeftMember;

    use super::*;

    #[test]
    fn an_old_client_gets_its_members_error_as_the_whole() {
        let left = |error| Left {
            error: ErrorCode::NONE,
            members: vec![LeftMember { member_id: "m".into(), instance_id: None, error }],
        };
        let old = respond(Ok(left(ErrorCode::UNKNOWN_MEMBER_ID)), 2);
        assert_eq!((old.error_code, old.members.len()), (ErrorCode::UNKNOWN_MEMBER_ID, 0));
        let new = respond(Ok(left(ErrorCode::UNKNOWN_MEMBER_ID)), 3);
        assert_eq!(new.error_code, ErrorCode::NONE);
        assert_eq!(new.members[0].error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    }
}
