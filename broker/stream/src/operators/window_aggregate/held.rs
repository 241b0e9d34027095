//! Rows that came too late for some of their windows, until these are given.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::plan::WindowKind;
use crate::rows::{Mark, NO_ORIGIN, Rows, RowsBuilder};
use crate::state::{ChangelogSink, Growth, RECORD_HEADER, TableKey, decode_row, encode_row, entry_size};
use crate::value::DataType;

/// What identifies a row that is held: its key, and its number among those of the key.
type Id = (TableKey, u64);

/// Rows that are held, by their key and, within a key, in the order they came in.
///
/// An entry's key in the changelog is the key and a number of eight bytes that counts its rows.
///
/// There may be as many as an epoch has, and windows are given one by one: what each look asks for has an index.
#[derive(Debug)]
pub(super) struct HeldRows {
    types: Vec<DataType>,
    /// The windows they lie in; `None` where no row is ever held.
    windows: Option<WindowKind>,
    /// For how long a window is kept behind its end.
    lateness: i64,
    rows: BTreeMap<Id, Held>,
    /// By the watermark they came with.
    by_watermark: BTreeSet<(i64, Id)>,
    /// How many lie in each slice.
    slices: BTreeMap<i64, usize>,
    /// By how much more of them count for the windows that end there, or behind, than for those that end before.
    counts: BTreeMap<i64, i64>,
    /// Those that the changelog has no record of.
    fresh: Vec<Id>,
    /// Entries that are gone, and that the changelog has a record of.
    gone: Vec<Id>,
    /// What those count for that the changelog has a record of.
    bytes: u64,
    /// By how much they have grown since it was last asked.
    growth: Growth,
}

/// A row that is held.
#[derive(Debug)]
pub(super) struct Held {
    /// The slice it lies in.
    pub(super) slice_end: i64,
    /// It alone.
    pub(super) row: Rows,
    /// What its record in the changelog counts for, if there is one.
    logged: Option<u32>,
    /// How often its watermark was asked for.
    #[cfg(test)]
    looks: std::cell::Cell<u64>,
}

impl Held {
    fn new(slice_end: i64, row: Rows, logged: Option<u32>) -> Held {
        Held {
            slice_end,
            row,
            logged,
            #[cfg(test)]
            looks: Default::default(),
        }
    }

    /// The watermark it came with: it counts for windows that end behind it.
    pub(super) fn watermark(&self) -> i64 {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        self.row.marks[0].watermark
    }
}

impl HeldRows {
    /// For rows of these types, which come too late for some of these windows, kept for so long behind their ends.
    pub(super) fn new(types: &[DataType], windows: Option<WindowKind>, lateness: i64) -> Self {
        Self {
            types: types.to_vec(),
            windows,
            lateness,
            rows: BTreeMap::new(),
            by_watermark: BTreeSet::new(),
            slices: BTreeMap::new(),
            counts: BTreeMap::new(),
            fresh: Vec::new(),
            gone: Vec::new(),
            bytes: 0,
            growth: Growth::default(),
        }
    }

    /// Bytes of the rows, as of when they were last handed to the changelog.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn take_growth(&mut self) -> Growth {
        std::mem::take(&mut self.growth)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The first slice of a range in which one lies.
    pub(super) fn first_slice(&self, slices: (Bound<i64>, Bound<i64>)) -> Option<i64> {
        self.slices.range(slices).next().map(|(slice, _)| *slice)
    }

    /// The ends of windows behind one instant and not behind another for which some count, and how many do.
    pub(super) fn due(&self, after: i64, through: i64) -> Vec<(i64, usize)> {
        let (Some(kind), true) = (self.windows, after < through) else { return Vec::new() };
        let mut due = Vec::new();
        let mut count: i64 = self.counts.range(..=after).map(|(_, more)| more).sum();
        let mut at = after;
        let mut give = |at: i64, before: i64, count: i64| {
            if count <= 0 {
                return;
            }
            let ends = std::iter::successors(Some(kind.next_end(at)), |end| Some(kind.next_end(*end)));
            due.extend(ends.take_while(|end| *end < before).map(|end| (end, count as usize)));
        };
        for (end, more) in self.counts.range((Bound::Excluded(after), Bound::Included(through))) {
            give(at, *end, count);
            count += more;
            at = end - 1;
        }
        give(at, through.saturating_add(1), count);
        due
    }

    /// The slice and the key of each whose watermark is before a time.
    pub(super) fn before(&self, time: i64) -> impl Iterator<Item = (i64, &TableKey)> {
        let before = self.by_watermark.iter().take_while(move |(watermark, _)| *watermark < time);
        before.map(|(_, id)| (self.rows[id].slice_end, &id.0))
    }

