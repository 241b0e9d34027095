//! EndTxn: the state record and every marker in one step. What an end means that comes late, twice or from
//! somebody else depends on the client's transaction version.
//!
//! Version 0 and 1: the epoch stays the same for many transactions, so an end is told from its retry only by
//! the state. Version 2 (KIP-890): every end bumps the epoch, so one that belongs to an earlier transaction
//! has an old epoch and cannot touch the next.
//!
//! | state          | v2, current epoch            | v2, the epoch before (a retry) | v0, v1            |
//! |----------------|------------------------------|--------------------------------|-------------------|
//! | Ongoing        | end                          | fenced                         | end               |
//! | Empty          | abort: bump, commit: invalid | fenced                         | invalid           |
//! | CompleteCommit | abort: bump, commit: invalid | commit: done, abort: invalid   | same: done        |
//! | CompleteAbort  | abort: bump, commit: invalid | abort: done, commit: invalid   | same: done        |
//! | Prepare*       | same end: concurrent, other: invalid                         || same as v2       |

use super::command::EndTransaction;
use super::epoch::LAST_CLIENT_EPOCH;
use super::record::{Transaction, TransactionState};
use super::reply::{ProducerGrant, Reply};
use super::turn::{Turn, fenced};
use crate::{ErrorCode, RequestId};

/// From this version clients know PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;
/// From this version the rules are those of transaction version 2.
const TRANSACTION_V2_FROM: i16 = 5;

impl<'a> Turn<'a> {
    pub(super) fn end_transaction(&mut self, request: RequestId, end: &EndTransaction) {
        let grant = match self.check_end(end) {
            Err(error) => ProducerGrant::refused(error),
            Ok((transaction, Verdict::Done)) => self.done_already(end, transaction),
            Ok((transaction, Verdict::End)) => self.end(end, transaction),
        };
        self.reply(request, Reply::Ended(grant));
    }

    fn check_end(&self, end: &EndTransaction) -> Result<(&'a Transaction, Verdict), ErrorCode> {
        if end.transactional_id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let transactions = self.transactions;
        let transaction = transactions
            .get(&end.transactional_id)
            .filter(|transaction| {
                transaction.producer_id == end.producer_id || end.is_retry_across_rotation(transaction)
            })
            .ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        let epoch = end.epoch_in(transaction).ok_or(fenced(end.version, FENCED_FROM))?;
        let verdict = verdict(transaction.state, epoch, end.is_v2(), end.commit)?;
        Ok((transaction, verdict))
    }

    fn end(&mut self, end: &EndTransaction, before: &Transaction) -> ProducerGrant {
        let after = if end.is_v2() {
            let superseded = (end.producer_id, end.producer_epoch);
            self.waiting.superseded.insert(end.transactional_id.detached(), superseded);
            Transaction { client_version: 2, ..before.bumped(end.fresh_producer_id) }
        } else {
            before.clone()
        };
        let marker_epoch = if end.is_v2() { before.fenced().producer_epoch } else { before.producer_epoch };
        let ended = Transaction { client_version: after.client_version, ..before.clone() };
        let markers = ended.markers(end.commit, marker_epoch, self.settings.coordinator_epoch);
        let state =
            if end.commit { TransactionState::CompleteCommit } else { TransactionState::CompleteAbort };
        let after = after.closed(state, self.now);
        let grant = ProducerGrant::of(&after);
        self.record(&end.transactional_id, Some(after));
        self.mark(markers);
        grant
    }

    /// The answer to the first try again. When the last epoch was spent on fencing a transaction that timed
    /// out, there is none to go on with, and the producer gets a fresh id now.
    fn done_already(&mut self, end: &EndTransaction, transaction: &Transaction) -> ProducerGrant {
        if !end.is_v2() || transaction.producer_epoch <= LAST_CLIENT_EPOCH {
            return ProducerGrant::of(transaction);
        }
        let after = transaction.bumped(end.fresh_producer_id).closed(transaction.state, self.now);
        let grant = ProducerGrant::of(&after);
        self.record(&end.transactional_id, Some(after));
        grant
    }
}

/// What to do about an end that is not refused.
enum Verdict {
    End,
    Done,
}

/// Which of its epochs a producer speaks with.
#[derive(Clone, Copy, PartialEq)]
enum Epoch {
    Current,
    /// The one that its last end has replaced (version 2).
    Before,
}

impl EndTransaction {
    fn is_v2(&self) -> bool {
        self.version >= TRANSACTION_V2_FROM
    }

    /// The end that used up the epochs of the previous producer id, again.
    fn is_retry_across_rotation(&self, transaction: &Transaction) -> bool {
        self.is_v2()
            && transaction.previous_producer_id == self.producer_id
            && transaction.producer_epoch == 0
            && self.producer_epoch == LAST_CLIENT_EPOCH
            && transaction.state.is_complete()
    }

    fn epoch_in(&self, transaction: &Transaction) -> Option<Epoch> {
        if self.is_retry_across_rotation(transaction) {
            return Some(Epoch::Before);
        }
        if self.producer_epoch == transaction.producer_epoch {
            return Some(Epoch::Current);
        }
        let bumped = self.producer_epoch.checked_add(1) == Some(transaction.producer_epoch);
        // Only an end under version 2 has bumped the epoch. Where the last one was of version 1, the epoch
        // before was another producer's, and its transaction had another end.
        let has_ended = transaction.state.is_complete() || transaction.state.is_ending();
        let has_bumped = has_ended && transaction.client_version >= 2;
        (self.is_v2() && bumped && has_bumped).then_some(Epoch::Before)
    }
}

/// The table above.
fn verdict(
    state: TransactionState,
    epoch: Epoch,
    transaction_v2: bool,
    commit: bool,
) -> Result<Verdict, ErrorCode> {
    use TransactionState::{
        CompleteAbort, CompleteCommit, Dead, Empty, Ongoing, PrepareAbort, PrepareCommit, PrepareEpochFence,
    };
    let same_end = match state {
        PrepareCommit | CompleteCommit => commit,
        PrepareAbort | PrepareEpochFence | CompleteAbort => !commit,
        Empty | Ongoing | Dead => false,
    };
    match (state, epoch) {
        (Ongoing, Epoch::Current) => Ok(Verdict::End),
        (PrepareCommit | PrepareAbort | PrepareEpochFence, _) if same_end => {
            Err(ErrorCode::CONCURRENT_TRANSACTIONS)
        }
        (CompleteCommit | CompleteAbort, _) if same_end && (epoch == Epoch::Before || !transaction_v2) => {
            Ok(Verdict::Done)
        }
        // A transaction to which nothing was ever added: there is nothing to abort but its epoch.
        (Empty | CompleteCommit | CompleteAbort, Epoch::Current) if transaction_v2 && !commit => {
            Ok(Verdict::End)
        }
        _ => Err(ErrorCode::INVALID_TXN_STATE),
    }
}
