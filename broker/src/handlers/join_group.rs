//! JoinGroup: become a member; answered when the rebalance is over.

use logmill_coordinator::groups::{Command, Join, Joined, Reply};
use logmill_wire::messages::join_group::JoinGroupResponseMember;
use logmill_wire::messages::{JoinGroupRequest, JoinGroupResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use super::groups::ask;

/// From this version on "no protocol" is null; before, it is an empty string.
const NULL_PROTOCOL_FROM: i16 = 7;

pub(crate) async fn handle(call: Call<'_>, request: JoinGroupRequest) -> JoinGroupResponse {
    let group = request.group_id.detached();
    let member_id = request.member_id.detached();
    // A member outlives the request: nothing of it may hold on to the request's frame.
    let join = Join {
        version: call.version,
        group: group.clone(),
        member_id: member_id.clone(),
        instance_id: request.group_instance_id.map(|id| id.detached()),
        client_id: call.client_id.detached(),
        client_host: Str::from(call.session.client_host()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: request.protocol_type.detached(),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name.detached(), bytes::Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        fresh: call.context.entropy.uuid(),
    };
    let joined = ask(&call, &group, Command::Join(join), |reply| match reply {
        Reply::Joined(joined) => Some(joined),
        _ => None,
    })
    .await;
    respond(joined, member_id, call.version)
}

fn respond(joined: Result<Joined, ErrorCode>, member_id: Str, version: i16) -> JoinGroupResponse {
    match joined {
        Ok(joined) => JoinGroupResponse {
            error_code: joined.error,
            generation_id: joined.generation,
            protocol_type: joined.protocol_type,
            protocol_name: protocol_name(joined.protocol_name, version),
            leader: joined.leader,
            skip_assignment: joined.skip_assignment && version >= 9,
            member_id: joined.member_id,
            members: joined
                .members
                .into_iter()
                .map(|member| JoinGroupResponseMember {
                    member_id: member.member_id,
                    group_instance_id: member.instance_id,
                    metadata: member.metadata,
                })
                .collect(),
            ..JoinGroupResponse::default()
        },
        Err(error_code) => JoinGroupResponse {
            error_code,
            protocol_name: protocol_name(None, version),
            member_id,
            ..JoinGroupResponse::default()
        },
    }
}

fn protocol_name(name: Option<Str>, version: i16) -> Option<Str> {
    if version >= NULL_PROTOCOL_FROM { name } else { Some(name.unwrap_or_default()) }
}
