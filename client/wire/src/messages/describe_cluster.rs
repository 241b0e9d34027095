//! DescribeCluster: the cluster id, its brokers and its controller.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Asks for the brokers, or the controllers (`endpoint_type` 1 or 2).
    request DescribeClusterRequest(DescribeCluster, 0..=2, flexible 0) -> DescribeClusterResponse {
        include_cluster_authorized_operations: bool;
        endpoint_type: i8 = 1,        since(1);
        include_fenced_brokers: bool, since(2);
    }

    /// The cluster.
    response DescribeClusterResponse(DescribeCluster, 0..=2, flexible 0) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        endpoint_type: i8 = 1, since(1);
        cluster_id: Str;
        controller_id: i32 = -1;
        brokers: Vec<DescribeClusterBroker>;
        cluster_authorized_operations: i32 = i32::MIN;
    }

    /// A broker and where to reach it.
    struct DescribeClusterBroker {
        broker_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>;
        is_fenced: bool, since(2);
    }
}
