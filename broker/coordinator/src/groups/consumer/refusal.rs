//! Why a request of a member is refused.

use crate::ErrorCode;

/// Kafka's code for the client, a sentence for people.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(ErrorCode::INVALID_REQUEST, message)
    }

    pub(super) fn unknown_member(member_id: &str, group: &str) -> Refusal {
        Refusal::new(
            ErrorCode::UNKNOWN_MEMBER_ID,
            format!("Member {member_id} is not a member of group {group}."),
        )
    }
}
