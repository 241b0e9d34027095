//! Joins whose state only the script bounds: rows are kept, and what was joined of a row is taken back with it.
//!
//! A row without a partner that is given with `NULL` is taken back when its first partner comes, and given again when
//! its last one goes; so each kept row knows how many partners it has.
//!
//! Under a time to live a row that is forgotten is as if it had never come, for what comes later; what was given of it
//! stays. So when it is taken back, nothing happens. A row whose partners are forgotten has none, and yet it was not given
//! without one: each kept row knows how often it was, and that alone is taken back.

use std::sync::Arc;

use super::super::spilling::{FORGOTTEN_AT_ONCE, Spilling, missing, share};
use super::super::touched::Touched;
use super::super::{EpochTime, Keyed, Operator, Output, StateSize};
use super::joined::{Found, Given, JoinedRow, LEFT, RIGHT, caused};
use crate::plan::{self, StateBound};
use crate::rows::{Mark, Rows};
use crate::state::{ChangelogSink, ColdError, ColdTables, Growth, Keys, RowId, RowTable};
use crate::value::DataType;

/// How long the record of a row was before it said how often the row was given without a partner: where that is noted now.
const WITHOUT_ALONE: usize = 16;

#[derive(Debug)]
pub(crate) struct RegularJoin {
    row: JoinedRow,
    /// For each side whether its rows without a partner are given.
    keeps: [bool; 2],
    bound: StateBound,
    sides: [Side; 2],
}

#[derive(Debug)]
struct Side {
    rows: RowTable<Kept>,
    /// When rows were last given, if they are to be forgotten; derived from them. Of keys whose rows are not here, when the
    /// first of them was.
    touched: Touched,
}

impl Side {
    /// Forgets a row.
    fn remove(&mut self, record_key: &[u8]) {
        let id = RowId::decode(record_key).expect("the engine encoded it itself");
        self.rows.remove(&id.key, &id.row);
    }
}

/// A row that is kept; equal ones together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    /// How often it was given more than taken back.
    count: u32,
    /// How many rows of the other side it makes pairs with, those that were forgotten since it was last given, too; counted
    /// only where rows without one are given.
    partners: u32,
    /// How many rows were given of it without a partner and not taken back. Where nothing is forgotten that is all of it or
    /// none, and not in the changelog.
    alone: u32,
    /// Frozen processing time when it was last given.
    touched: i64,
}

/// The row of a chunk that is being taken.
struct Taken<'r> {
    side: usize,
    row: usize,
    key: &'r [u8],
    mark: Mark,
}

impl RegularJoin {
    pub(crate) fn new(join: &plan::Join, bound: StateBound, inputs: [&[DataType]; 2]) -> Self {
        Self {
            row: JoinedRow::new(&join.left, &join.right, join.condition.as_ref(), inputs),
            keeps: [join.kind.keeps_left(), join.kind.keeps_right()],
            bound,
            sides: [LEFT, RIGHT]
                .map(|_| Side { rows: RowTable::default(), touched: Touched::new(bound.lives_ms()) }),
        }
    }

    fn take(&mut self, side: usize, rows: &Rows, keys: &Keys, time: EpochTime, out: &mut Output) {
        let stored = RIGHT - side;
        let chunk = self.row.columns(side, rows);
        let mut bytes = Vec::new();
        let mut first = 0;
        while first < rows.len() && out.has_room() {
            let mut candidates = self.row.candidates(stored);
            let mut partners = Vec::new();
            let mut end = first;
            while end < rows.len() && !candidates.is_full() {
                if self.row.has_key(side, rows, end) {
                    for (row, kept) in self.sides[stored].rows.rows(keys.get(end)) {
                        candidates.push(end, row, kept.count);
                        partners.push((Arc::clone(row), kept.count));
                    }
                }
                candidates.end_row();
                end += 1;
            }
            let found = self.row.find(side, &chunk, candidates, time.now, out);
            let mut given = self.row.given(out);
            for row in first..end {
                let pairs: Vec<usize> = found.of_row(row - first).collect();
                let count = pairs.iter().map(|pair| partners[*pair].1).sum();
                let back = rows.marks[row].back;
                let mut alone = self.keeps[side];
                if self.row.has_key(side, rows, row) {
                    bytes.clear();
                    self.row.encode(side, rows, row, &mut bytes);
                    match self.keep(side, keys.get(row), &bytes, back, count, time.now) {
                        Some(is_alone) => alone = is_alone,
                        None => continue,
                    }
                }
                let mark = caused(side, rows.marks[row], time.before);
                if alone {
                    given.alone(row, mark, 1);
                }
                let taken = Taken { side, row, key: keys.get(row), mark };
                for pair in pairs {
                    let (stored_row, count) = &partners[pair];
                    self.pair(&taken, pair, stored_row, *count, &mut given);
                }
            }
            let Found { stored: columns, .. } = found;
            self.row.give(side, &chunk, &columns, given, out);
            first = end;
        }
    }

