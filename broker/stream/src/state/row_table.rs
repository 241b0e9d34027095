//! Several rows for a key, each with what an operator notes on it.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use super::changelog::{ChangelogSink, RECORD_HEADER};
use super::cold::{Growth, entry_size, resize};
use super::hashed::HashMap;

/// A key with more rows than this keeps them in a tree.
const FEW: usize = 16;

/// Rows by key, and within a key in the order of their bytes. The key's first byte is its key group.
///
/// An entry's key in the changelog is the key, the row, and the length of the key in four bytes.
///
/// Where there is a cold store the table may hold the rows of a part of its keys, all rows of each; see
/// [`Table`](super::Table).
#[derive(Debug)]
pub(crate) struct RowTable<V> {
    keys: HashMap<Arc<[u8]>, KeyRows<V>>,
    len: usize,
    /// What the rows here count for, as of their last change in the changelog.
    held: u64,
    /// By how much all rows have grown since it was last asked, here or not.
    growth: Growth,
    /// Rows changed or removed in this epoch, in the order of their first change, and whether the changelog has a
    /// record of them; a row may be there twice.
    changed: Vec<(RowId, bool)>,
}

/// A key and one of its rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId {
    pub(crate) key: Arc<[u8]>,
    pub(crate) row: Arc<[u8]>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// Changed in this epoch, and listed.
    changed: bool,
    /// The changelog has a record of it.
    logged: bool,
    /// What it counted for when it was last handed to the changelog, or read back.
    size: u32,
}

/// What a table has of a key.
#[derive(Debug)]
struct KeyRows<V> {
    rows: RowsOfKey<V>,
    /// What they count for.
    size: u64,
    /// Asked for since rows were last let go of.
    used: bool,
}

/// The rows of one key.
#[derive(Debug)]
enum RowsOfKey<V> {
    /// In order.
    Few(Vec<(Arc<[u8]>, Entry<V>)>),
    Many(BTreeMap<Arc<[u8]>, Entry<V>>),
}

impl<V> Default for RowTable<V> {
    fn default() -> Self {
        Self { keys: HashMap::new(), len: 0, held: 0, growth: Growth::default(), changed: Vec::new() }
    }
}

impl<V> RowTable<V> {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The rows of a key that begin at `from` or behind it, and before `to`; in order.
    pub(crate) fn range(
        &self,
        key: &[u8],
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&Arc<[u8]>, &V)> {
        let rows = self.keys.get(key).map(|of_key| of_key.rows.range(from, to));
        rows.into_iter().flatten().map(|(row, entry)| (row, &entry.value))
    }

    /// All rows of a key, in order.
    pub(crate) fn rows(&self, key: &[u8]) -> impl DoubleEndedIterator<Item = (&Arc<[u8]>, &V)> {
        self.range(key, &[], None)
    }

    pub(crate) fn get(&self, key: &[u8], row: &[u8]) -> Option<&V> {
        self.keys.get(key)?.rows.get(row).map(|entry| &entry.value)
    }

    /// The row, if it is there; marks it changed.
    pub(crate) fn get_mut(&mut self, key: &[u8], row: &[u8]) -> Option<&mut V> {
        let (known_key, _) = self.keys.get_key_value(key)?;
        let known_key = Arc::clone(known_key);
        let (known_row, entry) = self.keys.get_mut(key)?.rows.get_mut(row)?;
        if !entry.changed {
            entry.changed = true;
            self.changed.push((RowId { key: known_key, row: Arc::clone(known_row) }, entry.logged));
        }
        Some(&mut entry.value)
    }

    /// Adds a row that is not there yet.
    pub(crate) fn insert(&mut self, key: &[u8], row: &[u8], value: V) -> RowId {
        let id = self.place(key, row, Entry { value, changed: true, logged: false, size: 0 });
        self.changed.push((id.clone(), false));
        id
    }

