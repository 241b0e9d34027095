//! Rows of partitions, those of each in an order: what rankings and functions over rows keep.
//!
//! ```text
//! changelog   key: partition's key, its group first │ sort key │ place among equals u64      value: the row
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::plan::SortKey;
use crate::rows::Rows;
use crate::state::{
    ChangelogSink, Growth, RECORD_HEADER, decode_row, encode_row, encode_sort_part, entry_size, key_length,
    resize,
};
use crate::value::DataType;

/// The rows of a partition by their sort key and place among equals.
pub(crate) type Partition = BTreeMap<Arc<[u8]>, Held>;

/// A row's partition and its sort key.
pub(crate) type RowKey = (Arc<[u8]>, Arc<[u8]>);

/// A row that is kept.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) row: Arc<[u8]>,
    /// The changelog has a record of it.
    logged: bool,
    /// What it counted for when it was last handed to the changelog, or read back.
    size: u32,
}

impl Held {
    /// A row that the changelog does not have yet.
    pub(crate) fn of(row: &[u8]) -> Held {
        Held { row: row.into(), logged: false, size: 0 }
    }
}

/// What there is of a partition.
#[derive(Debug)]
struct Kept {
    rows: Partition,
    /// How many places in the order they have, if that is counted; equal rows share one.
    places: usize,
    /// What they count for.
    size: u64,
    /// Asked for since partitions were last let go of.
    used: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self { rows: Partition::new(), places: 0, size: 0, used: true }
    }
}

/// How many bytes of a sort key tell equals apart.
const PLACE_BYTES: usize = 8;

/// The part of a sort key that equal rows share.
pub(crate) fn order_of(sort: &[u8]) -> &[u8] {
    &sort[..sort.len() - PLACE_BYTES]
}

/// Rows of partitions, in order.
///
/// Where there is a cold store they may be a part of the partitions, with all rows of each; see
/// [`Table`](crate::state::Table).
#[derive(Debug)]
pub(crate) struct OrderedRows {
    order: Vec<SortKey>,
    partition_types: Vec<DataType>,
    row_types: Vec<DataType>,
    partitions: HashMap<Arc<[u8]>, Kept>,
    counts_places: bool,
    /// Rows added or removed in this epoch, and whether the changelog has a record of them.
    changed: BTreeMap<RowKey, bool>,
    rows: usize,
    /// What the rows here count for, as of their last change in the changelog.
    held: u64,
    /// By how much all rows have grown since it was last asked, here or not.
    growth: Growth,
}

impl OrderedRows {
    pub(crate) fn new(partition: &[usize], order: &[SortKey], row_types: &[DataType]) -> Self {
        Self {
            order: order.to_vec(),
            partition_types: partition.iter().map(|column| row_types[*column]).collect(),
            row_types: row_types.to_vec(),
            partitions: HashMap::new(),
            counts_places: false,
            changed: BTreeMap::new(),
            rows: 0,
            held: 0,
            growth: Growth::default(),
        }
    }

    /// Counts how many places in the order each partition has.
    pub(crate) fn counting_places(self) -> Self {
        Self { counts_places: true, ..self }
    }

