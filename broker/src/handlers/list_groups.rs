//! ListGroups: which groups there are.

use logmill_coordinator::groups::{Command, List, Reply};
use logmill_wire::messages::list_groups::ListedGroup;
use logmill_wire::messages::{ListGroupsRequest, ListGroupsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;

pub(crate) async fn handle(call: Call<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let list = Command::List(List { states: request.states_filter, types: request.types_filter });
    let replies = match call.context.coordinators.all_groups(list).await {
        Ok(replies) => replies,
        Err(error_code) => return ListGroupsResponse { error_code, ..ListGroupsResponse::default() },
    };
    let mut groups: Vec<ListedGroup> = replies
        .into_iter()
        .flat_map(|reply| match reply {
            Reply::Listed(listings) => listings,
            _ => Vec::new(),
        })
        .map(|listing| ListedGroup {
            group_id: listing.group,
            protocol_type: listing.protocol_type,
            group_state: Str::from_static(listing.state.name()),
            group_type: listing.group_type,
        })
        .collect();
    groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    ListGroupsResponse { error_code: ErrorCode::NONE, groups, ..ListGroupsResponse::default() }
}