    /// Holds a row.
    pub(super) fn push(&mut self, key: &[u8], slice_end: i64, rows: &Rows, row: usize) {
        let key: TableKey = key.into();
        let of_key = (key.clone(), 0)..=(key.clone(), u64::MAX);
        let number = self.rows.range(of_key).next_back().map_or(0, |((_, number), _)| number + 1);
        let held = Held::new(slice_end, rows.take(&[row as u32]), None);
        self.fresh.push((key.clone(), number));
        self.insert((key, number), held);
    }

    /// Takes the rows whose watermark is before a time, in the order of their keys, those of a key as they came.
    pub(super) fn take_before(&mut self, time: i64) -> Vec<(TableKey, Held)> {
        let mut ids = Vec::new();
        while let Some((watermark, _)) = self.by_watermark.first()
            && *watermark < time
        {
            ids.extend(self.by_watermark.pop_first().map(|(_, id)| id));
        }
        ids.sort_unstable();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let held = self.remove(&id).expect("an index knows of rows that are there");
            if let Some(size) = held.logged {
                self.gone.push(id.clone());
                self.growth.note(Some(size), None);
            }
            found.push((id.0, held));
        }
        found
    }

    fn insert(&mut self, id: Id, held: Held) {
        self.bytes += held.logged.map_or(0, u64::from);
        self.by_watermark.insert((held.watermark(), id.clone()));
        *self.slices.entry(held.slice_end).or_default() += 1;
        self.count(&held, 1);
        self.rows.insert(id, held);
    }

    fn remove(&mut self, id: &Id) -> Option<Held> {
        let held = self.rows.remove(id)?;
        self.bytes -= held.logged.map_or(0, u64::from);
        self.by_watermark.remove(&(held.watermark(), id.clone()));
        if let Some(rows) = self.slices.get_mut(&held.slice_end) {
            *rows -= 1;
            if *rows == 0 {
                self.slices.remove(&held.slice_end);
            }
        }
        self.count(&held, -1);
        Some(held)
    }

    /// Counts a row for its windows, from the first that it is not too late for on.
    fn count(&mut self, held: &Held, by: i64) {
        let Some(kind) = self.windows else { return };
        let after = held.watermark().saturating_sub(self.lateness);
        let Some((_, first)) = kind.windows_between(held.slice_end, after, i64::MAX).next() else { return };
        for (end, by) in [(first, by), (kind.last_end(held.slice_end).saturating_add(1), -by)] {
            let more = self.counts.entry(end).or_default();
            *more += by;
            if *more == 0 {
                self.counts.remove(&end);
            }
        }
    }

    /// Hands the changes since the last call to the changelog.
    pub(super) fn drain_changes(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        let record_key = |key: &[u8], number: u64| [key, &number.to_be_bytes()].concat();
        for id in std::mem::take(&mut self.gone) {
            // Another row may have its number now.
            if !self.rows.contains_key(&id) {
                log.put(table, &record_key(&id.0, id.1), None);
            }
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_unstable();
        for id in fresh {
            // It may have been taken, and its number given to another one.
            let Some(held) = self.rows.get_mut(&id).filter(|held| held.logged.is_none()) else { continue };
            let mut value = Vec::new();
            value.extend_from_slice(&held.slice_end.to_be_bytes());
            value.extend_from_slice(&held.row.marks[0].watermark.to_be_bytes());
            value.push(u8::from(held.row.marks[0].back));
            encode_row(&held.row, 0, 0..self.types.len(), &mut value);
            let record_key = record_key(&id.0, id.1);
            log.put(table, &record_key, Some(&value));
            let size = entry_size(RECORD_HEADER + record_key.len(), value.len());
            self.bytes += u64::from(size);
            self.growth.note(None, Some(size));
            held.logged = Some(size);
        }
    }

    /// Puts a row back as the changelog has it, or takes it away.
    pub(super) fn restore(&mut self, record_key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let (key, number) = record_key.split_last_chunk().ok_or("a key without its number")?;
        let id = (TableKey::from(key), u64::from_be_bytes(*number));
        let Some(value) = value else {
            self.remove(&id);
            return Ok(());
        };
        let size = entry_size(RECORD_HEADER + record_key.len(), value.len());
        let held = self.decode(value, size).ok_or("a damaged row that is held")?;
        self.remove(&id);
        self.insert(id, held);
        Ok(())
    }

    fn decode(&self, value: &[u8], size: u32) -> Option<Held> {
        let (slice_end, rest) = value.split_first_chunk()?;
        let (watermark, rest) = rest.split_first_chunk()?;
        let (back, rest) = rest.split_first()?;
        let values = decode_row(rest, &self.types)?;
        let watermark = i64::from_be_bytes(*watermark);
        let mark =
            Mark { order: 0, origin: NO_ORIGIN, timestamp: 0, watermark, partition: 0, back: *back == 1 };
        let mut rows = RowsBuilder::new(&self.types);
        rows.push(mark, &values);
        Some(Held::new(i64::from_be_bytes(*slice_end), rows.finish(), Some(size)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;

    const TYPES: [DataType; 1] = [DataType::BigInt];

    fn row(number: i64, watermark: i64) -> Rows {
        let mark = Mark { order: 0, origin: NO_ORIGIN, timestamp: 0, watermark, partition: 0, back: false };
        let mut rows = RowsBuilder::new(&TYPES);
        rows.push(mark, [&Value::BigInt(number)]);
        rows.finish()
    }

    fn number(held: &Held) -> i64 {
        held.row.columns[0].bigint().value(0)
    }

    fn kinds() -> impl Strategy<Value = WindowKind> {
        prop_oneof![
            Just(WindowKind::Hop { size_ms: 20, slide_ms: 5, offset_ms: 0 }),
            Just(WindowKind::Hop { size_ms: 12, slide_ms: 5, offset_ms: 3 }),
            Just(WindowKind::Tumble { size_ms: 7, offset_ms: 0 }),
            Just(WindowKind::Cumulate { size_ms: 30, step_ms: 10, offset_ms: 2 }),
        ]
    }

    /// What is known of a row: key, watermark, slice, number.
    type Known = (Vec<u8>, i64, i64, i64);

    proptest! {
        /// Against going through all of them each time.
        #[test]
        fn every_look_finds_what_going_through_all_of_them_does(
            kind in kinds(),
            lateness in prop_oneof![Just(0_i64), Just(8)],
            steps in prop::collection::vec((0_u8..4, "[a-c]", 0_i64..60, 0_i64..60), 1..60),
        ) {
            let mut held = HeldRows::new(&TYPES, Some(kind), lateness);
            let mut model: Vec<Known> = Vec::new();
            for (step, key, time, other) in steps {
                if step < 3 {
                    let slice = kind.slice_end(other);
                    held.push(key.as_bytes(), slice, &row(model.len() as i64, time), 0);
                    model.push((key.into_bytes(), time, slice, model.len() as i64));
                    continue;
                }
                let mut expected: Vec<Known> = model.extract_if(.., |known| known.1 < time).collect();
                expected.sort_by(|left, right| left.0.cmp(&right.0));
                let taken = held.take_before(time);
                let taken: Vec<Known> = taken
                    .iter()
                    .map(|(key, held)| (key.to_vec(), held.watermark(), held.slice_end, number(held)))
                    .collect();
                prop_assert_eq!(taken, expected);
                for (after, through) in [(time, other), (i64::MIN / 2, i64::MAX), (time, i64::MAX)] {
                    let mut due: BTreeMap<i64, usize> = BTreeMap::new();
                    for (_, watermark, slice, _) in &model {
                        let after = (watermark - lateness).max(after);
                        kind.windows_between(*slice, after, through).for_each(|(_, end)| *due.entry(end).or_default() += 1);
                    }
                    let found: BTreeMap<i64, usize> = held.due(after, through).into_iter().collect();
                    prop_assert_eq!(found, due);
                }
                let slice = |known: &Known| known.2;
                prop_assert_eq!(
                    held.first_slice((Bound::Excluded(other), Bound::Unbounded)),
                    model.iter().map(slice).filter(|slice| *slice > other).min()
                );
                let mut before: Vec<(i64, Vec<u8>)> =
                    held.before(other).map(|(slice, key)| (slice, key.to_vec())).collect();
                before.sort();
                let meant = model.iter().filter(|known| known.1 < other);
                let mut expected: Vec<(i64, Vec<u8>)> = meant.map(|known| (known.2, known.0.clone())).collect();
                expected.sort();
                prop_assert_eq!(before, expected);
            }
            held.take_before(i64::MAX);
            prop_assert!(held.rows.is_empty() && held.by_watermark.is_empty() && held.slices.is_empty());
            prop_assert!(held.counts.is_empty());
        }
    }

    /// Each row is looked at a few times, however many windows are given one after the other.
    #[test]
    fn looks_cost_what_they_take() {
        const ROWS: i64 = 2_000;
        let kind = WindowKind::Hop { size_ms: 100, slide_ms: 1, offset_ms: 0 };
        let mut held = HeldRows::new(&TYPES, Some(kind), 0);
        (0..ROWS).for_each(|at| held.push(&at.to_be_bytes(), kind.slice_end(at - 50), &row(at, at), 0));
        let (mut taken, mut looks) = (0, 0);
        for end in 0..=ROWS {
            assert!(held.due(end - 1, end).len() <= 1);
            for (_, held) in held.take_before(end) {
                taken += 1;
                looks += held.looks.get();
            }
        }
        assert_eq!(taken, ROWS);
        assert!(looks < 6 * ROWS as u64, "{looks} looks at {ROWS} rows");
    }
}
