//! When keys were last touched, so that they can be forgotten.

use std::sync::Arc;

use crate::plan::StateBound;
use crate::state::{Away, ChangelogSink, ColdError, ColdTables, DueKeys, Growth, Table, TimeTable};

/// When each key was last touched, in frozen processing time; nothing where the plan does not ask for it.
#[derive(Debug)]
pub(crate) struct TimeToLive {
    ms: Option<i64>,
    last: Table<i64>,
    /// The keys in the order of when they were touched, and those that are not here; derived.
    order: TimeTable<()>,
    away: Option<Away>,
}

impl TimeToLive {
    pub(crate) fn new(bound: Option<StateBound>) -> Self {
        let ms = bound.and_then(StateBound::lives_ms);
        Self { ms, last: Table::default(), order: TimeTable::default(), away: ms.map(Away::new) }
    }

    /// Whether keys are forgotten at all.
    pub(crate) fn forgets(&self) -> bool {
        self.ms.is_some()
    }

    /// A key is used.
    pub(crate) fn touch(&mut self, key: &[u8], now: i64) {
        if self.ms.is_none() || self.last.get(key) == Some(&now) {
            return;
        }
        if let Some(before) = self.last.get(key) {
            self.order.remove(*before, key);
        }
        *self.last.entry(key, || now) = now;
        self.order.entry(now, key, || ());
    }

    /// The keys that were not touched for too long, in a fixed order; they are known no more.
    pub(crate) fn expired(&mut self, now: i64) -> Vec<Arc<[u8]>> {
        let Some(ms) = self.ms else { return Vec::new() };
        let mut expired = Vec::new();
        while let Some((_, keys)) = self.order.take_first(now.saturating_sub(ms)) {
            for (key, ()) in keys {
                self.last.remove(&key);
                expired.push(key);
            }
        }
        expired
    }

    /// A key is gone by itself.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(last) = self.last.remove(key) {
            self.order.remove(last, key);
        }
    }

    pub(crate) fn drain_changes(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        self.last.drain_changes(table, log, |last, out| out.extend_from_slice(&last.to_be_bytes()));
        self.order.forget_changes();
    }

    pub(crate) fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        if let Some(known) = self.last.get(key) {
            self.order.remove(*known, key);
        }
        let last = value.map(decode).transpose()?;
        if let Some(last) = last {
            self.order.entry(last, key, || ());
        }
        self.last.restore(key, last);
        self.order.forget_changes();
        Ok(())
    }

    /// Whether it is here when a key was last touched; if keys are forgotten at all.
    pub(crate) fn holds(&mut self, key: &[u8]) -> bool {
        self.ms.is_none() || self.last.holds(key)
    }

    /// The keys that are not here and were not touched for too long: they are to be read back, and are expired then.
    pub(crate) fn due(&mut self, now: i64) -> Option<DueKeys> {
        Some(self.away.as_mut()?.take_due(now.saturating_sub(self.ms?)))
    }

    /// Reads back when a key was last touched, if that is not here. A key that is due is not among the others any more.
    pub(crate) fn read_back(
        &mut self,
        table: u8,
        key: &[u8],
        is_due: bool,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        if self.away.is_none() || self.last.get(key).is_some() {
            return Ok(());
        }
        let Some((value, size)) = cold.get(table, key)? else { return Ok(()) };
        self.restore(key, Some(&value)).map_err(ColdError::damaged)?;
        self.last.read_back(key, size);
        if let (Some(away), Some(last), false) = (&mut self.away, self.last.get(key), is_due) {
            away.take_out(*last, key);
        }
        Ok(())
    }

    /// A key leaves memory, as the changelog has it.
    pub(crate) fn let_go(&mut self, key: &[u8]) {
        if let (Some(away), Some(last)) = (&mut self.away, self.last.get_restored(key)) {
            self.order.remove(last, key);
            self.order.forget_changes();
            away.put(last, key);
        }
    }

    /// Sees a key that is not here.
    pub(crate) fn show(&mut self, key: &[u8], value: &[u8]) -> Result<(), ColdError> {
        let last = decode(value).map_err(ColdError::damaged)?;
        if let Some(away) = &mut self.away {
            away.put(last, key);
        }
        Ok(())
    }

    /// What it has in memory counts for so much.
    pub(crate) fn held(&self) -> u64 {
        self.last.held() + self.away.as_ref().map_or(0, Away::bytes)
    }

    /// By how much it has grown since it was last asked. A key is an entry of somebody else's already.
    pub(crate) fn take_growth(&mut self) -> Growth {
        Growth { entries: 0, ..self.last.take_growth() }
    }
}

fn decode(bytes: &[u8]) -> Result<i64, String> {
    Ok(i64::from_be_bytes(bytes.try_into().map_err(|_| "a damaged time")?))
}
