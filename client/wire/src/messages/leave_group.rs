//! LeaveGroup: members leave a classic group.

use crate::schema::{schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// One member leaves; from version 3 several do, by member or instance id (KIP-345).
    request LeaveGroupRequest(LeaveGroup, 0..=5, flexible 4) -> LeaveGroupResponse {
        group_id: Str;
        member_id: Str,               until(2);
        members: Vec<MemberIdentity>, since(3);
    }

    /// Who leaves.
    struct MemberIdentity {
        member_id: Str;
        group_instance_id: Option<Str>;
        reason: Option<Str>, since(5).ignorable();
    }

    /// What became of each.
    response LeaveGroupResponse(LeaveGroup, 0..=5, flexible 4) {
        throttle_time_ms: i32,        since(1).ignorable();
        error_code: ErrorCode;
        members: Vec<MemberResponse>, since(3);
    }

    /// One member.
    struct MemberResponse {
        member_id: Str;
        group_instance_id: Option<Str> = Some(Str::default());
        error_code: ErrorCode;
    }
}
