//! When keys were last touched, of those that are in memory and of those that are not, so that they are forgotten in time.
//!
//! ```text
//! touched ─► its time is over: it counts as forgotten ─► a row comes for it, or its key group has its turn: it is removed
//! ```
//!
//! The time of very many keys may be over at once, after a pause above all, and each that is removed is a record of the
//! changelog. So key groups take turns by the number of the epoch. What is computed may not depend on whose turn it is: keys that
//! rows come for are looked at before anything else ([`Touched::take_over`]).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::EpochTime;
use crate::state::{Away, DueKeys, HashMap, TableKey};

/// In how many turns keys are removed. The epochs of so many turns take a few seconds where there is much to remove.
const TURNS: usize = 64;

/// When each key was last touched, in frozen processing time; nothing where keys are not forgotten. Derived from what the
/// changelog has: whoever keeps that knows a key's time. A key's first byte is its key group.
#[derive(Debug)]
pub(crate) struct Touched {
    ms: Option<i64>,
    /// Keys that are here.
    order: BTreeMap<i64, HashMap<TableKey, ()>>,
    turns: Vec<Turn>,
}

/// Keys of the key groups that have their turn together.
#[derive(Debug)]
struct Turn {
    /// Those that are here and whose time was over when it was last looked at. They are in no order of time any more.
    over: BTreeSet<TableKey>,
    away: Away,
}

impl Touched {
    /// For keys that are forgotten when they were not touched for so long, or never.
    pub(crate) fn new(ms: Option<i64>) -> Self {
        let turn = |ms| Turn { over: BTreeSet::new(), away: Away::new(ms) };
        let turns = ms.map_or_else(Vec::new, |ms| (0..TURNS).map(|_| turn(ms)).collect());
        Self { ms, order: BTreeMap::new(), turns }
    }

    /// Whether keys are forgotten at all.
    pub(crate) fn forgets(&self) -> bool {
        self.ms.is_some()
    }

    /// A key is touched that was touched before, or is new.
    pub(crate) fn touch(&mut self, key: &[u8], before: Option<i64>, now: i64) {
        if self.forgets() && before != Some(now) {
            before.into_iter().for_each(|before| self.remove(before, key));
            self.order.entry(now).or_default().insert(key.into(), ());
        }
    }

    /// A key is gone that was last touched at a time.
    pub(crate) fn remove(&mut self, last: i64, key: &[u8]) {
        if let Entry::Occupied(mut keys) = self.order.entry(last)
            && keys.get_mut().remove(key).is_some()
        {
            if keys.get().is_empty() {
                keys.remove();
            }
        } else if self.forgets() {
            self.turns[turn_of(key)].over.remove(key);
        }
    }

    /// Whether a key that was last touched at a time counts as forgotten.
    pub(crate) fn is_over(&self, last: i64, now: i64) -> bool {
        self.ms.is_some_and(|ms| last <= now.saturating_sub(ms))
    }

    /// Looks whose time is over.
    fn look(&mut self, now: i64) {
        let Some(ms) = self.ms else { return };
        while let Some(first) = self.order.first_entry()
            && *first.key() <= now.saturating_sub(ms)
        {
            first.remove().into_keys().for_each(|key| _ = self.turns[turn_of(&key)].over.insert(key));
        }
    }

    /// Takes the keys that are here, begin with this and were not touched for too long, in order: they count as forgotten.
    pub(crate) fn take_over(&mut self, prefix: &[u8], now: i64) -> Vec<TableKey> {
        self.look(now);
        let Some(Turn { over, .. }) = self.turns.get_mut(turn_of(prefix)) else { return Vec::new() };
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = over.range::<[u8], _>(from).take_while(|key| key.starts_with(prefix));
        let taken: Vec<TableKey> = keys.cloned().collect();
        taken.iter().for_each(|key| _ = over.remove(key));
        taken
    }

    /// Takes the keys that are here and were not touched for too long, of those that have their turn, in a fixed order.
    pub(crate) fn expired(&mut self, time: EpochTime) -> Vec<TableKey> {
        self.look(time.now);
        let turn = self.turns.get_mut(turn_in(time.epoch));
        turn.map_or_else(Vec::new, |turn| std::mem::take(&mut turn.over).into_iter().collect())
    }

