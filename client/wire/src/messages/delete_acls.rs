//! DeleteAcls: removes rules of who may do what.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Filters; what matches one goes.
    request DeleteAclsRequest(DeleteAcls, 1..=3, flexible 2) -> DeleteAclsResponse {
        filters: Vec<DeleteAclsFilter>;
    }

    /// A filter, as in DescribeAcls.
    struct DeleteAclsFilter {
        resource_type_filter: i8;
        resource_name_filter: Option<Str> = Some(Str::default());
        pattern_type_filter: i8 = 3;
        principal_filter: Option<Str> = Some(Str::default());
        host_filter: Option<Str> = Some(Str::default());
        operation: i8;
        permission_type: i8;
    }

    /// What became of each, in order.
    response DeleteAclsResponse(DeleteAcls, 1..=3, flexible 2) {
        throttle_time_ms: i32;
        filter_results: Vec<DeleteAclsFilterResult>;
    }

    /// One filter with the rules it matched.
    struct DeleteAclsFilterResult {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        matching_acls: Vec<DeleteAclsMatchingAcl>;
    }

    /// One rule.
    struct DeleteAclsMatchingAcl {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        resource_type: i8;
        resource_name: Str;
        pattern_type: i8 = 3;
        principal: Str;
        host: Str;
        operation: i8;
        permission_type: i8;
    }
}
