//! AlterConfigs: replaces everything that was set for a resource. The older way; what is not named goes
//! back to its default.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Resources with all the configs they are to have, or only to check.
    request AlterConfigsRequest(AlterConfigs, 0..=2, flexible 2) -> AlterConfigsResponse {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }

    /// A resource (types as in DescribeConfigs) and its configs.
    struct AlterConfigsResource {
        resource_type: i8;
        resource_name: Str;
        configs: Vec<AlterableConfig>;
    }

    /// One config.
    struct AlterableConfig {
        name: Str;
        value: Option<Str> = Some(Str::default());
    }

    /// What became of each.
    response AlterConfigsResponse(AlterConfigs, 0..=2, flexible 2) {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }

    /// One resource.
    struct AlterConfigsResourceResponse {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        resource_type: i8;
        resource_name: Str;
    }
}
