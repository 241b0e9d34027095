//! Every value that was taken and how often, by its key.

use std::collections::BTreeMap;

use super::{Accumulator, value_of};
use crate::column::Column;
use crate::plan::Aggregate;

/// Values with how often they are there. Where there may be many of them the changelog has an entry for each, beside
/// that of their group, and only those that an epoch changes are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Values {
    counts: BTreeMap<Box<[u8]>, i64>,
    /// How many are there more than not at all.
    there: usize,
    /// Bytes of all keys.
    bytes: usize,
    /// Values changed in this epoch, and whether the changelog has an entry of them; only where each has one.
    changed: Option<BTreeMap<Box<[u8]>, bool>>,
    /// What the values that are there come to, each once: where that can follow them exactly. Derived.
    folded: Option<Box<Accumulator>>,
}

impl Values {
    /// No values; `folded` is what they come to, if that can be kept.
    pub(crate) fn new(folded: Option<Accumulator>) -> Self {
        Self { folded: folded.map(Box::new), ..Self::default() }
    }

    /// What the values come to, each once, if that is kept.
    pub(crate) fn folded(&self) -> Option<&Accumulator> {
        self.folded.as_deref()
    }

    /// Each value has an entry of its own from here on.
    pub(crate) fn keep_apart(&mut self) {
        self.changed.get_or_insert_default();
    }

    pub(crate) fn is_apart(&self) -> bool {
        self.changed.is_some()
    }

    /// Adds to how often a value is there; taken back before it was given it is in debt.
    pub(crate) fn count(&mut self, aggregate: &Aggregate, key: &[u8], by: i64) {
        if let Some(is_there) = self.tally(key, by)
            && let Some(folded) = &mut self.folded
        {
            let of = aggregate.argument_type;
            let column = Column::repeat(&value_of(key, of), of, 1);
            folded.add(aggregate, Some(&column), 0, !is_there);
        }
    }

    /// The same but for what the values come to; tells whether the value has come or gone.
    fn tally(&mut self, key: &[u8], by: i64) -> Option<bool> {
        let before = self.counts.get(key).copied();
        let after = before.unwrap_or(0) + by;
        match (before, after) {
            (Some(_), 0) => {
                self.counts.remove(key);
                self.bytes -= key.len();
            }
            (None, 0) => {}
            (Some(_), after) => _ = self.counts.get_mut(key).map(|count| *count = after),
            (None, after) => {
                self.counts.insert(key.into(), after);
                self.bytes += key.len();
            }
        }
        self.there += usize::from(after > 0);
        self.there -= usize::from(before.is_some_and(|before| before > 0));
        if let Some(changed) = &mut self.changed
            && !changed.contains_key(key)
        {
            changed.insert(key.into(), before.is_some());
        }
        let (was_there, is_there) = (before.is_some_and(|before| before > 0), after > 0);
        (was_there != is_there).then_some(is_there)
    }

    /// Takes everything that others are.
    pub(crate) fn merge(&mut self, aggregate: &Aggregate, other: &Values) {
        other.counts.iter().for_each(|(key, count)| self.count(aggregate, key, *count));
    }

    /// How many different values are there.
    pub(crate) fn len(&self) -> usize {
        self.there
    }

    /// How many there are with their debts, and the bytes of their keys.
    pub(crate) fn extent(&self) -> (usize, usize) {
        (self.counts.len(), self.bytes)
    }

    /// The values that are there, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.counts.iter().filter(|(_, count)| **count > 0).map(|(key, _)| &**key)
    }

    /// All values with their counts.
    pub(crate) fn counts(&self) -> impl ExactSizeIterator<Item = (&[u8], i64)> {
        self.counts.iter().map(|(key, count)| (&**key, *count))
    }

    /// Tells of each entry that this epoch has changed: the value, and its count or that it is gone.
    pub(crate) fn drain_changes(&mut self, mut put: impl FnMut(&[u8], Option<i64>)) {
        for (key, logged) in self.changed.as_mut().map(std::mem::take).into_iter().flatten() {
            match self.counts.get(&key) {
                Some(count) => put(&key, Some(*count)),
                None if logged => put(&key, None),
                None => {}
            }
        }
    }

    /// Tells of each value of which the changelog has an entry.
    pub(crate) fn logged(&self, mut each: impl FnMut(&[u8])) {
        let Some(changed) = &self.changed else { return };
        self.counts.keys().filter(|key| !changed.contains_key(*key)).for_each(|key| each(key));
        changed.iter().filter(|(_, logged)| **logged).for_each(|(key, _)| each(key));
    }

    /// Puts a value back as the changelog has it, or takes it away.
    pub(crate) fn restore(&mut self, aggregate: &Aggregate, key: &[u8], count: Option<i64>) {
        let changed = self.changed.take();
        let known = self.counts.get(key).copied().unwrap_or(0);
        self.count(aggregate, key, count.unwrap_or(0) - known);
        self.changed = changed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_told() {
        let mut values = Values::default();
        values.keep_apart();
        let told = |values: &mut Values| {
            let mut told = Vec::new();
            values.drain_changes(|key, count| told.push((key.to_vec(), count)));
            told
        };
        values.tally(b"a", 1);
        values.tally(b"b", 1);
        values.tally(b"c", 1);
        values.tally(b"c", -1);
        assert_eq!(told(&mut values), [(b"a".to_vec(), Some(1)), (b"b".to_vec(), Some(1))]);
        values.tally(b"b", 1);
        values.tally(b"a", -1);
        values.tally(b"d", -1);
        assert_eq!(values.len(), 1);
        let mut logged = Vec::new();
        values.logged(|key| logged.push(key.to_vec()));
        assert_eq!(logged, [b"a", b"b"]);
        assert_eq!(
            told(&mut values),
            [(b"a".to_vec(), None), (b"b".to_vec(), Some(2)), (b"d".to_vec(), Some(-1))]
        );
        assert!(told(&mut values).is_empty());
    }
}
