//! Aggregates over sessions: one row for each session of a group, when the session is over, or with `EMIT CHANGES`
//! whenever an epoch has changed it.
//!
//! ```text
//! row at t ─► the group's open sessions that touch [t, t + gap] ─► merged into one, in the order of time
//! watermark ─► sessions that end ─► rows in the order of end and key
//! ```
//!
//! A session lasts from its first row to the gap behind its last; two rows exactly one gap apart are in one. So it is
//! over when the watermark is behind its end: a row at the watermark itself may still come, and join it. For what uses
//! its window, of which the last instant is before the end, the watermark is held back by that millisecond. Merging is
//! associative: whatever order rows come in while their sessions are open, the same sessions are left.
//!
//! The sessions of a group may be out of memory; when they are over is not (`spilling.rs`).

mod spilling;

use std::collections::HashMap;
use std::sync::Arc;

use super::aggregated::{Accumulators, Aggregates, check_key, key_text, key_values};
use super::schedule::Schedule;
use super::{
    Due, EpochTime, Keyed, Operator, OperatorFault, Output, Place, SortKeys, Spilling, StateSize, held_back,
    timed_mark, window_timestamp,
};
use crate::plan::{self, Emit};
use crate::rows::{Mark, Rows, RowsBuilder};
use crate::state::{ChangelogSink, Table};
use crate::time::Iso;
use crate::value::{DataType, Value};

/// The table of groups, each with its sessions.
pub(super) const GROUPS: u8 = 0;

/// How far behind the watermark the end of a session may be that is given, in milliseconds: it may be the watermark
/// itself, which for a window is past.
pub(crate) const HELD_BACK_MS: i64 = 1;

#[derive(Debug)]
struct Session {
    start: i64,
    /// The time of its last row, and the gap.
    end: i64,
    accumulators: Accumulators,
}

#[derive(Debug)]
pub(crate) struct SessionAggregate {
    time: usize,
    gap_ms: i64,
    emit: Emit,
    aggregates: Aggregates,
    key_types: Vec<DataType>,
    row_types: Vec<DataType>,
    /// The sessions of each group, in the order of their ends.
    groups: Table<Vec<Session>>,
    /// The groups that have a session that is over at this watermark; derived.
    over: Schedule,
    /// How many groups are not here.
    away: usize,
}

impl SessionAggregate {
    pub(crate) fn new(session: &plan::SessionAggregate, input: &[DataType], row: &[DataType]) -> Self {
        Self {
            time: session.time,
            gap_ms: session.gap_ms,
            emit: session.emit,
            aggregates: Aggregates::new(&session.aggregates, false),
            key_types: session.keys.iter().map(|key| input[*key]).collect(),
            row_types: row.to_vec(),
            groups: Table::default(),
            over: Schedule::default(),
            away: 0,
        }
    }

    fn add(&mut self, rows: &Rows, row: usize, key: &[u8], out: &mut Output) {
        let times = rows.columns[self.time].timestamp();
        if arrow_array::Array::is_null(times, row) {
            return;
        }
        let mark = rows.marks[row];
        let (start, end) = (times.value(row), times.value(row) + self.gap_ms);
        // What the watermark has passed is over, even if it is not given yet: where epochs end decides nothing.
        let touches =
            |session: &Session| session.end >= mark.watermark && session.start <= end && start <= session.end;
        let known = self.groups.get(key).map_or(&[][..], Vec::as_slice);
        if end < mark.watermark && !known.iter().any(touches) {
            return out.late.push(mark.origin);
        }
        let aggregates = &self.aggregates;
        let sessions = self.groups.entry(key, Vec::new);
        // Sessions that touch one row are neighbours.
        let first = sessions.iter().position(touches);
        let at = match first {
            None => {
                let at = sessions.partition_point(|session| session.end < end);
                sessions.insert(at, Session { start, end, accumulators: aggregates.empty() });
                self.over.insert(over_at(end), key);
                at
            }
            Some(first) => {
                while sessions.get(first + 1).is_some_and(touches) {
                    let later = sessions.remove(first + 1);
                    let earlier = &mut sessions[first];
                    aggregates.merge(&mut earlier.accumulators, &later.accumulators);
                    self.over.remove(over_at(earlier.end), key);
                    earlier.end = later.end;
                }
                let session = &mut sessions[first];
                session.start = session.start.min(start);
                if end > session.end {
                    self.over.remove(over_at(session.end), key);
                    session.end = end;
                    self.over.insert(over_at(end), key);
                }
                first
            }
        };
        aggregates.add(&mut sessions[at].accumulators, rows, row);
    }
}

impl SessionAggregate {
    fn row(&self, key: &[u8], session: &Session) -> Result<Vec<Value>, OperatorFault> {
        let group = key_values(key, &self.key_types);
        let name = || format!("the session that ends {}, key {}", Iso(session.end), key_text(&group));
        let mut values = vec![Value::Timestamp(session.start), Value::Timestamp(session.end)];
        values.extend(group.iter().cloned());
        self.aggregates.finish(&session.accumulators, &mut values, name)?;
        Ok(values)
    }

