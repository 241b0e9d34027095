//! IncrementalAlterConfigs: set, delete, append to or subtract from single configs.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    request IncrementalAlterConfigsRequest(IncrementalAlterConfigs, 0..=1, flexible 1) -> IncrementalAlterConfigsResponse {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }

    struct AlterConfigsResource {
        resource_type: i8;
        resource_name: Str;
        configs: Vec<AlterableConfig>;
    }

    struct AlterableConfig {
        name: Str;
        config_operation: i8;
        value: Option<Str> = Some(Str::default());
    }

    response IncrementalAlterConfigsResponse(IncrementalAlterConfigs, 0..=1, flexible 1) {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }

    struct AlterConfigsResourceResponse {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        resource_type: i8;
        resource_name: Str;
    }
}
