//! For each key the offset of its newest record, in a fixed amount of memory.
//!
//! Keys are stood in for by 128 bits of hash, so an entry has one size whatever the key's is. Two keys with one hash would
//! cost one of them its records; with 128 bits that takes more keys than a log can hold.

use std::hash::{DefaultHasher, Hasher};

/// Bytes of an entry.
const ENTRY_BYTES: usize = size_of::<Entry>();
/// So much of the table may be in use, in percent: beyond, searching gets slow.
const MAX_FILL_PERCENT: usize = 80;
const SMALLEST: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u128,
    /// Offset of the newest record; negative for an entry that is not used.
    offset: i64,
}

const UNUSED: Entry = Entry { hash: 0, offset: -1 };

/// The map. Made once, and used for one log after another.
#[derive(Debug)]
pub struct KeyMap {
    entries: Vec<Entry>,
    used: usize,
    max_entries: usize,
}

impl KeyMap {
    /// A map that takes at most about so much memory. It grows up to there as it is filled.
    pub fn new(max_bytes: usize) -> KeyMap {
        let max_entries = (max_bytes / ENTRY_BYTES).max(SMALLEST);
        // A power of two below the bound, so that a place is found by the hash's low bits.
        let max_entries = 1 << max_entries.ilog2();
        KeyMap { entries: vec![UNUSED; SMALLEST], used: 0, max_entries }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.fill(UNUSED);
        self.used = 0;
    }

    /// Notes a record; a later one of the same key takes its place. False, and nothing is noted, when the key is new and
    /// the map is full.
    pub fn insert(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = hash(key);
        let mut at = self.place(hash);
        if self.entries[at].offset < 0 {
            if self.used + 1 > self.entries.len() * MAX_FILL_PERCENT / 100 {
                if self.entries.len() == self.max_entries {
                    return false;
                }
                self.grow();
                at = self.place(hash);
            }
            self.used += 1;
        }
        self.entries[at] = Entry { hash, offset: offset.max(self.entries[at].offset) };
        true
    }

    /// Offset of the newest record of a key.
    pub fn newest(&self, key: &[u8]) -> Option<i64> {
        let offset = self.entries[self.place(hash(key))].offset;
        (offset >= 0).then_some(offset)
    }

    /// Keys noted.
    pub fn len(&self) -> usize {
        self.used
    }

    /// No key is noted.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Where the entry with that hash is, or would be.
    fn place(&self, hash: u128) -> usize {
        let mask = self.entries.len() - 1;
        let mut at = hash as usize & mask;
        while self.entries[at].offset >= 0 && self.entries[at].hash != hash {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let larger = vec![UNUSED; self.entries.len() * 2];
        let old = std::mem::replace(&mut self.entries, larger);
        for entry in old.into_iter().filter(|entry| entry.offset >= 0) {
            let at = self.place(entry.hash);
            self.entries[at] = entry;
        }
    }
}

/// Two hashes of 64 bits that have nothing to do with each other.
fn hash(key: &[u8]) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(salt);
        hasher.write(key);
        u128::from(hasher.finish())
    };
    half(0x6c6f_676d_696c_6c31) << 64 | half(0x636f_6d70_6163_7432)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_of_each_key_and_no_more_than_fit() {
        let mut map = KeyMap::new(1000 * ENTRY_BYTES);
        let key = |i: u32| i.to_be_bytes();
        let mut fitted = 0;
        while map.insert(&key(fitted), i64::from(fitted)) {
            fitted += 1;
        }
        assert_eq!(fitted, 512 * 80 / 100, "the largest power of two below 1000, four fifths of it");
        assert_eq!(map.len(), fitted as usize);
        assert!(map.insert(&key(3), 5000), "a key that is there always fits");
        assert!(map.insert(&key(4), 2), "and never goes back");
        assert_eq!(
            [map.newest(&key(3)), map.newest(&key(4)), map.newest(&key(5))],
            [Some(5000), Some(4), Some(5)]
        );
        assert_eq!([map.newest(&key(fitted)), map.newest(b"")], [None, None]);
        map.clear();
        assert!(map.is_empty() && map.newest(&key(3)).is_none());
        assert!(map.insert(b"", 0));
        assert_eq!(map.newest(b""), Some(0));
    }
}
