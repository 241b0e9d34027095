//! Whose offsets are taken and told: commits and fetches by member epoch.

use std::sync::Arc;

use uuid::Uuid;

use super::group::ConsumerGroup;
use super::record::CurrentAssignment;
use crate::{ErrorCode, Str};

/// From this version on OffsetCommit speaks of member epochs.
const MEMBER_EPOCH_FROM: i16 = 9;

/// What commits offsets.
#[derive(Debug, Clone, Copy)]
pub(in crate::groups) enum CommitBy {
    /// OffsetCommit of this version.
    Request { version: i16 },
    /// A transaction. Unless it knows epochs it is told ILLEGAL_GENERATION.
    Transaction { knows_epochs: bool },
}

/// What may be committed.
#[derive(Debug, Clone)]
pub(in crate::groups) enum Permission {
    /// Every offset.
    Everything,
    /// Those of partitions that a member got in this epoch or before, and has not given up.
    Since {
        current: Arc<CurrentAssignment>,
        epoch: i32,
        /// What is said of the others.
        otherwise: ErrorCode,
    },
}

impl Permission {
    /// Why an offset of this partition may not be committed. A topic without an id is none that a member holds.
    pub(in crate::groups) fn refusal(&self, topic: Option<Uuid>, partition: i32) -> Option<ErrorCode> {
        match self {
            Permission::Everything => None,
            Permission::Since { current, epoch, otherwise } => {
                let since = topic.and_then(|topic| current.since.get(&(topic, partition)));
                since.is_none_or(|since| since > epoch).then_some(*otherwise)
            }
        }
    }
}

impl ConsumerGroup {
    /// Whether a member may commit offsets in this epoch; a transaction may in any version of its request.
    ///
    /// In an epoch that is over it may for the partitions that it had by then (KIP-1251): its next epoch may be on
    /// its way to it.
    pub(in crate::groups) fn check_commit(
        &self,
        member_id: &str,
        instance_id: Option<&Str>,
        epoch: i32,
        by: CommitBy,
    ) -> Result<Permission, ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            // An admin client, or a consumer that manages its partitions itself.
            return Ok(Permission::Everything);
        }
        let is_transaction = matches!(by, CommitBy::Transaction { .. });
        if is_transaction && epoch == -1 && member_id.is_empty() && instance_id.is_none() {
            // Transactions may keep to themselves whose offsets they commit.
            return Ok(Permission::Everything);
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let is_old = matches!(by, CommitBy::Request { version } if version < MEMBER_EPOCH_FROM);
        if member.classic.is_none() && is_old {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let Err(error) = self.check_epoch(member_id, epoch) else { return Ok(Permission::Everything) };
        let error = match by {
            CommitBy::Transaction { knows_epochs: false } => ErrorCode::ILLEGAL_GENERATION,
            _ => error,
        };
        let current = self.current(member_id);
        match epoch < current.epoch {
            true => Ok(Permission::Since { current, epoch, otherwise: error }),
            false => Err(error),
        }
    }

    /// Whether a member may read offsets in this epoch; who does not say who it is may.
    pub(in crate::groups) fn check_fetch(
        &self,
        member_id: Option<&Str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        match member_id {
            None if epoch < 0 => Ok(()),
            None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(member_id) if self.members.contains_key(member_id) => self.check_epoch(member_id, epoch),
            Some(_) => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    fn check_epoch(&self, member_id: &str, epoch: i32) -> Result<(), ErrorCode> {
        if epoch == self.current(member_id).epoch {
            return Ok(());
        }
        let classic = self.members.get(member_id).is_some_and(|member| member.classic.is_some());
        Err(if classic { ErrorCode::ILLEGAL_GENERATION } else { ErrorCode::STALE_MEMBER_EPOCH })
    }
}
