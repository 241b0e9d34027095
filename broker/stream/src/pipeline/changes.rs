//! What an epoch has changed of one operator's state, of all its shards, as records of the changelog.
//!
//! ```text
//! entries, rows of logs ─► one buffer ─► blocks of the rows ─► all of it in the order of the keys ─► changelog
//! ```

use std::collections::BTreeSet;

use crate::state::{Appended, AppendedRows, Blocks, ChangelogKey, ChangelogSink};

/// Collects the changes.
#[derive(Debug)]
pub(super) struct StateChanges {
    identity: u32,
    appended: AppendedRows,
    forgotten: BTreeSet<(u8, i64)>,
    records: Records,
}

/// Records, end to end.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    list: Vec<Record>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    start: usize,
    key_end: usize,
    end: usize,
    gone: bool,
    /// It is a block of rows.
    block: bool,
}

impl Records {
    fn put(&mut self, identity: u32, table: u8, key: &[u8], value: Option<&[u8]>, block: bool) {
        let start = self.bytes.len();
        ChangelogKey { operator: identity, table, key }.encode(&mut self.bytes);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or(&[]));
        let (end, gone) = (self.bytes.len(), value.is_none());
        self.list.push(Record { start, key_end, end, gone, block });
    }

    /// The places of the records in the order of their keys; of equal ones in that in which they were put.
    fn in_order(&self) -> Vec<u32> {
        let keys = || self.list.iter().map(|record| self.key(record));
        // What all keys begin with says nothing: the operator, often the table, and of times most of their bytes.
        let first = keys().next().unwrap_or(&[]);
        let same = keys().fold(first.len(), |same, key| {
            let both = first[..same].iter().zip(key);
            both.take_while(|(first, key)| first == key).count()
        });
        let number = |key: &[u8]| {
            let mut bytes = [0; size_of::<u128>()];
            bytes.iter_mut().zip(&key[same..]).for_each(|(to, from)| *to = *from);
            u128::from_be_bytes(bytes)
        };
        let mut order: Vec<(u128, u32)> = keys().map(number).zip(0..).collect();
        let key = |place: u32| self.key(&self.list[place as usize]);
        order.sort_unstable_by(|left, right| {
            let by_key = left.0.cmp(&right.0).then_with(|| key(left.1).cmp(key(right.1)));
            by_key.then(left.1.cmp(&right.1))
        });
        order.into_iter().map(|(_, place)| place).collect()
    }

    fn key(&self, record: &Record) -> &[u8] {
        &self.bytes[record.start..record.key_end]
    }
}

impl StateChanges {
    /// Of the operator with this identity.
    pub(super) fn of(identity: u32) -> Self {
        let (appended, forgotten) = (AppendedRows::default(), BTreeSet::new());
        Self { identity, appended, forgotten, records: Records::default() }
    }

    /// Gives the records in the order of their keys: how many shards there are must not show. The last argument says whether
    /// it is a block of rows.
    pub(super) fn finish(self, blocks: &mut Blocks, mut put: impl FnMut(&[u8], Option<&[u8]>, bool)) {
        let StateChanges { identity, appended, forgotten, mut records } = self;
        let mut put_block = |table: u8, key: &[u8], value: Option<&[u8]>| {
            records.put(identity, table, key, value, true);
        };
        forgotten.into_iter().for_each(|(table, span)| blocks.forget(table, span, &mut put_block));
        blocks.pack(appended, &mut put_block);
        for place in records.in_order() {
            let record = &records.list[place as usize];
            let value = (!record.gone).then(|| &records.bytes[record.key_end..record.end]);
            put(records.key(record), value, record.block);
        }
    }
}

impl ChangelogSink for StateChanges {
    fn put(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) {
        self.records.put(self.identity, table, key, value, false);
    }

    fn append(&mut self, row: Appended<'_>) {
        self.appended.push(row);
    }

    fn forget(&mut self, table: u8, span: i64) {
        self.forgotten.insert((table, span));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_in_the_order_of_their_keys(
            same in prop::collection::vec(0_u8..2, 0..20),
            keys in prop::collection::vec((0_u8..2, prop::collection::vec(0_u8..2, 0..22), any::<bool>()), 0..40),
        ) {
            let mut changes = StateChanges::of(7);
            let mut expected = Vec::new();
            for (place, (table, key, gone)) in keys.into_iter().enumerate() {
                let key = [&same[..], &key].concat();
                let value = (!gone).then(|| place.to_be_bytes());
                changes.put(table, &key, value.as_ref().map(|value| &value[..]));
                let mut record_key = Vec::new();
                ChangelogKey { operator: 7, table, key: &key }.encode(&mut record_key);
                expected.push((record_key, value.map(|value| value.to_vec())));
            }
            expected.sort_by(|left, right| left.0.cmp(&right.0));
            let mut given = Vec::new();
            changes.finish(&mut Blocks::default(), |key, value, is_block| {
                assert!(!is_block);
                given.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            });
            prop_assert_eq!(given, expected);
        }
    }
}
