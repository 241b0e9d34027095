//! TxnOffsetCommit: offsets that become true with a transaction.

use super::command::CommitTransactionalOffsets;
use super::consumer::CommitBy;
use super::live::Live;
use super::reply::{Committed, Reply};
use super::state::GroupState;
use super::turn::{Turn, is_group_id};
use crate::{ErrorCode, RequestId};

/// From this version on the request tells a group that is not there, and an epoch that is over, from others.
const OWN_CODES_FROM: i16 = 6;

impl Turn<'_> {
    pub(super) fn commit_transactional_offsets(
        &mut self,
        request: RequestId,
        commit: &CommitTransactionalOffsets,
    ) {
        let producer = Some((commit.producer_id, commit.producer_epoch));
        let topics = match self.consumer_group(&commit.group) {
            Some(consumer) => {
                let instance_id = commit.instance_id.as_ref();
                let by = CommitBy::Transaction { knows_epochs: commit.version >= OWN_CODES_FROM };
                let allowed = consumer.check_commit(&commit.member_id, instance_id, commit.generation, by);
                self.store_allowed_offsets(&commit.group, &commit.offsets, allowed, producer)
            }
            None => {
                let group = self.open(&commit.group);
                let verdict = self.check_transactional_commit(&group, commit);
                self.close(group);
                self.store_offsets(&commit.group, &commit.offsets, verdict, None, producer)
            }
        };
        self.reply(request, Reply::Committed(Committed { topics }));
    }

    /// Fences members of an earlier generation (KIP-447). Unlike a plain commit it may come while the group
    /// rebalances: the producer speaks for what was read before, and its transaction ends on its own.
    fn check_transactional_commit(
        &self,
        group: &Live,
        commit: &CommitTransactionalOffsets,
    ) -> Result<(), ErrorCode> {
        if !is_group_id(&commit.group) {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if self.is_owned(&commit.group) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if !self.exists(&commit.group) && group.is_idle() && commit.generation >= 0 {
            return Err(match commit.version {
                OWN_CODES_FROM.. => ErrorCode::GROUP_ID_NOT_FOUND,
                _ => ErrorCode::ILLEGAL_GENERATION,
            });
        }
        if commit.generation < 0 && group.state == GroupState::Empty {
            return Ok(());
        }
        if commit.generation < 0 && commit.member_id.is_empty() && commit.instance_id.is_none() {
            // Versions below 3 do not say who they are.
            return Ok(());
        }
        group.check_member(&commit.member_id, commit.instance_id.as_ref())?;
        if commit.generation == group.generation { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }
}
