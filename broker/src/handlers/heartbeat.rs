//! Heartbeat: still there; tells the member of a rebalance.

use logmill_coordinator::groups::{Command, Heartbeat, Reply};
use logmill_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::Call;
use super::groups::ask;

pub(crate) async fn handle(call: Call<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let group = request.group_id;
    let heartbeat = Heartbeat {
        group: group.clone(),
        generation: request.generation_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
    };
    let beat = ask(&call, &group, Command::Heartbeat(heartbeat), |reply| match reply {
        Reply::Heartbeat(error) => Some(error),
        _ => None,
    })
    .await;
    HeartbeatResponse { error_code: beat.unwrap_or_else(|error| error), ..HeartbeatResponse::default() }
}
