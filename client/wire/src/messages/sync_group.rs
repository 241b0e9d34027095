//! SyncGroup: the leader hands in the assignment, every member gets its own.

use bytes::Bytes;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Every member asks for its part; the leader hands in all parts.
    request SyncGroupRequest(SyncGroup, 0..=5, flexible 4) -> SyncGroupResponse {
        group_id: Str;
        generation_id: i32;
        member_id: Str;
        group_instance_id: Option<Str>, since(3);
        protocol_type: Option<Str>,     since(5).ignorable();
        protocol_name: Option<Str>,     since(5).ignorable();
        assignments: Vec<SyncGroupRequestAssignment>;
    }

    /// The part of one member.
    struct SyncGroupRequestAssignment {
        member_id: Str;
        assignment: Bytes;
    }

    /// The member's part.
    response SyncGroupResponse(SyncGroup, 0..=5, flexible 4) {
        throttle_time_ms: i32,      since(1).ignorable();
        error_code: ErrorCode;
        protocol_type: Option<Str>, since(5).ignorable();
        protocol_name: Option<Str>, since(5).ignorable();
        assignment: Bytes;
    }
}
