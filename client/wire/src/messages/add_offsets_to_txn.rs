//! AddOffsetsToTxn: a group whose offsets a transaction is about to commit (before KIP-890 part 2).

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    request AddOffsetsToTxnRequest(AddOffsetsToTxn, 0..=4, flexible 3) -> AddOffsetsToTxnResponse {
        transactional_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        group_id: Str;
    }

    response AddOffsetsToTxnResponse(AddOffsetsToTxn, 0..=4, flexible 3) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
    }
}
