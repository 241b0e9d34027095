//! Entries of a table in the order of time that leave memory, and come back.
//!
//! How many of a time are not here is known, and that the time has some; which they are, the cold store knows.

use std::ops::RangeBounds;

use super::super::cold::Growth;
use super::{Slot, TimeTable};

/// What a time takes whose entries are away, in bytes.
const TIME_AWAY_BYTES: u64 = 128;

impl<V> TimeTable<V> {
    /// An entry goes for good.
    pub(super) fn is_gone(&mut self, slot: &Slot<V>) {
        self.held -= u64::from(slot.size);
        if slot.logged {
            self.growth.note(Some(slot.size), None);
        }
    }

    /// How many entries of a time there are, here or not.
    pub(crate) fn len_at(&self, time: i64) -> usize {
        let here = self.buckets.get(&time).map_or(0, |bucket| bucket.len());
        here + self.away_at(time)
    }

    /// How many of them are not here.
    pub(crate) fn away_at(&self, time: i64) -> usize {
        self.away.get(&time).copied().unwrap_or(0)
    }

    /// Whether everything is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.away.is_empty()
    }

    /// The times that have entries which are not here.
    pub(crate) fn times_away(&self, times: impl RangeBounds<i64>) -> impl DoubleEndedIterator<Item = i64> {
        self.away.range(times).map(|(time, _)| *time)
    }

    /// Whether an entry is here; one that is stays for a while.
    pub(crate) fn holds(&mut self, time: i64, key: &[u8]) -> bool {
        let found = self.buckets.get_mut(&time).and_then(|bucket| bucket.get_mut(key));
        found.map(|slot| slot.used = true).is_some()
    }

    /// The cold store has an entry of a time, and it is not here.
    pub(crate) fn is_away(&mut self, time: i64) {
        self.buckets.entry(time).or_default();
        *self.away.entry(time).or_default() += 1;
    }

    /// An entry was read back from the cold store, with [`TimeTable::restore`]: what it counts for.
    pub(crate) fn read_back(&mut self, time: i64, key: &[u8], size: u32) {
        let Some(slot) = self.buckets.get_mut(&time).and_then(|bucket| bucket.get_mut(key)) else { return };
        self.held = self.held - u64::from(slot.size) + u64::from(size);
        slot.size = size;
        if let Some(away) = self.away.get_mut(&time) {
            *away -= 1;
            if *away == 0 {
                self.away.remove(&time);
            }
        }
    }

    /// Bytes of what is here: entries, as of their last change in the changelog, and the times of others.
    pub(crate) fn held(&self) -> u64 {
        self.held + self.away.len() as u64 * TIME_AWAY_BYTES
    }

    /// By how much all entries have grown since it was last asked.
    pub(crate) fn take_growth(&mut self) -> Growth {
        std::mem::take(&mut self.growth)
    }

    /// Lets go of entries until those that are left count for `keep` at most: first of those that were not used since the
    /// last time, and among them of the latest times. Every change was handed to the changelog.
    pub(crate) fn let_go(&mut self, keep: u64) {
        let Self { buckets, away, held, len, .. } = self;
        for spares_used in [true, false] {
            for (time, bucket) in buckets.iter_mut().rev() {
                if *held + away.len() as u64 * TIME_AWAY_BYTES <= keep {
                    return;
                }
                let before = bucket.len();
                bucket.retain(|_, slot| {
                    if *held <= keep || slot.changed || std::mem::take(&mut slot.used) && spares_used {
                        return true;
                    }
                    *held -= u64::from(slot.size);
                    false
                });
                let left = before - bucket.len();
                if left > 0 {
                    *len -= left;
                    *away.entry(*time).or_default() += left;
                }
                if bucket.capacity() > 4 * bucket.len() {
                    bucket.shrink_to(2 * bucket.len());
                }
            }
        }
    }
}
