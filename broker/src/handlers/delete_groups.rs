//! DeleteGroups: removes empty groups with their offsets.

use std::collections::BTreeSet;

use logmill_coordinator::groups::{Command, Delete, Reply};
use logmill_wire::messages::delete_groups::DeletableGroupResult;
use logmill_wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use super::groups::ask;

pub(crate) async fn handle(call: Call<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut seen = BTreeSet::new();
    for group in request.groups_names {
        if !seen.insert(group.clone()) {
            continue;
        }
        let command = Command::Delete(Delete { groups: vec![group.clone()] });
        let deleted = ask(&call, &group, command, |reply| match reply {
            Reply::Deleted(mut deleted) => deleted.pop().map(|(_, error)| error),
            _ => None,
        })
        .await;
        let error_code = deleted.unwrap_or_else(|error| error);
        let message = match error_code {
            ErrorCode::NONE => None,
            ErrorCode::GROUP_ID_NOT_FOUND => Some("The group id does not exist."),
            ErrorCode::NON_EMPTY_GROUP => Some("The group is not empty."),
            _ => Some("The group could not be deleted now."),
        };
        let error_message = message.map(Str::from_static);
        results.push(DeletableGroupResult { group_id: group, error_code, error_message });
    }
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