    /// The same of all.
    pub(crate) fn all_expired(&mut self, now: i64) -> Vec<TableKey> {
        self.look(now);
        self.turns.iter_mut().flat_map(|turn| std::mem::take(&mut turn.over)).collect()
    }

    /// Takes the keys that are not here and were not touched for too long, of those that have their turn: they are to be
    /// read back, and are expired then.
    pub(crate) fn due(&mut self, time: EpochTime) -> Option<DueKeys> {
        let through = time.now.saturating_sub(self.ms?);
        Some(self.turns[turn_in(time.epoch)].away.take_due(through))
    }

    /// The same of all.
    pub(crate) fn all_due(&mut self, now: i64) -> Option<DueKeys> {
        let through = now.saturating_sub(self.ms?);
        Some(self.turns.iter_mut().map(|turn| turn.away.take_due(through)).collect())
    }

    /// A key leaves memory.
    pub(crate) fn leaves(&mut self, last: i64, key: &[u8]) {
        self.remove(last, key);
        self.is_away(last, key);
    }

    /// A key is not here. Several times of one key come one after the other: the earliest of them counts.
    pub(crate) fn is_away(&mut self, last: i64, key: &[u8]) {
        if let Some(turn) = self.turns.get_mut(turn_of(key)) {
            turn.away.put(last, key);
        }
    }

    /// A key has come back, which is not one that is due.
    pub(crate) fn is_back(&mut self, last: i64, key: &[u8]) {
        if let Some(turn) = self.turns.get_mut(turn_of(key)) {
            turn.away.take_out(last, key);
        }
    }

    /// What it takes for keys that are not here, in bytes.
    pub(crate) fn away_bytes(&self) -> u64 {
        self.turns.iter().map(|turn| turn.away.bytes()).sum()
    }
}

/// In which turn a key is removed.
fn turn_of(key: &[u8]) -> usize {
    usize::from(key.first().copied().unwrap_or_default()) % TURNS
}

/// Whose turn it is in an epoch.
fn turn_in(epoch: u64) -> usize {
    (epoch % TURNS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_turn_and_are_over_before() {
        let mut touched = Touched::new(Some(10));
        let key = |group: u8| [group, 1];
        (0..=u8::MAX).for_each(|group| touched.touch(&key(group), None, i64::from(group % 2)));
        (0..=u8::MAX).step_by(2).for_each(|group| touched.leaves(0, &key(group)));
        let time = |epoch| EpochTime { now: 10, before: 0, epoch };
        assert!(touched.take_over(&key(64), 10).is_empty(), "it is not here");
        assert!(touched.take_over(&key(65), 10).is_empty(), "its time is not over");
        assert!(touched.expired(time(1)).is_empty(), "it has its turn");
        assert_eq!(touched.take_over(&key(65), 11).len(), 1, "whosever turn it is");
        let time = |epoch| EpochTime { now: 11, before: 0, epoch };
        let mut removed = Vec::new();
        for epoch in 1_000..1_000 + TURNS as u64 {
            let here = touched.expired(time(epoch));
            let due = touched.due(time(epoch)).unwrap();
            let all: Vec<Vec<u8>> =
                here.iter().map(|key| key.to_vec()).chain(due.iter().map(<[u8]>::to_vec)).collect();
            assert!((3..=4).contains(&all.len()), "{all:?}");
            removed.extend(all.into_iter().map(|key| key[0]));
        }
        removed.sort_unstable();
        assert_eq!(removed, (0..=u8::MAX).filter(|group| *group != 65).collect::<Vec<_>>());
        assert_eq!(touched.away_bytes(), 0);
    }

    #[test]
    fn a_key_that_is_touched_again_is_not_over() {
        let mut touched = Touched::new(Some(10));
        for (before, now) in [(None, 0), (Some(0), 5), (Some(5), 9)] {
            touched.touch(&[7, 1], before, now);
        }
        assert!(touched.all_expired(18).is_empty() && touched.is_over(8, 18) && !touched.is_over(9, 18));
        assert_eq!(touched.take_over(&[7], 19).len(), 1);
        touched.touch(&[7, 1], None, 19);
        assert!(
            touched.take_over(&[8], 40).is_empty() && touched.all_due(40).unwrap().iter().next().is_none()
        );
        touched.remove(19, &[7, 1]);
        assert!(touched.all_expired(i64::MAX).is_empty());
    }
}
