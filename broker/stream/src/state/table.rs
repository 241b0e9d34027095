//! Tables that remember what an epoch has changed.

mod leaving;

use std::collections::BTreeMap;

use hashbrown::hash_map::EntryRef;

use super::changelog::{ChangelogSink, RECORD_HEADER};
use super::cold::{Growth, entry_size};
use super::hashed::HashMap;
use super::table_key::TableKey;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// Changed in this epoch, and listed.
    changed: bool,
    /// The changelog has a record of it.
    logged: bool,
    /// Asked for since entries were last let go of.
    used: bool,
    /// What it counted for when it was last handed to the changelog, or read back.
    size: u32,
}

/// Entries by key, in no order. The key's first byte is its key group.
///
/// Where there is a cold store the table may hold a part of its entries: those that an epoch touches are read back
/// before ([`Table::holds`], [`Table::read_back`]), and others are let go of behind it ([`Table::let_go`]).
#[derive(Debug)]
pub(crate) struct Table<V> {
    entries: HashMap<TableKey, Entry<V>>,
    /// What the entries here count for, as of their last change in the changelog.
    held: u64,
    /// By how much all entries have grown since it was last asked, here or not.
    growth: Growth,
    /// Keys changed or removed in this epoch, in the order of their first change, and whether the changelog has a
    /// record of them; a key may be there twice.
    changed: Vec<(TableKey, bool)>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { entries: HashMap::default(), held: 0, growth: Growth::default(), changed: Vec::new() }
    }
}

impl<V> Entry<V> {
    /// As the changelog has it.
    fn restored(value: V) -> Entry<V> {
        Entry { value, changed: false, logged: true, used: true, size: 0 }
    }
}

