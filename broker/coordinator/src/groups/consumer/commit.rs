//! Whose offsets are taken and told: commits and fetches by member epoch.

use super::group::ConsumerGroup;
use crate::{ErrorCode, Str};

/// From this version on OffsetCommit speaks of member epochs.
const MEMBER_EPOCH_FROM: i16 = 9;

impl ConsumerGroup {
    /// Whether a member may commit offsets in this epoch. `version` is OffsetCommit's; `None` for a
    /// transaction's commit, which may come in any and is told ILLEGAL_GENERATION.
    pub(in crate::groups) fn check_commit(
        &self,
        member_id: &str,
        epoch: i32,
        version: Option<i16>,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            // An admin client, or a consumer that manages its partitions itself.
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let is_old = version.is_some_and(|version| version < MEMBER_EPOCH_FROM);
        if member.classic.is_none() && is_old {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        self.check_epoch(member_id, epoch).map_err(|error| match version {
            None => ErrorCode::ILLEGAL_GENERATION,
            Some(_) => error,
        })
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
