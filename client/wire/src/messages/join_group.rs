//! JoinGroup: become a member of a classic group and wait for the rebalance to end.

use bytes::Bytes;

use crate::schema::{always, schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// A member joins or joins again. From version 4 a first join is told its id and must come back
    /// (KIP-394).
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

    /// An assignor the member can work with, and what it wants to say to it.
    struct JoinGroupRequestProtocol {
        name: Str;
        metadata: Bytes;
    }

    /// The new generation. Only the leader gets the members, and then assigns (unless told to skip,
    /// KIP-814).
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

    /// A member, and what it said to the chosen assignor.
    struct JoinGroupResponseMember {
        member_id: Str;
        group_instance_id: Option<Str>, since(5).ignorable();
        metadata: Bytes;
    }
}
