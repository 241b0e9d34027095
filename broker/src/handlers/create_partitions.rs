//! CreatePartitions: lets topics grow.

use std::collections::BTreeSet;

use logmill_wire::messages::create_partitions::{CreatePartitionsTopic, CreatePartitionsTopicResult};
use logmill_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use logmill_wire::{ErrorCode, Str};

use super::topic_errors::create_error;
use super::{Call, told};
use crate::context::Context;
use crate::topics::CreateTopicError;

pub(crate) async fn handle(call: Call<'_>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut seen = BTreeSet::new();
    let names = request.topics.iter().map(|wish| wish.name.clone());
    let repeated: BTreeSet<Str> = names.filter(|name| !seen.insert(name.clone())).collect();
    let mut reported = BTreeSet::new();
    let mut results = Vec::with_capacity(seen.len());
    for wish in request.topics {
        let name = wish.name.clone();
        let grown = if !repeated.contains(&name) {
            grow(call.context, wish, request.validate_only).await
        } else if reported.insert(name.clone()) {
            Err((ErrorCode::INVALID_REQUEST, "the topic is named twice in this request".to_owned()))
        } else {
            continue;
        };
        let (error_code, error_message) = match grown {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, message)) => (code, Some(told(&message))),
        };
        results.push(CreatePartitionsTopicResult { name, error_code, error_message });
    }
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }
}

async fn grow(
    context: &Context,
    wish: CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), (ErrorCode, String)> {
    let Some(topic) = context.topics.get(&wish.name) else {
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no topic of this name".to_owned()));
    };
    if topic.internal || topic.owner.is_some() {
        let message = "internal topics and topics of pipelines keep the partitions they have".to_owned();
        return Err((ErrorCode::POLICY_VIOLATION, message));
    }
    let have = topic.count;
    if wish.count <= have {
        let message = format!("the topic has {have} partitions; it can only grow, not to {}", wish.count);
        return Err((ErrorCode::INVALID_PARTITIONS, message));
    }
    if let Some(assignments) = &wish.assignments {
        let node = context.node.node_id;
        let added = usize::try_from(wish.count - have).unwrap_or(usize::MAX);
        if assignments.len() != added || assignments.iter().any(|assignment| assignment.broker_ids != [node])
        {
            let message = format!("{added} partitions are added, each assigned to node {node} alone");
            return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        }
    }
    if validate_only {
        return Ok(());
    }
    match context.topics.grow(&wish.name, wish.count).await {
        Ok(_topic) => Ok(()),
        Err(error @ CreateTopicError::Partitions(_)) => {
            Err((ErrorCode::INVALID_PARTITIONS, error.to_string()))
        }
        Err(error) => Err((create_error(&error), error.to_string())),
    }
}