impl<V> Table<V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The entry, made by `empty` if it is new; marks it changed.
    pub(crate) fn entry(&mut self, key: &[u8], empty: impl FnOnce() -> V) -> &mut V {
        match self.entries.entry_ref(key) {
            EntryRef::Vacant(vacant) => {
                let key = TableKey::from(key);
                self.changed.push((key.clone(), false));
                let entry = Entry { value: empty(), changed: true, logged: false, used: true, size: 0 };
                &mut vacant.insert_with_key(key, entry).value
            }
            EntryRef::Occupied(occupied) => {
                let entry = occupied.into_mut();
                if !entry.changed {
                    entry.changed = true;
                    self.changed.push((key.into(), entry.logged));
                }
                &mut entry.value
            }
        }
    }

    /// The entry, if it is there; marks it changed.
    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let entry = self.entries.get_mut(key)?;
        if !entry.changed {
            entry.changed = true;
            self.changed.push((key.into(), entry.logged));
        }
        Some(&mut entry.value)
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<V> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.held -= u64::from(entry.size);
        if entry.logged {
            self.growth.note(Some(entry.size), None);
        }
        if !entry.changed {
            self.changed.push((key, entry.logged));
        }
        Some(entry.value)
    }

    /// Hands the changes since the last call to the changelog.
    pub(crate) fn drain_changes(
        &mut self,
        table: u8,
        log: &mut dyn ChangelogSink,
        encode: impl Fn(&V, &mut Vec<u8>),
    ) {
        self.drain_changes_mut(table, log, |_, value, out| encode(value, out));
    }

    /// Hands the changes since the last call to the changelog; `encode` gets the entry's key and may change the value.
    pub(crate) fn drain_changes_mut(
        &mut self,
        table: u8,
        log: &mut dyn ChangelogSink,
        mut encode: impl FnMut(&[u8], &mut V, &mut Vec<u8>),
    ) {
        self.drain_with_parts(table, log, |key, value, out| {
            encode(key, value, out);
            0
        });
    }

    /// The same where `encode` says what parts of the entry count for that have records of their own.
    pub(crate) fn drain_with_parts(
        &mut self,
        table: u8,
        log: &mut dyn ChangelogSink,
        mut encode: impl FnMut(&[u8], &mut V, &mut Vec<u8>) -> u32,
    ) {
        let mut bytes = Vec::new();
        for (key, logged) in std::mem::take(&mut self.changed) {
            match self.entries.get_mut(&key) {
                Some(entry) if entry.changed => {
                    bytes.clear();
                    let parts = encode(&key, &mut entry.value, &mut bytes);
                    let size = entry_size(RECORD_HEADER + key.len(), bytes.len()).saturating_add(parts);
                    self.growth.note(entry.logged.then_some(entry.size), Some(size));
                    self.held = self.held - u64::from(entry.size) + u64::from(size);
                    entry.changed = false;
                    entry.logged = true;
                    entry.size = size;
                    log.put(table, &key, Some(&bytes));
                }
                // Listed twice: removed and made again.
                Some(_) => {}
                None if logged => log.put(table, &key, None),
                None => {}
            }
        }
    }

    /// Whether an entry is here; one that is stays for a while.
    pub(crate) fn holds(&mut self, key: &[u8]) -> bool {
        let found = self.entries.get_mut(key);
        found.map(|entry| entry.used = true).is_some()
    }

    /// An entry was read back from the cold store, with [`Table::restore`]: what it counts for.
    pub(crate) fn read_back(&mut self, key: &[u8], size: u32) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.held = self.held - u64::from(entry.size) + u64::from(size);
            entry.size = size;
        }
    }

    /// What the entries here count for.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// By how much all entries have grown since it was last asked.
    pub(crate) fn take_growth(&mut self) -> Growth {
        std::mem::take(&mut self.growth)
    }

    /// Lets go of entries until those that are left count for `keep` at most: first of those that were not used since
    /// the last time. Every change was handed to the changelog. `leaves` says
    /// whether an entry may go, and it does then.
    pub(crate) fn let_go(&mut self, keep: u64, mut leaves: impl FnMut(&[u8], &V) -> bool) {
        let mut held = self.held;
        for spares_used in [true, false] {
            if held <= keep {
                break;
            }
            self.entries.retain(|key, entry| {
                if held <= keep || entry.changed || std::mem::take(&mut entry.used) && spares_used {
                    return true;
                }
                if !leaves(key, &entry.value) {
                    return true;
                }
                held -= u64::from(entry.size);
                false
            });
        }
        self.held = held;
        if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Takes an entry away that the changelog keeps, or has changed while it is read; no change of this epoch.
    pub(crate) fn get_restored(&mut self, key: &[u8]) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.held -= u64::from(entry.size);
        Some(entry.value)
    }

    /// The entry, made by `empty` if it is new, while the changelog is read; no change of this epoch.
    pub(crate) fn restored(&mut self, key: &[u8], empty: impl FnOnce() -> V) -> &mut V {
        match self.entries.entry_ref(key) {
            EntryRef::Vacant(vacant) => {
                &mut vacant.insert_with_key(key.into(), Entry::restored(empty())).value
            }
            EntryRef::Occupied(occupied) => &mut occupied.into_mut().value,
        }
    }

    /// Puts an entry back as the changelog has it; no change of this epoch.
    pub(crate) fn restore(&mut self, key: &[u8], value: Option<V>) {
        let before = match value {
            Some(value) => self.entries.insert(key.into(), Entry::restored(value)),
            None => self.entries.remove(key),
        };
        self.held -= before.map_or(0, |entry| u64::from(entry.size));
    }
}

/// Entries by time and key, in this order. An entry's key in the changelog is the time in eight bytes that order as
/// it does, then the key, whose first byte is its key group.
#[derive(Debug)]
pub(crate) struct TimeTable<V> {
    buckets: BTreeMap<i64, Bucket<V>>,
    len: usize,
    changed: Vec<(i64, TableKey, bool)>,
    /// How many entries of a time are in a cold store alone; its bucket is there, if without an entry.
    away: BTreeMap<i64, usize>,
    /// What the entries here count for, as of their last change in the changelog.
    held: u64,
    /// By how much all entries have grown since it was last asked, here or not.
    growth: Growth,
}

/// The entries of one time, by key.
pub(crate) type Bucket<V> = HashMap<TableKey, Slot<V>>;

/// Entries that were taken out, in the order of their keys.
pub(crate) type Taken<V> = Vec<(TableKey, V)>;

/// An entry of a bucket.
#[derive(Debug)]
pub(crate) struct Slot<V> {
    pub(crate) value: V,
    changed: bool,
    logged: bool,
    /// Asked for since entries were last let go of.
    used: bool,
    /// What it counted for when it was last handed to the changelog, or read back.
    size: u32,
}

impl<V> Default for TimeTable<V> {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            len: 0,
            changed: Vec::new(),
            away: BTreeMap::new(),
            held: 0,
            growth: Growth::default(),
        }
    }
}

