//! When keys were last touched, so that they can be forgotten.

use std::sync::Arc;

use crate::plan::StateBound;
use crate::state::{ChangelogSink, Table, TimeTable};

/// When each key was last touched, in frozen processing time; nothing where the plan does not ask for it.
#[derive(Debug)]
pub(crate) struct TimeToLive {
    ms: Option<i64>,
    last: Table<i64>,
    /// The keys in the order of when they were touched; derived.
    order: TimeTable<()>,
}

impl TimeToLive {
    pub(crate) fn new(bound: Option<StateBound>) -> Self {
        let ms = match bound {
            Some(StateBound::TimeToLive { ms }) => Some(ms),
            Some(StateBound::Unbounded) | None => None,
        };
        Self { ms, last: Table::default(), order: TimeTable::default() }
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
        let last = match value {
            None => None,
            Some(bytes) => Some(i64::from_be_bytes(bytes.try_into().map_err(|_| "a damaged time")?)),
        };
        if let Some(last) = last {
            self.order.entry(last, key, || ());
        }
        self.last.restore(key, last);
        self.order.forget_changes();
        Ok(())
    }
}
