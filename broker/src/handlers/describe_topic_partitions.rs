//! DescribeTopicPartitions: topics page by page, so that no answer grows with the number of partitions.

use std::collections::BTreeSet;

use logmill_wire::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use logmill_wire::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use crate::security::Resource;
use crate::topics::{Topic, check_name, is_internal};

pub(crate) async fn handle(
    call: Call<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = call.context.topics.image();
    let all = request.topics.is_empty();
    let named: BTreeSet<Str> = match all {
        true => image.iter().map(|topic| Str::from(&*topic.name)).collect(),
        false => request.topics.into_iter().map(|topic| topic.name).collect(),
    };
    let is_nowhere =
        |cursor: &Cursor| cursor.partition_index < 0 || !all && !named.contains(&cursor.topic_name);
    if request.cursor.as_ref().is_some_and(is_nowhere) {
        let refused = |name| failed(name, ErrorCode::INVALID_REQUEST);
        return DescribeTopicPartitionsResponse {
            topics: named.into_iter().map(refused).collect(),
            ..DescribeTopicPartitionsResponse::default()
        };
    }
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut page = Page { left: limit.clamp(1, call.context.limits.page_partitions), topics: Vec::new() };
    let operations = call.access.operations(call.session.principal(), Resource::Topic, true);
    let node = call.context.node.node_id;
    let mut next_cursor = None;
    for name in named {
        let from = match &request.cursor {
            Some(cursor) if name < cursor.topic_name => continue,
            Some(cursor) if name == cursor.topic_name => usize::try_from(cursor.partition_index).unwrap_or(0),
            _ => 0,
        };
        let Some(topic) = image.get(&name) else {
            let code = match check_name(&name) {
                Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            };
            page.topics.push(failed(name, code));
            continue;
        };
        if page.left == 0 {
            next_cursor = Some(Cursor { topic_name: name, partition_index: 0 });
            break;
        }
        if let Some(partition_index) = page.add(topic, from, node, operations) {
            next_cursor = Some(Cursor { topic_name: name, partition_index });
            break;
        }
    }
    DescribeTopicPartitionsResponse {
        topics: page.topics,
        next_cursor,
        ..DescribeTopicPartitionsResponse::default()
    }
}

/// What fits one answer.
struct Page {
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
}

impl Page {
    /// Adds a topic's partitions from this one on; gives the first that did not fit.
    fn add(&mut self, topic: &Topic, from: usize, node: i32, operations: i32) -> Option<i32> {
        let from = i32::try_from(from).unwrap_or(i32::MAX).min(topic.count);
        let room = i32::try_from(self.left).unwrap_or(i32::MAX);
        let end = from.saturating_add(room).min(topic.count);
        self.left -= usize::try_from(end - from).unwrap_or(0);
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::NONE,
            name: Some(Str::from(&*topic.name)),
            topic_id: topic.id,
            is_internal: topic.internal,
            partitions: (from..end).map(|index| described(topic, index, node)).collect(),
            topic_authorized_operations: operations,
        });
        (end < topic.count).then_some(end)
    }
}

fn described(topic: &Topic, partition_index: i32, node: i32) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode::NONE,
        partition_index,
        leader_id: node,
        leader_epoch: topic.partition(partition_index).map_or(0, |partition| partition.leader_epoch()),
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        // Nobody else could lead, and nobody was ever lost.
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    }
}

fn failed(name: Str, error_code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code,
        is_internal: is_internal(&name),
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
