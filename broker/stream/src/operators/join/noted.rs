//! Rows of a side of a timed join whose rows are given without a partner, too: each with whether it has made a pair.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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

/// The rows of one time.
#[derive(Debug, Default)]
struct Bucket {
    /// Their ids, and of rows that are gone; one that went and came again while the changelog was read is there twice.
    ids: Vec<RowId>,
    /// The ids are in the order of their places, the first one last: some before them are gone already.
    sorted: bool,
    /// How many of the rows are here, equal ones once.
    here: usize,
    /// How many have not made a pair, equal ones each.
    lonely: usize,
}

/// A row's place among those that go at one time: its key, its side, then the row itself.
pub(super) fn place_key(side: usize, id: &RowId) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.key.len() + 1 + id.row.len());
    key.extend_from_slice(&id.key);
    key.push(side as u8);
    key.extend_from_slice(&id.row);
    key
}

/// The order of two rows' places, for rows of one side and without the key group.
fn by_place(side: usize, left: &RowId, right: &RowId) -> Ordering {
    if left.key.len() == right.key.len() {
        return left.key[1..].cmp(&right.key[1..]).then_with(|| left.row.cmp(&right.row));
    }
    place_key(side, left)[1..].cmp(&place_key(side, right)[1..])
}

/// A sum without one summand, and with another.
fn resize(sum: &mut usize, without: usize, with: usize) {
    *sum = *sum + with - without;
}

impl Kept {
    /// How many rows without a partner it is.
    fn lonely(&self) -> usize {
        if self.paired { 0 } else { self.count as usize }
    }
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
        let bucket = self.by_time.entry(at).or_default();
        match self.rows.get_mut(key, row) {
            Some(kept) => {
                let before = kept.lonely();
                *kept = Kept { count: kept.count + 1, paired: kept.paired || paired };
                resize(&mut bucket.lonely, before, kept.lonely());
            }
            None => {
                let kept = Kept { count: 1, paired };
                bucket.ids.push(self.rows.insert(key, row, kept));
                bucket.sorted = false;
                bucket.here += 1;
                bucket.lonely += kept.lonely();
            }
        }
    }

    /// A row has made a pair.
    pub(super) fn pair(&mut self, key: &[u8], row: &[u8]) {
        if self.rows.get(key, row).is_some_and(|kept| !kept.paired)
            && let Some(kept) = self.rows.get_mut(key, row)
        {
            if let Some(bucket) = self.by_time.get_mut(&time_of(row)) {
                bucket.lonely -= kept.lonely();
            }
            kept.paired = true;
        }
    }

    /// How many rows without a partner there are of each of some times.
    pub(super) fn lonely(
        &self,
        times: impl std::ops::RangeBounds<i64>,
    ) -> impl Iterator<Item = (i64, usize)> {
        self.by_time.range(times).map(|(time, bucket)| (*time, bucket.lonely))
    }

    /// The places of the first rows without a partner of some times, in their order and without the key group, each with how
    /// many rows it is: until these are more than `most`, and two at least.
    pub(super) fn first_lonely(
        &self,
        side: usize,
        times: impl std::ops::RangeBounds<i64>,
        most: usize,
    ) -> Vec<(Arc<[u8]>, usize)> {
        let mut first = Vec::new();
        for bucket in self.by_time.range(times).map(|(_, bucket)| bucket) {
            match bucket.sorted {
                true => self.first_of(side, bucket.ids.iter().rev(), most, &mut first),
                false => {
                    let is_lonely = |id: &&RowId| self.lonely_at(id) > 0;
                    let mut ids: Vec<&RowId> = bucket.ids.iter().filter(is_lonely).collect();
                    let enough = most.saturating_add(1).max(2);
                    if enough < ids.len() {
                        ids.select_nth_unstable_by(enough, |left, right| by_place(side, left, right));
                        ids.truncate(enough);
                    }
                    ids.sort_unstable_by(|left, right| by_place(side, left, right));
                    self.first_of(side, ids.into_iter(), most, &mut first);
                }
            }
        }
        first.sort_unstable();
        first
    }

    /// Adds the first of these rows that have no partner.
    fn first_of<'r>(
        &self,
        side: usize,
        ids: impl Iterator<Item = &'r RowId>,
        most: usize,
        first: &mut Vec<(Arc<[u8]>, usize)>,
    ) {
        let (mut sum, mut count, mut last) = (0, 0, None);
        for id in ids {
            let lonely = self.lonely_at(id);
            if lonely > 0 && last.replace(id) != Some(id) {
                first.push((Arc::from(&place_key(side, id)[1..]), lonely));
                sum += lonely;
                count += 1;
            }
            if sum > most && count > 1 {
                return;
            }
        }
    }

    fn lonely_at(&self, id: &RowId) -> usize {
        self.rows.get(&id.key, &id.row).map_or(0, Kept::lonely)
    }

    /// Takes the rows that go before a place, with the time each goes at: a row goes when the watermark is `lasts` behind
    /// its time.
    pub(super) fn take_due(&mut self, side: usize, lasts: i64, to: &Place) -> Vec<(i64, RowId, Kept)> {
        let mut taken = Vec::new();
        let mut partly = Vec::new();
        while let Some(first) = self.by_time.first_entry() {
            let end = first.key().saturating_add(lasts);
            if end > to.last_end() {
                break;
            }
            let (time, mut bucket) = first.remove_entry();
            if end <= to.watermark {
                for id in bucket.ids {
                    let kept = self.rows.remove(&id.key, &id.row);
                    taken.extend(kept.map(|kept| (end, id, kept)));
                }
                continue;
            }
            // So that each part costs what it gives, and not what is left.
            if !bucket.sorted {
                bucket.ids.sort_unstable_by(|left, right| by_place(side, right, left));
                bucket.sorted = true;
            }
            while let Some(id) = bucket.ids.pop_if(|id| to.is_given(end, &place_key(side, id))) {
                if let Some(kept) = self.rows.remove(&id.key, &id.row) {
                    bucket.here -= 1;
                    bucket.lonely -= kept.lonely();
                    taken.push((end, id, kept));
                }
            }
            if bucket.here > 0 {
                partly.push((time, bucket));
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
        let before = self.rows.get(&id.key, &id.row).copied();
        let id = self.rows.restore(key, kept)?;
        let lonely = |kept: Option<Kept>| kept.as_ref().map_or(0, Kept::lonely);
        let bucket = match self.by_time.entry(time) {
            // Nothing is known of a row of that time, and nothing is now.
            Entry::Vacant(_) if kept.is_none() => return Ok(()),
            Entry::Vacant(bucket) => bucket.insert(Bucket::default()),
            Entry::Occupied(bucket) => bucket.into_mut(),
        };
        resize(&mut bucket.lonely, lonely(before), lonely(kept));
        resize(&mut bucket.here, usize::from(before.is_some()), usize::from(kept.is_some()));
        if before.is_none() && kept.is_some() {
            bucket.ids.push(id);
            bucket.sorted = false;
        }
        if bucket.here == 0 {
            self.by_time.remove(&time);
        }
        Ok(())
    }
}
