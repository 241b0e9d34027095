//! UpdateFeatures: raises and lowers finalised features, all of a request or none.

use std::collections::BTreeSet;

use logmill_wire::messages::update_features::{FeatureUpdateKey, UpdatableFeatureResult};
use logmill_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use logmill_wire::{ErrorCode, Str};

use super::{Call, told};
use crate::features::{Direction, FeatureUpdate, UpdateFeaturesError};

/// The first version with three kinds of change in place of one permission.
const KINDS_FROM: i16 = 1;
/// The last version whose answer speaks of each feature.
const EACH_UNTIL: i16 = 1;
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

pub(crate) async fn handle(call: Call<'_>, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let names: Vec<Str> = request.feature_updates.iter().map(|update| update.feature.clone()).collect();
    let updates = match updates(request.feature_updates, call.version) {
        Ok(updates) => updates,
        Err(why) => return refused(ErrorCode::INVALID_REQUEST, why),
    };
    let node = call.context.node.node_id;
    match call.context.features.update(node, &updates, request.validate_only).await {
        Ok(()) => {
            let done =
                |feature| UpdatableFeatureResult { feature, error_message: None, ..Default::default() };
            let each = call.version <= EACH_UNTIL;
            UpdateFeaturesResponse {
                error_message: None,
                results: if each { names.into_iter().map(done).collect() } else { Vec::new() },
                ..UpdateFeaturesResponse::default()
            }
        }
        Err(error @ UpdateFeaturesError::Version { .. }) => {
            refused(ErrorCode::INVALID_UPDATE_VERSION, error.to_string())
        }
        Err(error) => refused(ErrorCode::FEATURE_UPDATE_FAILED, error.to_string()),
    }
}

fn updates(wanted: Vec<FeatureUpdateKey>, version: i16) -> Result<Vec<FeatureUpdate>, String> {
    let mut seen = BTreeSet::new();
    let mut updates = Vec::with_capacity(wanted.len());
    for update in wanted {
        let feature = update.feature.to_string();
        if feature.is_empty() || !seen.insert(feature.clone()) {
            return Err(format!("feature {feature:?} is named twice in this request, or has no name"));
        }
        let direction = match update.upgrade_type {
            _ if version < KINDS_FROM && update.allow_downgrade => Direction::UpOrDown,
            _ if version < KINDS_FROM => Direction::Up,
            UPGRADE => Direction::Up,
            // Nothing is lost in either way: what the lower level cannot say is kept.
            SAFE_DOWNGRADE | UNSAFE_DOWNGRADE => Direction::UpOrDown,
            other => return Err(format!("there is no upgrade type {other}")),
        };
        updates.push(FeatureUpdate { feature, level: update.max_version_level, direction });
    }
    Ok(updates)
}

fn refused(error_code: ErrorCode, message: String) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse {
        error_code,
        error_message: Some(told(&message)),
        ..UpdateFeaturesResponse::default()
    }
}
