//! DescribeConfigs: configs of topics and brokers, with where each value comes from.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    request DescribeConfigsRequest(DescribeConfigs, 1..=4, flexible 4) -> DescribeConfigsResponse {
        resources: Vec<DescribeConfigsResource>;
        include_synonyms: bool;
        include_documentation: bool, since(3);
    }

    struct DescribeConfigsResource {
        resource_type: i8;
        resource_name: Str;
        configuration_keys: Option<Vec<Str>> = Some(Vec::new());
    }

    response DescribeConfigsResponse(DescribeConfigs, 1..=4, flexible 4) {
        throttle_time_ms: i32;
        results: Vec<DescribeConfigsResult>;
    }

    struct DescribeConfigsResult {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        resource_type: i8;
        resource_name: Str;
        configs: Vec<DescribeConfigsResourceResult>;
    }

    struct DescribeConfigsResourceResult {
        name: Str;
        value: Option<Str> = Some(Str::default());
        read_only: bool;
        config_source: i8 = -1;
        is_sensitive: bool;
        synonyms: Vec<DescribeConfigsSynonym>;
        config_type: i8,                                   since(3).ignorable();
        documentation: Option<Str> = Some(Str::default()), since(3).ignorable();
    }

    struct DescribeConfigsSynonym {
        name: Str;
        value: Option<Str> = Some(Str::default());
        source: i8;
    }
}
