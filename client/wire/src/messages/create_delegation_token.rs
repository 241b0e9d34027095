//! CreateDelegationToken: a credential that can be handed on.

use bytes::Bytes;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// For whom, who may renew it, and how long it may live (ms, -1: the broker's limit).
    request CreateDelegationTokenRequest(CreateDelegationToken, 1..=3, flexible 2)
        -> CreateDelegationTokenResponse {
        owner_principal_type: Option<Str> = Some(Str::default()), since(3);
        owner_principal_name: Option<Str> = Some(Str::default()), since(3);
        renewers: Vec<CreatableRenewers>;
        max_lifetime_ms: i64;
    }

    /// One who may renew it.
    struct CreatableRenewers {
        principal_type: Str;
        principal_name: Str;
    }

    /// The token; times in ms since the epoch.
    response CreateDelegationTokenResponse(CreateDelegationToken, 1..=3, flexible 2) {
        error_code: ErrorCode;
        principal_type: Str;
        principal_name: Str;
        token_requester_principal_type: Str, since(3);
        token_requester_principal_name: Str, since(3);
        issue_timestamp_ms: i64;
        expiry_timestamp_ms: i64;
        max_timestamp_ms: i64;
        token_id: Str;
        hmac: Bytes;
        throttle_time_ms: i32;
    }
}
