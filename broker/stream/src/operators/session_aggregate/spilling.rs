//! What of sessions leaves memory: groups with all of their sessions. When these are over stays: time makes them due.

use std::ops::RangeInclusive;

use super::super::spilling::{Spilling, missing};
use super::super::{EpochTime, Keyed, Operator, Place};
use super::{GROUPS, SessionAggregate, decode_sessions, over_at};
use crate::state::{ColdError, ColdTables, Growth};

impl SessionAggregate {
    fn read_group(&mut self, key: &[u8], cold: &ColdTables) -> Result<(), ColdError> {
        let Some((sessions, size)) = cold.get(GROUPS, key)? else { return Ok(()) };
        self.restore(GROUPS, key, Some(&sessions)).map_err(ColdError::damaged)?;
        self.groups.read_back(key, size);
        self.away -= 1;
        Ok(())
    }
}

impl Spilling for SessionAggregate {
    fn read_back(
        &mut self,
        _time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        if self.away == 0 {
            return Ok(());
        }
        let missing = missing(inputs.iter().flatten(), |key| self.groups.holds(key));
        missing.into_iter().try_for_each(|key| self.read_group(key, cold))
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
        for key in self.over.between(from, to) {
            if !self.groups.holds(&key) {
                self.read_group(&key, cold)?;
            }
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.groups.held() + self.over.bytes()
    }

    fn let_go(&mut self, keep: u64) {
        let Self { groups, over, away, .. } = self;
        groups.let_go(keep.saturating_sub(over.bytes()), |_, _| {
            *away += 1;
            true
        });
    }

    fn take_growth(&mut self) -> Growth {
        self.groups.take_growth()
    }

    fn shown_tables(&self) -> &'static [u8] {
        &[GROUPS]
    }

    fn show(&mut self, _table: u8, key: &[u8], value: &[u8], _size: u32) -> Result<(), ColdError> {
        let sessions = decode_sessions(value, &self.aggregates);
        let sessions = sessions.ok_or_else(|| ColdError::damaged("damaged sessions"))?;
        sessions.iter().for_each(|session| self.over.insert(over_at(session.end), key));
        self.away += 1;
        Ok(())
    }
}