impl<V> Slot<V> {
    fn new(value: V) -> Slot<V> {
        Slot { value, changed: true, logged: false, used: true, size: 0 }
    }

    /// As the changelog has it.
    fn restored(value: V) -> Slot<V> {
        Slot { value, changed: false, logged: true, used: true, size: 0 }
    }
}

/// Where the key group stands in a key of a [`TimeTable`] in the changelog.
pub(crate) const TIME_BYTES: usize = 8;

/// A time as bytes that order as it does.
pub(crate) fn time_bytes(time: i64) -> [u8; TIME_BYTES] {
    ((time as u64) ^ (1 << 63)).to_be_bytes()
}

/// The time that bytes begin with.
pub(crate) fn time_of(bytes: &[u8]) -> i64 {
    let time = bytes.first_chunk().expect("callers have checked that the time is there");
    (u64::from_be_bytes(*time) ^ (1 << 63)) as i64
}

impl<V> TimeTable<V> {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The times that have entries.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> {
        self.buckets.keys().copied()
    }

    /// The first time that has entries.
    pub(crate) fn first_time(&self) -> Option<i64> {
        self.buckets.first_key_value().map(|(time, _)| *time)
    }

    /// The entry, made by `empty` if it is new; marks it changed.
    pub(crate) fn entry(&mut self, time: i64, key: &[u8], empty: impl FnOnce() -> V) -> &mut V {
        let bucket = self.buckets.entry(time).or_default();
        match bucket.entry_ref(key) {
            EntryRef::Vacant(vacant) => {
                let key = TableKey::from(key);
                self.changed.push((time, key.clone(), false));
                self.len += 1;
                &mut vacant.insert_with_key(key, Slot::new(empty())).value
            }
            EntryRef::Occupied(occupied) => {
                let slot = occupied.into_mut();
                slot.used = true;
                if !slot.changed {
                    slot.changed = true;
                    self.changed.push((time, key.into(), slot.logged));
                }
                &mut slot.value
            }
        }
    }

    pub(crate) fn remove(&mut self, time: i64, key: &[u8]) -> Option<V> {
        let bucket = self.buckets.get_mut(&time)?;
        let (key, slot) = bucket.remove_entry(key)?;
        self.len -= 1;
        if bucket.is_empty() && !self.away.contains_key(&time) {
            self.buckets.remove(&time);
        }
        self.is_gone(&slot);
        if !slot.changed {
            self.changed.push((time, key, slot.logged));
        }
        Some(slot.value)
    }

    /// The buckets of a range of times, in order.
    pub(crate) fn range(
        &self,
        times: impl std::ops::RangeBounds<i64>,
    ) -> impl DoubleEndedIterator<Item = (i64, &Bucket<V>)> {
        self.buckets.range(times).map(|(time, bucket)| (*time, bucket))
    }

    /// Takes every entry of the first time, if it is at most `through`, in the order of the keys.
    pub(crate) fn take_first(&mut self, through: i64) -> Option<(i64, Taken<V>)> {
        let first = self.buckets.first_entry().filter(|first| *first.key() <= through)?;
        let (time, bucket) = first.remove_entry();
        debug_assert!(!self.away.contains_key(&time), "they were read back");
        self.len -= bucket.len();
        let mut taken = Vec::with_capacity(bucket.len());
        taken.extend(bucket);
        taken.sort_unstable_by(|left: &(TableKey, Slot<V>), right| left.0.cmp(&right.0));
        let taken = taken.into_iter().map(|(key, slot)| {
            self.is_gone(&slot);
            if !slot.changed {
                self.changed.push((time, key.clone(), slot.logged));
            }
            (key, slot.value)
        });
        Some((time, taken.collect()))
    }

    /// Lets go of every entry of a time; `gone` gets them, in no order.
    pub(crate) fn drop_time(&mut self, time: i64, mut gone: impl FnMut(&[u8], V)) {
        debug_assert!(!self.away.contains_key(&time), "they were read back");
        let Some(bucket) = self.buckets.remove(&time) else { return };
        self.len -= bucket.len();
        self.changed.reserve(bucket.len());
        for (key, slot) in bucket {
            self.is_gone(&slot);
            gone(&key, slot.value);
            if !slot.changed {
                self.changed.push((time, key, slot.logged));
            }
        }
    }

