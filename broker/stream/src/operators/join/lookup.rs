//! Rows with the newest row a table has for their key. The table's rows of an epoch are taken before the rows that ask.

use super::super::spilling::{Spilling, missing};
use super::super::{EpochTime, Keyed, Operator, Output, StateSize};
use super::joined::{JoinedRow, LEFT, RIGHT};
use crate::plan;
use crate::rows::Rows;
use crate::state::{ChangelogSink, ColdError, ColdTables, Growth, Keys, Table};
use crate::value::DataType;

const LATEST: u8 = 0;

#[derive(Debug)]
pub(crate) struct LookupJoin {
    row: JoinedRow,
    keeps_left: bool,
    latest: Table<Box<[u8]>>,
}

impl LookupJoin {
    pub(crate) fn new(join: &plan::TemporalJoin, inputs: [&[DataType]; 2]) -> Self {
        Self {
            row: JoinedRow::new(&join.left, &join.right, join.condition.as_ref(), inputs),
            keeps_left: join.keeps_left,
            latest: Table::default(),
        }
    }

    fn put(&mut self, rows: &Rows, keys: &Keys) {
        let mut bytes = Vec::new();
        for row in 0..rows.len() {
            let key = keys.get(row);
            if rows.marks[row].back {
                self.latest.remove(key);
                continue;
            }
            bytes.clear();
            self.row.encode(RIGHT, rows, row, &mut bytes);
            if self.latest.get(key).is_none_or(|known| **known != *bytes) {
                *self.latest.entry(key, Box::default) = Box::from(&*bytes);
            }
        }
    }

    fn look_up(&self, rows: &Rows, keys: &Keys, now: i64, out: &mut Output) {
        let chunk = self.row.columns(LEFT, rows);
        let mut first = 0;
        while first < rows.len() && out.has_room() {
            let mut candidates = self.row.candidates(RIGHT);
            let mut end = first;
            while end < rows.len() && !candidates.is_full() {
                if self.row.has_key(LEFT, rows, end)
                    && let Some(latest) = self.latest.get(keys.get(end))
                {
                    candidates.push(end, latest, 1);
                }
                candidates.end_row();
                end += 1;
            }
            let found = self.row.find(LEFT, &chunk, candidates, now, out);
            let mut given = self.row.given(out);
            for row in first..end {
                match found.of_row(row - first).next() {
                    Some(pair) => given.pair(row, pair, rows.marks[row]),
                    None if self.keeps_left => given.alone(row, rows.marks[row], 1),
                    None => {}
                }
            }
            self.row.give(LEFT, &chunk, &found.stored, given, out);
            first = end;
        }
    }
}

impl Operator for LookupJoin {
    fn process(&mut self, time: EpochTime, mut inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for Keyed { rows, keys } in inputs.remove(RIGHT) {
            self.put(&rows, &keys);
        }
        for Keyed { rows, keys } in inputs.remove(LEFT) {
            self.look_up(&rows, &keys, time.now, out);
        }
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.latest.drain_changes(LATEST, log, |row, out| out.extend_from_slice(row));
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if table != LATEST {
            return Err(format!("there is no table {table}"));
        }
        if let Some(row) = value {
            self.row.check(RIGHT, row)?;
        }
        self.latest.restore(key, value.map(Box::from));
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.latest.len() as u64, sessions: 0 }
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}

impl Spilling for LookupJoin {
    fn read_back(
        &mut self,
        _time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        for key in missing(inputs.iter().flatten(), |key| self.latest.holds(key)) {
            if let Some((row, size)) = cold.get(LATEST, key)? {
                self.restore(LATEST, key, Some(&row)).map_err(ColdError::damaged)?;
                self.latest.read_back(key, size);
            }
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.latest.held()
    }

    fn let_go(&mut self, keep: u64) {
        self.latest.let_go(keep, |_, _| true);
    }

    fn take_growth(&mut self) -> Growth {
        self.latest.take_growth()
    }
}
