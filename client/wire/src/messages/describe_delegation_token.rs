//! DescribeDelegationToken: which tokens there are.

use bytes::Bytes;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Whose tokens; null for everybody's.
    request DescribeDelegationTokenRequest(DescribeDelegationToken, 1..=3, flexible 2)
        -> DescribeDelegationTokenResponse {
        owners: Option<Vec<DescribeDelegationTokenOwner>> = Some(Vec::new());
    }

    /// An owner.
    struct DescribeDelegationTokenOwner {
        principal_type: Str;
        principal_name: Str;
    }

    /// The tokens.
    response DescribeDelegationTokenResponse(DescribeDelegationToken, 1..=3, flexible 2) {
        error_code: ErrorCode;
        tokens: Vec<DescribedDelegationToken>;
        throttle_time_ms: i32;
    }

    /// One token; times in ms since the epoch.
    struct DescribedDelegationToken {
        principal_type: Str;
        principal_name: Str;
        token_requester_principal_type: Str, since(3);
        token_requester_principal_name: Str, since(3);
        issue_timestamp: i64;
        expiry_timestamp: i64;
        max_timestamp: i64;
        token_id: Str;
        hmac: Bytes;
        renewers: Vec<DescribedDelegationTokenRenewer>;
    }

    /// One who may renew it.
    struct DescribedDelegationTokenRenewer {
        principal_type: Str;
        principal_name: Str;
    }
}
