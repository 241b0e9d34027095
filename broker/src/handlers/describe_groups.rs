//! DescribeGroups: members and state of groups.

use logmill_coordinator::groups::{Command, Describe, Description, Reply};
use logmill_wire::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use logmill_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use logmill_wire::{ErrorCode, Str};

use super::groups::ask;
use super::{Call, told};
use crate::security::Resource;

/// From this version on a group that is not there is an error; before, it is a dead group.
const ERROR_FROM: i16 = 6;

pub(crate) async fn handle(call: Call<'_>, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let operations = call.access.operations(
        call.session.principal(),
        Resource::Group,
        request.include_authorized_operations,
    );
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let command = Command::Describe(Describe { groups: vec![group.clone()] });
        let described = ask(&call, &group, command, |reply| match reply {
            Reply::Described(mut descriptions) => descriptions.pop(),
            _ => None,
        })
        .await;
        groups.push(DescribedGroup {
            authorized_operations: operations,
            ..respond(group, described, call.version)
        });
    }
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
}

fn respond(group_id: Str, described: Result<Description, ErrorCode>, version: i16) -> DescribedGroup {
    match described {
        Ok(description) => {
            let not_found = description.error == ErrorCode::GROUP_ID_NOT_FOUND;
            DescribedGroup {
                error_code: if not_found && version < ERROR_FROM {
                    ErrorCode::NONE
                } else {
                    description.error
                },
                error_message: (not_found && version >= ERROR_FROM)
                    .then(|| told(&format!("Group {} is not a classic group.", &*group_id))),
                group_id,
                group_state: Str::from_static(description.state.name()),
                protocol_type: description.protocol_type,
                protocol_data: description.protocol,
                members: description
                    .members
                    .into_iter()
                    .map(|member| DescribedGroupMember {
                        member_id: member.member_id,
                        group_instance_id: member.instance_id,
                        client_id: member.client_id,
                        client_host: member.client_host,
                        member_metadata: member.metadata,
                        member_assignment: member.assignment,
                    })
                    .collect(),
                ..DescribedGroup::default()
            }
        }
        Err(error_code) => DescribedGroup { error_code, group_id, ..DescribedGroup::default() },
    }
}
