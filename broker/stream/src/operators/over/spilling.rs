//! What of functions over rows leaves memory: partitions with all of their rows, and what is aggregated of everything before.
//!
//! ```text
//! row ─► its partition                watermark ─► partitions with rows that are due, and those of which some are not needed
//! ```
//!
//! Where time makes rows due, when it does stays: of each row that waits its partition and its end, and of each partition when a
//! frame needs its first row no more. A start looks through the rows to know these again.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::spilling::{FORGOTTEN_AT_ONCE, Spilling, missing, share};
use super::super::{EpochTime, Keyed, Operator, Place};
use super::{Over, ROWS, RUNNING, TOUCHED};
use crate::plan::OverMode;
use crate::rows::NO_TIME;
use crate::state::{ColdError, ColdTables, Growth};

impl Over {
    fn is_timed(&self) -> bool {
        !matches!(self.over.mode, OverMode::Changes { .. })
    }

    /// Reads back the rows of a partition.
    fn read_rows(&mut self, key: &[u8], cold: &ColdTables) -> Result<(), ColdError> {
        if self.is_timed() && self.away == 0 {
            return Ok(());
        }
        let mut found = false;
        cold.scan(ROWS, key, |entry, row, size| {
            // A partition that is forgotten is looked for again where a later time was noted for it.
            if self.rows.is_gone(entry).map_err(ColdError::damaged)? {
                return Ok(());
            }
            found = true;
            self.rows.restore(entry, Some(row)).map_err(ColdError::damaged)?;
            self.rows.read_back(entry, size).map_err(ColdError::damaged)
        })?;
        if found && self.is_timed() {
            self.away -= 1;
        }
        Ok(())
    }

    /// Reads back what there is of a partition.
    fn read_partition(&mut self, key: &[u8], is_due: bool, cold: &ColdTables) -> Result<(), ColdError> {
        self.read_rows(key, cold)?;
        if self.running_functions().next().is_some()
            && let Some((running, size)) = cold.get(RUNNING, key)?
        {
            self.restore(RUNNING, key, Some(&running)).map_err(ColdError::damaged)?;
            self.running.read_back(key, size);
        }
        self.touched.read_back(TOUCHED, key, is_due, cold)
    }

    /// Forgets rows that no frame needs any more, of partitions that are not here and have none that is due.
    fn forget_away(&mut self, to: &Place, cold: &ColdTables) -> Result<(), ColdError> {
        let passing = cold.passing();
        let through = Place::behind(to.watermark);
        for (at, keys) in self.forget.take(&Place::behind(NO_TIME), &through) {
            for key in keys {
                if self.rows.holds(&key) {
                    // It is looked at when what is due is given: frames of that may reach its rows.
                    self.forget.insert(at, &key);
                    continue;
                }
                self.read_rows(&key, &passing)?;
                self.trim_given(&key, to);
                self.away += usize::from(self.rows.leave(&key));
            }
        }
        Ok(())
    }

    /// A partition that was read to be forgotten, and has rows that wait, is touched in place of that: it leaves memory as it
    /// came. While time stands still, these may be all there are.
    fn leave_again(&mut self, key: &[u8]) {
        if self.rows.leave(key) {
            self.away += 1;
            self.running.get_restored(key);
            self.touched_away.push(key.into());
        }
    }

    /// When partitions were touched that are not here leaves memory: the changelog has it.
    pub(super) fn let_go_touched(&mut self) {
        for key in std::mem::take(&mut self.touched_away) {
            if self.rows.get(&key).is_none() && self.running.get(&key).is_none() {
                self.touched.let_go(&key);
            }
        }
    }

    /// Lets go of partitions until the rows that are left have so many bytes at most.
    fn let_go_rows(&mut self, keep: u64) {
        let is_timed = self.is_timed();
        let Self { rows, running, touched, away, .. } = self;
        rows.let_go(keep, |key| {
            *away += usize::from(is_timed);
            running.get_restored(key);
            touched.let_go(key);
        });
    }

    /// Bytes of what stays in memory of partitions that have left it.
    fn stays(&self) -> u64 {
        self.due.bytes() + self.forget.bytes()
    }
}

impl Spilling for Over {
    fn read_back(
        &mut self,
        time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        if self.is_timed()
            && self.away == 0
            && !self.touched.forgets()
            && self.running_functions().next().is_none()
        {
            return Ok(());
        }
        let Self { rows, running, touched, .. } = self;
        let holds = |key: &[u8]| {
            let (there, runs) = (rows.holds(key), running.holds(key));
            touched.holds(key) && (there || runs)
        };
        for key in missing(inputs.iter().flatten(), holds) {
            self.read_partition(key, false, cold)?;
        }
        // Only now: the store has what the epoch forgets, until it is over.
        if let Some(due) = self.touched.all_due(time.now) {
            let passing = cold.passing();
            let mut keys = due.iter().peekable();
            while keys.peek().is_some() {
                let some: Vec<&[u8]> = keys.by_ref().take(FORGOTTEN_AT_ONCE).collect();
                some.iter().try_for_each(|key| self.read_partition(key, true, &passing))?;
                self.expire(time);
                some.iter().for_each(|key| self.leave_again(key));
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
        // What is aggregated of a partition is where its rows are.
        if self.away == 0 {
            return Ok(());
        }
        for key in self.due.between(from, to) {
            if !self.rows.holds(&key) {
                self.read_partition(&key, false, cold)?;
            }
        }
        self.forget_away(to, cold)
    }

    fn held(&self) -> u64 {
        self.rows.held() + self.running.held() + self.touched.held() + self.stays()
    }

    fn let_go(&mut self, keep: u64) {
        let keep = keep.saturating_sub(self.stays());
        let held = self.held() - self.stays();
        let of_running = share(self.running.held(), keep, held);
        let of_both = share(self.rows.held() + self.running.held(), keep, held);
        self.let_go_rows(share(self.rows.held(), keep, held));
        let Self { rows, running, touched, .. } = self;
        running.let_go(of_running, |key, _| {
            let leaves = rows.get(key).is_none();
            if leaves {
                touched.let_go(key);
            }
            leaves
        });
        // Aggregates of partitions with rows go with these.
        let over = (rows.held() + running.held()).saturating_sub(of_both);
        if over > 0 {
            self.let_go_rows(self.rows.held().saturating_sub(over));
        }
    }

    fn take_growth(&mut self) -> Growth {
        self.rows.take_growth() + self.running.take_growth() + self.touched.take_growth()
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
        let end = self.end_of(value).ok_or_else(|| ColdError::damaged("a row without its time"))?;
        let is_given = self.stands_at.is_given(end, partition);
        let partition: Arc<[u8]> = match self.shown.take_if(|shown| **shown == *partition) {
            Some(shown) => shown,
            None => {
                self.away += 1;
                // Its first row.
                if let Some(ms) = self.reach.ms.filter(|_| is_given) {
                    self.forget.insert(end.saturating_add(ms), partition);
                }
                partition.into()
            }
        };
        if !is_given {
            self.due.add(end, &partition);
        }
        self.shown = Some(partition);
        Ok(())
    }

    fn counts(&self, table: u8) -> bool {
        table != TOUCHED
    }
}
