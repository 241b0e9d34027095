//! DescribeClientQuotas: which quotas are set for users, clients and addresses.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Entities that match all components; `strict`: and have no other parts.
    request DescribeClientQuotasRequest(DescribeClientQuotas, 0..=1, flexible 1)
        -> DescribeClientQuotasResponse {
        components: Vec<ComponentData>;
        strict: bool;
    }

    /// `entity_type` is `user`, `client-id` or `ip`; `match_type` 0 this name, 1 the default, 2 any name.
    struct ComponentData {
        entity_type: Str;
        match_type: i8;
        match_: Option<Str> = Some(Str::default());
    }

    /// The quotas.
    response DescribeClientQuotasResponse(DescribeClientQuotas, 0..=1, flexible 1) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        entries: Option<Vec<EntryData>> = Some(Vec::new());
    }

    /// Quotas of one entity.
    struct EntryData {
        entity: Vec<EntityData>;
        values: Vec<ValueData>;
    }

    /// A part of what makes an entity; a null name is the default.
    struct EntityData {
        entity_type: Str;
        entity_name: Option<Str> = Some(Str::default());
    }

    /// One quota.
    struct ValueData {
        key: Str;
        value: f64;
    }
}
