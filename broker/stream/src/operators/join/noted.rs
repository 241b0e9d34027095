//! Rows of a side of a timed join whose rows are given without a partner, too: each with whether it has made a pair.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Place;
use crate::state::{ChangelogSink, RowId, RowTable, TIME_BYTES, time_of};

/// The rows of a side, each as its time in eight bytes, then its columns.
#[derive(Debug, Default)]
pub(super) struct NotedRows {
    rows: RowTable<Kept>,
    /// The rows by their time; derived from them.
    by_time: BTreeMap<i64, Bucket>,
}

/// A row that is kept; equal ones together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) count: u32,
    /// Whether it has made a pair.
    pub(super) paired: bool,
}

#[derive(Debug, Default)]
struct Bucket {
    ids: Vec<RowId>,
    /// How many of them are gone already.
    gone: usize,
}

/// A row's place among those that go at one time: its key, its side, then the row itself.
pub(super) fn place_key(side: usize, id: &RowId) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.key.len() + 1 + id.row.len());
    key.extend_from_slice(&id.key);
    key.push(side as u8);
    key.extend_from_slice(&id.row);
    key
}

impl NotedRows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The times that rows have.
    pub(super) fn times(&self) -> impl Iterator<Item = i64> {
        self.by_time.keys().copied()
    }

    /// The rows of a key that begin at `from` or behind it, and before `to`; in order.
    pub(super) fn range(
        &self,
        key: &[u8],
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = (&Arc<[u8]>, &Kept)> {
        self.rows.range(key, from, to)
    }

    pub(super) fn keep(&mut self, key: &[u8], row: &[u8], at: i64, paired: bool) {
        match self.rows.get_mut(key, row) {
            Some(kept) => *kept = Kept { count: kept.count + 1, paired: kept.paired || paired },
            None => {
                let id = self.rows.insert(key, row, Kept { count: 1, paired });
                self.by_time.entry(at).or_default().ids.push(id);
            }
        }
    }

    /// A row has made a pair.
    pub(super) fn pair(&mut self, key: &[u8], row: &[u8]) {
        if self.rows.get(key, row).is_some_and(|kept| !kept.paired)
            && let Some(kept) = self.rows.get_mut(key, row)
        {
            kept.paired = true;
        }
    }

    /// The rows without a partner of each of some times.
    pub(super) fn lonely(
        &self,
        times: impl std::ops::RangeBounds<i64>,
    ) -> impl Iterator<Item = (i64, impl Iterator<Item = &RowId>)> {
        let is_lonely = |id: &&RowId| self.rows.get(&id.key, &id.row).is_some_and(|kept: &Kept| !kept.paired);
        self.by_time.range(times).map(move |(time, bucket)| (*time, bucket.ids.iter().filter(is_lonely)))
    }

    /// Takes the rows that go before a place, with the time each goes at: a row goes when the watermark is `lasts` behind
    /// its time.
    pub(super) fn take_due(&mut self, side: usize, lasts: i64, to: &Place) -> Vec<(i64, RowId, Kept)> {
        let mut taken = Vec::new();
        let mut partly = Vec::new();
        while let Some(bucket) = self.by_time.first_entry() {
            let end = bucket.key().saturating_add(lasts);
            if end > to.last_end() {
                break;
            }
            let (time, bucket) = bucket.remove_entry();
            let mut stay = Vec::new();
            for id in bucket.ids {
                if end > to.watermark && !to.is_given(end, &place_key(side, &id)) {
                    stay.push(id);
                } else if let Some(kept) = self.rows.remove(&id.key, &id.row) {
                    taken.push((end, id, kept));
                }
            }
            if !stay.is_empty() {
                partly.push((time, Bucket { ids: stay, gone: 0 }));
            }
        }
        self.by_time.extend(partly);
        taken
    }

    /// Hands the changes since the last call to the changelog.
    pub(super) fn drain_changes(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        self.rows.drain_changes(table, log, |kept, out| {
            out.extend_from_slice(&kept.count.to_be_bytes());
            out.push(u8::from(kept.paired));
        });
    }

    /// Puts a row back as the changelog has it, or takes it away; `check` looks at its columns.
    pub(super) fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        check: impl FnOnce(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let kept = match value {
            None => None,
            Some([a, b, c, d, paired @ 0..=1]) => {
                Some(Kept { count: u32::from_be_bytes([*a, *b, *c, *d]), paired: *paired == 1 })
            }
            Some(_) => return Err("a damaged row".to_owned()),
        };
        let id = RowId::decode(key)?;
        check(id.row.get(TIME_BYTES..).ok_or("a row without its time")?)?;
        let time = time_of(&id.row);
        let known = self.rows.get(&id.key, &id.row).is_some();
        let id = self.rows.restore(key, kept)?;
        match (known, kept) {
            (false, Some(_)) => self.by_time.entry(time).or_default().ids.push(id),
            (true, None) => {
                if let Some(bucket) = self.by_time.get_mut(&time) {
                    bucket.gone += 1;
                    if bucket.gone == bucket.ids.len() {
                        self.by_time.remove(&time);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
