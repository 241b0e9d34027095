//! ConsumerGroupDescribe: groups of the new protocol in detail.

use logmill_coordinator::groups::{
    Command, ConsumerDescribe, ConsumerDescription, ConsumerMemberDescription, Partitions, Reply,
};
use logmill_wire::messages::consumer_group_describe::{Assignment, DescribedGroup, Member, TopicPartitions};
use logmill_wire::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use logmill_wire::{ErrorCode, Str};

use super::consumer_group_heartbeat::is_enabled;
use super::groups::ask;
use super::{Call, told};
use crate::security::Resource;
use crate::topics::Topics;

pub(crate) async fn handle(
    call: Call<'_>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let operations = call.access.operations(
        call.session.principal(),
        Resource::Group,
        request.include_authorized_operations,
    );
    let mut groups = Vec::with_capacity(request.group_ids.len());
    let enabled = is_enabled(call.context);
    for group in request.group_ids {
        if !enabled {
            groups.push(failed(group, ErrorCode::UNSUPPORTED_VERSION));
            continue;
        }
        if group.is_empty() {
            groups.push(failed(group, ErrorCode::INVALID_GROUP_ID));
            continue;
        }
        let command = Command::ConsumerDescribe(ConsumerDescribe { groups: vec![group.clone()] });
        let described = ask(&call, &group, command, |reply| match reply {
            Reply::ConsumerDescribed(mut descriptions) => descriptions.pop(),
            _ => None,
        })
        .await;
        groups.push(match described {
            Ok(description) => DescribedGroup {
                authorized_operations: operations,
                ..respond(&call.context.topics, description)
            },
            Err(error) => failed(group, error),
        });
    }
    ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }
}

fn failed(group_id: Str, error_code: ErrorCode) -> DescribedGroup {
    DescribedGroup { error_code, group_id, ..DescribedGroup::default() }
}

fn respond(topics: &Topics, description: ConsumerDescription) -> DescribedGroup {
    let found = description.error == ErrorCode::NONE;
    DescribedGroup {
        error_code: description.error,
        error_message: description.message.map(|message| told(&message)),
        group_id: description.group,
        group_state: if found { Str::from_static(description.state.name()) } else { Str::default() },
        group_epoch: description.epoch,
        assignment_epoch: description.assignment_epoch,
        assignor_name: description.assignor,
        members: description.members.into_iter().map(|member| respond_member(topics, member)).collect(),
        ..DescribedGroup::default()
    }
}

fn respond_member(topics: &Topics, described: ConsumerMemberDescription) -> Member {
    let ConsumerMemberDescription { member_id, epoch, member, assigned, target } = described;
    Member {
        member_id,
        instance_id: member.instance_id,
        rack_id: member.rack_id,
        member_epoch: epoch,
        client_id: member.client_id,
        client_host: member.client_host,
        subscribed_topic_names: member.topic_names,
        subscribed_topic_regex: member.topic_regex,
        assignment: assignment(topics, &assigned),
        target_assignment: assignment(topics, &target),
        member_type: i8::from(member.classic.is_none()),
    }
}

/// Partitions of topics that are gone are not told.
fn assignment(topics: &Topics, partitions: &Partitions) -> Assignment {
    let known = partitions.topics().filter_map(|(topic_id, partitions)| {
        Some(TopicPartitions {
            topic_id,
            topic_name: Str::from(&*topics.by_id(topic_id)?.name),
            partitions: partitions.iter().copied().collect(),
        })
    });
    Assignment { topic_partitions: known.collect() }
}
