//! What configs belong to, changing them, and the error codes of that.

use std::collections::BTreeSet;

use logmill_wire::{ErrorCode, Str};

use super::told;
use crate::context::Context;
use crate::topics::{AlterConfigsError, ConfigScope, ConfigUpdate, check_name};

/// Kafka's codes for what has configs.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const GROUP: i8 = 32;

/// A code with its reason.
pub(super) type Refused = (ErrorCode, String);

/// Something that has configs.
pub(super) enum Resource<'a> {
    /// The topic of this name, which may not exist.
    Topic(&'a str),
    /// The broker: this one, or all together.
    Broker(ConfigScope),
    /// The loggers of this broker.
    Loggers,
    /// The group of this name, which need not exist.
    Group(&'a str),
}

/// Finds out what a request means by a type and a name.
pub(super) fn resource<'a>(context: &Context, kind: i8, name: &'a str) -> Result<Resource<'a>, Refused> {
    let is_here = || name.parse() == Ok(context.node.node_id);
    let node = context.node.node_id;
    match kind {
        TOPIC => match check_name(name) {
            Ok(()) => Ok(Resource::Topic(name)),
            Err(error) => Err((ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string())),
        },
        BROKER if name.is_empty() => Ok(Resource::Broker(ConfigScope::Cluster)),
        BROKER if is_here() => Ok(Resource::Broker(ConfigScope::Node)),
        BROKER_LOGGER if is_here() => Ok(Resource::Loggers),
        GROUP if name.is_empty() => {
            Err((ErrorCode::INVALID_REQUEST, "Default group resources are not allowed.".to_owned()))
        }
        GROUP => Ok(Resource::Group(name)),
        BROKER => {
            let why = format!("Unexpected broker id, expected {node} or empty string, but received {name}");
            Err((ErrorCode::INVALID_REQUEST, why))
        }
        BROKER_LOGGER => {
            let why = format!("Unexpected broker id, expected {node} but received {name}");
            Err((ErrorCode::INVALID_REQUEST, why))
        }
        other => Err((ErrorCode::INVALID_REQUEST, format!("resources of type {other} have no configs here"))),
    }
}

/// One resource of a request that changes configs, in either way.
pub(super) struct Asked {
    pub(super) kind: i8,
    pub(super) name: Str,
    /// What is to be set, unless the request itself is wrong.
    pub(super) update: Result<ConfigUpdate, Refused>,
}

/// What became of it.
pub(super) struct Answered {
    pub(super) kind: i8,
    pub(super) name: Str,
    pub(super) error_code: ErrorCode,
    pub(super) error_message: Option<Str>,
}

/// Changes what is asked for, or only checks whether it could be, one resource after another. Of one that stands
/// there more than once nothing is changed.
pub(super) async fn alter_all(context: &Context, asked: Vec<Asked>, validate_only: bool) -> Vec<Answered> {
    let mut seen = BTreeSet::new();
    let key = |asked: &Asked| (asked.kind, asked.name.clone());
    let repeated: BTreeSet<_> = asked.iter().map(key).filter(|key| !seen.insert(key.clone())).collect();
    let mut answers = Vec::with_capacity(asked.len());
    for Asked { kind, name, update } in asked {
        let altered = if repeated.contains(&(kind, name.clone())) {
            Err((ErrorCode::INVALID_REQUEST, "Each resource must appear at most once.".to_owned()))
        } else {
            alter(context, kind, &name, update, validate_only).await
        };
        let (error_code, error_message) = match altered {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, message)) => (code, Some(told(&message))),
        };
        answers.push(Answered { kind, name, error_code, error_message });
    }
    answers
}

async fn alter(
    context: &Context,
    kind: i8,
    name: &str,
    update: Result<ConfigUpdate, Refused>,
    validate_only: bool,
) -> Result<(), Refused> {
    let resource = resource(context, kind, name)?;
    let update = update?;
    let altered = match &resource {
        Resource::Topic(name) => context.topics.alter_topic(name, &update, validate_only).await,
        Resource::Group(name) => context.topics.alter_group(name, &update, validate_only).await,
        Resource::Broker(scope) => context.topics.alter_broker(*scope, &update, validate_only).await,
        Resource::Loggers => {
            return match update {
                ConfigUpdate::Change(changes) => context
                    .loggers
                    .change(&changes, validate_only)
                    .map_err(|error| (error.code(), error.to_string())),
                // Kafka has no older way for these either.
                ConfigUpdate::Replace(_) => {
                    let why = "AlterConfigs does not change loggers; IncrementalAlterConfigs does".to_owned();
                    Err((ErrorCode::INVALID_REQUEST, why))
                }
            };
        }
    };
    altered.map_err(|error| alter_error(&resource, &error))
}

/// Kafka's code for configs that were not changed. It has another one for a broker's than for a topic's.
fn alter_error(resource: &Resource<'_>, error: &AlterConfigsError) -> Refused {
    let code = match (error, resource) {
        (AlterConfigsError::UnknownTopic(_), _) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        (AlterConfigsError::Config(_), Resource::Topic(_) | Resource::Group(_)) => ErrorCode::INVALID_CONFIG,
        (AlterConfigsError::Config(_), _) => ErrorCode::INVALID_REQUEST,
        (AlterConfigsError::Reserved, _) => ErrorCode::POLICY_VIOLATION,
        (AlterConfigsError::Storage(_), _) => ErrorCode::KAFKA_STORAGE_ERROR,
        (AlterConfigsError::Metadata(_), _) => ErrorCode::BROKER_NOT_AVAILABLE,
    };
    (code, error.to_string())
}
