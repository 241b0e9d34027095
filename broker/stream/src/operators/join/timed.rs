//! Joins that event time bounds: both rows lie in one window, or their times are near.
//!
//! A row is kept until the watermark says that none can come any more that it makes a pair with. Pairs are given at
//! once; a row without a partner that is given with `NULL` is given when it goes. A window is the case where times are
//! equal: the last instants of both rows' windows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::{Due, EpochTime, Keyed, Operator, Output, Place, StateSize, Timed, held_back, timed_mark};
use super::joined::{Given, JoinedRow, LEFT, RIGHT, caused};
use crate::plan;
use crate::rows::{Rows, RowsBuilder};
use crate::state::{ChangelogSink, Keys, RowId, RowTable, TIME_BYTES, time_bytes, time_of};
use crate::value::DataType;

/// Which rows belong together, by their times.
#[derive(Debug, Clone, Copy)]
struct Nearness {
    /// For each side its column of time.
    columns: [usize; 2],
    /// The columns are ends of windows.
    windows: bool,
    /// The least and the greatest time of the left row minus that of the right one.
    least: i64,
    most: i64,
}

#[derive(Debug)]
pub(crate) struct TimedJoin {
    row: JoinedRow,
    /// For each side whether its rows without a partner are given.
    keeps: [bool; 2],
    nearness: Nearness,
    /// How far what is given may be behind the watermark.
    delay: i64,
    sides: [Side; 2],
}

#[derive(Debug)]
struct Side {
    /// A row is kept as its time in eight bytes, then its columns.
    rows: RowTable<Kept>,
    /// The rows by their time; derived from them.
    by_time: BTreeMap<i64, Bucket>,
    /// A row goes when the watermark is so far behind its time.
    lasts: i64,
}

/// A row that is kept; equal ones together.
#[derive(Debug, Clone, Copy)]
struct Kept {
    count: u32,
    /// Whether it has made a pair; known only where rows without one are given.
    paired: bool,
}

#[derive(Debug, Default)]
struct Bucket {
    ids: Vec<RowId>,
    /// How many of them are gone already.
    gone: usize,
}

/// A row without a partner that goes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lonely {
    end: i64,
    /// What it is sorted by within an end: its place there without the key group.
    sort: Arc<[u8]>,
    side: usize,
    row: Arc<[u8]>,
    count: u32,
}

/// A row's place among those that go at one time: its key, its side, then the row itself.
fn place_key(side: usize, id: &RowId) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.key.len() + 1 + id.row.len());
    key.extend_from_slice(&id.key);
    key.push(side as u8);
    key.extend_from_slice(&id.row);
    key
}

impl Nearness {
    fn time(&self, side: usize, rows: &Rows, row: usize) -> Option<i64> {
        let times = rows.columns[self.columns[side]].timestamp();
        let time = arrow_array::Array::is_valid(times, row).then(|| times.value(row))?;
        // The last instant of a window is what decides whether the row is late.
        Some(if self.windows { time.saturating_sub(1) } else { time })
    }

    /// The times of the other side that are near.
    fn partners(&self, side: usize, time: i64) -> (i64, i64) {
        match side {
            LEFT => (time.saturating_sub(self.most), time.saturating_sub(self.least)),
            _ => (time.saturating_add(self.least), time.saturating_add(self.most)),
        }
    }
}

impl TimedJoin {
    /// Both rows lie in one window; `ends` are the inputs' columns of its end.
    pub(crate) fn in_windows(join: &plan::Join, ends: [usize; 2], inputs: [&[DataType]; 2]) -> Self {
        Self::new(join, Nearness { columns: ends, windows: true, least: 0, most: 0 }, inputs)
    }

    /// The left row's time minus the right one's lies in a range.
    pub(crate) fn in_interval(
        join: &plan::Join,
        times: [usize; 2],
        difference: RangeInclusive<i64>,
        inputs: [&[DataType]; 2],
    ) -> Self {
        let (least, most) = difference.into_inner();
        Self::new(join, Nearness { columns: times, windows: false, least, most }, inputs)
    }

    fn new(join: &plan::Join, nearness: Nearness, inputs: [&[DataType]; 2]) -> Self {
        let side = |lasts: i64| Side { rows: RowTable::default(), by_time: BTreeMap::new(), lasts };
        let lasts_left = nearness.least.saturating_neg().max(0).saturating_add(1);
        let lasts_right = nearness.most.max(0).saturating_add(1);
        Self {
            row: JoinedRow::new(&join.left, &join.right, join.condition.as_ref(), inputs),
            keeps: [join.kind.keeps_left(), join.kind.keeps_right()],
            delay: join.delay_ms(),
            sides: [side(lasts_left), side(lasts_right)],
            nearness,
        }
    }

