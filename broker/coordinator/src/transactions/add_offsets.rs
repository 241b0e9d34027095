//! AddOffsetsToTxn, explicit or implied by a TxnOffsetCommit (KIP-890): a group's partition of
//! `__consumer_offsets` is a partition like any other.

use super::command::{AddMode, AddOffsets};
use super::membership::Who;
use super::reply::Reply;
use super::turn::Turn;
use crate::{ErrorCode, RequestId};

impl Turn<'_> {
    pub(super) fn add_offsets(&mut self, request: RequestId, add: &AddOffsets) {
        let who = Who {
            version: add.version,
            transactional_id: &add.transactional_id,
            producer_id: add.producer_id,
            producer_epoch: add.producer_epoch,
        };
        let error = match self.check_who(&who) {
            Err(error) => error,
            Ok(transaction) if add.mode == AddMode::Verify => transaction.verify(&add.offsets),
            Ok(transaction) => {
                let partitions = std::slice::from_ref(&add.offsets);
                self.add(&add.transactional_id, transaction, partitions, add.mode);
                ErrorCode::NONE
            }
        };
        self.reply(request, Reply::OffsetsAdded(error));
    }
}
