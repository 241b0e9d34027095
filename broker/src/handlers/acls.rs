//! DescribeAcls, CreateAcls, DeleteAcls: what a broker without an authorizer can say.

use logmill_wire::messages::create_acls::AclCreationResult;
use logmill_wire::messages::delete_acls::DeleteAclsFilterResult;
use logmill_wire::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};
use logmill_wire::{ErrorCode, Str};

use super::Call;

const CODE: ErrorCode = ErrorCode::SECURITY_DISABLED;

fn why() -> Option<Str> {
    Some(Str::from_static("No Authorizer is configured on the broker"))
}

pub(crate) async fn describe(_call: Call<'_>, _request: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse { error_code: CODE, error_message: why(), ..DescribeAclsResponse::default() }
}

pub(crate) async fn create(_call: Call<'_>, request: CreateAclsRequest) -> CreateAclsResponse {
    let refused = |_| AclCreationResult { error_code: CODE, error_message: why() };
    let results = request.creations.into_iter().map(refused).collect();
    CreateAclsResponse { results, ..CreateAclsResponse::default() }
}

pub(crate) async fn delete(_call: Call<'_>, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = |_| DeleteAclsFilterResult {
        error_code: CODE,
        error_message: why(),
        ..DeleteAclsFilterResult::default()
    };
    let filter_results = request.filters.into_iter().map(refused).collect();
    DeleteAclsResponse { filter_results, ..DeleteAclsResponse::default() }
}
