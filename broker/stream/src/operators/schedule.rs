//! When time makes keys due.
//!
//! The keys of an end are kept by their key groups, and given by what is behind it: those that come first are found among the
//! first of each group, so that a part of a large window costs what it gives.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, btree_map};
use std::ops::{Bound, Deref};
use std::sync::Arc;

use super::{Due, Place};

/// How many rows of each key are due at which end; derived from the state, and not in the changelog.
#[derive(Debug)]
pub(crate) struct Schedule {
    ends: BTreeMap<i64, Keys>,
    /// So many rows of a key are given at most, however many there are.
    most: u32,
    /// How many keys there are at all ends.
    len: usize,
    /// What they take, in bytes.
    bytes: usize,
}

/// What a key takes beside itself, in bytes.
const KEY_BYTES: usize = 64;

/// What an end takes beside its keys, in bytes.
const END_BYTES: usize = 256;

impl Default for Schedule {
    /// All rows of a key are given.
    fn default() -> Self {
        Self::giving(u32::MAX)
    }
}

/// The keys that are due at an end.
#[derive(Debug, Default)]
struct Keys {
    /// How many rows of each.
    keys: BTreeMap<Arc<[u8]>, u32>,
    /// How many of all are given.
    rows: usize,
    /// What the keys take.
    bytes: usize,
}

impl Keys {
    /// Tells what the key took, if it was there. Of a key `most` rows are given.
    fn remove(&mut self, key: &[u8], most: u32) -> Option<usize> {
        let count = self.keys.remove(key)?;
        self.rows -= count.min(most) as usize;
        let bytes = key_bytes(key);
        self.bytes -= bytes;
        Some(bytes)
    }

    /// The keys that are given before a place.
    fn given(&self, end: i64, to: &Place) -> Vec<Arc<[u8]>> {
        let given = |group: btree_map::Range<'_, Arc<[u8]>, u32>| {
            group.map(|(key, _)| Arc::clone(key)).take_while(|key| to.is_given(end, key)).collect()
        };
        self.groups().flat_map::<Vec<_>, _>(given).collect()
    }

    /// The keys in the order they have without their key group, behind those that are given.
    fn in_order<'k>(
        &'k self,
        end: i64,
        from: &'k Place,
    ) -> impl Iterator<Item = (&'k Arc<[u8]>, u32)> + use<'k> {
        let mut groups: Vec<_> = self.groups().map(|keys| keys.peekable()).collect();
        let mut next = BinaryHeap::new();
        for (group, keys) in groups.iter_mut().enumerate() {
            while keys.next_if(|(key, _)| from.is_given(end, key)).is_some() {}
            next.extend(keys.peek().map(|(key, _)| Reverse((&key[1..], group))));
        }
        std::iter::from_fn(move || {
            let Reverse((_, group)) = next.pop()?;
            let (key, count) = groups[group].next()?;
            next.extend(groups[group].peek().map(|(key, _)| Reverse((&key[1..], group))));
            Some((key, *count))
        })
    }

    /// The keys of each key group that has some.
    fn groups(&self) -> impl Iterator<Item = btree_map::Range<'_, Arc<[u8]>, u32>> {
        (0..=u8::MAX).filter_map(|group| {
            let (first, next) = ([group], group.checked_add(1).map(|next| [next]));
            let end = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(&next[..]));
            let keys = self.keys.range::<[u8], _>((Bound::Included(&first[..]), end));
            keys.clone().next().is_some().then_some(keys)
        })
    }
}

fn key_bytes(key: &[u8]) -> usize {
    key.len() + KEY_BYTES
}

/// The first of these keys, without their key group, until they give more than `most` rows, and two at least.
pub(super) fn first_rows<'k>(
    keys: impl Iterator<Item = (&'k (impl Deref<Target = [u8]> + 'k), usize)>,
    most: usize,
) -> Vec<(Arc<[u8]>, usize)> {
    let mut first = Vec::new();
    let mut sum = 0;
    for (key, rows) in keys {
        first.push((Arc::from(&key[1..]), rows));
        sum += rows;
        if sum > most && first.len() > 1 {
            break;
        }
    }
    first
}

impl Schedule {
    /// Of each key so many rows are given at most.
    pub(crate) fn giving(most: u32) -> Self {
        Self { ends: BTreeMap::new(), most, len: 0, bytes: 0 }
    }

    /// A key is due at an end, however often it is said.
    pub(crate) fn insert(&mut self, end: i64, key: &[u8]) {
        let Keys { keys, rows, bytes } = self.ends.entry(end).or_default();
        if !keys.contains_key(key) {
            keys.insert(key.into(), 1);
            *rows += 1;
            *bytes += key_bytes(key);
            self.len += 1;
            self.bytes += key_bytes(key);
        }
    }

