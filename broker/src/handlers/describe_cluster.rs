//! DescribeCluster: this node.

use logmill_wire::messages::describe_cluster::DescribeClusterBroker;
use logmill_wire::messages::{DescribeClusterRequest, DescribeClusterResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use crate::security::Resource;

/// The endpoints that a broker can describe.
const BROKERS: i8 = 1;
/// Those that it cannot.
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(call: Call<'_>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let node = &call.context.node;
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((ErrorCode::MISMATCHED_ENDPOINT_TYPE, "this is a broker, not a controller")),
        _ => Some((ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, "endpoints are brokers (1) and controllers (2)")),
    };
    if let Some((error_code, why)) = refusal {
        return DescribeClusterResponse {
            error_code,
            error_message: Some(Str::from_static(why)),
            endpoint_type: request.endpoint_type,
            ..DescribeClusterResponse::default()
        };
    }
    DescribeClusterResponse {
        cluster_id: Str::from(&node.cluster_id),
        controller_id: node.node_id,
        brokers: vec![DescribeClusterBroker {
            broker_id: node.node_id,
            host: Str::from(&node.advertised.0),
            port: i32::from(node.advertised.1),
            rack: None,
            is_fenced: false,
        }],
        cluster_authorized_operations: call.access.operations(
            call.session.principal(),
            Resource::Cluster,
            request.include_cluster_authorized_operations,
        ),
        ..DescribeClusterResponse::default()
    }
}
