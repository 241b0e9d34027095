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
        self.reach(header);
        if !header.is_transactional() {
            return false;
        }
        // One whose marker was passed without being seen is over, too.
        if self
            .aborted
            .get(&header.producer_id)
            .is_some_and(|(over, _)| over.last_offset < header.base_offset)
        {
            self.aborted.remove(&header.producer_id);
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
        self.reach(header);
        if marker.commit {
            return MarkerSeen { is_empty: !self.committed.remove(&header.producer_id), aborted: None };
        }
        let ended = self.aborted.remove(&header.producer_id);
        let aborted = ended.and_then(|(transaction, has_data)| has_data.then_some(transaction));
        MarkerSeen { is_empty: aborted.is_none(), aborted }
    }

    fn reach(&mut self, header: &BatchHeader) {
        while let Some(next) = self.later.pop_if(|next| next.first_offset <= header.last_offset()) {
            // The walk may begin behind one that ended long ago; the producer's next may have been committed.
            if next.last_offset >= header.base_offset {
                self.aborted.insert(next.producer_id, (next, false));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use logmill_record::control::marker_batch;
    use logmill_record::{Batch, BatchBuilder, BatchOptions, ProducerStamp};

    use super::*;

    fn data(producer: i64, offset: i64) -> Batch {
        let producer = Some(ProducerStamp { id: producer, epoch: 0, sequence: 0 });
        let mut builder =
            BatchBuilder::new(BatchOptions { producer, transactional: true, ..BatchOptions::default() });
        builder.push(1, Some(b"k"), None, &[]);
        builder.build().stamped(offset, 0)
    }

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset: last_offset + 1 }
    }

    fn marker(seen: &mut TransactionsSeen, producer: i64, offset: i64, commit: bool) -> MarkerSeen {
        let marker = EndTxnMarker { commit, coordinator_epoch: 0 };
        seen.marker(marker_batch(producer, 0, marker, 1).stamped(offset, 0).header(), marker)
    }

    #[test]
    fn data_is_of_the_transaction_that_it_lies_in() {
        let first = aborted(9, 2, 4);
        let mut seen = TransactionsSeen::new(vec![aborted(9, 8, 9), first]);
        assert!(seen.data(data(9, 3).header()));
        assert!(!seen.data(data(8, 3).header()));
        assert_eq!(marker(&mut seen, 9, 4, false), MarkerSeen { is_empty: false, aborted: Some(first) });
        assert!(!seen.data(data(9, 5).header()), "the next one was committed");
        assert!(!marker(&mut seen, 9, 6, true).is_empty);
        assert!(marker(&mut seen, 9, 9, false).is_empty, "no data of it is left");
        assert!(marker(&mut seen, 7, 10, true).is_empty);
    }

    #[test]
    fn a_walk_that_begins_behind_an_aborted_transaction_does_not_take_the_next_one_for_it() {
        let mut seen = TransactionsSeen::new(vec![aborted(9, 2, 4), aborted(9, 5, 6)]);
        assert!(!seen.data(data(9, 7).header()));
        let mut seen = TransactionsSeen::new(vec![aborted(9, 2, 4)]);
        assert!(seen.data(data(9, 3).header()));
        assert!(!seen.data(data(9, 7).header()), "although its marker was not met");
    }
}
