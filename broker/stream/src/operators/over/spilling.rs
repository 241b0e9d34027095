//! What of functions over rows leaves memory: partitions of changes with all of their rows; on time, where only aggregates over
//! everything before are kept, these, as long as no row waits.

use std::sync::Arc;

use super::super::spilling::{FORGOTTEN_AT_ONCE, Spilling, missing, share};
use super::super::{EpochTime, Keyed, Operator};
use super::{Over, ROWS, RUNNING, TOUCHED};
use crate::plan::OverMode;
use crate::state::{ColdError, ColdTables, Growth};

impl Over {
    fn is_on_time(&self) -> bool {
        matches!(self.over.mode, OverMode::OnTime { .. })
    }

    /// Takes a row that the cold store has.
    fn take_row(&mut self, entry: &[u8], row: &[u8], size: u32) -> Result<(), ColdError> {
        self.restore(ROWS, entry, Some(row)).map_err(ColdError::damaged)?;
        self.rows.read_back(entry, size).map_err(ColdError::damaged)
    }

    /// Reads back what there is of a partition; but for rows that wait, which are here.
    fn read_partition(&mut self, key: &[u8], is_due: bool, cold: &ColdTables) -> Result<(), ColdError> {
        if !self.is_on_time() {
            cold.scan(ROWS, key, |entry, row, size| self.take_row(entry, row, size))?;
        } else if let Some((running, size)) = cold.get(RUNNING, key)? {
            self.restore(RUNNING, key, Some(&running)).map_err(ColdError::damaged)?;
            self.running.read_back(key, size);
        }
        self.touched.read_back(TOUCHED, key, is_due, cold)
    }
}

impl Spilling for Over {
    fn read_back(
        &mut self,
        time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        if std::mem::take(&mut self.is_begun) {
            let waiting: Vec<Arc<[u8]>> = self.rows.partitions().cloned().collect();
            for key in waiting {
                self.read_partition(&key, false, cold)?;
            }
        }
        if let Some(due) = self.touched.due(time.now) {
            let passing = cold.passing();
            for (place, key) in (1..).zip(due.iter()) {
                self.read_partition(key, true, &passing)?;
                if place % FORGOTTEN_AT_ONCE == 0 {
                    self.expire(time);
                }
            }
        }
        let on_time = self.is_on_time();
        let Self { rows, running, touched, .. } = self;
        let holds = |key: &[u8]| {
            let there = rows.holds(key);
            let runs = on_time && running.holds(key);
            touched.holds(key) && (there || runs)
        };
        for key in missing(inputs.iter().flatten(), holds) {
            self.read_partition(key, false, cold)?;
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.rows.held() + self.running.held() + self.touched.held()
    }

    fn let_go(&mut self, keep: u64) {
        let held = self.held();
        let on_time = self.is_on_time();
        let Self { rows, running, touched, .. } = self;
        if !on_time {
            return rows.let_go(share(rows.held(), keep, held), |key| touched.let_go(key));
        }
        let (keep, held) = (keep.saturating_sub(rows.held()), held - rows.held());
        running.let_go(share(running.held(), keep, held), |key, _| {
            let leaves = rows.get(key).is_none();
            if leaves {
                touched.let_go(key);
            }
            leaves
        });
    }

    fn take_growth(&mut self) -> Growth {
        self.rows.take_growth() + self.running.take_growth() + self.touched.take_growth()
    }

    fn shown_tables(&self) -> &'static [u8] {
        match (self.is_on_time(), self.touched.forgets()) {
            (true, true) => &[ROWS, TOUCHED],
            (true, false) => &[ROWS],
            (false, true) => &[TOUCHED],
            (false, false) => &[],
        }
    }

    fn show(&mut self, table: u8, key: &[u8], value: &[u8], size: u32) -> Result<(), ColdError> {
        if table == TOUCHED {
            return self.touched.show(key, value);
        }
        self.is_begun = true;
        self.take_row(key, value, size)
    }

    fn counts(&self, table: u8) -> bool {
        table != TOUCHED
    }
}
