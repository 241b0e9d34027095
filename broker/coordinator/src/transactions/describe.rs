//! DescribeTransactions.

use super::command::Describe;
use super::record::TransactionState;
use super::reply::{Description, Reply};
use super::turn::Turn;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    pub(super) fn describe(&mut self, request: RequestId, describe: &Describe) {
        let described = describe.transactional_ids.iter().map(|id| self.describe_one(id)).collect();
        self.reply(request, Reply::Described(described));
    }

    fn describe_one(&self, transactional_id: &Str) -> Description {
        match self.transactions.get(transactional_id) {
            Some(transaction) => Description {
                error: ErrorCode::NONE,
                transactional_id: transactional_id.clone(),
                state: transaction.state,
                timeout_ms: transaction.timeout_ms,
                started: transaction.started,
                producer_id: transaction.producer_id,
                producer_epoch: transaction.producer_epoch,
                partitions: transaction.partitions.iter().cloned().collect(),
            },
            None => Description {
                error: ErrorCode::TRANSACTIONAL_ID_NOT_FOUND,
                transactional_id: transactional_id.clone(),
                state: TransactionState::Dead,
                timeout_ms: 0,
                started: -1,
                producer_id: -1,
                producer_epoch: -1,
                partitions: Vec::new(),
            },
        }
    }
}
