//! `FROM TABLE(TUMBLE | HOP | CUMULATE ...)` as a table: each row once for every window it lies in.

use super::{EpochTime, Keyed, Operator, Output, StateSize};
use crate::column::ColumnBuilder;
use crate::plan::WindowKind;
use crate::rows::{NO_ORIGIN, PIECE_BYTES, Rows};
use crate::state::ChangelogSink;
use crate::value::{DataType, Value};

#[derive(Debug)]
pub(crate) struct AssignWindows {
    kind: WindowKind,
    time: usize,
}

impl AssignWindows {
    pub(crate) fn new(kind: WindowKind, time: usize) -> Self {
        Self { kind, time }
    }

    /// Gives the copies of rows piece by piece: a row may lie in a thousand windows.
    fn assign(&self, rows: &Rows, out: &mut Output) {
        let times = rows.columns[self.time].timestamp();
        let mut piece = Piece::new();
        for row in 0..rows.len() {
            if arrow_array::Array::is_null(times, row) {
                continue;
            }
            let bytes = rows.bytes_at(row);
            let mut windows = self.kind.windows_of(self.kind.slice_end(times.value(row))).peekable();
            while let Some((start, end)) = windows.next() {
                piece.places.push(row as u32);
                // A record is late when it is late for the last of its windows; for others it is counted there.
                piece.last.push(windows.peek().is_none());
                piece.starts.append(&Value::Timestamp(start));
                piece.ends.append(&Value::Timestamp(end));
                piece.bytes += bytes;
                if piece.bytes >= PIECE_BYTES {
                    piece.give(rows, out);
                    if !out.has_room() {
                        return;
                    }
                }
            }
        }
        piece.give(rows, out);
    }
}

/// Copies of rows that are made at once.
struct Piece {
    places: Vec<u32>,
    /// Whether it is the last copy of its row.
    last: Vec<bool>,
    starts: ColumnBuilder,
    ends: ColumnBuilder,
    bytes: usize,
}

impl Piece {
    fn new() -> Self {
        let times = || ColumnBuilder::new(DataType::Timestamp, 0);
        Self { places: Vec::new(), last: Vec::new(), starts: times(), ends: times(), bytes: 0 }
    }

    /// Gives the copies, and begins anew.
    fn give(&mut self, rows: &Rows, out: &mut Output) {
        let Piece { places, last, mut starts, mut ends, .. } = std::mem::replace(self, Piece::new());
        let mut assigned = rows.take(&places);
        let others = assigned.marks.iter_mut().zip(last).filter(|(_, last)| !last);
        others.for_each(|(mark, _)| mark.origin = NO_ORIGIN);
        assigned.columns.extend([starts.finish(), ends.finish()]);
        out.push(assigned);
    }
}

impl Operator for AssignWindows {
    fn process(&mut self, _time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for Keyed { rows, .. } in inputs.into_iter().flatten() {
            self.assign(&rows, out);
            if !out.has_room() {
                return;
            }
        }
    }

    fn drain_changes(&mut self, _log: &mut dyn ChangelogSink) {}

    fn restore(&mut self, _table: u8, _key: &[u8], _value: Option<&[u8]>) -> Result<(), String> {
        Err("the operator keeps no state".to_owned())
    }

    fn size(&self) -> StateSize {
        StateSize::default()
    }
}
