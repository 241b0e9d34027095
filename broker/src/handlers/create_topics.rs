//! CreateTopics: topics with partitions and configs, each one for itself.

use std::collections::{BTreeMap, BTreeSet};

use logmill_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfigs, CreatableTopicResult};
use logmill_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use logmill_wire::{ErrorCode, Str};
use uuid::Uuid;

use super::topic_errors::create_error;
use super::{Call, told};
use crate::configs::{ConfigEntry, ConfigSet};
use crate::context::Context;
use crate::topics::NewTopic;

/// The name of the log that Kafka's controllers share.
const METADATA_OF_KAFKA: &str = "__cluster_metadata";

pub(crate) async fn handle(call: Call<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let repeated = repeated_names(&request.topics);
    let mut reported = BTreeSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for wanted in request.topics {
        let name = wanted.name.clone();
        if repeated.contains(&name) {
            if reported.insert(name.clone()) {
                let refusal =
                    Refusal::new(ErrorCode::INVALID_REQUEST, "the topic is named twice in this request");
                topics.push(refused(name, refusal));
            }
            continue;
        }
        topics.push(match create(call.context, wanted, request.validate_only).await {
            Ok(result) => result,
            Err(refusal) => refused(name, refusal),
        });
    }
    CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }
}

struct Refusal {
    code: ErrorCode,
    message: String,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

fn refused(name: Str, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: refusal.code,
        error_message: Some(told(&refusal.message)),
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}

fn repeated_names(topics: &[CreatableTopic]) -> BTreeSet<Str> {
    let mut seen = BTreeSet::new();
    topics.iter().filter(|topic| !seen.insert(&topic.name)).map(|topic| topic.name.clone()).collect()
}

async fn create(
    context: &Context,
    wanted: CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refusal> {
    let name = wanted.name.clone();
    let create_refusal = |error| Refusal::new(create_error(&error), error.to_string());
    if &*name == METADATA_OF_KAFKA {
        let why =
            format!("{METADATA_OF_KAFKA} cannot be created: quorum requests speak of it, and it is no topic");
        return Err(Refusal::new(ErrorCode::INVALID_REQUEST, why));
    }
    context.topics.validate_name(&name).map_err(create_refusal)?;
    let new = new_topic(wanted, context.node.node_id)?;
    if validate_only {
        let partitions = context.topics.validate(&new).map_err(create_refusal)?;
        return Ok(result(name, Uuid::nil(), partitions, configs_of(context, &new.configs)));
    }
    let topic = context.topics.create(new).await.map_err(create_refusal)?;
    Ok(result(name, topic.id, topic.count, configs_of(context, &topic.configs)))
}

fn result(
    name: Str,
    topic_id: Uuid,
    num_partitions: i32,
    configs: Vec<CreatableTopicConfigs>,
) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        topic_id,
        error_code: ErrorCode::NONE,
        error_message: None,
        num_partitions,
        replication_factor: 1,
        configs: Some(configs),
        ..CreatableTopicResult::default()
    }
}

fn configs_of(context: &Context, set: &ConfigSet) -> Vec<CreatableTopicConfigs> {
    let shown = |entry: ConfigEntry| CreatableTopicConfigs {
        name: Str::from_static(entry.definition.name),
        value: entry.value.map(Str::from),
        read_only: false,
        config_source: entry.source as i8,
        is_sensitive: false,
    };
    context.topics.describe_configs(set).into_iter().map(shown).collect()
}

/// The parts of a wish that only make sense with more than one broker are checked against the one there is.
fn new_topic(wanted: CreatableTopic, node: i32) -> Result<NewTopic, Refusal> {
    let partitions = if wanted.assignments.is_empty() {
        if !matches!(wanted.replication_factor, -1 | 1) {
            return Err(Refusal::new(
                ErrorCode::INVALID_REPLICATION_FACTOR,
                format!("replication factor {}: there is one node, so it is 1", wanted.replication_factor),
            ));
        }
        match wanted.num_partitions {
            -1 => None,
            count => Some(count),
        }
    } else {
        Some(assigned_partitions(&wanted, node)?)
    };
    let mut configs = BTreeMap::new();
    for config in wanted.configs {
        let Some(value) = config.value else {
            let message = format!("Null value not supported for topic configs: {}", &*config.name);
            return Err(Refusal::new(ErrorCode::INVALID_CONFIG, message));
        };
        configs.insert(config.name.to_string(), value.to_string());
    }
    Ok(NewTopic { name: wanted.name.to_string(), partitions, configs, ..NewTopic::default() })
}

