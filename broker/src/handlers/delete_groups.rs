//! DeleteGroups: removes empty groups with their offsets.

use logmill_coordinator::groups::{Command, Delete, Reply};
use logmill_wire::messages::delete_groups::DeletableGroupResult;
use logmill_wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::Call;
use super::groups::ask;

pub(crate) async fn handle(call: Call<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        let command = Command::Delete(Delete { groups: vec![group.clone()] });
        let deleted = ask(&call, &group, command, |reply| match reply {
            Reply::Deleted(mut deleted) => deleted.pop().map(|(_, error)| error),
            _ => None,
        })
        .await;
        results.push(DeletableGroupResult {
            group_id: group,
            error_code: deleted.unwrap_or_else(|error| error),
        });
    }
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
