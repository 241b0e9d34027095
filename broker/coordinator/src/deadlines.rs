//! What is to be done when.

use std::collections::{BTreeMap, BTreeSet};

/// At most one deadline per key, found by time. Ties are broken by key, so that the order is the same in
/// every run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deadlines<K> {
    by_time: BTreeSet<(i64, K)>,
    by_key: BTreeMap<K, i64>,
}

impl<K: Clone + Ord> Deadlines<K> {
    pub(crate) fn new() -> Self {
        Deadlines { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Sets the key's deadline, in place of an earlier one.
    pub(crate) fn set(&mut self, key: K, at: i64) {
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            if before == at {
                return;
            }
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some((key, at)) = self.by_key.remove_entry(key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The key's deadline.
    pub(crate) fn get(&self, key: &K) -> Option<i64> {
        self.by_key.get(key).copied()
    }

    /// Every key that has a deadline, for checks.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.by_key.keys()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<i64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The earliest key that is due at `now`.
    pub(crate) fn due(&self, now: i64) -> Option<&K> {
        self.by_time.first().filter(|(at, _)| *at <= now).map(|(_, key)| key)
    }

    /// Takes the earliest key that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<K> {
        let key = self.due(now)?.clone();
        self.cancel(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_the_earliest_comes_first() {
        let mut deadlines = Deadlines::new();
        deadlines.set("b", 20);
        deadlines.set("a", 20);
        deadlines.set("c", 5);
        deadlines.set("c", 30);
        deadlines.set("d", 1);
        deadlines.cancel(&"d");
        assert_eq!(deadlines.next(), Some(20));
        assert_eq!(deadlines.get(&"c"), Some(30));
        assert_eq!(deadlines.pop_due(19), None);
        assert_eq!(deadlines.pop_due(20), Some("a"));
        assert_eq!(deadlines.pop_due(40), Some("b"));
        assert_eq!(deadlines.pop_due(40), Some("c"));
        assert_eq!((deadlines.pop_due(40), deadlines.next()), (None, None));
    }
}
