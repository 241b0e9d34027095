//! What of windows leaves memory: slices, key by key.
//!
//! ```text
//! row ─► its slice's entry, and where its windows are given already, those of their slices
//! watermark ─► due ─► entries of the windows that are given and of the slices that go, between two keys
//! ```
//!
//! How many entries of a slice are away is known, so that as much is due as if they were here. A start looks once through
//! all entries to count them. Rows that are held stay: they are few.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::{EpochTime, Keyed, Operator, Spilling};
use super::{HELD, InSlice, Part, Place, SLICES, VALUES, WindowAggregate};
use crate::rows::Rows;
use crate::state::{ColdError, ColdTables, Growth, TIME_BYTES, TableKey, TimeTable, time_bytes, time_of};

/// A slice with fewer entries away for each key group than this is read whole: a look for where a group begins costs about
/// as much as some entries that are not asked for.
const LEAST_OF_A_GROUP: usize = 8;

/// Entries that an epoch has taken out of slices: the cold store still has them.
#[derive(Debug, Default)]
pub(super) struct Gone(HashSet<(i64, Box<[u8]>)>);

impl Gone {
    pub(super) fn insert(&mut self, slice: i64, key: &[u8]) {
        self.0.insert((slice, key.into()));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn has(&self, slice: i64, key: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(&(slice, key.into()))
    }
}

/// Keys between two, without their key groups; the first is not among them, the second is. Without one, from the beginning
/// or to the end.
#[derive(Debug, Clone, Default)]
struct Between {
    behind: Option<Arc<[u8]>>,
    through: Option<Arc<[u8]>>,
}

impl Between {
    /// The keys of an end that lie between two places.
    fn at(end: i64, from: &Place, to: &Place) -> Between {
        let key = |place: &Place| {
            place.partial.as_ref().filter(|(partial, _)| *partial == end).map(|(_, key)| Arc::clone(key))
        };
        Between { behind: key(from), through: key(to) }
    }

    /// Both, and what lies between them.
    fn or(self, other: Between) -> Between {
        Between {
            behind: self.behind.zip(other.behind).map(|(one, other)| one.min(other)),
            through: self.through.zip(other.through).map(|(one, other)| one.max(other)),
        }
    }

    fn is_behind(&self, key: &[u8]) -> bool {
        self.behind.as_deref().is_none_or(|behind| *behind < key[1..])
    }

    fn reaches(&self, key: &[u8]) -> bool {
        self.through.as_deref().is_none_or(|through| key[1..] <= *through)
    }
}

/// The first of many keys.
struct First {
    keys: BTreeMap<Box<[u8]>, u8>,
    most: usize,
    /// They are all there were.
    all: bool,
}

impl First {
    /// Takes a key, if it is among the first; if it is not, no key behind it is.
    fn push(&mut self, key: &[u8]) -> bool {
        let (group, key) = (key[0], &key[1..]);
        if self.keys.len() < self.most {
            self.keys.insert(key.into(), group);
            return true;
        }
        if self.keys.last_key_value().is_none_or(|(last, _)| **last <= *key) {
            self.all = false;
            return false;
        }
        if self.keys.insert(key.into(), group).is_none() {
            self.keys.pop_last();
            self.all = false;
        }
        true
    }

    fn into_keys(self) -> Vec<TableKey> {
        self.keys.into_iter().map(|(key, group)| TableKey::from(&[&[group], &*key].concat()[..])).collect()
    }
}

impl WindowAggregate {
    /// Adds the entries that a row needs and that are not here.
    fn want(
        &mut self,
        time: EpochTime,
        (rows, row): (&Rows, usize),
        key: &[u8],
        wanted: &mut Vec<(i64, Box<[u8]>)>,
    ) {
        let mark = rows.marks[row];
        let Some(InSlice { slice_end, start, .. }) = self.slice_of(rows, row) else { return };
        if self.over(slice_end) <= mark.watermark {
            return;
        }
        let with_start = start.map(|start| [key, &start.to_be_bytes()].concat());
        let key = with_start.as_deref().unwrap_or(key);
        let given = self.given_of(time, slice_end, key, mark);
        let first = given.iter().map(|window| self.first_slice(*window)).min();
        let last = given.last().map(|window| window.end);
        let of_given = first.zip(last).map(|(first, last)| self.slices.times_away(first..=last));
        let own = (given.is_empty() && self.slices.away_at(slice_end) > 0).then_some(slice_end);
        let slices: Vec<i64> = own.into_iter().chain(of_given.into_iter().flatten()).collect();
        for slice in slices {
            if !self.slices.holds(slice, key) {
                wanted.push((slice, key.into()));
            }
        }
    }

