//! Open and ended transactions of one partition.

use std::collections::BTreeMap;

/// What a batch did to the partition's transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEvent {
    /// The first batch of a transaction in this partition.
    Began {
        /// Its producer.
        producer_id: i64,
        /// Offset of the batch.
        first_offset: i64,
    },
    /// The marker of a transaction that has data in this partition.
    Ended(EndedTransaction),
}

/// A transaction with data in this partition that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first batch in this partition.
    pub first_offset: i64,
    /// Offset of its marker.
    pub last_offset: i64,
    /// Committed, or aborted.
    pub committed: bool,
    /// The last stable offset with this transaction ended: where the next open one begins, else the offset after the
    /// marker. (Not bounded by the high watermark.)
    pub last_stable_offset: i64,
}

impl EndedTransaction {
    /// The entry for the index, when it was aborted.
    pub fn aborted(&self) -> Option<AbortedTransaction> {
        (!self.committed).then_some(AbortedTransaction {
            producer_id: self.producer_id,
            first_offset: self.first_offset,
            last_offset: self.last_offset,
            last_stable_offset: self.last_stable_offset,
        })
    }
}

/// An aborted transaction with data in this partition: what consumers that read committed data leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first batch in this partition.
    pub first_offset: i64,
    /// Offset of its abort marker.
    pub last_offset: i64,
    /// The last stable offset once it was aborted.
    pub last_stable_offset: i64,
}

impl AbortedTransaction {
    /// Bytes of an entry in a `.txnindex` file.
    pub const ENCODED_LEN: usize = 34;

    /// The entry: version i16 = 0, producer id, first, last and last stable offset.
    pub fn encode(&self) -> [u8; AbortedTransaction::ENCODED_LEN] {
        let mut entry = [0; AbortedTransaction::ENCODED_LEN];
        entry[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        entry[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        entry[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        entry[26..34].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        entry
    }

    /// Reads an entry. `None` for a version that is not ours or offsets that cannot be.
    pub fn decode(entry: &[u8; AbortedTransaction::ENCODED_LEN]) -> Option<AbortedTransaction> {
        let number = |at: usize| i64::from_be_bytes(std::array::from_fn(|i| entry[at + i]));
        let aborted = AbortedTransaction {
            producer_id: number(2),
            first_offset: number(10),
            last_offset: number(18),
            last_stable_offset: number(26),
        };
        let version = i16::from_be_bytes([entry[0], entry[1]]);
        let possible = aborted.first_offset >= 0
            && aborted.first_offset < aborted.last_offset
            && aborted.last_stable_offset > aborted.first_offset;
        (version == 0 && possible).then_some(aborted)
    }

    /// Whether a reader of the offsets `from..upper` can meet data of this transaction.
    pub fn overlaps(&self, from: i64, upper: i64) -> bool {
        self.last_offset >= from && self.first_offset < upper
    }
}

/// First offsets of the open transactions, with their producers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenTransactions {
    producer_by_first_offset: BTreeMap<i64, i64>,
}

impl OpenTransactions {
    /// A transaction begins.
    pub fn begin(&mut self, first_offset: i64, producer_id: i64) {
        let before = self.producer_by_first_offset.insert(first_offset, producer_id);
        debug_assert!(before.is_none(), "two transactions cannot begin with one batch");
    }

    /// The transaction that began there has ended.
    pub fn end(&mut self, first_offset: i64) {
        self.producer_by_first_offset.remove(&first_offset);
    }

    /// Follows what [`crate::log::Producers::apply`] reported.
    pub fn follow(&mut self, event: &TransactionEvent) {
        match *event {
            TransactionEvent::Began { producer_id, first_offset } => self.begin(first_offset, producer_id),
            TransactionEvent::Ended(ended) => self.end(ended.first_offset),
        }
    }

    /// Where the earliest open transaction begins.
    pub fn first_offset(&self) -> Option<i64> {
        self.producer_by_first_offset.first_key_value().map(|(offset, _)| *offset)
    }

    /// The last stable offset (exclusive): readers of committed data stop before it. Never above the high watermark.
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        self.first_offset().map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// (first offset, producer id), in the order of offsets.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.producer_by_first_offset.iter().map(|(offset, producer)| (*offset, *producer))
    }

    /// No transaction is open.
    pub fn is_empty(&self) -> bool {
        self.producer_by_first_offset.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_bytes() {
        let entry =
            AbortedTransaction { producer_id: 1, first_offset: 2, last_offset: 3, last_stable_offset: 4 };
        let mut expected = vec![0, 0];
        for number in 1..=4i64 {
            expected.extend(number.to_be_bytes());
        }
        assert_eq!(entry.encode()[..], expected);
        assert_eq!(AbortedTransaction::decode(&entry.encode()), Some(entry));
    }

    #[test]
    fn impossible_entries_are_refused() {
        let good =
            AbortedTransaction { producer_id: 1, first_offset: 2, last_offset: 3, last_stable_offset: 4 };
        let mut newer = good.encode();
        newer[1] = 1;
        assert_eq!(AbortedTransaction::decode(&newer), None);
        assert_eq!(AbortedTransaction::decode(&[0; 34]), None, "zeros behind a torn end");
        let backwards = AbortedTransaction { last_offset: 1, ..good };
        assert_eq!(AbortedTransaction::decode(&backwards.encode()), None);
    }

    #[test]
    fn the_last_stable_offset_follows_the_earliest_open_transaction() {
        let mut open = OpenTransactions::default();
        assert_eq!(open.last_stable_offset(100), 100);
        open.follow(&TransactionEvent::Began { producer_id: 7, first_offset: 40 });
        open.follow(&TransactionEvent::Began { producer_id: 8, first_offset: 60 });
        assert_eq!(open.last_stable_offset(100), 40);
        assert_eq!(open.last_stable_offset(30), 30, "never above the high watermark");
        open.follow(&TransactionEvent::Ended(EndedTransaction {
            producer_id: 7,
            first_offset: 40,
            last_offset: 70,
            committed: true,
            last_stable_offset: 60,
        }));
        assert_eq!(open.last_stable_offset(100), 60);
        open.end(60);
        assert!(open.is_empty());
    }

    #[test]
    fn overlap_is_by_marker_and_first_offset() {
        let entry =
            AbortedTransaction { producer_id: 1, first_offset: 10, last_offset: 20, last_stable_offset: 21 };
        assert!(entry.overlaps(20, 21) && entry.overlaps(0, 11) && entry.overlaps(12, 13));
        assert!(!entry.overlaps(21, 30), "behind the marker");
        assert!(!entry.overlaps(0, 10), "before the first batch");
    }
}
