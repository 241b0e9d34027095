//! IncrementalAlterConfigs: set, delete, append to or subtract from single configs.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Changes to make, or only to check.
    request IncrementalAlterConfigsRequest(IncrementalAlterConfigs, 0..=1, flexible 1)
        -> IncrementalAlterConfigsResponse {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }

    /// A resource (types as in DescribeConfigs) and its changes.
    struct AlterConfigsResource {
        resource_type: i8;
        resource_name: Str;
        configs: Vec<AlterableConfig>;
    }

    /// One change: `config_operation` 0 set, 1 delete, 2 append, 3 subtract.
    struct AlterableConfig {
        name: Str;
        config_operation: i8;
        value: Option<Str> = Some(Str::default());
    }

    /// What became of each.
    response IncrementalAlterConfigsResponse(IncrementalAlterConfigs, 0..=1, flexible 1) {
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
