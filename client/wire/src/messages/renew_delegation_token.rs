//! RenewDelegationToken: a token lives longer.

use bytes::Bytes;

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Which token, and for how long (ms, -1: the broker's own time).
    request RenewDelegationTokenRequest(RenewDelegationToken, 1..=2, flexible 2)
        -> RenewDelegationTokenResponse {
        hmac: Bytes;
        renew_period_ms: i64;
    }

    /// When it expires now, ms since the epoch.
    response RenewDelegationTokenResponse(RenewDelegationToken, 1..=2, flexible 2) {
        error_code: ErrorCode;
        expiry_timestamp_ms: i64;
        throttle_time_ms: i32;
    }
}