    /// How many places in the order a partition has, if that is counted.
    pub(crate) fn places(&self, partition: &[u8]) -> usize {
        self.partitions.get(partition).map_or(0, |kept| kept.places)
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    pub(crate) fn get(&self, partition: &[u8]) -> Option<&Partition> {
        self.partitions.get(partition).map(|kept| &kept.rows)
    }

    /// By what a row is sorted, without its place among equals.
    pub(crate) fn sort_key(&self, rows: &Rows, row: usize) -> Vec<u8> {
        let mut sort = Vec::with_capacity(self.order.len() * 9 + PLACE_BYTES);
        self.order.iter().for_each(|key| encode_sort_part(&rows.columns[key.column], row, *key, &mut sort));
        sort
    }

    /// A row as it is kept.
    pub(crate) fn encode(rows: &Rows, row: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(rows.columns.len() * 12);
        encode_row(rows, row, 0..rows.columns.len(), &mut bytes);
        bytes
    }

    /// Adds a row, behind those that are equal to it in the order.
    pub(crate) fn push(&mut self, partition: &Arc<[u8]>, mut sort: Vec<u8>, row: &[u8]) {
        let Kept { rows, places, .. } = self.partitions.entry(Arc::clone(partition)).or_default();
        let place = match equals(rows, &sort).next_back() {
            Some((last, _)) => place_of(last) + 1,
            None => {
                *places += usize::from(self.counts_places);
                0
            }
        };
        sort.extend_from_slice(&place.to_be_bytes());
        let sort: Arc<[u8]> = sort.into();
        rows.insert(Arc::clone(&sort), Held::of(row));
        self.rows += 1;
        self.changed.entry((Arc::clone(partition), sort)).or_insert(false);
    }

    /// Takes a row away that is equal to this one, the last of them. Whether there was one.
    pub(crate) fn take_back(&mut self, partition: &Arc<[u8]>, sort: &[u8], row: &[u8]) -> bool {
        let Some(rows) = self.get(partition) else { return false };
        let found =
            equals(rows, sort).rev().find(|(_, held)| *held.row == *row).map(|(key, _)| Arc::clone(key));
        found.is_some_and(|found| self.remove(partition, &found))
    }

    /// Takes the row of a sort key away.
    pub(crate) fn remove(&mut self, partition: &Arc<[u8]>, sort: &Arc<[u8]>) -> bool {
        let Some(kept) = self.partitions.get_mut(partition) else { return false };
        let Some(held) = kept.rows.remove(sort) else { return false };
        resize(&mut [&mut self.held, &mut kept.size], held.size, 0);
        if self.counts_places && equals(&kept.rows, order_of(sort)).next().is_none() {
            kept.places -= 1;
        }
        if kept.rows.is_empty() {
            self.partitions.remove(partition);
        }
        self.rows -= 1;
        if held.logged {
            self.growth.note(Some(held.size), None);
        }
        self.changed.entry((Arc::clone(partition), Arc::clone(sort))).or_insert(held.logged);
        true
    }

    /// Takes a partition away.
    pub(crate) fn remove_partition(&mut self, partition: &[u8]) {
        let Some((partition, Kept { rows, size, .. })) = self.partitions.remove_entry(partition) else {
            return;
        };
        self.held -= size;
        for (sort, held) in rows {
            self.rows -= 1;
            if held.logged {
                self.growth.note(Some(held.size), None);
            }
            self.changed.entry((Arc::clone(&partition), sort)).or_insert(held.logged);
        }
    }

    /// Hands the changes since the last call to the changelog.
    pub(crate) fn drain_changes(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        let mut record_key = Vec::new();
        for ((partition, sort), logged) in std::mem::take(&mut self.changed) {
            record_key.clear();
            record_key.extend_from_slice(&partition);
            record_key.extend_from_slice(&sort);
            let kept = self.partitions.get_mut(&partition);
            match kept.and_then(|kept| Some((kept.rows.get_mut(&sort)?, &mut kept.size))) {
                Some((held, of_partition)) => {
                    let size = entry_size(RECORD_HEADER + record_key.len(), held.row.len());
                    self.growth.note(held.logged.then_some(held.size), Some(size));
                    resize(&mut [&mut self.held, of_partition], held.size, size);
                    held.logged = true;
                    held.size = size;
                    log.put(table, &record_key, Some(&held.row));
                }
                None if logged => log.put(table, &record_key, None),
                None => {}
            }
        }
    }

    /// Whether the epoch has taken away the row that is kept under this key: the store does not know of it yet.
    pub(crate) fn is_gone(&self, record_key: &[u8]) -> Result<bool, String> {
        if self.changed.is_empty() {
            return Ok(false);
        }
        let (partition, sort) = self.split(record_key)?;
        let here = self.partitions.get(partition).is_some_and(|kept| kept.rows.contains_key(sort));
        Ok(!here && self.changed.contains_key(&(partition.into(), sort.into())))
    }

    /// Whether a partition is here; one that is stays for a while.
    pub(crate) fn holds(&mut self, partition: &[u8]) -> bool {
        self.partitions.get_mut(partition).map(|kept| kept.used = true).is_some()
    }

    /// A row was read back from the cold store, with [`OrderedRows::restore`]: what it counts for.
    pub(crate) fn read_back(&mut self, record_key: &[u8], size: u32) -> Result<(), String> {
        let (partition, sort) = self.split(record_key)?;
        if let Some(kept) = self.partitions.get_mut(partition)
            && let Some(held) = kept.rows.get_mut(sort)
        {
            resize(&mut [&mut self.held, &mut kept.size], held.size, size);
            held.size = size;
        }
        Ok(())
    }

    /// What the rows here count for.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// By how much all rows have grown since it was last asked.
    pub(crate) fn take_growth(&mut self) -> Growth {
        std::mem::take(&mut self.growth)
    }

    /// Lets go of partitions until the rows that are left count for `keep` at most: first of those that were not used since
    /// the last time. Every change was handed to the changelog. `gone` gets those that go.
    pub(crate) fn let_go(&mut self, keep: u64, mut gone: impl FnMut(&[u8])) {
        let Self { partitions, rows, held, .. } = self;
        for spares_used in [true, false] {
            if *held <= keep {
                break;
            }
            partitions.retain(|partition, kept| {
                if *held <= keep || (std::mem::take(&mut kept.used) && spares_used) {
                    return true;
                }
                *held -= kept.size;
                *rows -= kept.rows.len();
                gone(partition);
                false
            });
        }
        if partitions.capacity() > 4 * partitions.len() {
            partitions.shrink_to(2 * partitions.len());
        }
    }

    /// A partition leaves memory. Of what the epoch has changed of it there are only rows that it has no more.
    pub(crate) fn leave(&mut self, partition: &[u8]) -> bool {
        let Some(kept) = self.partitions.remove(partition) else { return false };
        self.held -= kept.size;
        self.rows -= kept.rows.len();
        true
    }

    /// The partition in a changelog record's key.
    pub(crate) fn partition_of<'k>(&self, record_key: &'k [u8]) -> Result<&'k [u8], String> {
        self.split(record_key).map(|(partition, _)| partition)
    }

    /// The row of a changelog record's key.
    pub(crate) fn row_at(&self, record_key: &[u8]) -> Result<Option<Arc<[u8]>>, String> {
        let (partition, sort) = self.split(record_key)?;
        Ok(self.get(partition).and_then(|rows| rows.get(sort)).map(|held| Arc::clone(&held.row)))
    }

    /// The partition and the sort key in a changelog record's key.
    fn split<'k>(&self, record_key: &'k [u8]) -> Result<(&'k [u8], &'k [u8]), String> {
        let length = record_key.get(1..).and_then(|key| key_length(key, &self.partition_types));
        let split = length.and_then(|length| record_key.split_at_checked(1 + length));
        split.filter(|(_, sort)| sort.len() >= PLACE_BYTES).ok_or_else(|| "a damaged key of a row".to_owned())
    }

    /// Puts a row back as the changelog has it, or takes it away. Returns its partition and its sort key.
    pub(crate) fn restore(&mut self, record_key: &[u8], row: Option<&[u8]>) -> Result<RowKey, String> {
        let (partition, sort) = self.split(record_key)?;
        let (partition, sort): (Arc<[u8]>, Arc<[u8]>) = (partition.into(), sort.into());
        match row {
            Some(row) => {
                decode_row(row, &self.row_types).ok_or("a damaged row")?;
                let kept = self.partitions.entry(Arc::clone(&partition)).or_default();
                let held = Held { row: row.into(), logged: true, size: 0 };
                if self.counts_places && equals(&kept.rows, order_of(&sort)).next().is_none() {
                    kept.places += 1;
                }
                match kept.rows.insert(Arc::clone(&sort), held) {
                    Some(before) => resize(&mut [&mut self.held, &mut kept.size], before.size, 0),
                    None => self.rows += 1,
                }
            }
            None => {
                self.remove(&partition, &sort);
                self.changed.clear();
            }
        }
        Ok((partition, sort))
    }
}

