//! FindCoordinator: on a single node, this one.

use logmill_wire::messages::find_coordinator::Coordinator;
use logmill_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use crate::context::NodeInfo;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// From this version on several coordinators are asked for at once.
const SEVERAL_FROM: i16 = 4;

pub(crate) async fn handle(call: Call<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let node = &call.context.node;
    if call.version >= SEVERAL_FROM {
        let coordinators =
            request.coordinator_keys.into_iter().map(|key| find(node, request.key_type, key)).collect();
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let found = find(node, request.key_type, request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn find(node: &NodeInfo, key_type: i8, key: Str) -> Coordinator {
    let refusal = match key_type {
        // Also for an empty name: what is asked of the coordinator then is refused by it.
        GROUP | TRANSACTION => None,
        _ => Some("there are coordinators for groups (0) and transactions (1)"),
    };
    match refusal {
        None => Coordinator {
            key,
            node_id: node.node_id,
            host: Str::from(&node.advertised.0),
            port: i32::from(node.advertised.1),
            error_code: ErrorCode::NONE,
            error_message: None,
        },
        Some(why) => Coordinator {
            key,
            node_id: -1,
            host: Str::default(),
            port: -1,
            error_code: ErrorCode::INVALID_REQUEST,
            error_message: Some(Str::from_static(why)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_node_coordinates_groups_and_transactions() {
        let node = NodeInfo {
            node_id: 1,
            cluster_id: "c".into(),
            advertised: ("broker.example".to_owned(), 9092),
            data_dir: "/d".into(),
        };
        let found = find(&node, GROUP, "g".into());
        assert_eq!((found.node_id, &*found.host, found.port), (1, "broker.example", 9092));
        assert_eq!(find(&node, TRANSACTION, "t".into()).error_code, ErrorCode::NONE);
        assert_eq!(find(&node, TRANSACTION, "".into()).error_code, ErrorCode::NONE);
        assert_eq!(find(&node, 2, "s".into()).error_code, ErrorCode::INVALID_REQUEST);
    }
}
