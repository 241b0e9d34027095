//! DescribeConfigs: configs of topics and brokers, with where each value comes from.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Resources whose configs are asked for.
    request DescribeConfigsRequest(DescribeConfigs, 1..=4, flexible 4) -> DescribeConfigsResponse {
        resources: Vec<DescribeConfigsResource>;
        include_synonyms: bool;
        include_documentation: bool, since(3);
    }

    /// Resource type 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group; all of its configs,
    /// or some.
    struct DescribeConfigsResource {
        resource_type: i8;
        resource_name: Str;
        configuration_keys: Option<Vec<Str>> = Some(Vec::new());
    }

    /// Their configs.
    response DescribeConfigsResponse(DescribeConfigs, 1..=4, flexible 4) {
        throttle_time_ms: i32;
        results: Vec<DescribeConfigsResult>;
    }

    /// The configs of one resource.
    struct DescribeConfigsResult {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        resource_type: i8;
        resource_name: Str;
        configs: Vec<DescribeConfigsResourceResult>;
    }

    /// One config, its value, and where that comes from (`config_source`: 1 topic, 2 and 3 dynamic broker,
    /// 4 static broker, 5 default).
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

    /// A place the value was looked for in, in order.
    struct DescribeConfigsSynonym {
        name: Str;
        value: Option<Str> = Some(Str::default());
        source: i8;
    }
}
