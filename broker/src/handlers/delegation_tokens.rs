//! CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken, DescribeDelegationToken: a token is
//! worth what the connection is that it was asked for on, and without TLS and SASL that is nothing.

use logmill_wire::ErrorCode;
use logmill_wire::messages::{
    CreateDelegationTokenRequest, CreateDelegationTokenResponse, DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse, ExpireDelegationTokenRequest, ExpireDelegationTokenResponse,
    RenewDelegationTokenRequest, RenewDelegationTokenResponse,
};

use super::Call;

/// What Kafka says on a connection that is not secured.
const CODE: ErrorCode = ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
/// No time.
const NEVER: i64 = -1;

pub(crate) async fn create(
    _call: Call<'_>,
    _request: CreateDelegationTokenRequest,
) -> CreateDelegationTokenResponse {
    CreateDelegationTokenResponse {
        error_code: CODE,
        issue_timestamp_ms: NEVER,
        expiry_timestamp_ms: NEVER,
        max_timestamp_ms: NEVER,
        ..CreateDelegationTokenResponse::default()
    }
}

pub(crate) async fn renew(
    _call: Call<'_>,
    _request: RenewDelegationTokenRequest,
) -> RenewDelegationTokenResponse {
    RenewDelegationTokenResponse {
        error_code: CODE,
        expiry_timestamp_ms: NEVER,
        ..RenewDelegationTokenResponse::default()
    }
}

pub(crate) async fn expire(
    _call: Call<'_>,
    _request: ExpireDelegationTokenRequest,
) -> ExpireDelegationTokenResponse {
    ExpireDelegationTokenResponse {
        error_code: CODE,
        expiry_timestamp_ms: NEVER,
        ..ExpireDelegationTokenResponse::default()
    }
}

pub(crate) async fn describe(
    _call: Call<'_>,
    _request: DescribeDelegationTokenRequest,
) -> DescribeDelegationTokenResponse {
    DescribeDelegationTokenResponse { error_code: CODE, ..DescribeDelegationTokenResponse::default() }
}