    /// Reads back what the rows are folded into that are held and came with a watermark before a time.
    fn read_held(&mut self, before: i64, cold: &ColdTables) -> Result<(), ColdError> {
        let held: Vec<_> = self.held.before(before).map(|(slice, key)| (slice, key.clone())).collect();
        let passing = cold.passing();
        for (slice, key) in held {
            if !self.slices.holds(slice, &key) {
                self.read_entry(slice, &key, &passing)?;
            }
        }
        Ok(())
    }

    /// Reads an entry back, if there is one.
    fn read_entry(&mut self, slice: i64, key: &[u8], cold: &ColdTables) -> Result<(), ColdError> {
        let record_key = TimeTable::<Part>::record_key(slice, key);
        match cold.get(SLICES, &record_key)? {
            Some((value, size)) => self.take_entry(&record_key, &value, size, cold),
            None => Ok(()),
        }
    }

    /// Takes an entry that the cold store has, and its values.
    fn take_entry(
        &mut self,
        record_key: &[u8],
        value: &[u8],
        mut size: u32,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        self.restore(SLICES, record_key, Some(value)).map_err(ColdError::damaged)?;
        if self.aggregates.keeps_values() {
            cold.scan(VALUES, record_key, |entry, count, of_value| {
                size = size.saturating_add(of_value);
                self.restore(VALUES, entry, Some(count)).map_err(ColdError::damaged)
            })?;
        }
        let (slice, key) = record_key.split_at(TIME_BYTES);
        self.slices.read_back(time_of(slice), key, size);
        Ok(())
    }

    /// Looks through the entries of a slice that the store has, of some key groups and from behind a key on: `take` gets the
    /// key, the value and what it counts for, and says whether the keys behind it, of its group, are asked for.
    fn look_through(
        &self,
        slice: i64,
        groups: RangeInclusive<u8>,
        between: &Between,
        cold: &ColdTables,
        mut take: impl FnMut(&[u8], &[u8], u32) -> Result<bool, ColdError>,
    ) -> Result<(), ColdError> {
        let time = time_bytes(slice);
        if self.slices.away_at(slice) < LEAST_OF_A_GROUP * groups.clone().count() {
            let first = [&time[..], &[*groups.start()]].concat();
            return cold.scan_from(SLICES, &time, &first, |record_key, value, size| {
                let key = &record_key[TIME_BYTES..];
                let Some(group) = key.first().filter(|group| *group <= groups.end()) else {
                    return Ok(false);
                };
                if groups.contains(group) && between.is_behind(key) && between.reaches(key) {
                    take(key, value, size)?;
                }
                Ok(true)
            });
        }
        for group in groups {
            let prefix = [&time[..], &[group]].concat();
            // The key that is the next one possible.
            let from = between.behind.as_ref().map(|behind| [&prefix[..], &behind[..], &[0]].concat());
            let from = from.as_deref().unwrap_or(&prefix);
            cold.scan_from(SLICES, &prefix, from, |record_key, value, size| {
                let key = &record_key[TIME_BYTES..];
                Ok(between.reaches(key) && take(key, value, size)?)
            })?;
        }
        Ok(())
    }

    /// Reads back what a slice has between two keys.
    fn read_slice(
        &mut self,
        slice: i64,
        between: &Between,
        groups: RangeInclusive<u8>,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        let mut found = Vec::new();
        self.look_through(slice, groups, between, cold, |key, value, size| {
            if !self.slices.has(slice, key) && !self.gone.has(slice, key) {
                cold.count(size)?;
                found.push((TimeTable::<Part>::record_key(slice, key), value.to_vec(), size));
            }
            Ok(true)
        })?;
        found.iter().try_for_each(|(key, value, size)| self.take_entry(key, value, *size, cold))
    }

