//! UnregisterBroker: forgets a broker that will not come back.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// The broker.
    request UnregisterBrokerRequest(UnregisterBroker, 0..=0, flexible 0) -> UnregisterBrokerResponse {
        broker_id: i32;
    }

    /// What became of it.
    response UnregisterBrokerResponse(UnregisterBroker, 0..=0, flexible 0) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
    }
}
