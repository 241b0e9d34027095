//! What compaction has to know of transactions while it walks a log, and when a marker may go.
//!
//! ```text
//! data of an aborted transaction   goes
//! marker                           stays as long as there is data of its transaction in the log, seen in the same pass
//! ```
//!
//! Transactions are known from the index of the aborted ones, for the whole range that is walked: were the range cut short
//! inside a transaction, its data would stay while its marker goes, and turn from aborted to committed (KAFKA-13727).

use std::collections::{HashMap, HashSet};

use logmill_record::{BatchHeader, EndTxnMarker};

use crate::log::transactions::AbortedTransaction;

/// Follows the transactions of a log, batch by batch.
#[derive(Debug, Default)]
pub(super) struct TransactionsSeen {
    /// Not reached yet, the one that begins last in front.
    later: Vec<AbortedTransaction>,
    /// By producer: aborted transactions that have begun, and whether there was data of them.
    aborted: HashMap<i64, (AbortedTransaction, bool)>,
    /// Producers with data of a transaction that was not aborted.
    committed: HashSet<i64>,
}

/// What a marker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkerSeen {
    /// There was no data of its transaction: it says nothing that a reader needs.
    pub(super) is_empty: bool,
    /// The aborted transaction that it ends, if there was data of it.
    pub(super) aborted: Option<AbortedTransaction>,
}

impl TransactionsSeen {
    /// Expects these aborted transactions.
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> TransactionsSeen {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        TransactionsSeen { later: aborted, ..TransactionsSeen::default() }
    }

    /// A batch of data. True when its transaction was aborted.
    pub(super) fn data(&mut self, header: &BatchHeader) -> bool {
        self.reach(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        if let Some((_, has_data)) = self.aborted.get_mut(&header.producer_id) {
            *has_data = true;
            return true;
        }
        self.committed.insert(header.producer_id);
        false
    }

    /// A marker.
    pub(super) fn marker(&mut self, header: &BatchHeader, marker: EndTxnMarker) -> MarkerSeen {
        self.reach(header.last_offset());
        if marker.commit {
            return MarkerSeen { is_empty: !self.committed.remove(&header.producer_id), aborted: None };
        }
        let ended = self.aborted.remove(&header.producer_id);
        let aborted = ended.and_then(|(transaction, has_data)| has_data.then_some(transaction));
        MarkerSeen { is_empty: aborted.is_none(), aborted }
    }

    fn reach(&mut self, offset: i64) {
        while let Some(next) = self.later.pop_if(|next| next.first_offset <= offset) {
            self.aborted.insert(next.producer_id, (next, false));
        }
    }
}