    /// The rows of a group's sessions.
    fn rows_of(&self, key: &[u8], out: &mut Output) -> Vec<Vec<Value>> {
        let mut rows = Vec::new();
        for session in self.groups.get(key).into_iter().flatten() {
            match self.row(key, session) {
                Ok(row) => rows.push(row),
                Err(fault) => out.faults.push(fault),
            }
        }
        rows
    }

    /// Gives what an epoch has changed of the sessions of groups.
    fn give_changes(&self, time: EpochTime, mut changed: Vec<Changed>, out: &mut Output) {
        let mut given = RowsBuilder::new(&self.row_types);
        // However many shards there are, groups come in the order of what changed them last.
        changed.sort_by_key(|changed| changed.mark.order);
        for Changed { key, mark, before } in changed {
            // A session that the epoch has merged with another ended before the row that changed the group last came.
            let mark = Mark { watermark: held_back(time.before, HELD_BACK_MS), ..mark };
            let after = self.rows_of(&key, out);
            for (rows, others, back) in [(&before, &after, true), (&after, &before, false)] {
                for row in rows.iter().filter(|row| !others.contains(row)) {
                    given.push(Mark { back, ..mark }, row);
                }
            }
        }
        out.push(given.finish());
    }
}

/// A group whose sessions an epoch has changed.
struct Changed {
    key: Arc<[u8]>,
    /// The row that caused the last change.
    mark: Mark,
    /// The rows of its sessions before the epoch.
    before: Vec<Vec<Value>>,
}

/// From which watermark on a session with this end is over.
fn over_at(end: i64) -> i64 {
    end.saturating_add(1)
}

impl Operator for SessionAggregate {
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        let mut changed: Vec<Changed> = Vec::new();
        let mut places: HashMap<Arc<[u8]>, usize> = HashMap::new();
        for Keyed { rows, keys } in inputs.into_iter().flatten() {
            for row in 0..rows.len() {
                let (key, mark) = (keys.get(row), rows.marks[row]);
                if self.emit == Emit::Changes {
                    match places.get(key) {
                        Some(place) => changed[*place].mark = mark,
                        None => {
                            let key: Arc<[u8]> = key.into();
                            places.insert(Arc::clone(&key), changed.len());
                            // What could not be made then was told then.
                            let before = self.rows_of(&key, &mut Output::new());
                            changed.push(Changed { key, mark, before });
                        }
                    }
                }
                self.add(&rows, row, key, out);
            }
        }
        self.give_changes(time, changed, out);
    }

    fn due(&self, from: &Place, watermark: i64) -> Due {
        self.over.due(from, watermark)
    }

    fn due_rows(&self, from: &Place, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        self.over.due_rows(from, end, most)
    }

    fn advance(&mut self, time: EpochTime, from: &Place, to: &Place, out: &mut Output) {
        let mut rows = RowsBuilder::new(&self.row_types);
        let mut sort = SortKeys::default();
        for (over, keys) in self.over.take(from, to) {
            let end = over - 1;
            for key in keys {
                let Some(sessions) = self.groups.get_mut(&key) else { continue };
                let Some(at) = sessions.iter().position(|session| session.end == end) else { continue };
                let session = sessions.remove(at);
                if sessions.is_empty() {
                    self.groups.remove(&key);
                }
                out.sessions_closed += 1;
                if self.emit == Emit::Changes {
                    continue;
                }
                match self.row(&key, &session) {
                    Ok(values) => {
                        let watermark = held_back(time.before, HELD_BACK_MS);
                        let mark = Mark { watermark, ..timed_mark(window_timestamp(end), time) };
                        rows.push(mark, &values);
                        sort.push(over, &key[1..]);
                    }
                    Err(fault) => out.faults.push(fault),
                }
            }
        }
        if !rows.is_empty() {
            out.push_timed(rows.finish(), sort);
        }
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.groups.drain_changes(GROUPS, log, |sessions, out| {
            out.extend_from_slice(&(sessions.len() as u32).to_be_bytes());
            for session in sessions {
                out.extend_from_slice(&session.start.to_be_bytes());
                out.extend_from_slice(&session.end.to_be_bytes());
                Aggregates::encode(&session.accumulators, out);
            }
        });
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if table != GROUPS {
            return Err(format!("there is no table {table}"));
        }
        check_key(key, &self.key_types)?;
        for session in self.groups.get(key).into_iter().flatten() {
            self.over.remove(over_at(session.end), key);
        }
        let sessions = match value {
            None => None,
            Some(bytes) => Some(decode_sessions(bytes, &self.aggregates).ok_or("damaged sessions")?),
        };
        for session in sessions.iter().flatten() {
            self.over.insert(over_at(session.end), key);
        }
        self.groups.restore(key, sessions);
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.groups.len() as u64, sessions: self.over.len() as u64 }
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}

fn decode_sessions(bytes: &[u8], aggregates: &Aggregates) -> Option<Vec<Session>> {
    let (count, mut bytes) = bytes.split_first_chunk()?;
    let mut sessions = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (start, rest) = bytes.split_first_chunk()?;
        let (end, rest) = rest.split_first_chunk()?;
        bytes = rest;
        sessions.push(Session {
            start: i64::from_be_bytes(*start),
            end: i64::from_be_bytes(*end),
            accumulators: aggregates.decode(&mut bytes)?,
        });
    }
    bytes.is_empty().then_some(sessions)
}