    /// Keeps a row, or lets go of it; tells whether it is given or taken back without a partner. `None` if it is taken back
    /// and was forgotten.
    fn keep(
        &mut self,
        side: usize,
        key: &[u8],
        row: &[u8],
        back: bool,
        partners: u32,
        now: i64,
    ) -> Option<bool> {
        let keeps = self.keeps[side];
        let partners = if keeps { partners } else { 0 };
        let lives = matches!(self.bound, StateBound::TimeToLive { .. });
        let Side { rows, touched, .. } = &mut self.sides[side];
        let known = rows.get(key, row).copied();
        let is_alone = match known {
            None if back => return None,
            Some(kept) if back && lives => kept.alone > 0,
            _ => keeps && partners == 0,
        };
        let before = known.unwrap_or(Kept { count: 0, partners, alone: 0, touched: now });
        let by = |sum: u32, one: u32| if back { sum - one } else { sum + one };
        let count = by(before.count, 1);
        let alone = match lives {
            true => by(before.alone, u32::from(is_alone)),
            false if keeps && partners == 0 => count,
            false => 0,
        };
        let kept = Kept { count, partners, alone, touched: now };
        match (known, count) {
            (Some(_), 0) => _ = rows.remove(key, row),
            (Some(_), _) => *rows.get_mut(key, row).expect("it is there") = kept,
            (None, _) => _ = rows.insert(key, row, kept),
        }
        if lives && (count == 0 || known.is_none_or(|known| known.touched != now)) {
            let mut record_key = Vec::new();
            RowId { key: key.into(), row: row.into() }.encode(&mut record_key);
            match count {
                0 => touched.remove(before.touched, &record_key),
                _ => touched.touch(&record_key, known.map(|known| known.touched), now),
            }
        }
        Some(is_alone)
    }

    /// Gives a pair, as often as the stored row is there; and what that means for the stored row alone.
    fn pair(&mut self, taken: &Taken<'_>, pair: usize, stored_row: &[u8], count: u32, given: &mut Given) {
        let stored = RIGHT - taken.side;
        let Taken { row, key, mark, .. } = *taken;
        let (mut before, mut after) = (0, 0);
        if self.keeps[stored] {
            let kept = self.sides[stored].rows.get_mut(key, stored_row).expect("it was found");
            before = kept.alone;
            kept.partners = if mark.back { kept.partners.saturating_sub(1) } else { kept.partners + 1 };
            kept.alone = if kept.partners == 0 { kept.count } else { 0 };
            after = kept.alone;
        }
        given.stored_alone(pair, Mark { back: true, ..mark }, before.saturating_sub(after));
        given.pairs(row, pair, mark, count);
        given.stored_alone(pair, Mark { back: false, ..mark }, after.saturating_sub(before));
    }

    /// Forgets rows that were not given for the time the plan gives them, of those that have their turn.
    fn forget(&mut self, time: EpochTime) {
        for side in &mut self.sides {
            side.touched.expired(time).iter().for_each(|record_key| side.remove(record_key));
        }
    }

    /// Forgets what rows come for, whosever turn it is.
    fn forget_met(&mut self, time: EpochTime, inputs: &[Vec<Keyed>]) {
        if self.bound.lives_ms().is_none() {
            return;
        }
        for key in missing(inputs.iter().flatten(), |_| false) {
            for side in &mut self.sides {
                side.touched.take_over(key, time.now).iter().for_each(|record_key| side.remove(record_key));
            }
        }
    }

