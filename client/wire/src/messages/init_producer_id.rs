//! InitProducerId: a producer id and epoch; for a transactional id, this fences older producers (KIP-98).

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// A producer starts, or goes on with a higher epoch after an error (version 3, KIP-360).
    request InitProducerIdRequest(InitProducerId, 0..=5, flexible 2) -> InitProducerIdResponse {
        transactional_id: Option<Str> = Some(Str::default());
        transaction_timeout_ms: i32;
        producer_id: i64 = -1,    since(3);
        producer_epoch: i16 = -1, since(3);
    }

    /// Id and epoch to produce with.
    response InitProducerIdResponse(InitProducerId, 0..=5, flexible 2) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        producer_id: i64 = -1;
        producer_epoch: i16;
    }
}
