//! AlterClientQuotas: sets and removes quotas of users, clients and addresses.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Changes, or only to check.
    request AlterClientQuotasRequest(AlterClientQuotas, 0..=1, flexible 1) -> AlterClientQuotasResponse {
        entries: Vec<AlterQuotasEntry>;
        validate_only: bool;
    }

    /// Changes to one entity.
    struct AlterQuotasEntry {
        entity: Vec<EntityData>;
        ops: Vec<OpData>;
    }

    /// A part of what makes an entity; a null name is the default.
    struct EntityData {
        entity_type: Str;
        entity_name: Option<Str> = Some(Str::default());
    }

    /// One quota: its value, or that it goes.
    struct OpData {
        key: Str;
        value: f64;
        remove: bool;
    }

    /// What became of each.
    response AlterClientQuotasResponse(AlterClientQuotas, 0..=1, flexible 1) {
        throttle_time_ms: i32;
        entries: Vec<AlterQuotasResult>;
    }

    /// One entity.
    struct AlterQuotasResult {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        entity: Vec<EntityData>;
    }
}
