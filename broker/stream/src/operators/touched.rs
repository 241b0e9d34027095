//! When keys were last touched, of those that are in memory and of those that are not, so that they are forgotten in time.

use crate::state::{Away, DueKeys, TableKey, TimeTable};

/// When each key was last touched, in frozen processing time; nothing where keys are not forgotten. Derived from what the
/// changelog has: whoever keeps that knows a key's time.
#[derive(Debug)]
pub(crate) struct Touched {
    ms: Option<i64>,
    order: TimeTable<()>,
    away: Option<Away>,
}

impl Touched {
    /// For keys that are forgotten when they were not touched for so long, or never.
    pub(crate) fn new(ms: Option<i64>) -> Self {
        Self { ms, order: TimeTable::default(), away: ms.map(Away::new) }
    }

    /// Whether keys are forgotten at all.
    pub(crate) fn forgets(&self) -> bool {
        self.ms.is_some()
    }

    /// A key is touched that was touched before, or is new.
    pub(crate) fn touch(&mut self, key: &[u8], before: Option<i64>, now: i64) {
        if self.forgets() && before != Some(now) {
            before.into_iter().for_each(|before| self.remove(before, key));
            self.order.entry(now, key, || ());
        }
    }

    /// A key is gone that was last touched at a time.
    pub(crate) fn remove(&mut self, last: i64, key: &[u8]) {
        self.order.remove(last, key);
    }

    /// Takes the keys that are here and were not touched for too long, in a fixed order.
    pub(crate) fn expired(&mut self, now: i64) -> Vec<TableKey> {
        let Some(ms) = self.ms else { return Vec::new() };
        let mut expired = Vec::new();
        while let Some((_, keys)) = self.order.take_first(now.saturating_sub(ms)) {
            expired.extend(keys.into_iter().map(|(key, ())| key));
        }
        expired
    }

    /// Takes the keys that are not here and were not touched for too long: they are to be read back, and are expired then.
    pub(crate) fn due(&mut self, now: i64) -> Option<DueKeys> {
        Some(self.away.as_mut()?.take_due(now.saturating_sub(self.ms?)))
    }

    /// A key leaves memory.
    pub(crate) fn leaves(&mut self, last: i64, key: &[u8]) {
        self.order.remove(last, key);
        self.is_away(last, key);
    }

    /// A key is not here.
    pub(crate) fn is_away(&mut self, last: i64, key: &[u8]) {
        self.away.iter_mut().for_each(|away| away.put(last, key));
    }

    /// A key has come back, which is not one that is due.
    pub(crate) fn is_back(&mut self, last: i64, key: &[u8]) {
        self.away.iter_mut().for_each(|away| away.take_out(last, key));
    }

    /// What it takes for keys that are not here, in bytes.
    pub(crate) fn away_bytes(&self) -> u64 {
        self.away.as_ref().map_or(0, Away::bytes)
    }

    /// The epoch's changes are of no use: the changelog has what this is derived from.
    pub(crate) fn settle(&mut self) {
        self.order.forget_changes();
    }
}