    /// One more row of a key is due at an end.
    pub(crate) fn add(&mut self, end: i64, key: &Arc<[u8]>) {
        let Keys { keys, rows, bytes } = self.ends.entry(end).or_default();
        let count = keys.entry(Arc::clone(key)).or_default();
        if *count == 0 {
            *bytes += key_bytes(key);
            self.len += 1;
            self.bytes += key_bytes(key);
        }
        *count += 1;
        *rows += usize::from(*count <= self.most);
    }

    /// One row of a key less is due at an end.
    pub(crate) fn subtract(&mut self, end: i64, key: &[u8]) {
        let Some(Keys { keys, rows, .. }) = self.ends.get_mut(&end) else { return };
        let Some(count) = keys.get_mut(key) else { return };
        *rows -= usize::from(*count <= self.most);
        *count -= 1;
        if *count == 0 {
            self.remove(end, key);
        }
    }

    /// A key is not due at an end.
    pub(crate) fn remove(&mut self, end: i64, key: &[u8]) {
        let Some(keys) = self.ends.get_mut(&end) else { return };
        if let Some(bytes) = keys.remove(key, self.most) {
            self.len -= 1;
            self.bytes -= bytes;
        }
        if keys.keys.is_empty() {
            self.ends.remove(&end);
        }
    }

