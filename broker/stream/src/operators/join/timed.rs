//! Joins that event time bounds: both rows lie in one window, or their times are near.
//!
//! A row is kept until the watermark says that none can come any more that it makes a pair with. Pairs are given at
//! once; a row without a partner that is given with `NULL` is given when it goes. A window is the case where times are
//! equal: the last instants of both rows' windows.
//!
//! A side whose rows are given without a partner has a note on each of them. The rows of any other side never change, and
//! nothing happens when they go: they are kept in a log, and go by spans of time.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::{
    Due, EpochTime, Keyed, Operator, Output, Place, SortKeys, StateSize, held_back, timed_mark,
};
use super::joined::{JoinedRow, LEFT, RIGHT, caused};
use super::noted::{NotedRows, place_key};
use crate::plan;
use crate::rows::{END_OF_TIME, NO_TIME, PIECE_BYTES, Rows, RowsBuilder, row_bytes};
use crate::state::{ChangelogSink, RowLog, TIME_BYTES, time_bytes, time_of};
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
    nearness: Nearness,
    /// How far what is given may be behind the watermark.
    delay: i64,
    sides: [Side; 2],
    /// Both sides come when their window closes.
    on_close: bool,
    /// The side whose rows of the epoch are taken first.
    first: usize,
    /// Rows of the other side that are not put among its rows yet: nothing looks for them in this epoch, and those of a window
    /// that closes with it are gone behind it.
    later: Vec<Later>,
}

/// Rows of a chunk that are kept, if time has not passed them at the end of the epoch, with their times.
#[derive(Debug)]
struct Later {
    side: usize,
    chunk: Keyed,
    rows: Vec<(u32, i64)>,
}

#[derive(Debug)]
struct Side {
    rows: SideRows,
    /// A row goes when the watermark is so far behind its time.
    lasts: i64,
}

/// What is kept of a side: each row as its time in eight bytes, then its columns.
#[derive(Debug)]
enum SideRows {
    /// Nothing is noted on a row, and nothing is given when it goes.
    Plain(RowLog),
    /// Rows without a partner are given when they go.
    Noted(NotedRows),
}

/// The tables of plain rows: those of the left side, then those of the right one. The tables of rows that are noted come
/// before them.
pub(in super::super) const PLAIN_ROWS: [u8; 2] = [2, 3];

/// A row looks for its partners in about so many spans of plain rows: more make it look in more places, fewer keep rows for
/// longer than they are needed, and make it pass over more that are not near.
const SPANS: i64 = 8;

/// Rows go by no more spans than this of the time for which they last: each costs some memory, and a record of the changelog
/// for each epoch that has rows of it.
const MOST_SPANS: i64 = 4096;

/// How long the spans are by which plain rows go that last for so long, where a row asks for a range of times.
fn span_ms(asked: i64, lasts: i64) -> i64 {
    (asked / SPANS).max(lasts / MOST_SPANS).max(1)
}

/// What a row that comes may have for partners.
#[derive(Debug, Clone, Copy)]
enum Near {
    /// Rows near its time.
    At(i64),
    /// None: its key equals nothing, now or later.
    Nothing,
    /// None any more, whatever its key is: time has passed it.
    Late,
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

    /// Both sides come when their window closes, as windows' aggregates do.
    pub(crate) fn on_close(self) -> Self {
        Self { on_close: true, ..self }
    }

    /// Copies rows in pieces of so many bytes.
    #[cfg(test)]
    pub(super) fn copying_in_pieces_of(mut self, bytes: usize) -> Self {
        self.row.copy_in_pieces_of(bytes);
        self
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
        // What a row asks for decides, and not only how long rows last: with one-sided intervals they have nothing in common.
        let asked = nearness.most.saturating_sub(nearness.least);
        let side = |lasts: i64, keeps: bool| Side {
            rows: match keeps {
                true => SideRows::Noted(NotedRows::default()),
                // Windows are counted when they close, each by itself.
                false if nearness.windows => SideRows::Plain(RowLog::new(1)),
                false => SideRows::Plain(RowLog::new(span_ms(asked, lasts))),
            },
            lasts,
        };
        let lasts_left = nearness.least.saturating_neg().max(0).saturating_add(1);
        let lasts_right = nearness.most.max(0).saturating_add(1);
        Self {
            row: JoinedRow::new(&join.left, &join.right, join.condition.as_ref(), inputs),
            delay: join.delay_ms(),
            sides: [side(lasts_left, join.kind.keeps_left()), side(lasts_right, join.kind.keeps_right())],
            nearness,
            on_close: false,
            first: LEFT,
            later: Vec::new(),
        }
    }