    pub(crate) fn remove(&mut self, key: &[u8], row: &[u8]) -> Option<V> {
        let of_key = self.keys.get_mut(key)?;
        let (row, entry) = of_key.rows.remove(row)?;
        of_key.size -= u64::from(entry.size);
        self.held -= u64::from(entry.size);
        if entry.logged {
            self.growth.note(Some(entry.size), None);
        }
        let emptied = of_key.rows.is_empty();
        let (known_key, _) = self.keys.get_key_value(key)?;
        let known_key = Arc::clone(known_key);
        if emptied {
            self.keys.remove(key);
        }
        self.len -= 1;
        if !entry.changed {
            self.changed.push((RowId { key: known_key, row }, entry.logged));
        }
        Some(entry.value)
    }

    /// Hands the changes since the last call to the changelog.
    pub(crate) fn drain_changes(
        &mut self,
        table: u8,
        log: &mut dyn ChangelogSink,
        encode: impl Fn(&V, &mut Vec<u8>),
    ) {
        let mut bytes = Vec::new();
        let mut record_key = Vec::new();
        for (id, logged) in std::mem::take(&mut self.changed) {
            id.encode(&mut record_key);
            let of_key = self.keys.get_mut(&id.key);
            let found = of_key.and_then(|of_key| Some((of_key.rows.get_mut(&id.row)?.1, &mut of_key.size)));
            match found {
                Some((entry, of_key)) if entry.changed => {
                    bytes.clear();
                    encode(&entry.value, &mut bytes);
                    let size = entry_size(RECORD_HEADER + record_key.len(), bytes.len());
                    self.growth.note(entry.logged.then_some(entry.size), Some(size));
                    resize(&mut [&mut self.held, of_key], entry.size, size);
                    entry.changed = false;
                    entry.logged = true;
                    entry.size = size;
                    log.put(table, &record_key, Some(&bytes));
                }
                // Listed twice: removed and added again.
                Some(_) => {}
                None if logged => log.put(table, &record_key, None),
                None => {}
            }
        }
    }

    /// Whether the rows of a key are here; those that are stay for a while.
    pub(crate) fn holds(&mut self, key: &[u8]) -> bool {
        self.keys.get_mut(key).map(|of_key| of_key.used = true).is_some()
    }

    /// A row was read back from the cold store, with [`RowTable::restore`]: what it counts for.
    pub(crate) fn read_back(&mut self, record_key: &[u8], size: u32) -> Result<(), String> {
        let id = RowId::decode(record_key)?;
        if let Some(of_key) = self.keys.get_mut(&id.key)
            && let Some((_, entry)) = of_key.rows.get_mut(&id.row)
        {
            resize(&mut [&mut self.held, &mut of_key.size], entry.size, size);
            entry.size = size;
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

    /// Lets go of the rows of keys until those that are left count for `keep` at most: first of keys that were not used
    /// since the last time. Every change was handed to the changelog. `gone` gets the rows that go, those of a key one after
    /// the other.
    pub(crate) fn let_go(&mut self, keep: u64, mut gone: impl FnMut(&[u8], &[u8], &V)) {
        let Self { keys, len, held, .. } = self;
        for spares_used in [true, false] {
            if *held <= keep {
                break;
            }
            keys.retain(|key, of_key| {
                if *held <= keep || (std::mem::take(&mut of_key.used) && spares_used) {
                    return true;
                }
                *held -= of_key.size;
                *len -= of_key.rows.len();
                of_key.rows.range(&[], None).for_each(|(row, entry)| gone(key, row, &entry.value));
                false
            });
        }
        if keys.capacity() > 4 * keys.len() {
            keys.shrink_to(2 * keys.len());
        }
    }

    /// Puts a row back as the changelog has it, or takes it away; tells which.
    pub(crate) fn restore(&mut self, record_key: &[u8], value: Option<V>) -> Result<RowId, String> {
        let id = RowId::decode(record_key)?;
        if let Some(of_key) = self.keys.get_mut(&id.key)
            && let Some((_, entry)) = of_key.rows.remove(&id.row)
        {
            self.len -= 1;
            self.held -= u64::from(entry.size);
            of_key.size -= u64::from(entry.size);
            if of_key.rows.is_empty() {
                self.keys.remove(&id.key);
            }
        }
        match value {
            Some(value) => {
                Ok(self.place(&id.key, &id.row, Entry { value, changed: false, logged: true, size: 0 }))
            }
            None => Ok(id),
        }
    }

    fn place(&mut self, key: &[u8], row: &[u8], entry: Entry<V>) -> RowId {
        let key: Arc<[u8]> = match self.keys.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => key.into(),
        };
        let row: Arc<[u8]> = row.into();
        let few = || KeyRows { rows: RowsOfKey::Few(Vec::with_capacity(1)), size: 0, used: true };
        let of_key = self.keys.entry(Arc::clone(&key)).or_insert_with(few);
        of_key.rows.insert(Arc::clone(&row), entry);
        self.len += 1;
        RowId { key, row }
    }
}

impl RowId {
    /// The key in the changelog.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.row);
        out.extend_from_slice(&(self.key.len() as u32).to_be_bytes());
    }

