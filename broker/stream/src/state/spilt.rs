//! The state of a pipeline whose entries need not be in memory: a cold store, and before it the epochs that are not in it
//! yet.
//!
//! ```text
//! epoch computed ─► pending ─► committed ─► cold store          an entry may leave memory as soon as it is pending
//!                      ▲                        ▲
//!                      └──── reads: newest ─────┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::changelog::{ChangelogKey, RECORD_HEADER};
use super::cold::{COLD_VERSION, ColdError, ColdMark, ColdPosition, ColdSize, ColdStore, Growth, entry_size};

/// A record of the changelog: its key, and the value or that it is gone.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// A cold store with what is on the way to it.
#[derive(Debug)]
pub(crate) struct Spilt {
    store: Arc<dyn ColdStore>,
    /// How many bytes of state should be in memory at most.
    keep: u64,
    /// How much each operator keeps, as of the last epoch computed.
    sizes: BTreeMap<u32, ColdSize>,
    /// Epochs that are computed and not in the store, oldest first.
    pending: VecDeque<Arc<Pending>>,
    /// The changes of the epoch that is being computed.
    current: Pending,
}

#[derive(Debug, Default)]
struct Pending {
    epoch: u64,
    /// By operator; each in the order of the keys, each key once.
    changes: BTreeMap<u32, Vec<Change>>,
    sizes: BTreeMap<u32, ColdSize>,
    bytes: u64,
}

/// An operator's entries wherever they are, for one epoch.
#[derive(Debug)]
pub(crate) struct ColdTables {
    store: Arc<dyn ColdStore>,
    /// The newest epoch first.
    pending: Vec<Arc<Pending>>,
    operator: u32,
    /// What was read counts for so much.
    read: AtomicU64,
    /// For how much it may.
    room: u64,
}

impl Spilt {
    /// Entries are in a store that is as its mark says.
    pub(crate) fn new(store: Arc<dyn ColdStore>, keep: u64, sizes: BTreeMap<u32, ColdSize>) -> Spilt {
        Spilt { store, keep, sizes, pending: VecDeque::new(), current: Pending::default() }
    }

    /// How many bytes of state should be in memory at most.
    pub(crate) fn keep(&self) -> u64 {
        self.keep
    }

    pub(crate) fn set_keep(&mut self, keep: u64) {
        self.keep = keep;
    }

    pub(crate) fn store(&self) -> Arc<dyn ColdStore> {
        Arc::clone(&self.store)
    }

    /// How much an operator keeps.
    pub(crate) fn size(&self, operator: u32) -> ColdSize {
        self.sizes.get(&operator).copied().unwrap_or_default()
    }

    pub(crate) fn sizes(&self) -> &BTreeMap<u32, ColdSize> {
        &self.sizes
    }

    pub(crate) fn grow(&mut self, operator: u32, growth: Growth) {
        self.sizes.entry(operator).or_default().grow(growth);
    }

    /// Bytes of changes that are not in the store yet.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending.iter().map(|pending| pending.bytes).sum::<u64>() + self.current.bytes
    }

    /// An operator's entries. Those that an epoch reads may count for as much as what should be in memory, or for `room` if
    /// that is more.
    pub(crate) fn tables(&self, operator: u32, room: u64) -> ColdTables {
        let pending = self.pending.iter().rev().cloned().collect();
        let room = room.max(self.keep);
        ColdTables { store: Arc::clone(&self.store), pending, operator, read: AtomicU64::new(0), room }
    }

    /// Takes what the epoch that is being computed has changed of an operator, in the order of the keys.
    pub(crate) fn changed(&mut self, operator: u32, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        let size = |(key, value): &Change| entry_size(key.len(), value.as_ref().map_or(0, Vec::len));
        self.current.bytes += changes.iter().map(|change| u64::from(size(change))).sum::<u64>();
        self.current.changes.insert(operator, changes);
    }

    /// The epoch is computed.
    pub(crate) fn end_epoch(&mut self, epoch: u64) {
        let mut ended = std::mem::take(&mut self.current);
        ended.epoch = epoch;
        ended.sizes = self.sizes.clone();
        self.pending.push_back(Arc::new(ended));
    }

    /// An epoch is committed: its changes go into the store.
    pub(crate) fn committed(&mut self, epoch: u64, at: ColdPosition) -> Result<(), ColdError> {
        let Some(pending) = self.pending.front().filter(|pending| pending.epoch == epoch) else {
            return Err(ColdError::Failed {
                what: format!("epoch {epoch} is not the next one of the store"),
            });
        };
        let mark = ColdMark { version: COLD_VERSION, at, sizes: pending.sizes.clone() };
        let changes = pending.changes.values().flatten();
        self.store.write(&mut changes.map(|(key, value)| (&**key, value.as_deref())), &mark)?;
        self.pending.pop_front();
        Ok(())
    }
}

