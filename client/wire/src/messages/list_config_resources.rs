//! ListConfigResources: what has configs (version 0: client metrics only).

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Types of resources, as in DescribeConfigs; none for all.
    request ListConfigResourcesRequest(ListConfigResources, 0..=1, flexible 0)
        -> ListConfigResourcesResponse {
        resource_types: Vec<i8>, since(1);
    }

    /// The resources.
    response ListConfigResourcesResponse(ListConfigResources, 0..=1, flexible 0) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        config_resources: Vec<ConfigResource>;
    }

    /// One resource.
    struct ConfigResource {
        resource_name: Str;
        resource_type: i8 = 16, since(1).ignorable();
    }
}
