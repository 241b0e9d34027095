//! DescribeUserScramCredentials, AlterUserScramCredentials: no user has a password, and none can get one
//! while there is no SASL.

use std::collections::BTreeMap;

use logmill_wire::messages::alter_user_scram_credentials::AlterUserScramCredentialsResult;
use logmill_wire::messages::describe_user_scram_credentials::DescribeUserScramCredentialsResult;
use logmill_wire::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
};
use logmill_wire::{ErrorCode, Str};

use super::{Call, told};

pub(crate) async fn describe(
    _call: Call<'_>,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let unknown = |user: Str| {
        let why = format!("Attempt to describe a user credential that does not exist: {}", user.as_str());
        DescribeUserScramCredentialsResult {
            user,
            error_code: ErrorCode::RESOURCE_NOT_FOUND,
            error_message: Some(told(&why)),
            ..DescribeUserScramCredentialsResult::default()
        }
    };
    let results = request.users.unwrap_or_default().into_iter().map(|user| unknown(user.name)).collect();
    DescribeUserScramCredentialsResponse {
        error_message: None,
        results,
        ..DescribeUserScramCredentialsResponse::default()
    }
}

pub(crate) async fn alter(
    _call: Call<'_>,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let mut users = BTreeMap::new();
    for deletion in request.deletions {
        let why = "Attempt to delete a user credential that does not exist";
        users.insert(deletion.name, (ErrorCode::RESOURCE_NOT_FOUND, why));
    }
    for upsertion in request.upsertions {
        let why = "this broker has no SASL, so a password would open nothing";
        users.insert(upsertion.name, (ErrorCode::UNSUPPORTED_SASL_MECHANISM, why));
    }
    let refused = |(user, (error_code, why))| AlterUserScramCredentialsResult {
        user,
        error_code,
        error_message: Some(Str::from_static(why)),
    };
    let results = users.into_iter().map(refused).collect();
    AlterUserScramCredentialsResponse { results, ..AlterUserScramCredentialsResponse::default() }
}
