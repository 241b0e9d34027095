//! When time makes keys due.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::{Due, Place};

/// How many rows of each key are due at which end; derived from the state, and not in the changelog.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    ends: BTreeMap<i64, BTreeMap<Arc<[u8]>, u32>>,
    /// How many keys there are at all ends.
    len: usize,
}

impl Schedule {
    /// A key is due at an end, however often it is said.
    pub(crate) fn insert(&mut self, end: i64, key: &[u8]) {
        let keys = self.ends.entry(end).or_default();
        if !keys.contains_key(key) {
            keys.insert(key.into(), 1);
            self.len += 1;
        }
    }

    /// One more row of a key is due at an end.
    pub(crate) fn add(&mut self, end: i64, key: &Arc<[u8]>) {
        let count = self.ends.entry(end).or_default().entry(Arc::clone(key)).or_default();
        self.len += usize::from(*count == 0);
        *count += 1;
    }

    /// One row of a key less is due at an end.
    pub(crate) fn subtract(&mut self, end: i64, key: &[u8]) {
        let Some(count) = self.ends.get_mut(&end).and_then(|keys| keys.get_mut(key)) else { return };
        *count -= 1;
        if *count == 0 {
            self.remove(end, key);
        }
    }

    /// A key is not due at an end.
    pub(crate) fn remove(&mut self, end: i64, key: &[u8]) {
        let Some(keys) = self.ends.get_mut(&end) else { return };
        self.len -= usize::from(keys.remove(key).is_some());
        if keys.is_empty() {
            self.ends.remove(&end);
        }
    }

    /// How many keys there are at all ends.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The ends at which keys are due.
    pub(crate) fn ends(&self) -> impl Iterator<Item = i64> {
        self.ends.keys().copied()
    }

    /// How many rows are due at each end.
    pub(crate) fn due(&self, from: &Place, watermark: i64) -> Due {
        let behind = (Bound::Excluded(from.watermark), Bound::Included(watermark.max(from.watermark)));
        let ends = self.ends.range(behind);
        ends.map(|(end, keys)| (*end, keys.values().map(|count| *count as usize).sum())).collect()
    }

    /// The keys that are due at an end and not given, in the order of their key groups.
    pub(crate) fn keys_at<'s>(&'s self, end: i64, from: &'s Place) -> impl Iterator<Item = &'s Arc<[u8]>> {
        let keys = self.ends.get(&end).into_iter().flat_map(BTreeMap::keys);
        keys.filter(move |key| !from.is_given(end, key))
    }

    /// The same keys, each with how many rows of it are due.
    pub(crate) fn due_rows(&self, from: &Place, end: i64) -> Vec<(Arc<[u8]>, usize)> {
        let keys = self.ends.get(&end).into_iter().flatten().filter(|(key, _)| !from.is_given(end, key));
        let mut keys: Vec<_> = keys.map(|(key, count)| (Arc::from(&key[1..]), *count as usize)).collect();
        keys.sort_unstable();
        keys
    }

    /// The keys that are due at an end and not given, in their order and without their key group.
    pub(crate) fn due_keys(&self, from: &Place, end: i64) -> Vec<Arc<[u8]>> {
        let keys = self.ends.get(&end).into_iter().flat_map(BTreeMap::keys);
        let mut keys: Vec<_> =
            keys.filter(|key| !from.is_given(end, key)).map(|key| Arc::from(&key[1..])).collect();
        keys.sort_unstable();
        keys
    }

    /// Takes what is due between two places: ends in their order, and the keys of each in the order they have without
    /// their key group.
    pub(crate) fn take(&mut self, from: &Place, to: &Place) -> Vec<(i64, Vec<Arc<[u8]>>)> {
        // Of what was restored some may be given already.
        let behind = from.watermark.saturating_add(1);
        if behind > from.watermark {
            let kept = self.ends.split_off(&behind);
            self.len -= self.ends.values().map(BTreeMap::len).sum::<usize>();
            self.ends = kept;
        }
        let mut taken = Vec::new();
        let ends: Vec<i64> = self.ends.range(..=to.last_end()).map(|(end, _)| *end).collect();
        for end in ends {
            let Some(keys) = self.ends.get_mut(&end) else { continue };
            let before = keys.len();
            keys.retain(|key, _| !from.is_given(end, key));
            let mut due: Vec<Arc<[u8]>> = keys.keys().filter(|key| to.is_given(end, key)).cloned().collect();
            keys.retain(|key, _| !to.is_given(end, key));
            self.len -= before - keys.len();
            if keys.is_empty() {
                self.ends.remove(&end);
            }
            due.sort_unstable_by(|left, right| left[1..].cmp(&right[1..]));
            taken.push((end, due));
        }
        taken
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
        assert_eq!(schedule.due_keys(&from, 5), [Arc::<[u8]>::from(&b"a"[..]), Arc::from(&b"b"[..])]);
        assert_eq!(schedule.due_rows(&from, 5), [(Arc::from(&b"a"[..]), 2), (Arc::from(&b"b"[..]), 1)]);
        let part = Place { watermark: 4, partial: Some((5, Arc::from(&b"a"[..]))) };
        assert_eq!(schedule.len(), 4);
        assert_eq!(schedule.take(&from, &part), [(5, vec![Arc::clone(&a)])]);
        assert_eq!(schedule.len(), 3);
        assert_eq!(schedule.take(&part, &Place::behind(8)), [(5, vec![b]), (6, vec![c])]);
        assert_eq!(schedule.len(), 1);
        schedule.insert(9, &a);
        schedule.insert(12, &a);
        schedule.remove(12, &b"none"[..]);
        assert_eq!(schedule.len(), 2);
        schedule.take(&Place::behind(8), &Place::behind(8));
        schedule.remove(12, &a);
        schedule.subtract(9, &a);
        assert_eq!((schedule.len(), schedule.ends().count()), (0, 0));
    }
}
