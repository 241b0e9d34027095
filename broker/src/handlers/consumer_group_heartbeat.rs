//! ConsumerGroupHeartbeat: a member of a group of the new protocol joins, stays, gives up, leaves.

use logmill_coordinator::groups::{Command, ConsumerBeat, ConsumerHeartbeat, Partitions, Reply};
use logmill_wire::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use logmill_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use logmill_wire::{ErrorCode, Str};

use super::groups::ask;
use super::{Call, told};
use crate::context::Context;
use crate::features::GROUP_VERSION;

pub(crate) async fn handle(
    call: Call<'_>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !is_enabled(call.context) {
        let error_code = ErrorCode::UNSUPPORTED_VERSION;
        return ConsumerGroupHeartbeatResponse { error_code, ..ConsumerGroupHeartbeatResponse::default() };
    }
    let group = request.group_id;
    let beat = ConsumerHeartbeat {
        version: call.version,
        group: group.clone(),
        member_id: request.member_id,
        member_epoch: request.member_epoch,
        instance_id: request.instance_id,
        rack_id: request.rack_id,
        client_id: call.client_id.clone(),
        client_host: Str::from(call.session.client_host()),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topic_names: request.subscribed_topic_names,
        topic_regex: request.subscribed_topic_regex,
        assignor: request.server_assignor,
        owned: request.topic_partitions.map(owned),
        fresh: call.context.entropy.uuid(),
    };
    let answered = ask(&call, &group, Command::ConsumerHeartbeat(beat), |reply| match reply {
        Reply::ConsumerHeartbeat(answer) => Some(answer),
        _ => None,
    })
    .await;
    match answered {
        Ok(answer) => respond(answer),
        Err(error_code) => {
            ConsumerGroupHeartbeatResponse { error_code, ..ConsumerGroupHeartbeatResponse::default() }
        }
    }
}

/// Whether the feature of these groups has been left on.
pub(super) fn is_enabled(context: &Context) -> bool {
    context.features.finalized().level(GROUP_VERSION) > 0
}

fn owned(topics: Vec<TopicPartitions>) -> Partitions {
    let all = |topic: TopicPartitions| topic.partitions.into_iter().map(move |index| (topic.topic_id, index));
    topics.into_iter().flat_map(all).collect()
}

fn respond(answer: ConsumerBeat) -> ConsumerGroupHeartbeatResponse {
    let assignment = |partitions: Partitions| Assignment {
        topic_partitions: partitions
            .topics()
            .map(|(topic_id, partitions)| TopicPartitions {
                topic_id,
                partitions: partitions.iter().copied().collect(),
            })
            .collect(),
    };
    ConsumerGroupHeartbeatResponse {
        throttle_time_ms: 0,
        error_code: answer.error,
        error_message: answer
            .message
            .filter(|_| answer.error != ErrorCode::NONE)
            .map(|message| told(&message)),
        member_id: answer.member_id,
        member_epoch: answer.member_epoch,
        heartbeat_interval_ms: answer.heartbeat_interval_ms,
        assignment: answer.assignment.map(assignment),
    }
}