/// The rows that are equal in the order.
pub(crate) fn equals<'r>(
    rows: &'r Partition,
    order: &[u8],
) -> impl DoubleEndedIterator<Item = (&'r Arc<[u8]>, &'r Held)> {
    let bound = |place: u64| -> Arc<[u8]> { [order, &place.to_be_bytes()[..]].concat().into() };
    rows.range(bound(0)..=bound(u64::MAX))
}

fn place_of(sort: &[u8]) -> u64 {
    sort.last_chunk().map_or(0, |place| u64::from_be_bytes(*place))
}

/// The rows of `before` that are not in `after`, and the rows of `after` that are not in `before`, as often as they
/// are there.
pub(crate) fn difference<'r, T: std::hash::Hash + Eq>(
    before: &'r [T],
    after: &'r [T],
) -> (Vec<&'r T>, Vec<&'r T>) {
    let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    let (before, after) = (&before[same..], &after[same..]);
    let mut counts: HashMap<&T, usize> = HashMap::new();
    before.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    let mut there = |row: &'r T| match counts.get_mut(row) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    let added = after.iter().filter(|row| !there(row)).collect();
    // Of equal rows the last are those that are gone.
    let mut gone: Vec<&T> = before.iter().rev().filter(|row| there(row)).collect();
    gone.reverse();
    (gone, added)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Push(u8),
        TakeBack(u8),
        Restore(u8, u64, bool),
        Forget,
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            4 => (0_u8..4).prop_map(Change::Push),
            3 => (0_u8..4).prop_map(Change::TakeBack),
            2 => (0_u8..4, 0_u64..3, any::<bool>()).prop_map(|(order, place, there)| Change::Restore(order, place, there)),
            1 => Just(Change::Forget),
        ];
        prop::collection::vec(change, 0..60)
    }

    proptest! {
        #[test]
        fn the_places_of_a_partition_are_counted(changes in changes()) {
            let mut rows = OrderedRows::new(&[], &[], &[]).counting_places();
            let partition: Arc<[u8]> = [7].into();
            for change in changes {
                match change {
                    Change::Push(order) => rows.push(&partition, vec![order], &[]),
                    Change::TakeBack(order) => _ = rows.take_back(&partition, &[order], &[]),
                    Change::Restore(order, place, there) => {
                        let key = [&partition[..], &[order], &place.to_be_bytes()].concat();
                        rows.restore(&key, there.then_some(&[])).unwrap();
                    }
                    Change::Forget => rows.remove_partition(&partition),
                }
                let orders = rows.get(&partition).into_iter().flat_map(|rows| rows.keys()).map(|row| order_of(row));
                let places = orders.collect::<std::collections::BTreeSet<_>>().len();
                prop_assert_eq!(rows.places(&partition), places);
            }
        }
    }

    #[test]
    fn a_difference_counts_equal_rows() {
        let (gone, added) = difference(&[1, 2, 2, 3], &[1, 2, 4, 3, 4]);
        assert_eq!((gone, added), (vec![&2], vec![&4, &4]));
        let (gone, added) = difference(&[1, 2], &[2, 1]);
        assert!(gone.is_empty() && added.is_empty());
    }
}
