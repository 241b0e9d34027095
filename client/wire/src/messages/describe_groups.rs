//! DescribeGroups: state and members of classic groups.

use bytes::Bytes;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Groups asked for.
    request DescribeGroupsRequest(DescribeGroups, 0..=6, flexible 5) -> DescribeGroupsResponse {
        groups: Vec<Str>;
        include_authorized_operations: bool, since(3);
    }

    /// Their state.
    response DescribeGroupsResponse(DescribeGroups, 0..=6, flexible 5) {
        throttle_time_ms: i32, since(1).ignorable();
        groups: Vec<DescribedGroup>;
    }

    /// One group.
    struct DescribedGroup {
        error_code: ErrorCode;
        error_message: Option<Str>,            since(6);
        group_id: Str;
        group_state: Str;
        protocol_type: Str;
        protocol_data: Str;
        members: Vec<DescribedGroupMember>;
        authorized_operations: i32 = i32::MIN, since(3);
    }

    /// One member, with what it said and what it got.
    struct DescribedGroupMember {
        member_id: Str;
        group_instance_id: Option<Str>, since(4).ignorable();
        client_id: Str;
        client_host: Str;
        member_metadata: Bytes;
        member_assignment: Bytes;
    }
}
