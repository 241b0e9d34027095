//! EndTxn: commit or abort a transaction.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Ends the open transaction.
    request EndTxnRequest(EndTxn, 0..=5, flexible 3) -> EndTxnResponse {
        transactional_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        committed: bool;
    }

    /// From version 5 with the id and epoch to go on with (KIP-890).
    response EndTxnResponse(EndTxn, 0..=5, flexible 3) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        producer_id: i64 = -1,    since(5).ignorable();
        producer_epoch: i16 = -1, since(5).ignorable();
    }
}