    fn decode(&self, side: usize, mut bytes: &[u8]) -> Result<Kept, String> {
        let keeps = self.keeps[side];
        let lives = matches!(self.bound, StateBound::TimeToLive { .. });
        if keeps && lives && bytes.len() == WITHOUT_ALONE {
            return Err(
                "a row of an outer join with STATE TTL as earlier builds kept it, without how often it was \
                        given without a partner: this one cannot read it"
                    .to_owned(),
            );
        }
        let mut read = || {
            let mut u32 = || {
                let (value, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Some(u32::from_be_bytes(*value))
            };
            let count = u32()?;
            let partners = if keeps { u32()? } else { 0 };
            let alone = match (keeps, lives) {
                (true, true) => u32()?,
                (true, false) if partners == 0 => count,
                _ => 0,
            };
            let touched = match lives {
                true => i64::from_be_bytes(bytes.try_into().ok()?),
                false if bytes.is_empty() => 0,
                false => return None,
            };
            (count > 0 && alone <= count).then_some(Kept { count, partners, alone, touched })
        };
        read().ok_or_else(|| "a damaged row".to_owned())
    }
}

impl Operator for RegularJoin {
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        self.forget(time);
        self.forget_met(time, &inputs);
        for (side, chunks) in inputs.into_iter().enumerate() {
            for Keyed { rows, keys } in chunks {
                self.take(side, &rows, &keys, time, out);
            }
        }
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        let (keeps, bound) = (self.keeps, self.bound);
        for side in [LEFT, RIGHT] {
            self.sides[side].rows.drain_changes(side as u8, log, |kept, out| {
                out.extend_from_slice(&kept.count.to_be_bytes());
                if keeps[side] {
                    out.extend_from_slice(&kept.partners.to_be_bytes());
                }
                if let StateBound::TimeToLive { .. } = bound {
                    if keeps[side] {
                        out.extend_from_slice(&kept.alone.to_be_bytes());
                    }
                    out.extend_from_slice(&kept.touched.to_be_bytes());
                }
            });
        }
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let side = usize::from(table);
        if side > RIGHT {
            return Err(format!("there is no table {table}"));
        }
        let kept = match value {
            Some(bytes) => Some(self.decode(side, bytes)?),
            None => None,
        };
        let id = RowId::decode(key)?;
        self.row.check(side, &id.row)?;
        let Side { rows, touched, .. } = &mut self.sides[side];
        if let Some(known) = rows.get(&id.key, &id.row) {
            touched.remove(known.touched, key);
        }
        rows.restore(key, kept)?;
        if let (Some(kept), StateBound::TimeToLive { .. }) = (kept, self.bound) {
            touched.touch(key, None, kept.touched);
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.sides.iter().map(|side| side.rows.len() as u64).sum(), sessions: 0 }
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}

impl RegularJoin {
    /// Reads the rows of a key back; tells when the first of them was last given.
    fn read_rows(&mut self, side: usize, key: &[u8], cold: &ColdTables) -> Result<Option<i64>, ColdError> {
        let mut first: Option<i64> = None;
        cold.scan(side as u8, key, |entry, kept, size| {
            let touched = self.decode(side, kept).map_err(ColdError::damaged)?.touched;
            first = Some(first.map_or(touched, |first| first.min(touched)));
            self.restore(side as u8, entry, Some(kept)).map_err(ColdError::damaged)?;
            self.sides[side].rows.read_back(entry, size).map_err(ColdError::damaged)
        })?;
        Ok(first)
    }
}

impl Spilling for RegularJoin {
    /// A row meets those of its key on both sides.
    fn read_back(
        &mut self,
        time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        for side in [LEFT, RIGHT] {
            for key in missing(inputs.iter().flatten(), |key| self.sides[side].rows.holds(key)) {
                let first = self.read_rows(side, key, cold)?;
                first.into_iter().for_each(|first| self.sides[side].touched.is_back(first, key));
            }
        }
        // Only now: the store has what the epoch forgets, until it is over.
        for side in [LEFT, RIGHT] {
            if let Some(due) = self.sides[side].touched.due(time) {
                let passing = cold.passing();
                for (place, key) in (1..).zip(due.iter()) {
                    self.read_rows(side, key, &passing)?;
                    if place % FORGOTTEN_AT_ONCE == 0 {
                        self.forget(time);
                    }
                }
            }
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        let of_side = |side: &Side| side.rows.held() + side.touched.away_bytes();
        self.sides.iter().map(of_side).sum()
    }

    fn let_go(&mut self, keep: u64) {
        let away: u64 = self.sides.iter().map(|side| side.touched.away_bytes()).sum();
        let (keep, held) = (keep.saturating_sub(away), self.held() - away);
        for Side { rows, touched } in &mut self.sides {
            let mut record_key = Vec::new();
            rows.let_go(share(rows.held(), keep, held), |key, row, kept| {
                if touched.forgets() {
                    RowId { key: key.into(), row: row.into() }.encode(&mut record_key);
                    touched.remove(kept.touched, &record_key);
                    touched.is_away(kept.touched, key);
                }
            });
        }
    }

    fn take_growth(&mut self) -> Growth {
        let [left, right] = self.sides.each_mut().map(|side| side.rows.take_growth());
        left + right
    }

    fn shown_tables(&self) -> &'static [u8] {
        if self.bound.lives_ms().is_some() { &[LEFT as u8, RIGHT as u8] } else { &[] }
    }

    fn show(&mut self, table: u8, entry: &[u8], kept: &[u8], _size: u32) -> Result<(), ColdError> {
        let side = usize::from(table);
        let kept = self.decode(side, kept).map_err(ColdError::damaged)?;
        let id = RowId::decode(entry).map_err(ColdError::damaged)?;
        self.sides[side].touched.is_away(kept.touched, &id.key);
        Ok(())
    }
}
