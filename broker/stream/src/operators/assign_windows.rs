//! `FROM TABLE(TUMBLE | HOP | CUMULATE ...)` as a table: each row once for every window it lies in.

use super::{EpochTime, Keyed, Operator, Output, StateSize};
use crate::column::{Column, ColumnBuilder};
use crate::plan::WindowKind;
use crate::rows::{NO_ORIGIN, Rows};
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

    fn assign(&self, rows: &Rows) -> Rows {
        let times = rows.columns[self.time].timestamp();
        let mut places = Vec::with_capacity(rows.len());
        let mut starts = ColumnBuilder::new(DataType::Timestamp, rows.len());
        let mut ends = ColumnBuilder::new(DataType::Timestamp, rows.len());
        for row in 0..rows.len() {
            if arrow_array::Array::is_null(times, row) {
                continue;
            }
            for (start, end) in self.kind.windows_of(self.kind.slice_end(times.value(row))) {
                places.push(row as u32);
                starts.append(&Value::Timestamp(start));
                ends.append(&Value::Timestamp(end));
            }
        }
        let mut assigned = rows.take(&places);
        // A record is late when it is late for the last of its windows; for others it is counted there.
        for row in 1..places.len() {
            if places[row - 1] == places[row] {
                assigned.marks[row - 1].origin = NO_ORIGIN;
            }
        }
        assigned.columns.extend([starts.finish(), ends.finish()] as [Column; 2]);
        assigned
    }
}

impl Operator for AssignWindows {
    fn process(&mut self, _time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for Keyed { rows, .. } in inputs.into_iter().flatten() {
            out.push(self.assign(&rows));
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
