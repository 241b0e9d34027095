//! What is answered about consumer groups.

use super::partitions::Partitions;
use super::record::StoredConsumerMember;
use super::refusal::Refusal;
use crate::groups::GroupState;
use crate::{ErrorCode, Str};

/// ConsumerGroupHeartbeat's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerBeat {
    /// Error or `NONE`.
    pub error: ErrorCode,
    /// What is wrong, for people.
    pub message: Option<Str>,
    /// The member's id; `None` with an error.
    pub member_id: Option<Str>,
    /// The member's epoch from now on.
    pub member_epoch: i32,
    /// When its next heartbeat is wanted, in ms.
    pub heartbeat_interval_ms: i32,
    /// Everything it may hold; `None` when that is what it was told last.
    pub assignment: Option<Partitions>,
}

impl ConsumerBeat {
    pub(super) fn refused(refusal: Refusal) -> ConsumerBeat {
        ConsumerBeat {
            error: refusal.code,
            message: Some(Str::from(refusal.message)),
            member_id: None,
            member_epoch: 0,
            heartbeat_interval_ms: 0,
            assignment: None,
        }
    }
}

/// One consumer group in detail.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerDescription {
    /// `GROUP_ID_NOT_FOUND` when there is no consumer group of this name.
    pub error: ErrorCode,
    /// What is wrong, for people.
    pub message: Option<Str>,
    /// The group.
    pub group: Str,
    /// Its state.
    pub state: GroupState,
    /// How many times its members' wishes, or the topics they wish for, have changed.
    pub epoch: i32,
    /// For which of these the target assignment is.
    pub assignment_epoch: i32,
    /// By which assignor it is made.
    pub assignor: Str,
    /// Its members.
    pub members: Vec<ConsumerMemberDescription>,
}

/// A member in detail.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerMemberDescription {
    /// Its id.
    pub member_id: Str,
    /// Its epoch.
    pub epoch: i32,
    /// What it is and wants.
    pub member: StoredConsumerMember,
    /// What it may hold.
    pub assigned: Partitions,
    /// What it is to hold.
    pub target: Partitions,
}