    fn take(&mut self, side: usize, rows: &Rows, keys: &Keys, time: EpochTime, out: &mut Output) {
        let stored = RIGHT - side;
        let before = held_back(time.before, self.delay);
        let chunk = self.row.columns(side, rows);
        let mut bytes = Vec::new();
        let mut first = 0;
        while first < rows.len() {
            let mut candidates = self.row.candidates(stored);
            let mut partners: Vec<(Arc<[u8]>, u32)> = Vec::new();
            let mut times = Vec::new();
            let mut end = first;
            while end < rows.len() && !candidates.is_full() {
                let at = self.nearness.time(side, rows, end);
                if let Some(at) = at
                    && at >= rows.marks[end].watermark
                    && self.row.has_key(side, rows, end)
                {
                    let (from, to) = self.nearness.partners(side, at);
                    let to = to.checked_add(1).map(time_bytes);
                    let to = to.as_ref().map(|to| &to[..]);
                    for (row, kept) in self.sides[stored].rows.range(keys.get(end), &time_bytes(from), to) {
                        candidates.push(end, &row[TIME_BYTES..]);
                        partners.push((Arc::clone(row), kept.count));
                    }
                }
                candidates.end_row();
                times.push(at);
                end += 1;
            }
            let found = self.row.find(side, &chunk, candidates, time.now, out);
            let mut given = Given::default();
            for (index, row) in (first..end).enumerate() {
                let mark = rows.marks[row];
                let at = times[index].filter(|_| self.row.has_key(side, rows, row));
                let Some(at) = at else {
                    // It equals nothing, now or later.
                    if self.keeps[side] {
                        given.alone(row, caused(side, mark, before));
                    }
                    continue;
                };
                if at < mark.watermark {
                    out.late.push(mark.origin);
                    continue;
                }
                let mut paired = false;
                for pair in found.of_row(index) {
                    paired = true;
                    let (stored_row, count) = &partners[pair];
                    if self.keeps[stored] {
                        self.sides[stored].pair(keys.get(row), stored_row);
                    }
                    (0..*count).for_each(|_| given.pair(row, pair, caused(side, mark, before)));
                }
                bytes.clear();
                bytes.extend_from_slice(&time_bytes(at));
                self.row.encode(side, rows, row, &mut bytes);
                let paired = paired && self.keeps[side];
                self.sides[side].keep(keys.get(row), &bytes, at, paired);
            }
            self.row.give(side, &chunk, &found.stored, given, out);
            first = end;
        }
    }
}

impl Side {
    fn keep(&mut self, key: &[u8], row: &[u8], at: i64, paired: bool) {
        match self.rows.get_mut(key, row) {
            Some(kept) => *kept = Kept { count: kept.count + 1, paired: kept.paired || paired },
            None => {
                let id = self.rows.insert(key, row, Kept { count: 1, paired });
                self.by_time.entry(at).or_default().ids.push(id);
            }
        }
    }

    /// The rows of a time that have no partner.
    fn lonely<'s>(&'s self, bucket: &'s Bucket) -> impl Iterator<Item = &'s RowId> {
        bucket.ids.iter().filter(|id| self.rows.get(&id.key, &id.row).is_some_and(|kept| !kept.paired))
    }

    /// A row has made a pair.
    fn pair(&mut self, key: &[u8], row: &[u8]) {
        if self.rows.get(key, row).is_some_and(|kept| !kept.paired)
            && let Some(kept) = self.rows.get_mut(key, row)
        {
            kept.paired = true;
        }
    }

    /// Takes the rows that go before a place, with the time each goes at.
    fn take_due(&mut self, side: usize, to: &Place) -> Vec<(i64, RowId, Kept)> {
        let mut taken = Vec::new();
        let mut partly = Vec::new();
        while let Some(bucket) = self.by_time.first_entry() {
            let end = bucket.key().saturating_add(self.lasts);
            if end > to.last_end() {
                break;
            }
            let (time, bucket) = bucket.remove_entry();
            let mut stay = Vec::new();
            for id in bucket.ids {
                if end > to.watermark && !to.is_given(end, &place_key(side, &id)) {
                    stay.push(id);
                } else if let Some(kept) = self.rows.remove(&id.key, &id.row) {
                    taken.push((end, id, kept));
                }
            }
            if !stay.is_empty() {
                partly.push((time, Bucket { ids: stay, gone: 0 }));
            }
        }
        self.by_time.extend(partly);
        taken
    }
}