impl ColdTables {
    /// The same for entries that do not stay, of which the reader has few at a time.
    pub(crate) fn passing(&self) -> ColdTables {
        ColdTables {
            store: Arc::clone(&self.store),
            pending: self.pending.clone(),
            operator: self.operator,
            read: AtomicU64::new(0),
            room: u64::MAX,
        }
    }

    /// An entry is read that stays. However the shards share them, it is too much together or not.
    pub(crate) fn count(&self, size: u32) -> Result<(), ColdError> {
        let bytes = self.read.fetch_add(u64::from(size), Ordering::Relaxed) + u64::from(size);
        match bytes > self.room {
            true => Err(ColdError::TooMuch { bytes, limit: self.room }),
            false => Ok(()),
        }
    }

    fn record_key(&self, table: u8, key: &[u8]) -> Vec<u8> {
        let mut record_key = Vec::with_capacity(key.len() + RECORD_HEADER);
        ChangelogKey { operator: self.operator, table, key }.encode(&mut record_key);
        record_key
    }

    /// The changes that are on their way to the store, newest epoch first.
    fn pending(&self) -> impl DoubleEndedIterator<Item = &[Change]> {
        self.pending.iter().filter_map(|pending| Some(&**pending.changes.get(&self.operator)?))
    }

    /// An entry of a table: its value, and what it counts for.
    pub(crate) fn get(&self, table: u8, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, ColdError> {
        let record_key = self.record_key(table, key);
        let sized = |value: Vec<u8>| {
            let size = entry_size(record_key.len(), value.len());
            self.count(size).map(|()| (value, size))
        };
        for changes in self.pending() {
            if let Ok(found) = changes.binary_search_by(|(known, _)| known.cmp(&record_key)) {
                return changes[found].1.clone().map(sized).transpose();
            }
        }
        self.store.get(&record_key)?.map(sized).transpose()
    }

    /// Hands over the entries of a table whose keys begin with `prefix`, in order: key, value, and what each counts for.
    pub(crate) fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        mut take: impl FnMut(&[u8], &[u8], u32) -> Result<(), ColdError>,
    ) -> Result<(), ColdError> {
        self.scan_from(table, prefix, prefix, |key, value, size| {
            self.count(size)?;
            take(key, value, size).map(|()| true)
        })
    }

    /// The same from a key on, which begins with `prefix`, until `take` has enough. Of the entries it is up to `take` which
    /// [count](ColdTables::count).
    pub(crate) fn scan_from(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        mut take: impl FnMut(&[u8], &[u8], u32) -> Result<bool, ColdError>,
    ) -> Result<(), ColdError> {
        let [prefix, from] = [prefix, from].map(|key| self.record_key(table, key));
        let header = self.record_key(table, &[]).len();
        let mut newer: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        for changes in self.pending().rev() {
            let first = changes.partition_point(|(key, _)| *key < from);
            let with = changes[first..].iter().take_while(|(key, _)| key.starts_with(&prefix));
            newer.extend(with.map(|(key, value)| (&**key, value.as_deref())));
        }
        let mut newer = newer.into_iter().peekable();
        let mut give = |key: &[u8], value: Option<&[u8]>| match value {
            Some(value) => take(&key[header..], value, entry_size(key.len(), value.len())),
            None => Ok(true),
        };
        let mut goes_on = true;
        self.store.scan_from(&prefix, &from, &mut |key, value| {
            while let Some((key, value)) = newer.next_if(|(newer, _)| *newer < key) {
                goes_on = give(key, value)?;
                if !goes_on {
                    return Ok(false);
                }
            }
            goes_on = match newer.next_if(|(newer, _)| *newer == key) {
                Some((key, value)) => give(key, value)?,
                None => give(key, Some(value))?,
            };
            Ok(goes_on)
        })?;
        while goes_on && let Some((key, value)) = newer.next() {
            goes_on = give(key, value)?;
        }
        Ok(())
    }
}
