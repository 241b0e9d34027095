//! ApiVersions: which APIs and versions, and which features, a broker has. The first request on a connection.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Asks a broker what it speaks. Answered in version 0 if it does not know the version asked in
    /// (KIP-511).
    request ApiVersionsRequest(ApiVersions, 0..=5, flexible 3) -> ApiVersionsResponse {
        client_software_name: Str,    since(3).ignorable();
        client_software_version: Str, since(3).ignorable();
        /// The cluster and node the client means to talk to (KIP-1242); `None` and -1 when it does not know.
        cluster_id: Option<Str>,      since(5).ignorable();
        node_id: i32 = -1,            since(5).ignorable();
    }

    /// What the broker speaks.
    response ApiVersionsResponse(ApiVersions, 0..=5, flexible 3) {
        error_code: ErrorCode;
        api_keys: Vec<ApiVersion>;
        throttle_time_ms: i32,                        since(1).ignorable();
        supported_features: Vec<SupportedFeatureKey>, since(3).tag(0).ignorable();
        finalized_features_epoch: i64 = -1,           since(3).tag(1).ignorable();
        finalized_features: Vec<FinalizedFeatureKey>, since(3).tag(2).ignorable();
        zk_migration_ready: bool,                     since(3).tag(3).ignorable();
    }

    /// One API with the versions the broker serves.
    struct ApiVersion {
        api_key: i16;
        min_version: i16;
        max_version: i16;
    }

    /// A feature with the levels the broker could run at. Before version 4, one whose lowest level is 0
    /// must be left out.
    struct SupportedFeatureKey {
        name: Str;
        min_version: i16;
        max_version: i16;
    }

    /// A feature with the level it runs at: `transaction.version` 2 switches clients to KIP-890.
    struct FinalizedFeatureKey {
        name: Str;
        max_version_level: i16;
        min_version_level: i16;
    }
}
