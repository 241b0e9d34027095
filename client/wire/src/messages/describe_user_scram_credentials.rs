//! DescribeUserScramCredentials: which users have passwords for SCRAM.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Users to look for; null or none for all.
    request DescribeUserScramCredentialsRequest(DescribeUserScramCredentials, 0..=0, flexible 0)
        -> DescribeUserScramCredentialsResponse {
        users: Option<Vec<UserName>> = Some(Vec::new());
    }

    /// A user.
    struct UserName {
        name: Str;
    }

    /// The users.
    response DescribeUserScramCredentialsResponse(DescribeUserScramCredentials, 0..=0, flexible 0) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        results: Vec<DescribeUserScramCredentialsResult>;
    }

    /// One user.
    struct DescribeUserScramCredentialsResult {
        user: Str;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        credential_infos: Vec<CredentialInfo>;
    }

    /// `mechanism` 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    struct CredentialInfo {
        mechanism: i8;
        iterations: i32;
    }
}
