//! JoinGroup: become a member of a classic group and wait for the rebalance to end.

use bytes::Bytes;

use crate::schema::{always, schema, since};
use crate::{ErrorCode, Str};

schema! {
    request JoinGroupRequest(JoinGroup, 0..=9, flexible 6) -> JoinGroupResponse {
        group_id: Str;
        session_timeout_ms: i32;
        rebalance_timeout_ms: i32 = -1, since(1).ignorable();
        member_id: Str;
        group_instance_id: Option<Str>, since(5);
        protocol_type: Str;
        protocols: Vec<JoinGroupRequestProtocol>;
        reason: Option<Str>,            since(8).ignorable();
    }

    struct JoinGroupRequestProtocol {
        name: Str;
        metadata: Bytes;
    }

    response JoinGroupResponse(JoinGroup, 0..=9, flexible 6) {
        throttle_time_ms: i32,                             since(2).ignorable();
        error_code: ErrorCode;
        generation_id: i32 = -1;
        protocol_type: Option<Str>,                        since(7).ignorable();
        protocol_name: Option<Str> = Some(Str::default()), always().nullable_since(7);
        leader: Str;
        skip_assignment: bool,                             since(9);
        member_id: Str;
        members: Vec<JoinGroupResponseMember>;
    }

    struct JoinGroupResponseMember {
        member_id: Str;
        group_instance_id: Option<Str>, since(5).ignorable();
        metadata: Bytes;
    }
}
