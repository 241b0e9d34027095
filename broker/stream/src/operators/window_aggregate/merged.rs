//! The slices of a window, merged by group.
//!
//! A window has many groups, and most of them have rows in one of its slices only. So they are sorted, once, by the first bytes
//! of their keys as a number; there is no table of them, and nothing is allocated for each.

use std::cmp::Ordering;
use std::hint::black_box;

use crate::state::{Bucket, TableKey};

/// So many entries are looked at at once: their memory is not gone again before they are needed.
const AHEAD: usize = 64;

/// Keys of so many bytes are told by their beginning, which has all of them but the key group.
const SHORT: usize = 1 + size_of::<u128>();

/// What the slices of a window hold, by group: those of one group stand together, in the order of time.
#[derive(Debug)]
pub(super) struct Merged<'s, P> {
    entries: Vec<Entry<'s, P>>,
    /// How many bytes all keys have, as long as that is one number.
    length: Option<usize>,
}

/// What one slice holds of one group.
#[derive(Debug)]
pub(super) struct Entry<'s, P> {
    pub(super) key: &'s TableKey,
    pub(super) part: &'s P,
    /// The beginning of the key behind its key group.
    first: u128,
}

impl<'s, P> Merged<'s, P> {
    fn with_capacity(entries: usize) -> Self {
        Self { entries: Vec::with_capacity(entries), length: None }
    }

    /// What slices, which come in the order of time, hold of the groups whose keys are asked for; in the order of the keys
    /// without the key group.
    pub(super) fn of<I: Iterator<Item = &'s Bucket<P>>>(
        slices: impl Fn() -> I,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut merged = Self::with_capacity(slices().map(Bucket::len).sum());
        for bucket in slices() {
            let wanted = bucket.iter().filter(|(key, _)| is_wanted(key));
            wanted.for_each(|(key, slot)| merged.push(key, &slot.value));
        }
        merged.sort();
        merged
    }

    /// The same for these keys, which are in their order.
    pub(super) fn of_keys<I: Iterator<Item = &'s Bucket<P>>>(
        slices: impl Fn() -> I,
        keys: &'s [TableKey],
    ) -> Self {
        let mut merged = Self::with_capacity(keys.len());
        for key in keys {
            for bucket in slices() {
                bucket.get(&key[..]).into_iter().for_each(|slot| merged.push(key, &slot.value));
            }
        }
        merged
    }

    /// One more entry; those of one group come in the order of time.
    fn push(&mut self, key: &'s TableKey, part: &'s P) {
        match self.entries.is_empty() {
            true => self.length = Some(key.len()),
            false => self.length = self.length.filter(|length| *length == key.len()),
        }
        self.entries.push(Entry { key, part, first: first_bytes(key) });
    }

    /// Whether keys are equal when their beginnings are.
    fn is_told_by_first(&self) -> bool {
        self.length.is_some_and(|length| length <= SHORT)
    }

    /// Puts the entries in the order of their keys without the key group; those of one key stay as they come.
    fn sort(&mut self) {
        match self.is_told_by_first() {
            true => self.entries.sort_by_key(|entry| entry.first),
            false => self.entries.sort_by(Entry::by_key),
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The groups, in the order in which their entries stand; `look` reads what is asked of a part.
    ///
    /// In this order each entry lies somewhere else in memory, and who asks for one waits for it before the next is asked for.
    /// So [`AHEAD`] of them are looked at ahead in a loop that does nothing else, where the processor waits for many at once.
    pub(super) fn groups(&self, look: impl Fn(&P) -> i64) -> impl Iterator<Item = &[Entry<'s, P>]> {
        let told_by_first = self.is_told_by_first();
        let (mut next, mut seen) = (0, 0);
        let groups = self.entries.chunk_by(move |left, right| {
            left.first == right.first && (told_by_first || left.by_key(right).is_eq())
        });
        groups.inspect(move |group| {
            next += group.len();
            if next > seen {
                let ahead = &self.entries[seen..(next + AHEAD).min(self.entries.len())];
                seen += ahead.len();
                black_box(
                    ahead.iter().fold(0, |all, Entry { key, part, .. }| all ^ look(part) ^ key.len() as i64),
                );
            }
        })
    }
}

impl<P> Entry<'_, P> {
    /// The order of the keys without the key group.
    fn by_key(&self, other: &Self) -> Ordering {
        self.first.cmp(&other.first).then_with(|| self.key[1..].cmp(&other.key[1..]))
    }
}

/// The first bytes of a key behind its key group, as a number that orders as they do. Two keys of which one begins with the
/// other may have the same.
fn first_bytes(key: &[u8]) -> u128 {
    let key = &key[1..];
    match key.first_chunk() {
        Some(first) => u128::from_be_bytes(*first),
        None => {
            let mut first = [0; size_of::<u128>()];
            first[..key.len()].copy_from_slice(key);
            u128::from_be_bytes(first)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn slices(keys: &'static str) -> impl Strategy<Value = Vec<BTreeMap<String, u32>>> {
        prop::collection::vec(prop::collection::btree_map(keys, any::<u32>(), 0..20), 0..5)
    }

    proptest! {
        #[test]
        fn it_groups_as_a_map_does(
            slices in prop_oneof![
                slices("[\\x00a]{0,3}([\\x00-\\x02]{12,15}[a-c]{0,2})?"),
                // Keys that a number tells apart.
                slices("a[\\x00-\\x02]{4}b{3}"),
                slices("a{3}[\\x00-\\x02]{8}b{5}"),
            ],
        ) {
            let slices: Vec<Vec<(TableKey, u32)>> = slices
                .into_iter()
                .map(|slice| {
                    let with_group = |key: String| {
                        // A key's group follows from the key.
                        let group = key.bytes().map(|byte| byte.wrapping_mul(7)).fold(0, u8::wrapping_add);
                        TableKey::from(&[&[group], key.as_bytes()].concat()[..])
                    };
                    slice.into_iter().map(|(key, part)| (with_group(key), part)).collect()
                })
                .collect();
            let mut model: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
            let mut merged = Merged::with_capacity(0);
            for (key, part) in slices.iter().flat_map(|entries| entries.iter().rev()) {
                model.entry(&key[1..]).or_default().push(*part);
                merged.push(key, part);
            }
            merged.sort();
            let groups: Vec<(&[u8], Vec<u32>)> = merged
                .groups(|part| i64::from(*part))
                .map(|group| (&group[0].key[1..], group.iter().map(|entry| *entry.part).collect()))
                .collect();
            prop_assert_eq!(groups, model.into_iter().collect::<Vec<_>>());
        }
    }
}
