//! What of rankings leaves memory: partitions with all of their rows, and which partitions are given.
//!
//! ```text
//! row ─► its partition: its rows, or that it is given             watermark ─► partitions with rows that are due
//! ```
//!
//! Where time makes rows due, of each partition stays when that is, and how many rows it has. A start looks through the rows to
//! know it again.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::spilling::{FORGOTTEN_AT_ONCE, Spilling, missing, share};
use super::super::{EpochTime, Keyed, Place};
use super::{GIVEN, ROWS, Rank, TOUCHED, instant};
use crate::plan::RankMode;
use crate::state::{ColdError, ColdTables, Growth};

impl Rank {
    /// Reads back the rows of a partition that is not here.
    fn read_rows(&mut self, key: &[u8], cold: &ColdTables) -> Result<(), ColdError> {
        if self.is_timed() && self.away == 0 {
            return Ok(());
        }
        let mut found = false;
        cold.scan(ROWS, key, |entry, row, size| {
            found = true;
            self.rows.restore(entry, Some(row)).map_err(ColdError::damaged)?;
            self.rows.read_back(entry, size).map_err(ColdError::damaged)
        })?;
        if found && self.is_timed() {
            self.away -= 1;
        }
        Ok(())
    }

    /// Reads back that a partition is given. Whether it is.
    fn read_given(&mut self, key: &[u8], cold: &ColdTables) -> Result<bool, ColdError> {
        let Some((_, size)) = cold.get(GIVEN, key)? else { return Ok(false) };
        self.given.restore(key, Some(()));
        self.given.read_back(key, size);
        Ok(true)
    }

    /// Reads back what there is of a partition.
    fn read_partition(&mut self, key: &[u8], is_due: bool, cold: &ColdTables) -> Result<(), ColdError> {
        match self.rank.mode {
            RankMode::Window { .. } => return self.read_rows(key, cold),
            RankMode::Changes { .. } => {
                self.read_rows(key, cold)?;
                if self.rows.get(key).is_none() {
                    return Ok(());
                }
            }
            RankMode::First { .. } | RankMode::Arrival { .. } => {
                if !self.read_given(key, cold)? {
                    // One with a row that waits is not given, and not to be forgotten.
                    return self.read_rows(key, cold);
                }
            }
        }
        self.touched.read_back(TOUCHED, key, is_due, cold)
    }

    /// The partitions of windows that have rows, none of which is here, in the order of their keys.
    fn missing_of_windows<'k>(&mut self, end: usize, inputs: &'k [Vec<Keyed>]) -> Vec<&'k [u8]> {
        let mut missing = Vec::new();
        for Keyed { rows, keys } in inputs.iter().flatten() {
            for row in 0..rows.len() {
                let key = keys.get(row);
                let has_rows = instant(rows, end, row).is_some_and(|end| self.due.has(end, key));
                if has_rows && !self.rows.holds(key) {
                    missing.push(key);
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Bytes of what stays in memory of partitions that have left it.
    fn stays(&self) -> u64 {
        self.due.bytes()
    }
}

/// Partitions leave memory with all of their rows, and that they are given does.
impl Spilling for Rank {
    fn read_back(
        &mut self,
        time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        let missing = match self.rank.mode {
            RankMode::Window { .. } if self.away == 0 => return Ok(()),
            RankMode::Window { end } => self.missing_of_windows(end, inputs),
            RankMode::Changes { .. } => missing(inputs.iter().flatten(), |key| self.rows.holds(key)),
            RankMode::First { .. } | RankMode::Arrival { .. } => {
                let Self { rows, given, .. } = self;
                missing(inputs.iter().flatten(), |key| given.holds(key) || rows.holds(key))
            }
        };
        missing.into_iter().try_for_each(|key| self.read_partition(key, false, cold))?;
        // Only now: the store has what the epoch forgets, until it is over.
        let Some(due) = self.touched.due(time) else { return Ok(()) };
        let passing = cold.passing();
        for (place, key) in (1..).zip(due.iter()) {
            self.read_partition(key, true, &passing)?;
            if place % FORGOTTEN_AT_ONCE == 0 {
                self.forget(time);
            }
        }
        Ok(())
    }

    fn read_due(
        &mut self,
        from: &Place,
        to: &Place,
        _groups: RangeInclusive<u8>,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        if self.away == 0 {
            return Ok(());
        }
        for key in self.due.between(from, to) {
            if !self.rows.holds(&key) {
                self.read_rows(&key, cold)?;
            }
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.rows.held() + self.given.held() + self.touched.held() + self.stays()
    }

    fn let_go(&mut self, keep: u64) {
        let keep = keep.saturating_sub(self.stays());
        let held = self.held() - self.stays();
        let is_timed = self.is_timed();
        let Self { rows, given, touched, away, .. } = self;
        let (of_rows, of_given) = (share(rows.held(), keep, held), share(given.held(), keep, held));
        rows.let_go(of_rows, |key| match is_timed {
            true => *away += 1,
            false => touched.let_go(key),
        });
        given.let_go(of_given, |key, ()| {
            touched.let_go(key);
            true
        });
    }

    fn take_growth(&mut self) -> Growth {
        self.rows.take_growth() + self.given.take_growth() + self.touched.take_growth()
    }

    fn shown_tables(&self) -> &'static [u8] {
        match (self.is_timed(), self.touched.forgets()) {
            (true, true) => &[ROWS, TOUCHED],
            (true, false) => &[ROWS],
            (false, true) => &[TOUCHED],
            (false, false) => &[],
        }
    }

    fn show(&mut self, table: u8, key: &[u8], value: &[u8], _size: u32) -> Result<(), ColdError> {
        if table == TOUCHED {
            return self.touched.show(key, value);
        }
        let partition = self.rows.partition_of(key).map_err(ColdError::damaged)?;
        let end = self.due_of(value).ok_or_else(|| ColdError::damaged("a row without its time"))?;
        let partition: Arc<[u8]> = match self.shown.take_if(|shown| **shown == *partition) {
            Some(shown) => shown,
            None => {
                self.away += 1;
                partition.into()
            }
        };
        self.due.add(end, &partition);
        self.shown = Some(partition);
        Ok(())
    }

    fn counts(&self, table: u8) -> bool {
        table != TOUCHED
    }
}
