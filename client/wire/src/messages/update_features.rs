//! UpdateFeatures: raises and lowers finalised features.

use crate::schema::{schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// Changes, or only to check.
    request UpdateFeaturesRequest(UpdateFeatures, 0..=2, flexible 0) -> UpdateFeaturesResponse {
        timeout_ms: i32 = 60000;
        feature_updates: Vec<FeatureUpdateKey>;
        validate_only: bool, since(1);
    }

    /// One feature. `upgrade_type` 1 only up, 2 also down when nothing is lost, 3 down whatever is lost.
    struct FeatureUpdateKey {
        feature: Str;
        max_version_level: i16;
        allow_downgrade: bool, until(0);
        upgrade_type: i8 = 1,  since(1);
    }

    /// What became of all; before version 2 also of each.
    response UpdateFeaturesResponse(UpdateFeatures, 0..=2, flexible 0) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        results: Vec<UpdatableFeatureResult>, until(1).ignorable();
    }

    /// One feature.
    struct UpdatableFeatureResult {
        feature: Str;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
    }
}
