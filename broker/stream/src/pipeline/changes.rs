//! What an epoch has changed of one operator's state, of all its shards, as records of the changelog.
//!
//! ```text
//! entries, rows of logs ─► one buffer ─► blocks of the rows ─► all of it in the order of the keys ─► changelog
//! ```

use std::collections::BTreeSet;

use crate::state::{Appended, AppendedRows, Blocks, ChangelogKey, ChangelogSink};

/// Where the operator's identity ends in a record's key, and its table and the entry's own key begin.
const SAME: usize = 5;

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
    /// What comes first of the key behind the operator's identity: it settles most comparisons.
    first: u64,
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
        let mut first = [0; 8];
        let own = &self.bytes[start + SAME..key_end];
        let length = own.len().min(first.len());
        first[..length].copy_from_slice(&own[..length]);
        let first = u64::from_be_bytes(first);
        let (end, gone) = (self.bytes.len(), value.is_none());
        self.list.push(Record { first, start, key_end, end, gone, block });
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
        let mut list = std::mem::take(&mut records.list);
        list.sort_by(|left, right| {
            left.first.cmp(&right.first).then_with(|| records.key(left).cmp(records.key(right)))
        });
        for record in &list {
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
