//! When keys were last touched, so that they can be forgotten.

use super::EpochTime;
use super::touched::Touched;
use crate::plan::StateBound;
use crate::state::{ChangelogSink, ColdError, ColdTables, DueKeys, Growth, Table, TableKey};

/// When each key was last touched, in frozen processing time; nothing where the plan does not ask for it.
#[derive(Debug)]
pub(crate) struct TimeToLive {
    last: Table<i64>,
    /// The keys in the order of when they were touched; derived.
    touched: Touched,
}

impl TimeToLive {
    pub(crate) fn new(bound: Option<StateBound>) -> Self {
        Self { last: Table::default(), touched: Touched::new(bound.and_then(StateBound::lives_ms)) }
    }

    /// Whether keys are forgotten at all.
    pub(crate) fn forgets(&self) -> bool {
        self.touched.forgets()
    }

    /// A key is used.
    pub(crate) fn touch(&mut self, key: &[u8], now: i64) {
        let before = self.last.get(key).copied();
        if !self.forgets() || before == Some(now) {
            return;
        }
        self.touched.touch(key, before, now);
        *self.last.entry(key, || now) = now;
    }

    /// Whether a key that is here was not touched for too long: it is known no more then.
    pub(crate) fn take_over(&mut self, key: &[u8], now: i64) -> bool {
        let Some(last) = self.last.get(key).copied() else { return false };
        let is_over = self.touched.is_over(last, now);
        if is_over {
            self.remove(key);
        }
        is_over
    }

    /// The keys that were not touched for too long, of those that have their turn, in a fixed order; they are known no more.
    pub(crate) fn expired(&mut self, time: EpochTime) -> Vec<TableKey> {
        let expired = self.touched.expired(time);
        expired.iter().for_each(|key| _ = self.last.remove(key));
        expired
    }

    /// The same of all.
    pub(crate) fn all_expired(&mut self, now: i64) -> Vec<TableKey> {
        let expired = self.touched.all_expired(now);
        expired.iter().for_each(|key| _ = self.last.remove(key));
        expired
    }

    /// A key is gone by itself.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(last) = self.last.remove(key) {
            self.touched.remove(last, key);
        }
    }

    pub(crate) fn drain_changes(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        self.last.drain_changes(table, log, |last, out| out.extend_from_slice(&last.to_be_bytes()));
    }

    pub(crate) fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let before = self.last.get(key).copied();
        let last = value.map(decode).transpose()?;
        match (before, last) {
            (before, Some(last)) => self.touched.touch(key, before, last),
            (Some(before), None) => self.touched.remove(before, key),
            (None, None) => {}
        }
        self.last.restore(key, last);
        Ok(())
    }

    /// Whether it is here when a key was last touched; if keys are forgotten at all.
    pub(crate) fn holds(&mut self, key: &[u8]) -> bool {
        !self.forgets() || self.last.holds(key)
    }

    /// The keys that are not here and were not touched for too long, of those that have their turn: they are to be read back,
    /// and are expired then.
    pub(crate) fn due(&mut self, time: EpochTime) -> Option<DueKeys> {
        self.touched.due(time)
    }

    /// The same of all.
    pub(crate) fn all_due(&mut self, now: i64) -> Option<DueKeys> {
        self.touched.all_due(now)
    }

    /// Reads back when a key was last touched, if that is not here. A key that is due is not among the others any more.
    pub(crate) fn read_back(
        &mut self,
        table: u8,
        key: &[u8],
        is_due: bool,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        if !self.forgets() || self.last.get(key).is_some() {
            return Ok(());
        }
        let Some((value, size)) = cold.get(table, key)? else { return Ok(()) };
        self.restore(key, Some(&value)).map_err(ColdError::damaged)?;
        self.last.read_back(key, size);
        if let (Some(last), false) = (self.last.get(key), is_due) {
            self.touched.is_back(*last, key);
        }
        Ok(())
    }

    /// A key leaves memory, as the changelog has it.
    pub(crate) fn let_go(&mut self, key: &[u8]) {
        if let Some(last) = self.last.get_restored(key) {
            self.touched.leaves(last, key);
        }
    }

    /// Sees a key that is not here.
    pub(crate) fn show(&mut self, key: &[u8], value: &[u8]) -> Result<(), ColdError> {
        let last = decode(value).map_err(ColdError::damaged)?;
        self.touched.is_away(last, key);
        Ok(())
    }

    /// What it has in memory counts for so much.
    pub(crate) fn held(&self) -> u64 {
        self.last.held() + self.touched.away_bytes()
    }

    /// By how much it has grown since it was last asked. A key is an entry of somebody else's already.
    pub(crate) fn take_growth(&mut self) -> Growth {
        Growth { entries: 0, ..self.last.take_growth() }
    }
}

fn decode(bytes: &[u8]) -> Result<i64, String> {
    Ok(i64::from_be_bytes(bytes.try_into().map_err(|_| "a damaged time")?))
}
