//! ListConfigResources: everything that has configs. Version 0 asks for client metrics, of which there are
//! none.

use logmill_wire::messages::list_config_resources::ConfigResource;
use logmill_wire::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use super::config_resources::{BROKER, BROKER_LOGGER, GROUP, TOPIC};

/// The first version that is about more than client metrics.
const TYPES_FROM: i16 = 1;
/// A type that exists, without any resource that has configs.
const CLIENT_METRICS: i8 = 16;

pub(crate) async fn handle(
    call: Call<'_>,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    if call.version < TYPES_FROM {
        return ListConfigResourcesResponse::default();
    }
    let known = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
    let asked = request.resource_types;
    if let Some(other) = asked.iter().find(|kind| !known.contains(kind)) {
        tracing::debug!(kind = other, "a client asks for resources of a type there is not");
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            ..ListConfigResourcesResponse::default()
        };
    }
    let wants = |kind| asked.is_empty() || asked.contains(&kind);
    let node = Str::from(call.context.node.node_id.to_string());
    let mut config_resources = Vec::new();
    if wants(TOPIC) {
        let named = |topic: &crate::topics::Topic| Str::from(&*topic.name);
        config_resources.extend(
            call.context
                .topics
                .image()
                .iter()
                .map(|topic| ConfigResource { resource_name: named(topic), resource_type: TOPIC }),
        );
    }
    for kind in [BROKER, BROKER_LOGGER] {
        if wants(kind) {
            config_resources.push(ConfigResource { resource_name: node.clone(), resource_type: kind });
        }
    }
    if wants(GROUP) {
        config_resources.extend(
            call.context
                .topics
                .configured_groups()
                .into_iter()
                .map(|group| ConfigResource { resource_name: Str::from(group), resource_type: GROUP }),
        );
    }
    ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() }
}
