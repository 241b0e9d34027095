//! How many bytes the state of an operator has, told from what it writes to the changelog; but for the rows of logs, of which
//! an epoch's are one record: these the operator counts itself.
//!
//! A ledger of every entry would be a good part of the state itself. Beyond some thousand entries it holds a share of them,
//! chosen by a hash of their keys, and the sum is what that share comes to.

use twox_hash::XxHash64;

use crate::state::HashMap;

/// What an entry costs beside its key and its value, in bytes.
const ENTRY_BYTES: u64 = 64;

/// The ledger holds fewer entries than this: the share is halved when it is full. Sums are then right to about one in a
/// hundred.
const MOST_ENTRIES: usize = 1 << 15;

/// How much an operator keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSize {
    /// The operator's name.
    pub operator: &'static str,
    /// Its identity; see [`Plan::identities`](crate::Plan::identities).
    pub identity: u32,
    /// Entries of its tables.
    pub entries: u64,
    /// Windows that are open, or closed and not wholly written.
    pub windows: u64,
    /// Bytes of its keys and values, and what an entry costs beside them; about, where there are more than some thousand, and
    /// of rows that joins keep by their times.
    pub bytes: u64,
    /// How many of them are in memory: all, but where there is a cold store.
    pub memory_bytes: u64,
}

/// The ledger of one operator.
#[derive(Debug, Default)]
pub(super) struct SizeMeter {
    /// Bytes by the hash of an entry's key, for one of 2^`halvings` entries.
    entries: HashMap<u64, u32>,
    sum: u64,
    halvings: u32,
}

impl SizeMeter {
    /// An entry is written, or gone.
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let hash = XxHash64::oneshot(0, key);
        if !self.is_held(hash) {
            return;
        }
        let size = value.map(|value| key.len() as u64 + value.len() as u64 + ENTRY_BYTES);
        let size = size.map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        let before = match size {
            Some(size) => self.entries.insert(hash, size),
            None => self.entries.remove(&hash),
        };
        self.sum = self.sum + u64::from(size.unwrap_or(0)) - u64::from(before.unwrap_or(0));
        if self.entries.len() >= MOST_ENTRIES {
            self.halve();
        }
    }

    /// Bytes of all entries.
    pub(super) fn bytes(&self) -> u64 {
        self.sum << self.halvings
    }

    fn is_held(&self, hash: u64) -> bool {
        hash.trailing_zeros() >= self.halvings
    }

    fn halve(&mut self) {
        self.halvings += 1;
        let halvings = self.halvings;
        self.entries.retain(|hash, _| hash.trailing_zeros() >= halvings);
        self.sum = self.entries.values().map(|size| u64::from(*size)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(meter: &mut SizeMeter, key: u64, value: Option<usize>) {
        meter.put(&key.to_be_bytes(), value.map(|length| vec![0; length]).as_deref());
    }

    #[test]
    fn few_entries_are_counted_exactly() {
        let mut meter = SizeMeter::default();
        assert_eq!(meter.bytes(), 0);
        put(&mut meter, 1, Some(100));
        put(&mut meter, 2, Some(0));
        assert_eq!(meter.bytes(), 100 + 2 * (8 + ENTRY_BYTES));
        put(&mut meter, 1, Some(10));
        put(&mut meter, 2, None);
        put(&mut meter, 3, None);
        assert_eq!(meter.bytes(), 10 + 8 + ENTRY_BYTES);
        put(&mut meter, 1, None);
        assert_eq!(meter.bytes(), 0);
    }

    #[test]
    fn many_entries_are_counted_by_a_share_of_them() {
        let mut meter = SizeMeter::default();
        // Every tenth is a large one, that is nine tenths of the bytes.
        let size = |key: u64| if key.is_multiple_of(10) { 9_000 } else { 100 };
        (0..1_000_000).for_each(|key| put(&mut meter, key, Some(size(key))));
        let exact: u64 = (0..1_000_000).map(|key| 8 + ENTRY_BYTES + size(key) as u64).sum();
        assert!(meter.entries.len() < MOST_ENTRIES);
        let off = meter.bytes().abs_diff(exact) as f64 / exact as f64;
        assert!(off < 0.05, "{off}");
        (0..1_000_000).for_each(|key| put(&mut meter, key, None));
        assert_eq!(meter.bytes(), 0);
    }
}
