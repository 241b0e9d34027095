//! AddOffsetsToTxn: a group whose offsets a transaction is about to commit (before KIP-890).

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Adds the group's partition of `__consumer_offsets` to the transaction.
    request AddOffsetsToTxnRequest(AddOffsetsToTxn, 0..=4, flexible 3) -> AddOffsetsToTxnResponse {
        transactional_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        group_id: Str;
    }

    /// Whether it is part of it now.
    response AddOffsetsToTxnResponse(AddOffsetsToTxn, 0..=4, flexible 3) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
    }
}
