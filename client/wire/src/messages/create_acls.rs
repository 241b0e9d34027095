//! CreateAcls: adds rules of who may do what.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Rules.
    request CreateAclsRequest(CreateAcls, 1..=3, flexible 2) -> CreateAclsResponse {
        creations: Vec<AclCreation>;
    }

    /// One rule.
    struct AclCreation {
        resource_type: i8;
        resource_name: Str;
        resource_pattern_type: i8 = 3;
        principal: Str;
        host: Str;
        operation: i8;
        permission_type: i8;
    }

    /// What became of each, in order.
    response CreateAclsResponse(CreateAcls, 1..=3, flexible 2) {
        throttle_time_ms: i32;
        results: Vec<AclCreationResult>;
    }

    /// One rule.
    struct AclCreationResult {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
    }
}