    fn take(&mut self, side: usize, taken: Keyed, time: EpochTime, out: &mut Output) {
        let Keyed { rows, keys } = &taken;
        let mut later = Vec::new();
        let stored = RIGHT - side;
        let before = held_back(time.before, self.delay);
        let chunk = self.row.columns(side, rows);
        let keeps = self.sides[side].keeps();
        let mut bytes = Vec::new();
        let mut first = 0;
        while first < rows.len() && out.has_room() {
            let mut candidates = self.row.candidates(stored);
            let mut partners: Vec<(Arc<[u8]>, u32)> = Vec::new();
            let mut plain: Vec<&[u8]> = Vec::new();
            let mut times = Vec::new();
            let mut looked_up_before = None;
            let mut end = first;
            while end < rows.len() && !candidates.is_full() {
                let at = self.nearness.time(side, rows, end);
                let is_late = at.is_some_and(|at| at < rows.marks[end].watermark);
                let near = match at {
                    Some(_) if is_late => Near::Late,
                    Some(at) if self.row.has_key(side, rows, end) => Near::At(at),
                    _ => Near::Nothing,
                };
                let looked_up = if let Near::At(at) = near { Some(at) } else { None };
                let before = std::mem::replace(&mut looked_up_before, looked_up);
                if let Some(at) = looked_up {
                    let (from, to) = self.nearness.partners(side, at);
                    match &self.sides[stored].rows {
                        // A window's rows come one after the other, and few keys are there so often.
                        SideRows::Plain(_) if before == Some(at) && keys.get(end) == keys.get(end - 1) => {
                            candidates.push_same(end);
                            times.push(near);
                            end += 1;
                            continue;
                        }
                        SideRows::Plain(rows) => {
                            candidates.begin_row();
                            rows.find(keys.get(end), from..=to, &mut plain);
                            plain.drain(..).for_each(|row| candidates.push(end, &row[TIME_BYTES..], 1));
                        }
                        SideRows::Noted(rows) => {
                            let to = to.checked_add(1).map(time_bytes);
                            let to = to.as_ref().map(|to| &to[..]);
                            for (row, kept) in rows.range(keys.get(end), &time_bytes(from), to) {
                                candidates.push(end, &row[TIME_BYTES..], kept.count);
                                partners.push((Arc::clone(row), kept.count));
                            }
                        }
                    }
                }
                candidates.end_row();
                times.push(near);
                end += 1;
            }
            let found = self.row.find(side, &chunk, candidates, time.now, out);
            let mut given = self.row.given(out);
            for (index, row) in (first..end).enumerate() {
                let mark = rows.marks[row];
                let at = match times[index] {
                    Near::At(at) => at,
                    Near::Late => {
                        out.late.push(mark.origin);
                        continue;
                    }
                    Near::Nothing => {
                        if keeps {
                            given.alone(row, caused(side, mark, before), 1);
                        }
                        continue;
                    }
                };
                let mut paired = false;
                for pair in found.of_row(index) {
                    paired = true;
                    let mark = caused(side, mark, before);
                    let SideRows::Noted(noted) = &mut self.sides[stored].rows else {
                        given.pair(row, found.place(pair), mark);
                        continue;
                    };
                    let (stored_row, count) = &partners[pair];
                    noted.pair(keys.get(row), stored_row);
                    given.pairs(row, pair, mark, *count);
                }
                match &mut self.sides[side].rows {
                    SideRows::Plain(_) if self.nearness.windows && side != self.first => {
                        later.push((row as u32, at));
                    }
                    SideRows::Plain(kept) => {
                        kept.push(keys.get(row), at, mark.order, |out| self.row.encode(side, rows, row, out));
                    }
                    SideRows::Noted(noted) => {
                        bytes.clear();
                        bytes.extend_from_slice(&time_bytes(at));
                        self.row.encode(side, rows, row, &mut bytes);
                        noted.keep(keys.get(row), &bytes, at, paired);
                    }
                }
            }
            self.row.give(side, &chunk, &found.stored, given, out);
            first = end;
        }
        if !later.is_empty() {
            self.later.push(Later { side, chunk: taken, rows: later });
        }
    }

