//! AddPartitionsToTxn, explicit or implied by a produce (KIP-890).

use super::command::{AddMode, AddPartitions};
use super::membership::Who;
use super::reply::Reply;
use super::turn::Turn;
use crate::{ErrorCode, RequestId};

impl Turn<'_> {
    pub(super) fn add_partitions(&mut self, request: RequestId, add: &AddPartitions) {
        let who = Who {
            version: add.version,
            transactional_id: &add.transactional_id,
            producer_id: add.producer_id,
            producer_epoch: add.producer_epoch,
        };
        let found = self.check_who(&who);
        if let Ok(transaction) = found
            && add.mode != AddMode::Verify
        {
            self.add(&add.transactional_id, transaction, &add.partitions, add.mode);
        }
        let answers = add.partitions.iter().map(|partition| {
            let error = match found {
                Err(error) => error,
                Ok(transaction) if add.mode == AddMode::Verify => transaction.verify(partition),
                Ok(_) => ErrorCode::NONE,
            };
            (partition.clone(), error)
        });
        let answers = answers.collect();
        self.reply(request, Reply::PartitionsAdded(answers));
    }
}
