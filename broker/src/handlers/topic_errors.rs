//! Error codes of the topic family: creating, growing, deleting.

use logmill_wire::ErrorCode;

use crate::topics::{CreateTopicError, DeleteTopicError};

/// Kafka's code for a topic that was not created or grown.
pub(super) fn create_error(error: &CreateTopicError) -> ErrorCode {
    match error {
        CreateTopicError::Name(_) | CreateTopicError::Reserved | CreateTopicError::Collides { .. } => {
            ErrorCode::INVALID_TOPIC_EXCEPTION
        }
        CreateTopicError::Exists { .. } => ErrorCode::TOPIC_ALREADY_EXISTS,
        CreateTopicError::Partitions(_) => ErrorCode::INVALID_PARTITIONS,
        CreateTopicError::Config(_) => ErrorCode::INVALID_CONFIG,
        CreateTopicError::Storage(_) | CreateTopicError::Missing { .. } => ErrorCode::KAFKA_STORAGE_ERROR,
        CreateTopicError::Metadata(_) => ErrorCode::BROKER_NOT_AVAILABLE,
    }
}

/// Kafka's code for a topic that was not deleted.
pub(super) fn delete_error(error: &DeleteTopicError) -> ErrorCode {
    match error {
        DeleteTopicError::Unknown => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        DeleteTopicError::Internal | DeleteTopicError::Owned { .. } => ErrorCode::POLICY_VIOLATION,
        DeleteTopicError::Metadata(_) => ErrorCode::BROKER_NOT_AVAILABLE,
    }
}
