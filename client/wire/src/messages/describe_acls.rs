//! DescribeAcls: who may do what.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// A filter; null matches anything.
    request DescribeAclsRequest(DescribeAcls, 1..=3, flexible 2) -> DescribeAclsResponse {
        resource_type_filter: i8;
        resource_name_filter: Option<Str> = Some(Str::default());
        pattern_type_filter: i8 = 3;
        principal_filter: Option<Str> = Some(Str::default());
        host_filter: Option<Str> = Some(Str::default());
        operation: i8;
        permission_type: i8;
    }

    /// What matches.
    response DescribeAclsResponse(DescribeAcls, 1..=3, flexible 2) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        resources: Vec<DescribeAclsResource>;
    }

    /// One resource.
    struct DescribeAclsResource {
        resource_type: i8;
        resource_name: Str;
        pattern_type: i8 = 3;
        acls: Vec<AclDescription>;
    }

    /// One rule.
    struct AclDescription {
        principal: Str;
        host: Str;
        operation: i8;
        permission_type: i8;
    }
}