    /// Reads a key of the changelog.
    pub(crate) fn decode(record_key: &[u8]) -> Result<RowId, String> {
        let parts = record_key
            .split_last_chunk()
            .and_then(|(rest, length)| rest.split_at_checked(u32::from_be_bytes(*length) as usize));
        match parts {
            Some((key, row)) if !key.is_empty() => Ok(RowId { key: key.into(), row: row.into() }),
            _ => Err("a damaged key of a row".to_owned()),
        }
    }
}

impl<V> RowsOfKey<V> {
    fn len(&self) -> usize {
        match self {
            RowsOfKey::Few(rows) => rows.len(),
            RowsOfKey::Many(rows) => rows.len(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            RowsOfKey::Few(rows) => rows.is_empty(),
            RowsOfKey::Many(rows) => rows.is_empty(),
        }
    }

    fn get(&self, row: &[u8]) -> Option<&Entry<V>> {
        match self {
            RowsOfKey::Few(rows) => find(rows, row).ok().map(|at| &rows[at].1),
            RowsOfKey::Many(rows) => rows.get(row),
        }
    }

    fn get_mut(&mut self, row: &[u8]) -> Option<(&Arc<[u8]>, &mut Entry<V>)> {
        match self {
            RowsOfKey::Few(rows) => {
                let at = find(rows, row).ok()?;
                let (row, entry) = &mut rows[at];
                Some((row, entry))
            }
            RowsOfKey::Many(rows) => {
                rows.range_mut::<[u8], _>((Bound::Included(row), Bound::Included(row))).next()
            }
        }
    }

    fn insert(&mut self, row: Arc<[u8]>, entry: Entry<V>) {
        match self {
            RowsOfKey::Few(rows) => match find(rows, &row) {
                Ok(at) => rows[at].1 = entry,
                Err(at) if rows.len() < FEW => rows.insert(at, (row, entry)),
                Err(_) => {
                    let mut many: BTreeMap<_, _> = std::mem::take(rows).into_iter().collect();
                    many.insert(row, entry);
                    *self = RowsOfKey::Many(many);
                }
            },
            RowsOfKey::Many(rows) => {
                rows.insert(row, entry);
            }
        }
    }

    fn remove(&mut self, row: &[u8]) -> Option<(Arc<[u8]>, Entry<V>)> {
        match self {
            RowsOfKey::Few(rows) => find(rows, row).ok().map(|at| rows.remove(at)),
            RowsOfKey::Many(rows) => rows.remove_entry(row),
        }
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>) -> Range<'_, V> {
        match self {
            RowsOfKey::Few(rows) => {
                let start = rows.partition_point(|(row, _)| **row < *from);
                let end = to.map_or(rows.len(), |to| rows.partition_point(|(row, _)| **row < *to));
                Range::Few(rows[start..end.max(start)].iter())
            }
            RowsOfKey::Many(_) if to.is_some_and(|to| to <= from) => Range::Few([].iter()),
            RowsOfKey::Many(rows) => {
                let end = to.map_or(Bound::Unbounded, Bound::Excluded);
                Range::Many(rows.range::<[u8], _>((Bound::Included(from), end)))
            }
        }
    }
}

fn find<V>(rows: &[(Arc<[u8]>, Entry<V>)], row: &[u8]) -> Result<usize, usize> {
    rows.binary_search_by(|(known, _)| (**known).cmp(row))
}