    /// Hands the changes since the last call to the changelog.
    pub(crate) fn drain_changes(
        &mut self,
        table: u8,
        log: &mut dyn ChangelogSink,
        encode: impl Fn(&V, &mut Vec<u8>),
    ) {
        self.drain_changes_mut(table, log, |_, value, out| encode(value, out));
    }

    /// Hands the changes since the last call to the changelog; `encode` gets the entry's key there and may change the
    /// value.
    pub(crate) fn drain_changes_mut(
        &mut self,
        table: u8,
        log: &mut dyn ChangelogSink,
        mut encode: impl FnMut(&[u8], &mut V, &mut Vec<u8>),
    ) {
        self.drain_with_parts(table, log, |key, value, out| {
            encode(key, value, out);
            0
        });
    }

    /// The same where `encode` says what parts of the entry count for that have records of their own.
    pub(crate) fn drain_with_parts(
        &mut self,
        table: u8,
        log: &mut dyn ChangelogSink,
        mut encode: impl FnMut(&[u8], &mut V, &mut Vec<u8>) -> u32,
    ) {
        let mut bytes = Vec::new();
        let mut record_key = Vec::new();
        for (time, key, logged) in std::mem::take(&mut self.changed) {
            record_key.clear();
            record_key.extend_from_slice(&time_bytes(time));
            record_key.extend_from_slice(&key);
            match self.buckets.get_mut(&time).and_then(|bucket| bucket.get_mut(&key)) {
                Some(slot) if slot.changed => {
                    bytes.clear();
                    let parts = encode(&record_key, &mut slot.value, &mut bytes);
                    let size =
                        entry_size(RECORD_HEADER + record_key.len(), bytes.len()).saturating_add(parts);
                    self.growth.note(slot.logged.then_some(slot.size), Some(size));
                    self.held = self.held - u64::from(slot.size) + u64::from(size);
                    slot.changed = false;
                    slot.logged = true;
                    slot.size = size;
                    log.put(table, &record_key, Some(&bytes));
                }
                Some(_) => {}
                None if logged => log.put(table, &record_key, None),
                None => {}
            }
        }
    }

    /// Whether there is an entry.
    pub(crate) fn has(&self, time: i64, key: &[u8]) -> bool {
        self.buckets.get(&time).is_some_and(|bucket| bucket.contains_key(key))
    }

    /// Whether there is an entry of a changelog key.
    pub(crate) fn contains(&self, record_key: &[u8]) -> bool {
        let Some((time, key)) = record_key.split_at_checked(TIME_BYTES) else { return false };
        self.buckets.get(&time_of(time)).is_some_and(|bucket| bucket.contains_key(key))
    }

    /// The key of an entry in the changelog.
    pub(crate) fn record_key(time: i64, key: &[u8]) -> Vec<u8> {
        [&time_bytes(time), key].concat()
    }

    /// The entry of a changelog key, made by `empty` if it is new, while the changelog is read.
    pub(crate) fn restored(&mut self, record_key: &[u8], empty: impl FnOnce() -> V) -> Option<&mut V> {
        let (time, key) = record_key.split_at_checked(TIME_BYTES)?;
        match self.buckets.entry(time_of(time)).or_default().entry_ref(key) {
            EntryRef::Vacant(vacant) => {
                self.len += 1;
                Some(&mut vacant.insert_with_key(key.into(), Slot::restored(empty())).value)
            }
            EntryRef::Occupied(occupied) => Some(&mut occupied.into_mut().value),
        }
    }

    /// Puts an entry back as the changelog has it.
    pub(crate) fn restore(&mut self, record_key: &[u8], value: Option<V>) -> Result<(), String> {
        let Some((time, key)) = record_key.split_at_checked(TIME_BYTES) else {
            return Err("a key without its time".to_owned());
        };
        let time = time_of(time);
        match value {
            Some(value) => {
                let before = self.buckets.entry(time).or_default().insert(key.into(), Slot::restored(value));
                self.len += usize::from(before.is_none());
                self.held -= before.map_or(0, |slot| u64::from(slot.size));
            }
            None => {
                if let Some(bucket) = self.buckets.get_mut(&time) {
                    let before = bucket.remove(key);
                    self.len -= usize::from(before.is_some());
                    if bucket.is_empty() {
                        self.buckets.remove(&time);
                    }
                    self.held -= before.map_or(0, |slot| u64::from(slot.size));
                }
            }
        }
        Ok(())
    }
}