    /// Puts the rows that were left for later among those of their side, but for those that time has passed; tells when these
    /// went.
    pub(super) fn settle(&mut self, watermark: i64) -> BTreeSet<i64> {
        let mut gone = BTreeSet::new();
        for Later { side, chunk: Keyed { rows, keys }, rows: later } in std::mem::take(&mut self.later) {
            let Side { rows: SideRows::Plain(kept), lasts } = &mut self.sides[side] else { continue };
            let mut went = None;
            for (row, at) in later {
                let row = row as usize;
                let over = at.saturating_add(*lasts);
                if over > watermark {
                    kept.push(keys.get(row), at, rows.marks[row].order, |out| {
                        self.row.encode(side, &rows, row, out);
                    });
                } else if went.replace(over) != Some(over) {
                    gone.insert(over);
                }
            }
        }
        gone
    }
}

impl Side {
    /// Whether its rows without a partner are given.
    fn keeps(&self) -> bool {
        matches!(self.rows, SideRows::Noted(_))
    }
}

impl Operator for TimedJoin {
    fn hears_of(&mut self, rows: &[usize]) {
        // Those that come last are looked up and not kept, so that be the many. Where rows have times of their own, the one that
        // comes last gives the pair its time: there it is no matter of numbers.
        self.first = if self.on_close && rows[RIGHT] < rows[LEFT] { RIGHT } else { LEFT };
    }

    fn process(&mut self, time: EpochTime, mut inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        self.settle(NO_TIME);
        for side in [self.first, RIGHT - self.first] {
            for chunk in std::mem::take(&mut inputs[side]) {
                self.take(side, chunk, time, out);
            }
        }
    }

    fn due(&self, _from: &Place, watermark: i64) -> Due {
        let mut due = Due::new();
        for Side { rows, lasts } in &self.sides {
            let SideRows::Noted(noted) = rows else { continue };
            let through = if watermark == END_OF_TIME { i64::MAX } else { watermark.saturating_sub(*lasts) };
            for (time, lonely) in noted.lonely(..=through) {
                *due.entry(time.saturating_add(*lasts)).or_default() += lonely;
            }
        }
        due
    }

    fn due_rows(&self, _from: &Place, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        let mut rows = Vec::new();
        for (index, side) in self.sides.iter().enumerate() {
            let SideRows::Noted(noted) = &side.rows else { continue };
            let time = end.saturating_sub(side.lasts);
            // At the end of time rows of several times go at once.
            let last = if end == END_OF_TIME { i64::MAX } else { time };
            rows.append(&mut noted.first_lonely(index, time..=last, most));
        }
        rows.sort_unstable();
        rows
    }