fn assigned_partitions(wanted: &CreatableTopic, node: i32) -> Result<i32, Refusal> {
    if wanted.num_partitions != -1 || wanted.replication_factor != -1 {
        return Err(Refusal::new(
            ErrorCode::INVALID_REQUEST,
            "with an assignment, the number of partitions and the replication factor are -1",
        ));
    }
    let indexes: BTreeSet<i32> =
        wanted.assignments.iter().map(|assignment| assignment.partition_index).collect();
    let count = i32::try_from(wanted.assignments.len()).unwrap_or(i32::MAX);
    let is_dense = indexes.iter().copied().eq(0..count);
    if !is_dense || wanted.assignments.iter().any(|assignment| assignment.broker_ids != [node]) {
        return Err(Refusal::new(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!("partitions are assigned from 0 on without gaps, each to node {node} alone"),
        ));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use logmill_wire::messages::create_topics::{CreatableReplicaAssignment, CreatableTopicConfig};

    use super::*;

    fn wanted(num_partitions: i32, replication_factor: i16) -> CreatableTopic {
        CreatableTopic { name: "t".into(), num_partitions, replication_factor, ..CreatableTopic::default() }
    }

    fn code(wanted: CreatableTopic) -> Result<Option<i32>, ErrorCode> {
        new_topic(wanted, 1).map(|new| new.partitions).map_err(|refusal| refusal.code)
    }

    #[test]
    fn numbers_fit_one_node() {
        assert_eq!(code(wanted(-1, -1)), Ok(None));
        assert_eq!(code(wanted(3, 1)), Ok(Some(3)));
        assert_eq!(code(wanted(0, 1)), Ok(Some(0)), "the number itself is for the topics to judge");
        assert_eq!(code(wanted(1, 2)), Err(ErrorCode::INVALID_REPLICATION_FACTOR));
        assert_eq!(code(wanted(1, 0)), Err(ErrorCode::INVALID_REPLICATION_FACTOR));
    }

    #[test]
    fn assignments_name_every_partition_once_and_this_node() {
        let assigned = |assignments: &[(i32, &[i32])]| CreatableTopic {
            assignments: assignments
                .iter()
                .map(|(partition_index, brokers)| CreatableReplicaAssignment {
                    partition_index: *partition_index,
                    broker_ids: brokers.to_vec(),
                })
                .collect(),
            ..wanted(-1, -1)
        };
        assert_eq!(code(assigned(&[(1, &[1]), (0, &[1])])), Ok(Some(2)));
        assert_eq!(code(assigned(&[(0, &[1]), (2, &[1])])), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
        assert_eq!(code(assigned(&[(0, &[1]), (0, &[1])])), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
        assert_eq!(code(assigned(&[(0, &[2])])), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
        assert_eq!(code(assigned(&[(0, &[])])), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
        let both = CreatableTopic { num_partitions: 1, ..assigned(&[(0, &[1])]) };
        assert_eq!(code(both), Err(ErrorCode::INVALID_REQUEST));
    }

    #[test]
    fn a_config_without_a_value_is_refused() {
        let config = CreatableTopicConfig { name: "retention.ms".into(), value: None };
        let topic = CreatableTopic { configs: vec![config], ..wanted(1, 1) };
        assert_eq!(code(topic), Err(ErrorCode::INVALID_CONFIG));
    }

    #[test]
    fn repeated_names_are_found() {
        let named = |name: &str| CreatableTopic { name: name.into(), ..CreatableTopic::default() };
        assert_eq!(repeated_names(&[named("a"), named("b"), named("a")]), BTreeSet::from([Str::from("a")]));
    }
}
