//! SaslHandshake: which mechanism a client authenticates with. Version 0 leaves the exchange itself outside of Kafka's frames.

use crate::schema::{NEVER, schema};
use crate::{ErrorCode, Str};

schema! {
    /// Chooses a mechanism, such as `SCRAM-SHA-256`.
    request SaslHandshakeRequest(SaslHandshake, 0..=1, flexible NEVER) -> SaslHandshakeResponse {
        mechanism: Str;
    }

    /// Whether the broker has it, and which it has.
    response SaslHandshakeResponse(SaslHandshake, 0..=1, flexible NEVER) {
        error_code: ErrorCode;
        mechanisms: Vec<Str>;
    }
}
