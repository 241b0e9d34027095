//! SaslAuthenticate: one step of the exchange that SaslHandshake began.

use bytes::Bytes;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// The client's step, in the mechanism's own form. It may hold a password: never log it.
    request SaslAuthenticateRequest(SaslAuthenticate, 0..=2, flexible 2) -> SaslAuthenticateResponse {
        auth_bytes: Bytes;
    }

    /// The broker's step, and for how long the session holds (ms, 0: without end).
    response SaslAuthenticateResponse(SaslAuthenticate, 0..=2, flexible 2) {
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        auth_bytes: Bytes;
        session_lifetime_ms: i64, since(1).ignorable();
    }
}
