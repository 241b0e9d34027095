//! AlterUserScramCredentials: sets and removes users' passwords for SCRAM.

use bytes::Bytes;

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Changes. Mechanisms as in DescribeUserScramCredentials.
    request AlterUserScramCredentialsRequest(AlterUserScramCredentials, 0..=0, flexible 0)
        -> AlterUserScramCredentialsResponse {
        deletions: Vec<ScramCredentialDeletion>;
        upsertions: Vec<ScramCredentialUpsertion>;
    }

    /// Removes a user's password.
    struct ScramCredentialDeletion {
        name: Str;
        mechanism: i8;
    }

    /// Sets a user's password, salted by the client.
    struct ScramCredentialUpsertion {
        name: Str;
        mechanism: i8;
        iterations: i32;
        salt: Bytes;
        salted_password: Bytes;
    }

    /// What became of each.
    response AlterUserScramCredentialsResponse(AlterUserScramCredentials, 0..=0, flexible 0) {
        throttle_time_ms: i32;
        results: Vec<AlterUserScramCredentialsResult>;
    }

    /// One user.
    struct AlterUserScramCredentialsResult {
        user: Str;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
    }
}
