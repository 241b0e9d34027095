//! Where the last record of each key is in the topics of tables: what a query by key reads, in place of the whole topic.
//!
//! ```text
//! query by key ─► what was written since the last one is gone through once ─► offset of the key's last record ─► its batch
//! ```
//!
//! An index is made when a table is first asked by key, and is in memory only: the topic is the truth. One that would be too
//! large is given up.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::topics::Topics;

/// What the index of one table takes at most, in bytes: that of some two million keys.
const TABLE_BYTES: usize = 64 << 20;

/// What those of all tables take that are not asked just now.
const OTHERS_BYTES: usize = 64 << 20;

/// What a key takes: its hash, an offset, and a byte of the map's own.
const KEY_BYTES: usize = size_of::<(KeyHash, i64)>() + 1;

/// A key, by so much of its SHA-256 that nobody finds another one with the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KeyHash([u64; 2]);

impl KeyHash {
    fn of(key: &[u8]) -> KeyHash {
        let digest = Sha256::digest(key);
        let half = |at: usize| u64::from_le_bytes(digest[at..at + 8].try_into().expect("it has 32 bytes"));
        KeyHash([half(0), half(8)])
    }
}

impl std::hash::Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// Takes what is a hash already.
#[derive(Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only a KeyHash is hashed")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The indexes of all tables.
#[derive(Default)]
pub(super) struct LookUps {
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    of: BTreeMap<Uuid, Known>,
    /// Counts the look-ups.
    now: u64,
}

struct Known {
    topic: Arc<str>,
    index: Arc<Mutex<TableIndex>>,
    used: u64,
}

/// The index of one table. Whoever has it is the only one that looks keys of the table up.
pub(super) struct TableIndex {
    partitions: BTreeMap<i32, PartitionIndex>,
    max_bytes: usize,
}

/// The index of one partition of a table.
#[derive(Default)]
struct PartitionIndex {
    offsets: HashMap<KeyHash, i64, BuildHasherDefault<Taken>>,
    /// What is before is known.
    end: i64,
    /// It would be too large.
    is_given_up: bool,
}

impl LookUps {
    /// The index of a table. What others need must go where they are too large together: those that were not used for longest.
    pub(super) fn table(&self, topics: &Topics, topic: &Arc<str>, id: Uuid) -> Arc<Mutex<TableIndex>> {
        let mut tables = self.tables.lock();
        tables.now += 1;
        let now = tables.now;
        tables.of.retain(|id, known| topics.get(&known.topic).is_some_and(|topic| topic.id == *id));
        let mut by_use: Vec<(u64, Uuid)> = tables
            .of
            .iter()
            .filter(|(known, _)| **known != id)
            .map(|(id, known)| (known.used, *id))
            .collect();
        by_use.sort_unstable_by_key(|(used, _)| std::cmp::Reverse(*used));
        let mut bytes = 0;
        for (_, id) in by_use {
            // One that is in use is counted with the most it can be.
            let size = tables.of[&id].index.try_lock().map_or(TABLE_BYTES, |index| index.bytes());
            bytes += size;
            if bytes > OTHERS_BYTES {
                tables.of.remove(&id);
                bytes -= size;
            }
        }
        let new = || Known { topic: Arc::clone(topic), index: Arc::default(), used: now };
        let known = tables.of.entry(id).or_insert_with(new);
        known.used = now;
        Arc::clone(&known.index)
    }
}

impl Default for TableIndex {
    fn default() -> Self {
        Self { partitions: BTreeMap::new(), max_bytes: TABLE_BYTES }
    }
}

impl TableIndex {
    /// What is known of a partition up to which offset; `None` where its index was given up. One that knows more than there is
    /// up to `end` begins anew: the log is another one.
    pub(super) fn known_end(&mut self, partition: i32, end: i64) -> Option<i64> {
        let known = self.partitions.entry(partition).or_default();
        if known.end > end {
            *known = PartitionIndex::default();
        }
        (!known.is_given_up).then_some(known.end)
    }

    /// A record of a partition, in the order of offsets. Whether there was room for it; if not, the index of the partition is
    /// given up.
    pub(super) fn note(&mut self, partition: i32, key: &[u8], offset: i64, has_value: bool) -> bool {
        let hash = KeyHash::of(key);
        let others = self.bytes_without(partition);
        let known = self.partitions.entry(partition).or_default();
        if !has_value {
            known.offsets.remove(&hash);
            return true;
        }
        // It grows to twice its size.
        let grows = known.offsets.len() == known.offsets.capacity();
        if grows && others + known.bytes().max(KEY_BYTES) * 2 > self.max_bytes {
            *known = PartitionIndex { is_given_up: true, ..PartitionIndex::default() };
            return false;
        }
        known.offsets.insert(hash, offset);
        true
    }

    /// All records of a partition before an offset are noted.
    pub(super) fn is_known_to(&mut self, partition: i32, end: i64) {
        self.partitions.entry(partition).or_default().end = end;
    }

    /// Where the last record of a key is, if that has a value.
    pub(super) fn offset(&self, partition: i32, key: &[u8]) -> Option<i64> {
        self.partitions.get(&partition)?.offsets.get(&KeyHash::of(key)).copied()
    }

    fn bytes(&self) -> usize {
        self.partitions.values().map(PartitionIndex::bytes).sum()
    }

    fn bytes_without(&self, partition: i32) -> usize {
        let others = self.partitions.iter().filter(|(other, _)| **other != partition);
        others.map(|(_, known)| known.bytes()).sum()
    }
}

impl PartitionIndex {
    fn bytes(&self) -> usize {
        // Of eight buckets one stays free.
        self.offsets.capacity() / 7 * 8 * KEY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(max_bytes: usize) -> TableIndex {
        TableIndex { max_bytes, ..TableIndex::default() }
    }

    #[test]
    fn the_last_record_of_a_key_is_known_until_it_is_deleted() {
        let mut index = index(TABLE_BYTES);
        assert_eq!(index.known_end(0, 10), Some(0));
        for (offset, key, has_value) in [(0, "a", true), (1, "b", true), (2, "a", true), (3, "b", false)] {
            assert!(index.note(0, key.as_bytes(), offset, has_value));
        }
        index.is_known_to(0, 4);
        let of = |index: &TableIndex, partition| {
            ["a", "b", "c"].map(|key| index.offset(partition, key.as_bytes()))
        };
        assert_eq!(of(&index, 0), [Some(2), None, None]);
        assert_eq!(of(&index, 1), [None; 3]);
        assert_eq!(index.known_end(0, 9), Some(4));
        // A log that ends before is another one.
        assert_eq!(index.known_end(0, 3), Some(0));
        assert_eq!(of(&index, 0), [None; 3]);
    }

    #[test]
    fn an_index_that_would_be_too_large_is_given_up_and_takes_nothing() {
        let mut index = index(64 << 10);
        assert!(index.note(1, b"other", 0, true));
        let mut kept = 0;
        while index.note(0, format!("{kept}").as_bytes(), kept, true) {
            kept += 1;
            assert!(index.bytes() <= 64 << 10, "{} bytes", index.bytes());
        }
        assert!(kept > 500, "{kept}");
        assert_eq!((index.known_end(0, 1 << 20), index.offset(0, b"7")), (None, None));
        assert_eq!(index.offset(1, b"other"), Some(0), "the other partition stays");
        assert!(index.bytes() < 1_000);
    }
}
