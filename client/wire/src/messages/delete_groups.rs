//! DeleteGroups: delete empty groups with their offsets.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Groups to delete.
    request DeleteGroupsRequest(DeleteGroups, 0..=3, flexible 2) -> DeleteGroupsResponse {
        groups_names: Vec<Str>;
    }

    /// What became of each.
    response DeleteGroupsResponse(DeleteGroups, 0..=3, flexible 2) {
        throttle_time_ms: i32;
        results: Vec<DeletableGroupResult>;
    }

    /// One group.
    struct DeletableGroupResult {
        group_id: Str;
        error_code: ErrorCode;
        error_message: Option<Str>, since(3).ignorable();
    }
}