enum Range<'r, V> {
    Few(std::slice::Iter<'r, (Arc<[u8]>, Entry<V>)>),
    Many(btree_map::Range<'r, Arc<[u8]>, Entry<V>>),
}

impl<'r, V> Iterator for Range<'r, V> {
    type Item = (&'r Arc<[u8]>, &'r Entry<V>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Range::Few(rows) => rows.next().map(|(row, entry)| (row, entry)),
            Range::Many(rows) => rows.next(),
        }
    }
}

impl<V> DoubleEndedIterator for Range<'_, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Range::Few(rows) => rows.next_back().map(|(row, entry)| (row, entry)),
            Range::Many(rows) => rows.next_back(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::changelog::Appended;
    use super::*;

    #[derive(Default)]
    struct Log(BTreeMap<Vec<u8>, Vec<u8>>);

    impl ChangelogSink for Log {
        fn put(&mut self, _table: u8, key: &[u8], value: Option<&[u8]>) {
            match value {
                Some(value) => self.0.insert(key.to_vec(), value.to_vec()),
                None => self.0.remove(key),
            };
        }

        fn append(&mut self, _row: Appended<'_>) {
            unreachable!("a table is no log");
        }

        fn forget(&mut self, _table: u8, _span: i64) {
            unreachable!("a table is no log");
        }
    }

    fn contents(table: &RowTable<u8>) -> Vec<(Vec<u8>, Vec<u8>, u8)> {
        let mut found = Vec::new();
        for (key, of_key) in &table.keys {
            let rows = of_key.rows.range(&[], None);
            found.extend(rows.map(|(row, entry)| (key.to_vec(), row.to_vec(), entry.value)));
        }
        found.sort();
        found
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_maps_and_the_changelog_is_the_state(
            steps in prop::collection::vec((0_u8..3, 0_u8..40, 0_u8..4, any::<u8>()), 0..200),
            from in 0_u8..40,
            to in prop::option::of(0_u8..40),
        ) {
            let mut table = RowTable::default();
            let mut model: BTreeMap<(u8, u8), u8> = BTreeMap::new();
            let mut log = Log::default();
            for (key, row, step, value) in steps {
                let (k, r) = ([7, key], [row]);
                match step {
                    0 if !model.contains_key(&(key, row)) => {
                        table.insert(&k, &r, value);
                        model.insert((key, row), value);
                    }
                    0 | 1 => {
                        prop_assert_eq!(table.remove(&k, &r), model.remove(&(key, row)));
                    }
                    2 => {
                        prop_assert_eq!(table.get(&k, &r), model.get(&(key, row)));
                        if let Some(known) = table.get_mut(&k, &r) {
                            *known = value;
                            model.insert((key, row), value);
                        }
                    }
                    _ => table.drain_changes(0, &mut log, |value, out| out.push(*value)),
                }
            }
            let expected: Vec<_> =
                model.iter().map(|((key, row), value)| (vec![7, *key], vec![*row], *value)).collect();
            prop_assert_eq!(contents(&table), expected);
            prop_assert_eq!(table.len(), model.len());
            let in_range: Vec<u8> = table.range(&[7, 1], &[from], to.as_ref().map(std::slice::from_ref))
                .map(|(row, _)| row[0]).collect();
            let wanted: Vec<u8> = model.keys()
                .filter(|(key, row)| *key == 1 && *row >= from && to.is_none_or(|to| *row < to))
                .map(|(_, row)| *row).collect();
            prop_assert_eq!(in_range, wanted);

            table.drain_changes(0, &mut log, |value, out| out.push(*value));
            let mut restored = RowTable::default();
            for (key, value) in &log.0 {
                restored.restore(key, Some(value[0])).unwrap();
            }
            prop_assert_eq!(contents(&restored), contents(&table));
        }
    }

    #[test]
    fn a_damaged_key_is_seen() {
        let mut table: RowTable<u8> = RowTable::default();
        for key in [&[][..], &[0, 0, 0], &[0, 0, 0, 0], &[1, 2, 0, 0, 0, 9]] {
            assert!(table.restore(key, None).is_err(), "{key:?}");
        }
    }
}
