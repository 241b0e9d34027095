//! ApiVersions: what we speak, so that the client can choose.

use logmill_wire::messages::api_versions::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use logmill_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use logmill_wire::{ApiKey, ErrorCode, Str};

use super::Call;
use crate::context::NodeInfo;
use crate::dispatch::advertised::{ADVERTISED, lowest_said};
use crate::features::{Finalized, SUPPORTED};

/// From this version on a client says what software it is.
const NAMES_FROM: i16 = 3;
/// From this version on a client may be told of a feature whose lowest level is 0 (KAFKA-17011).
const LEVEL_ZERO_FROM: i16 = 4;

pub(crate) async fn handle(call: Call<'_>, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let names = [&request.client_software_name, &request.client_software_version];
    if call.version >= NAMES_FROM && !names.into_iter().all(|name| is_software_name(name)) {
        return refused(ErrorCode::INVALID_REQUEST);
    }
    if is_elsewhere(&call.context.node, &request) {
        return refused(ErrorCode::REBOOTSTRAP_REQUIRED);
    }
    respond(call.version, &call.context.features.finalized())
}

fn refused(error_code: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() }
}

/// Whether the client means to talk to another cluster or node than this one (KIP-1242, version 5).
fn is_elsewhere(node: &NodeInfo, request: &ApiVersionsRequest) -> bool {
    request.cluster_id.as_ref().is_some_and(|id| **id != *node.cluster_id)
        || (request.node_id >= 0 && request.node_id != node.node_id)
}

/// The answer, in the layout of version 0, to a version that we do not know (KIP-511).
pub(crate) fn unknown_version() -> ApiVersionsResponse {
    let only = ADVERTISED.iter().filter(|(api, _)| *api == ApiKey::ApiVersions).map(said).collect();
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: only,
        ..ApiVersionsResponse::default()
    }
}

fn respond(version: i16, features: &Finalized) -> ApiVersionsResponse {
    let supported = SUPPORTED.iter().map(|(name, levels)| SupportedFeatureKey {
        name: Str::from_static(name),
        min_version: *levels.start(),
        max_version: *levels.end(),
    });
    // Level 0 is not finalised.
    let finalized = features.levels.iter().filter(|(_, level)| **level > 0);
    ApiVersionsResponse {
        api_keys: ADVERTISED.iter().map(said).collect(),
        supported_features: supported
            .filter(|feature| feature.min_version > 0 || version >= LEVEL_ZERO_FROM)
            .collect(),
        finalized_features_epoch: features.epoch,
        finalized_features: finalized
            .map(|(name, level)| FinalizedFeatureKey {
                name: Str::from(name),
                max_version_level: *level,
                min_version_level: *level,
            })
            .collect(),
        ..ApiVersionsResponse::default()
    }
}

fn said((api, versions): &(ApiKey, std::ops::RangeInclusive<i16>)) -> ApiVersion {
    ApiVersion {
        api_key: api.code(),
        min_version: lowest_said(*api, *versions.start()),
        max_version: *versions.end(),
    }
}

/// Kafka's rule: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_software_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let ends = [name.bytes().next(), name.bytes().last()];
    ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric())) && name.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_rule() {
        for good in ["librdkafka", "2.0.2", "a", "apache-kafka-java", "1-2.3"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "caf\u{e9}", "a\nb", "a_b"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }

    #[test]
    fn produce_says_zero_and_features_depend_on_the_version() {
        let newest = respond(4, &Finalized::default());
        let produce = newest.api_keys.iter().find(|said| said.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        assert_eq!(newest.supported_features.len(), SUPPORTED.len());
        let older = respond(3, &Finalized::default());
        assert!(older.supported_features.is_empty());
        assert!(older.finalized_features.iter().any(|feature| feature.max_version_level == 2));
        let lowered = Finalized { epoch: 7, levels: [("transaction.version".to_owned(), 0)].into() };
        let lowered = respond(4, &lowered);
        assert_eq!((lowered.finalized_features_epoch, lowered.finalized_features.len()), (7, 0));
    }

    #[test]
    fn a_client_that_looks_for_another_node_is_sent_back_to_its_bootstrap() {
        let node = NodeInfo {
            node_id: 1,
            cluster_id: "c".into(),
            advertised: ("h".into(), 9092),
            data_dir: "/d".into(),
        };
        let asks = |cluster_id: Option<&str>, node_id| ApiVersionsRequest {
            cluster_id: cluster_id.map(Str::from),
            node_id,
            ..ApiVersionsRequest::default()
        };
        for (cluster, id, elsewhere) in [
            (None, -1, false),
            (Some("c"), 1, false),
            (Some("d"), 1, true),
            (None, 2, true),
            (Some("c"), -1, false),
        ] {
            assert_eq!(is_elsewhere(&node, &asks(cluster, id)), elsewhere, "{cluster:?} {id}");
        }
    }

    #[test]
    fn an_unknown_version_learns_the_known_ones() {
        let response = unknown_version();
        assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(response.api_keys, [ApiVersion { api_key: 18, min_version: 0, max_version: 5 }]);
    }
}
