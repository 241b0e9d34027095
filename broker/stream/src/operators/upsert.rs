//! A table whose rows replace one another, as changes: the row of a key before is taken back, the one after is given.
//!
//! The changes of one key within an epoch are folded into one.

use std::collections::HashMap;
use std::sync::Arc;

use super::spilling::{Spilling, missing};
use super::{EpochTime, Keyed, Operator, Output, StateSize};
use crate::plan;
use crate::rows::{Mark, RowsBuilder};
use crate::state::{
    ChangelogSink, ColdError, ColdTables, Growth, Table, decode_row, decode_row_into, encode_row,
};
use crate::value::DataType;

/// The table of rows.
const ROWS: u8 = 0;

#[derive(Debug)]
pub(crate) struct Upsert {
    columns: Vec<usize>,
    types: Vec<DataType>,
    rows: Table<Box<[u8]>>,
}

/// A key that the epoch has changed.
#[derive(Debug)]
struct Changed {
    key: Arc<[u8]>,
    /// The record that caused the last change.
    mark: Mark,
    /// The row of the key before the epoch.
    before: Option<Box<[u8]>>,
}

impl Upsert {
    pub(crate) fn new(upsert: &plan::Upsert, row: &[DataType]) -> Self {
        Self { columns: upsert.columns.clone(), types: row.to_vec(), rows: Table::default() }
    }
}

impl Operator for Upsert {
    fn process(&mut self, _time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        let mut changed: Vec<Changed> = Vec::new();
        let mut places: HashMap<Arc<[u8]>, usize> = HashMap::new();
        let mut bytes = Vec::new();
        for Keyed { rows, keys } in inputs.into_iter().flatten() {
            for row in 0..rows.len() {
                let key = keys.get(row);
                let mark = rows.marks[row];
                match places.get(key) {
                    Some(place) => changed[*place].mark = mark,
                    None => {
                        let key: Arc<[u8]> = key.into();
                        let before = self.rows.get(&key).cloned();
                        places.insert(Arc::clone(&key), changed.len());
                        changed.push(Changed { key, mark, before });
                    }
                }
                if mark.back {
                    self.rows.remove(key);
                    continue;
                }
                bytes.clear();
                encode_row(&rows, row, self.columns.iter().copied(), &mut bytes);
                if self.rows.get(key).is_none_or(|known| **known != *bytes) {
                    *self.rows.entry(key, Box::default) = Box::from(&*bytes);
                }
            }
        }
        changed.sort_unstable_by_key(|changed| changed.mark.order);
        let mut given = RowsBuilder::new(&self.types);
        for Changed { key, mark, before } in changed {
            let after = self.rows.get(&key);
            if before.as_ref() == after {
                continue;
            }
            for (row, back) in [(before.as_ref(), true), (after, false)] {
                if let Some(row) = row {
                    given.push_with(Mark { back, ..mark }, |builders| {
                        decode_row_into(row, &self.types, builders)
                    });
                }
            }
        }
        out.push(given.finish());
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.rows.drain_changes(ROWS, log, |row, out| out.extend_from_slice(row));
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if table != ROWS {
            return Err(format!("there is no table {table}"));
        }
        if let Some(row) = value {
            decode_row(row, &self.types).ok_or("a damaged row")?;
        }
        self.rows.restore(key, value.map(Box::from));
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.rows.len() as u64, sessions: 0 }
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}

impl Spilling for Upsert {
    fn read_back(
        &mut self,
        _time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        for key in missing(inputs.iter().flatten(), |key| self.rows.holds(key)) {
            if let Some((row, size)) = cold.get(ROWS, key)? {
                self.restore(ROWS, key, Some(&row)).map_err(ColdError::damaged)?;
                self.rows.read_back(key, size);
            }
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.rows.held()
    }

    fn let_go(&mut self, keep: u64) {
        self.rows.let_go(keep, |_, _| true);
    }

    fn take_growth(&mut self) -> Growth {
        self.rows.take_growth()
    }
}
