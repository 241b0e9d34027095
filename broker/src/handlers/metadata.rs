//! Metadata: the node, and the topics with their partitions; creates a topic that is asked for and
//! missing, where the client and the configuration allow it.

use std::collections::BTreeSet;
use std::sync::Arc;

use logmill_wire::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use logmill_wire::messages::{MetadataRequest, MetadataResponse};
use logmill_wire::{ErrorCode, Str};
use uuid::Uuid;

use super::Call;
use super::topic_errors::create_error;
use crate::context::Context;
use crate::security::Resource;
use crate::topics::{CreateTopicError, NewTopic, Topic, check_name, is_internal};

/// From this version on topics may be asked for by id.
const IDS_FROM: i16 = 12;

pub(crate) async fn handle(call: Call<'_>, request: MetadataRequest) -> MetadataResponse {
    let context = call.context;
    let principal = call.session.principal();
    let wanted = match request.topics {
        // Version 0 has no null: there an empty list asks for everything.
        Some(topics) if !(call.version == 0 && topics.is_empty()) => Some(topics),
        _ => None,
    };
    let operations =
        call.access.operations(principal, Resource::Topic, request.include_topic_authorized_operations);
    let topics = match wanted {
        None => context.topics.image().iter().map(|topic| describe(context, topic)).collect(),
        Some(topics) => find_all(&call, topics, request.allow_auto_topic_creation).await,
    };
    let node = &context.node;
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: node.node_id,
            host: Str::from(&node.advertised.0),
            port: i32::from(node.advertised.1),
            rack: None,
        }],
        cluster_id: Some(Str::from(&node.cluster_id)),
        controller_id: node.node_id,
        topics: topics
            .into_iter()
            .map(|topic| MetadataResponseTopic { topic_authorized_operations: operations, ..topic })
            .collect(),
        cluster_authorized_operations: call.access.operations(
            principal,
            Resource::Cluster,
            request.include_cluster_authorized_operations,
        ),
        ..MetadataResponse::default()
    }
}

async fn find_all(
    call: &Call<'_>,
    wanted: Vec<MetadataRequestTopic>,
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let context = call.context;
    let mut answered = BTreeSet::new();
    let mut topics = Vec::with_capacity(wanted.len());
    for MetadataRequestTopic { topic_id, name } in wanted {
        if !answered.insert((topic_id, name.clone())) {
            continue;
        }
        // An id counts whatever stands beside it: Kafka's Java client fills in an empty name.
        let name = name.filter(|_| topic_id.is_nil() || call.version < IDS_FROM);
        topics.push(match name {
            // The request has room for ids two versions before an answer can be without a name.
            None if call.version < IDS_FROM => MetadataResponseTopic {
                error_code: ErrorCode::INVALID_REQUEST,
                topic_id,
                ..MetadataResponseTopic::default()
            },
            None => match context.topics.by_id(topic_id) {
                Some(topic) => describe(context, &topic),
                None => MetadataResponseTopic {
                    error_code: ErrorCode::UNKNOWN_TOPIC_ID,
                    name: None,
                    topic_id,
                    ..MetadataResponseTopic::default()
                },
            },
            Some(name) => match find(context, &name, may_create).await {
                Ok(topic) => describe(context, &topic),
                Err(error_code) => MetadataResponseTopic {
                    error_code,
                    is_internal: is_internal(&name),
                    name: Some(name),
                    topic_id: Uuid::nil(),
                    ..MetadataResponseTopic::default()
                },
            },
        });
    }
    topics
}

async fn find(context: &Context, name: &str, may_create: bool) -> Result<Arc<Topic>, ErrorCode> {
    if let Some(topic) = context.topics.get(name) {
        return Ok(topic);
    }
    if check_name(name).is_err() {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    if !may_create || !context.topics.auto_create() || is_internal(name) {
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    match context.topics.create(NewTopic { name: name.to_owned(), ..NewTopic::default() }).await {
        Ok(topic) => Ok(topic),
        // Another client was quicker.
        Err(CreateTopicError::Exists { .. }) => {
            context.topics.get(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        }
        // Asked for again and again, and not worth a warning each time.
        Err(error @ CreateTopicError::Collides { .. }) => Err(create_error(&error)),
        Err(error) => {
            tracing::warn!(topic = name, %error, "a topic could not be created automatically");
            Err(create_error(&error))
        }
    }
}

fn describe(context: &Context, topic: &Topic) -> MetadataResponseTopic {
    let node = context.node.node_id;
    MetadataResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(Str::from(&*topic.name)),
        topic_id: topic.id,
        is_internal: topic.internal,
        partitions: (0..topic.count)
            .map(|partition_index| MetadataResponsePartition {
                error_code: ErrorCode::NONE,
                partition_index,
                leader_id: node,
                leader_epoch: topic
                    .partition(partition_index)
                    .map_or(0, |partition| partition.leader_epoch()),
                replica_nodes: vec![node],
                isr_nodes: vec![node],
                offline_replicas: Vec::new(),
            })
            .collect(),
        ..MetadataResponseTopic::default()
    }
}
