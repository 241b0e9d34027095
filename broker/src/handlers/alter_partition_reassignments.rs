//! AlterPartitionReassignments: every replica is on this node, and that is the only place it can go.

use logmill_wire::ErrorCode;
use logmill_wire::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use logmill_wire::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::{Call, told};
use crate::topics::Topic;

pub(crate) async fn handle(
    call: Call<'_>,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let node = call.context.node.node_id;
    let responses = request
        .topics
        .into_iter()
        .map(|wish| {
            let topic = call.context.topics.get(&wish.name);
            let answer = |partition: ReassignablePartition| {
                let partition_index = partition.partition_index;
                let (error_code, error_message) = match judge(topic.as_deref(), &wish.name, &partition, node)
                {
                    Ok(()) => (ErrorCode::NONE, None),
                    Err((code, message)) => (code, Some(told(&message))),
                };
                ReassignablePartitionResponse { partition_index, error_code, error_message }
            };
            let partitions = wish.partitions.into_iter().map(answer).collect();
            ReassignableTopicResponse { name: wish.name, partitions }
        })
        .collect();
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_message: None,
        responses,
        ..AlterPartitionReassignmentsResponse::default()
    }
}

fn judge(
    topic: Option<&Topic>,
    name: &str,
    partition: &ReassignablePartition,
    node: i32,
) -> Result<(), (ErrorCode, String)> {
    let index = partition.partition_index;
    let unknown = |why: String| Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why));
    let Some(topic) = topic else { return unknown(format!("Unable to find a topic named {name}.")) };
    if topic.partition(index).is_none() {
        return unknown(format!("Unable to find partition {name}:{index}."));
    }
    let Some(replicas) = &partition.replicas else {
        let why = "No partition reassignment is in progress.".to_owned();
        return Err((ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, why));
    };
    let invalid = |why: String| {
        Err((
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!("The manual partition assignment includes {why}"),
        ))
    };
    match replicas.as_slice() {
        // It is there already.
        [only] if *only == node => Ok(()),
        [] => invalid("an empty replica list.".to_owned()),
        replicas => match replicas.iter().find(|replica| **replica != node) {
            Some(other) => invalid(format!("broker {other}, but no such broker is registered.")),
            None => invalid(format!("the broker {node} more than once.")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_node_alone_is_where_replicas_can_be() {
        let topic = Topic {
            name: "t".into(),
            id: uuid::Uuid::nil(),
            internal: false,
            count: 0,
            partitions: Vec::new(),
            on_demand: false,
            configs: Default::default(),
            rules: crate::configs::TopicRules::of(&Default::default(), &Default::default()),
            owner: None,
        };
        let wish = ReassignablePartition { partition_index: 0, replicas: Some(vec![1]) };
        let code = |topic| judge(topic, "t", &wish, 1).unwrap_err().0;
        assert_eq!(code(None), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(code(Some(&topic)), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "it has no partition 0");
    }
}