impl Operator for TimedJoin {
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for (side, chunks) in inputs.into_iter().enumerate() {
            for Keyed { rows, keys } in chunks {
                self.take(side, &rows, &keys, time, out);
            }
        }
    }

    fn due(&self, _from: &Place, watermark: i64) -> Due {
        let mut due = Due::new();
        for (side, _) in self.sides.iter().zip(self.keeps).filter(|(_, keeps)| *keeps) {
            for (time, bucket) in side.by_time.range(..=watermark.saturating_sub(side.lasts)) {
                *due.entry(time.saturating_add(side.lasts)).or_default() += side.lonely(bucket).count();
            }
        }
        due
    }

    fn due_keys(&self, _from: &Place, end: i64) -> Vec<Arc<[u8]>> {
        let mut keys = Vec::new();
        for (index, side) in self.sides.iter().enumerate().filter(|(index, _)| self.keeps[*index]) {
            // At the end of time rows of several times go at once.
            let due = side.by_time.range(..).filter(|(time, _)| time.saturating_add(side.lasts) == end);
            let due = due.flat_map(|(_, bucket)| side.lonely(bucket));
            keys.extend(due.map(|id| Arc::from(&place_key(index, id)[1..])));
        }
        keys.sort_unstable();
        keys
    }

    fn advance(&mut self, time: EpochTime, _from: &Place, to: &Place, out: &mut Output) {
        let mut lonely = Vec::new();
        let mut ends = BTreeSet::new();
        for (side, keeps) in self.keeps.into_iter().enumerate() {
            for (end, id, kept) in self.sides[side].take_due(side, to) {
                if end <= to.watermark {
                    ends.insert(end);
                }
                if keeps && !kept.paired {
                    let sort = place_key(side, &id)[1..].into();
                    lonely.push(Lonely { end, sort, side, row: id.row, count: kept.count });
                }
            }
        }
        if self.nearness.windows {
            out.closed.append(&mut ends);
        }
        if lonely.is_empty() {
            return;
        }
        lonely.sort_unstable();
        let mut rows = RowsBuilder::new(&self.row.all_types());
        let mut sort = Vec::new();
        let held = EpochTime { before: held_back(time.before, self.delay), ..time };
        for Lonely { end, sort: key, side, row, count } in lonely {
            let mark = timed_mark(time_of(&row), held);
            for _ in 0..count {
                rows.push_with(mark, |builders| self.row.append_alone(side, &row[TIME_BYTES..], builders));
                sort.push((end, Arc::clone(&key)));
            }
        }
        out.timed.push(Timed { rows: rows.finish(), sort });
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        for (table, side) in (0..).zip(&mut self.sides) {
            side.rows.drain_changes(table, log, |kept, out| {
                out.extend_from_slice(&kept.count.to_be_bytes());
                out.push(u8::from(kept.paired));
            });
        }
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let Some(side) = self.sides.get_mut(usize::from(table)) else {
            return Err(format!("there is no table {table}"));
        };
        let kept = match value {
            None => None,
            Some([a, b, c, d, paired @ 0..=1]) => {
                Some(Kept { count: u32::from_be_bytes([*a, *b, *c, *d]), paired: *paired == 1 })
            }
            Some(_) => return Err("a damaged row".to_owned()),
        };
        let id = RowId::decode(key)?;
        let columns = id.row.get(TIME_BYTES..).ok_or("a row without its time")?;
        self.row.check(usize::from(table), columns)?;
        let time = time_of(&id.row);
        let known = side.rows.get(&id.key, &id.row).is_some();
        let id = side.rows.restore(key, kept)?;
        match (known, kept) {
            (false, Some(_)) => side.by_time.entry(time).or_default().ids.push(id),
            (true, None) => {
                if let Some(bucket) = side.by_time.get_mut(&time) {
                    bucket.gone += 1;
                    if bucket.gone == bucket.ids.len() {
                        side.by_time.remove(&time);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.sides.iter().map(|side| side.rows.len() as u64).sum(), sessions: 0 }
    }

    fn window_ends(&self) -> BTreeSet<i64> {
        let sides = self.sides.iter().filter(|_| self.nearness.windows);
        sides.flat_map(|side| side.by_time.keys().copied()).collect()
    }
}
