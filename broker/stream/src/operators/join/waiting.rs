//! Rows of a temporal join that wait until the watermark has passed them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::super::schedule::first_rows;
use super::super::{Due, Place};
use crate::state::{ChangelogSink, TIME_BYTES, TableKey, TimeTable, time_of};

/// How often each row waits, by the first watermark that has passed it. Rows of one end are given in the order of their keys
/// without the key group.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    rows: TimeTable<u32>,
    /// How many rows there are at each end, equal ones each; derived.
    counts: BTreeMap<i64, usize>,
    /// The end that is given in part, and its keys in their order, the first one last: so that each part costs what it gives,
    /// and not what is left. Derived.
    part: Option<(i64, Vec<TableKey>)>,
}

/// A row that is due: when, its key, and how often.
pub(super) type DueRow = (i64, TableKey, u32);

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// One more row waits.
    pub(super) fn add(&mut self, end: i64, key: &[u8]) {
        let count = self.rows.entry(end, key, || 0);
        *count += 1;
        *self.counts.entry(end).or_default() += 1;
        if *count == 1 {
            self.part.take_if(|(part, _)| *part == end);
        }
    }

    /// How many rows are due at each end.
    pub(super) fn due(&self, watermark: i64) -> Due {
        self.counts.range(..=watermark).map(|(end, count)| (*end, *count)).collect()
    }

    /// The first keys that are due at an end; see [`Operator::due_rows`](super::super::Operator::due_rows).
    pub(super) fn due_rows(&self, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        let Some((_, bucket)) = self.rows.range(end..=end).next() else { return Vec::new() };
        let mut first: Vec<&TableKey> = match &self.part {
            Some((part, keys)) if *part == end => keys.iter().rev().take(most.saturating_add(2)).collect(),
            _ => bucket.keys().collect(),
        };
        let enough = most.saturating_add(1).max(2);
        if enough < first.len() {
            first.select_nth_unstable_by(enough, |left, right| left[1..].cmp(&right[1..]));
            first.truncate(enough);
        }
        first.sort_unstable_by(|left, right| left[1..].cmp(&right[1..]));
        let count = |key: &TableKey| bucket.get(key).map_or(0, |slot| slot.value as usize);
        first_rows(first.into_iter().map(|key| (key, count(key))), most)
    }

    /// Takes the rows that are due before a place, in the order they are given in.
    pub(super) fn take_due(&mut self, to: &Place) -> Vec<DueRow> {
        let mut taken = Vec::new();
        while let Some((end, mut due)) = self.rows.take_first(to.watermark) {
            due.sort_unstable_by(|(left, _), (right, _)| left[1..].cmp(&right[1..]));
            taken.extend(due.into_iter().map(|(key, count)| (end, key, count)));
            self.counts.remove(&end);
        }
        let Some((end, _)) = to.partial else {
            self.part = None;
            return taken;
        };
        let mut keys = match self.part.take() {
            Some((part, keys)) if part == end => keys,
            _ => {
                let bucket = self.rows.range(end..=end).flat_map(|(_, bucket)| bucket.keys());
                let mut keys: Vec<TableKey> = bucket.cloned().collect();
                keys.sort_unstable_by(|left, right| right[1..].cmp(&left[1..]));
                keys
            }
        };
        while let Some(key) = keys.pop_if(|key| to.is_given(end, key)) {
            if let Some(count) = self.rows.remove(end, &key) {
                self.less(end, count);
                taken.push((end, key, count));
            }
        }
        self.part = Some((end, keys));
        taken
    }

    /// So many rows of an end wait no more.
    fn less(&mut self, end: i64, count: u32) {
        if let Entry::Occupied(mut left) = self.counts.entry(end) {
            *left.get_mut() -= count as usize;
            if *left.get() == 0 {
                left.remove();
            }
        }
    }

    /// Hands the changes since the last call to the changelog.
    pub(super) fn drain_changes(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        self.rows.drain_changes(table, log, |count, out| out.extend_from_slice(&count.to_be_bytes()));
    }

    /// Puts a row back as the changelog has it, or takes it away.
    pub(super) fn restore(&mut self, record_key: &[u8], count: Option<u32>) -> Result<(), String> {
        let (time, key) = record_key.split_at_checked(TIME_BYTES).ok_or("a row without its time")?;
        let end = time_of(time);
        let bucket = self.rows.range(end..=end).next();
        let before = bucket.and_then(|(_, bucket)| bucket.get(key)).map_or(0, |slot| slot.value);
        self.rows.restore(record_key, count)?;
        self.part = None;
        *self.counts.entry(end).or_default() += count.unwrap_or(0) as usize;
        self.less(end, before);
        Ok(())
    }
}