    /// How many keys there are at all ends.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.bytes + self.ends.len() * END_BYTES) as u64
    }

    /// The keys that are due between two places, of each end in the order of their key groups.
    pub(crate) fn between(&self, from: &Place, to: &Place) -> Vec<Arc<[u8]>> {
        let behind = (Bound::Excluded(from.watermark), Bound::Included(to.last_end().max(from.watermark)));
        let of_end = |(end, keys): (&i64, &Keys)| {
            let mut due = match *end <= to.watermark {
                true => keys.keys.keys().cloned().collect(),
                false => keys.given(*end, to),
            };
            due.retain(|key| !from.is_given(*end, key));
            due
        };
        self.ends.range(behind).flat_map::<Vec<_>, _>(of_end).collect()
    }

    /// The ends at which keys are due.
    pub(crate) fn ends(&self) -> impl Iterator<Item = i64> {
        self.ends.keys().copied()
    }

    /// How many rows are given at each end.
    pub(crate) fn due(&self, from: &Place, watermark: i64) -> Due {
        let behind = (Bound::Excluded(from.watermark), Bound::Included(watermark.max(from.watermark)));
        self.ends.range(behind).map(|(end, keys)| (*end, keys.rows)).collect()
    }

    /// The keys that are due at an end and not given, in the order they have without their key group, each with how many rows
    /// of it are given.
    fn in_order<'s>(&'s self, end: i64, from: &'s Place) -> impl Iterator<Item = (&'s Arc<[u8]>, usize)> {
        let due = self.ends.get(&end).into_iter().flat_map(move |keys| keys.in_order(end, from));
        due.map(|(key, rows)| (key, rows.min(self.most) as usize))
    }

    /// Whether a key is due at an end.
    pub(crate) fn has(&self, end: i64, key: &[u8]) -> bool {
        self.ends.get(&end).is_some_and(|keys| keys.keys.contains_key(key))
    }

    /// The first of them; see [`Operator::due_rows`](super::Operator::due_rows).
    pub(crate) fn due_rows(&self, from: &Place, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        first_rows(self.in_order(end, from), most)
    }

    /// Takes what is due between two places: ends in their order, and the keys of each in the order they have without
    /// their key group.
    pub(crate) fn take(&mut self, from: &Place, to: &Place) -> Vec<(i64, Vec<Arc<[u8]>>)> {
        // Of what was restored some may be given already.
        let behind = from.watermark.saturating_add(1);
        if behind > from.watermark {
            let kept = self.ends.split_off(&behind);
            let before = std::mem::replace(&mut self.ends, kept);
            before.values().for_each(|keys| self.is_taken(keys));
        }
        let mut taken = Vec::new();
        while let Some(first) = self.ends.first_entry().filter(|first| *first.key() <= to.watermark) {
            let (end, keys) = first.remove_entry();
            self.is_taken(&keys);
            taken.push((end, keys.keys.into_keys().collect()));
        }
        if let Some((end, _)) = &to.partial
            && let Some(keys) = self.ends.get_mut(end)
        {
            let due = keys.given(*end, to);
            self.bytes -= due.iter().filter_map(|key| keys.remove(key, self.most)).sum::<usize>();
            self.len -= due.len();
            if keys.keys.is_empty() {
                self.ends.remove(end);
            }
            taken.push((*end, due));
        }
        for (end, due) in &mut taken {
            due.retain(|key| !from.is_given(*end, key));
            due.sort_unstable_by(|left, right| left[1..].cmp(&right[1..]));
        }
        taken
    }

    fn is_taken(&mut self, keys: &Keys) {
        self.len -= keys.keys.len();
        self.bytes -= keys.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_parts_the_keys_of_an_end() {
        let key = |group: u8, name: &[u8]| Arc::<[u8]>::from([&[group][..], name].concat());
        let (a, b, c) = (key(9, b"a"), key(1, b"b"), key(5, b"c"));
        let mut schedule = Schedule::default();
        for (end, key) in [(5, &b), (5, &a), (5, &a), (6, &c), (9, &a)] {
            schedule.add(end, key);
        }
        let from = Place::behind(4);
        assert_eq!(schedule.due(&from, 8), Due::from([(5, 3), (6, 1)]));
        assert_eq!(schedule.due_rows(&from, 5, 9), [(Arc::from(&b"a"[..]), 2), (Arc::from(&b"b"[..]), 1)]);
        let part = Place { watermark: 4, partial: Some((5, Arc::from(&b"a"[..]))) };
        assert_eq!(schedule.len(), 4);
        assert_eq!(schedule.between(&from, &part), [Arc::clone(&a)]);
        assert_eq!(schedule.take(&from, &part), [(5, vec![Arc::clone(&a)])]);
        assert_eq!(schedule.len(), 3);
        assert_eq!(schedule.between(&part, &Place::behind(8)), [Arc::clone(&b), Arc::clone(&c)]);
        assert_eq!(schedule.take(&part, &Place::behind(8)), [(5, vec![b]), (6, vec![c])]);
        assert_eq!(schedule.len(), 1);
        schedule.insert(9, &a);
        schedule.insert(12, &a);
        schedule.remove(12, &b"none"[..]);
        assert_eq!(schedule.len(), 2);
        schedule.take(&Place::behind(8), &Place::behind(8));
        schedule.remove(12, &a);
        schedule.subtract(9, &a);
        assert_eq!((schedule.len(), schedule.bytes(), schedule.ends().count()), (0, 0, 0));
    }

    #[test]
    fn no_more_of_a_key_counts_than_is_given() {
        let key = |name: &[u8]| Arc::<[u8]>::from([&[3][..], name].concat());
        let (a, b) = (key(b"a"), key(b"b"));
        let mut schedule = Schedule::giving(2);
        [&a, &a, &a, &b].iter().for_each(|key| schedule.add(5, key));
        let from = Place::behind(4);
        let rows = |schedule: &Schedule| {
            let of_keys =
                schedule.due_rows(&from, 5, 9).into_iter().map(|(_, rows)| rows).collect::<Vec<_>>();
            (schedule.due(&from, 8)[&5], of_keys)
        };
        assert_eq!(rows(&schedule), (3, vec![2, 1]));
        schedule.subtract(5, &a);
        assert_eq!(rows(&schedule), (3, vec![2, 1]));
        schedule.subtract(5, &a);
        assert_eq!(rows(&schedule), (2, vec![1, 1]));
        [&a, &a].iter().for_each(|key| schedule.add(5, key));
        schedule.remove(5, &b);
        assert_eq!(rows(&schedule), (2, vec![2]));
        assert!(schedule.has(5, &a) && !schedule.has(5, &b) && !schedule.has(6, &a));
        let part = Place { watermark: 4, partial: Some((5, Arc::from(&b"a"[..]))) };
        schedule.add(5, &b);
        assert_eq!(schedule.take(&from, &part), [(5, vec![a])]);
        assert_eq!((schedule.due(&part, 8)[&5], schedule.len()), (1, 1));
    }

    #[test]
    fn parts_of_an_end_are_its_keys_in_their_order() {
        let mut schedule = Schedule::default();
        // Groups in another order than the keys behind them, and the greatest group.
        let keys: Vec<Arc<[u8]>> = (0..500_u16)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                Arc::from([u8::MAX - (number % 256) as u8, high, low])
            })
            .collect();
        keys.iter().rev().for_each(|key| schedule.add(7, key));
        let mut place = Place::behind(6);
        let mut given = Vec::new();
        for part in [1, 2, 100, 300, 50] {
            assert_eq!(schedule.due(&place, 9), Due::from([(7, 500 - given.len())]));
            let first = schedule.due_rows(&place, 7, part - 1);
            assert_eq!(first.len(), part.max(2));
            let to = Place { watermark: 6, partial: Some((7, Arc::clone(&first[part - 1].0))) };
            given.extend(schedule.take(&place, &to).into_iter().flat_map(|(_, keys)| keys));
            assert_eq!(given, keys[..given.len()]);
            place = to;
        }
        // What is given already, as after a restore, is not given again.
        schedule.add(7, &keys[3]);
        assert_eq!(schedule.due_rows(&place, 7, 1_000)[0].0[..], keys[453][1..]);
        given.extend(schedule.take(&place, &Place::behind(7)).into_iter().flat_map(|(_, keys)| keys));
        assert_eq!((given, schedule.len()), (keys, 0));
    }
}