    /// The slices that have entries away, of those that are due between two places, with the keys that are.
    fn away_between(&self, from: &Place, to: &Place) -> BTreeMap<i64, Between> {
        let mut away: BTreeMap<i64, Between> = BTreeMap::new();
        let mut add = |slice: i64, between: Between| {
            let known = away.remove(&slice);
            away.insert(slice, known.map_or(between.clone(), |known| known.or(between)));
        };
        for window in self.windows(from, to).into_iter().filter(|window| self.gives_at(window.end)) {
            let slices = self.slices.times_away(self.first_slice(window)..=window.end);
            slices.for_each(|slice| add(slice, Between::at(window.end, from, to)));
        }
        for slice in self.slices.times_away(..) {
            let over = self.over(slice);
            match over <= to.watermark {
                // Whatever there is of it goes.
                true => add(slice, Between::default()),
                false if over <= to.last_end() => add(slice, Between::at(over, from, to)),
                false => break,
            }
        }
        away
    }
}

impl Spilling for WindowAggregate {
    fn read_back(
        &mut self,
        time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        if self.slices.is_whole() {
            return Ok(());
        }
        // Rows that change what is given bring in those that are held for it.
        self.read_held(self.stands_at.last_end().saturating_add(self.lateness()), cold)?;
        let mut wanted = Vec::new();
        for Keyed { rows, keys } in inputs.iter().flatten() {
            (0..rows.len()).for_each(|row| self.want(time, (rows, row), keys.get(row), &mut wanted));
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted.iter().try_for_each(|(slice, key)| self.read_entry(*slice, key, cold))
    }

    fn find_due(
        &mut self,
        from: &Place,
        end: i64,
        most: usize,
        groups: RangeInclusive<u8>,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        let window = self.window_at(end);
        let needed = most.saturating_add(2);
        if self.left.knows(window, needed) {
            return Ok(());
        }
        if self.slices.is_whole() {
            self.left.forget();
            return Ok(());
        }
        // Those of the next part, too.
        let mut first = First { keys: BTreeMap::new(), most: needed.saturating_mul(2), all: true };
        let here = self.keys_due(window).filter(|key| !from.is_given(end, key));
        here.for_each(|key| _ = first.push(key));
        let between = Between { through: None, ..Between::at(end, from, from) };
        for (slice, _) in self.slices_due(window) {
            if self.slices.away_at(slice) > 0 {
                self.look_through(slice, groups.clone(), &between, cold, |key, _, _| {
                    Ok(self.gone.has(slice, key) || first.push(key))
                })?;
            }
        }
        let (all, last_due) = (first.all, self.last_due(window));
        self.left.set(window, last_due, first.into_keys(), all);
        Ok(())
    }

    fn read_due(
        &mut self,
        from: &Place,
        to: &Place,
        groups: RangeInclusive<u8>,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        if self.slices.is_whole() {
            return Ok(());
        }
        let folded = to.last_end().saturating_add(self.lateness()).max(to.watermark.saturating_add(1));
        self.read_held(folded, cold)?;
        let away = self.away_between(from, to);
        away.iter().try_for_each(|(slice, between)| self.read_slice(*slice, between, groups.clone(), cold))
    }

    fn held(&self) -> u64 {
        self.slices.held() + self.held.bytes()
    }

    fn let_go(&mut self, keep: u64) {
        self.slices.let_go(keep.saturating_sub(self.held.bytes()));
    }

    fn take_growth(&mut self) -> Growth {
        self.slices.take_growth() + self.held.take_growth()
    }

    fn shown_tables(&self) -> &'static [u8] {
        &[SLICES, HELD]
    }

    fn show(&mut self, table: u8, key: &[u8], value: &[u8], _size: u32) -> Result<(), ColdError> {
        if table == HELD {
            return self.held.restore(key, Some(value)).map_err(ColdError::damaged);
        }
        let time =
            key.first_chunk::<TIME_BYTES>().ok_or_else(|| ColdError::damaged("a key without its time"))?;
        self.slices.is_away(time_of(time));
        Ok(())
    }

    fn counts(&self, table: u8) -> bool {
        table != VALUES
    }
}
