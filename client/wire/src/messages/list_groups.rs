//! ListGroups: all groups of a broker.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Asks for all groups, or those in some states or of some types.
    request ListGroupsRequest(ListGroups, 0..=5, flexible 3) -> ListGroupsResponse {
        states_filter: Vec<Str>, since(4);
        types_filter: Vec<Str>,  since(5);
    }

    /// The groups.
    response ListGroupsResponse(ListGroups, 0..=5, flexible 3) {
        throttle_time_ms: i32, since(1).ignorable();
        error_code: ErrorCode;
        groups: Vec<ListedGroup>;
    }

    /// One group.
    struct ListedGroup {
        group_id: Str;
        protocol_type: Str;
        group_state: Str, since(4).ignorable();
        group_type: Str,  since(5).ignorable();
    }
}