    fn advance(&mut self, time: EpochTime, _from: &Place, to: &Place, out: &mut Output) {
        let mut lonely = Vec::new();
        let mut ends = self.settle(to.watermark);
        for (side, Side { rows, lasts }) in self.sides.iter_mut().enumerate() {
            let lasts = *lasts;
            let noted = match rows {
                SideRows::Noted(noted) => noted,
                SideRows::Plain(plain) => {
                    let gone = plain.drop_spans(|last| last.saturating_add(lasts) <= to.watermark);
                    ends.extend(gone.into_iter().map(|time| time.saturating_add(lasts)));
                    continue;
                }
            };
            for (end, id, kept) in noted.take_due(side, lasts, to) {
                if end <= to.watermark {
                    ends.insert(end);
                }
                if !kept.paired {
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
        let types = self.row.all_types();
        let held = EpochTime { before: held_back(time.before, self.delay), ..time };
        let (mut rows, mut sort, mut bytes) = (RowsBuilder::new(&types), SortKeys::default(), 0);
        for Lonely { end, sort: key, side, row, count } in lonely {
            let mark = timed_mark(time_of(&row), held);
            for _ in 0..count {
                rows.push_with(mark, |builders| self.row.append_alone(side, &row[TIME_BYTES..], builders));
                sort.push(end, &key);
                bytes += row_bytes(types.len()) + row.len();
                if bytes >= PIECE_BYTES {
                    let mut piece = std::mem::replace(&mut rows, RowsBuilder::new(&types));
                    out.push_timed(piece.finish(), std::mem::take(&mut sort));
                    bytes = 0;
                    if !out.has_room() {
                        return;
                    }
                }
            }
        }
        out.push_timed(rows.finish(), sort);
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.settle(NO_TIME);
        for (index, side) in self.sides.iter_mut().enumerate() {
            match &mut side.rows {
                SideRows::Plain(rows) => rows.drain_changes(PLAIN_ROWS[index], log),
                SideRows::Noted(rows) => rows.drain_changes(index as u8, log),
            }
        }
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let Some(side) = self.sides.get_mut(usize::from(table)) else {
            return Err(format!("there is no table {table}"));
        };
        match &mut side.rows {
            SideRows::Noted(rows) => rows.restore(key, value, |row| self.row.check(usize::from(table), row)),
            SideRows::Plain(_) => {
                Err("a row of a join as earlier releases kept it: this one keeps the rows of a \
                                       join in blocks and cannot read it"
                    .to_owned())
            }
        }
    }

    fn restore_row(&mut self, table: u8, span: i64, key: &[u8], row: &[u8]) -> Result<(), String> {
        let side = PLAIN_ROWS.iter().position(|of_side| *of_side == table);
        let Some((index, SideRows::Plain(rows))) = side.map(|side| (side, &mut self.sides[side].rows)) else {
            return Err(format!("there is no table {table} of plain rows"));
        };
        self.row.check(index, row.get(TIME_BYTES..).ok_or("a row without its time")?)?;
        rows.restore(span, key, row)
    }

    fn forget(&mut self, table: u8, span: i64) {
        for (side, _) in self.sides.iter_mut().zip(PLAIN_ROWS).filter(|(_, of_side)| *of_side == table) {
            if let SideRows::Plain(rows) = &mut side.rows {
                rows.forget(span);
            }
        }
    }

    fn size(&self) -> StateSize {
        let entries = self.sides.iter().map(|side| match &side.rows {
            SideRows::Plain(rows) => rows.len() as u64,
            SideRows::Noted(rows) => rows.len() as u64,
        });
        StateSize { entries: entries.sum(), sessions: 0 }
    }

    fn log_bytes(&self) -> u64 {
        let bytes = self.sides.iter().map(|side| match &side.rows {
            SideRows::Plain(rows) => rows.bytes(),
            SideRows::Noted(_) => 0,
        });
        bytes.sum()
    }

    fn window_ends(&self) -> BTreeSet<i64> {
        let mut ends = BTreeSet::new();
        if self.nearness.windows {
            for side in &self.sides {
                match &side.rows {
                    SideRows::Plain(rows) => ends.extend(rows.spans()),
                    SideRows::Noted(rows) => ends.extend(rows.times()),
                }
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_what_is_asked_for_and_not_only_how_long_rows_last() {
        const HOUR: i64 = 60 * 60 * 1000;
        // Each side of `s.t BETWEEN o.t AND o.t + INTERVAL '4' HOUR`, both at once, and a second ten hours ago.
        for (asked, lasts) in
            [(4 * HOUR, 1), (4 * HOUR, 4 * HOUR), (2 * HOUR, HOUR), (1_000, 10 * HOUR), (0, 1), (3, HOUR)]
        {
            let span = span_ms(asked, lasts);
            assert!(asked / span <= 2 * SPANS, "{asked}, {lasts}: a row looks in {} spans", asked / span);
            assert!(lasts / span <= 2 * MOST_SPANS, "{asked}, {lasts}: there are {} spans", lasts / span);
            let longest = (asked / SPANS).max(lasts / MOST_SPANS).max(1);
            assert!(span <= longest, "{asked}, {lasts}: rows are kept for {span} ms more");
        }
    }
}
