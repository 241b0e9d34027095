//! SyncGroup: fetch the assignment, or bring it as the leader; answered when it is there.

use bytes::Bytes;
use logmill_coordinator::groups::{Command, Reply, Sync};
use logmill_wire::ErrorCode;
use logmill_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::Call;
use super::groups::ask;

/// From this version on a member says which protocol it believes was chosen (KIP-559).
const PROTOCOL_FROM: i16 = 5;

pub(crate) async fn handle(call: Call<'_>, request: SyncGroupRequest) -> SyncGroupResponse {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.version >= PROTOCOL_FROM && !names_protocol {
        let error_code = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
        return SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
    }
    let group = request.group_id.detached();
    let sync = Sync {
        group: group.clone(),
        generation: request.generation_id,
        member_id: request.member_id.detached(),
        instance_id: request.group_instance_id.map(|id| id.detached()),
        protocol_type: request.protocol_type.map(|kind| kind.detached()),
        protocol_name: request.protocol_name.map(|name| name.detached()),
        assignments: request
            .assignments
            .into_iter()
            .map(|one| (one.member_id.detached(), Bytes::copy_from_slice(&one.assignment)))
            .collect(),
    };
    let synced = ask(&call, &group, Command::Sync(sync), |reply| match reply {
        Reply::Synced(synced) => Some(synced),
        _ => None,
    })
    .await;
    match synced {
        Ok(synced) => SyncGroupResponse {
            error_code: synced.error,
            protocol_type: synced.protocol_type,
            protocol_name: synced.protocol_name,
            assignment: synced.assignment,
            ..SyncGroupResponse::default()
        },
        Err(error_code) => SyncGroupResponse { error_code, ..SyncGroupResponse::default() },
    }
}
