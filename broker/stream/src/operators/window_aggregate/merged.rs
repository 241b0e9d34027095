//! The slices of a window, merged by group.
//!
//! A window has many groups, and most of them have rows in one of its slices only. So they are sorted, once, by the first bytes
//! of their keys as a number; there is no table of them, and nothing is allocated for each.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use crate::state::Bucket;

/// What the slices of a window hold, by group: those of one group stand together, in the order of time.
#[derive(Debug)]
pub(super) struct Merged<'s, P> {
    entries: Vec<Entry<'s, P>>,
}

/// What one slice holds of one group.
#[derive(Debug)]
pub(super) struct Entry<'s, P> {
    pub(super) key: &'s Arc<[u8]>,
    pub(super) part: &'s P,
    /// The beginning of the key behind its key group.
    first: u128,
    slice: u32,
}

impl<'s, P> Merged<'s, P> {
    /// What slices, which come in the order of time, hold of the groups whose keys are asked for; in the order of the keys
    /// without the key group.
    pub(super) fn of<I: Iterator<Item = &'s Bucket<P>>>(
        slices: impl Fn() -> I,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut merged = Self { entries: Vec::with_capacity(slices().map(HashMap::len).sum()) };
        for (slice, bucket) in slices().enumerate() {
            let wanted = bucket.iter().filter(|(key, _)| is_wanted(key));
            wanted.for_each(|(key, slot)| merged.push(slice, key, &slot.value));
        }
        merged.sort();
        merged
    }

    /// The same for these keys, which are in their order.
    pub(super) fn of_keys<I: Iterator<Item = &'s Bucket<P>>>(
        slices: impl Fn() -> I,
        keys: &'s [Arc<[u8]>],
    ) -> Self {
        let mut merged = Self { entries: Vec::with_capacity(keys.len()) };
        for key in keys {
            for (slice, bucket) in slices().enumerate() {
                bucket.get(key).into_iter().for_each(|slot| merged.push(slice, key, &slot.value));
            }
        }
        merged
    }

    /// One more entry, of the slice at this place in the window.
    fn push(&mut self, slice: usize, key: &'s Arc<[u8]>, part: &'s P) {
        self.entries.push(Entry { key, part, first: first_bytes(key), slice: slice as u32 });
    }

    /// Puts the entries in the order of their keys without the key group, and of time.
    fn sort(&mut self) {
        self.entries.sort_unstable_by(|left, right| left.by_key(right).then(left.slice.cmp(&right.slice)));
    }

    /// The groups, in the order in which their entries stand.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[Entry<'s, P>]> {
        self.entries.chunk_by(|left, right| left.by_key(right).is_eq())
    }
}

impl<P> Entry<'_, P> {
    /// The order of the keys without the key group. Short keys are not looked at: they lie all over memory.
    fn by_key(&self, other: &Self) -> Ordering {
        const SHORT: usize = 1 + size_of::<u128>();
        self.first.cmp(&other.first).then_with(|| match self.key.len().max(other.key.len()) <= SHORT {
            // One is the other, or that and zeros.
            true => self.key.len().cmp(&other.key.len()),
            false => self.key[1..].cmp(&other.key[1..]),
        })
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

    proptest! {
        #[test]
        fn it_groups_as_a_map_does(
            slices in prop::collection::vec(
                prop::collection::btree_map("[\\x00a]{0,3}([\\x00-\\x02]{12,15}[a-c]{0,2})?", any::<u32>(), 0..20),
                0..5,
            ),
        ) {
            let slices: Vec<Vec<(Arc<[u8]>, u32)>> = slices
                .into_iter()
                .map(|slice| {
                    let with_group = |key: String| {
                        // A key's group follows from the key.
                        let group = key.bytes().map(|byte| byte.wrapping_mul(7)).fold(0, u8::wrapping_add);
                        Arc::from([&[group], key.as_bytes()].concat())
                    };
                    slice.into_iter().map(|(key, part)| (with_group(key), part)).collect()
                })
                .collect();
            let mut model: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
            let mut merged = Merged { entries: Vec::new() };
            for (slice, entries) in slices.iter().enumerate() {
                for (key, part) in entries.iter().rev() {
                    model.entry(&key[1..]).or_default().push(*part);
                    merged.push(slice, key, part);
                }
            }
            merged.sort();
            let groups: Vec<(&[u8], Vec<u32>)> = merged
                .groups()
                .map(|group| (&group[0].key[1..], group.iter().map(|entry| *entry.part).collect()))
                .collect();
            prop_assert_eq!(groups, model.into_iter().collect::<Vec<_>>());
        }
    }
}
