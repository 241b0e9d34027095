//! What configs belong to, and the error codes of changing them.

use logmill_wire::ErrorCode;

use crate::context::Context;
use crate::topics::{AlterConfigsError, ConfigScope, check_name};

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

/// Kafka's code for configs that were not changed. It has another one for a broker's than for a topic's.
pub(super) fn alter_error(resource: &Resource<'_>, error: &AlterConfigsError) -> Refused {
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
