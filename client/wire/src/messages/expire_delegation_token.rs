//! ExpireDelegationToken: a token lives shorter.

use bytes::Bytes;

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Which token, and for how long still (ms, negative: no longer).
    request ExpireDelegationTokenRequest(ExpireDelegationToken, 1..=2, flexible 2)
        -> ExpireDelegationTokenResponse {
        hmac: Bytes;
        expiry_time_period_ms: i64;
    }

    /// When it expires now, ms since the epoch.
    response ExpireDelegationTokenResponse(ExpireDelegationToken, 1..=2, flexible 2) {
        error_code: ErrorCode;
        expiry_timestamp_ms: i64;
        throttle_time_ms: i32;
    }
}
