//! A cold store in memory, for tests and simulations: it loses what a crash loses, and fails when it is told to.

use std::collections::BTreeMap;
#[expect(clippy::disallowed_types, reason = "it stands for a disk, which outlives who uses it")]
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cold::{ColdError, ColdFill, ColdMark, ColdStore, TakeSome};

/// A cold store in memory.
#[derive(Debug, Default)]
#[expect(clippy::disallowed_types, reason = "it stands for a disk, which outlives who uses it")]
pub struct MemoryColdStore(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    now: Stored,
    /// What a crash cannot take away.
    synced: Stored,
    /// What was written since, oldest first.
    unsynced: Vec<(Vec<Change>, ColdMark)>,
    /// So many calls go well.
    calls_left: Option<usize>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Stored {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    mark: Option<ColdMark>,
}

type Change = (Vec<u8>, Option<Vec<u8>>);

impl Stored {
    fn apply(&mut self, changes: &[Change], mark: &ColdMark) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.entries.insert(key.clone(), value.clone())),
                None => drop(self.entries.remove(key)),
            }
        }
        self.mark = Some(mark.clone());
    }
}

impl MemoryColdStore {
    /// One that is empty.
    pub fn new() -> MemoryColdStore {
        MemoryColdStore::default()
    }

    /// Nothing that is there now is lost any more.
    pub fn sync(&self) {
        let mut contents = self.contents();
        contents.synced = contents.now.clone();
        contents.unsynced.clear();
    }

    /// How many writes a crash could take away.
    pub fn unsynced_writes(&self) -> usize {
        self.contents().unsynced.len()
    }

    /// The power goes: of the writes that are not synced only the first `kept` are still there.
    pub fn crash(&self, kept: usize) {
        let mut contents = self.contents();
        let mut left = contents.synced.clone();
        contents.unsynced.iter().take(kept).for_each(|(changes, mark)| left.apply(changes, mark));
        contents.now = left;
        contents.calls_left = None;
        contents.synced = contents.now.clone();
        contents.unsynced.clear();
    }

    /// Every call fails once so many have gone well.
    pub fn fail_after(&self, calls: usize) {
        self.contents().calls_left = Some(calls);
    }

    /// Everything that is in it, in order.
    pub fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.contents().now.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Changes a value behind everybody's back.
    pub fn damage(&self, key: &[u8], value: &[u8]) {
        self.contents().now.entries.insert(key.to_vec(), value.to_vec());
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) -> Result<MutexGuard<'_, Contents>, ColdError> {
        let mut contents = self.contents();
        match &mut contents.calls_left {
            Some(0) => return Err(ColdError::Failed { what: "it was told to fail".to_owned() }),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(contents)
    }
}

impl ColdStore for MemoryColdStore {
    fn mark(&self) -> Result<Option<ColdMark>, ColdError> {
        Ok(self.call()?.now.mark.clone())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ColdError> {
        Ok(self.call()?.now.entries.get(key).cloned())
    }

    fn scan_from(&self, prefix: &[u8], from: &[u8], take: &mut TakeSome<'_>) -> Result<(), ColdError> {
        let contents = self.call()?;
        let entries = contents.now.entries.range(from.to_vec()..);
        for (key, value) in entries.take_while(|(key, _)| key.starts_with(prefix)) {
            if !take(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        changes: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        mark: &ColdMark,
    ) -> Result<(), ColdError> {
        let changes: Vec<Change> =
            changes.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect();
        let mut contents = self.call()?;
        contents.now.apply(&changes, mark);
        contents.unsynced.push((changes, mark.clone()));
        Ok(())
    }

    fn fill(&self) -> Result<Box<dyn ColdFill + '_>, ColdError> {
        let mut contents = self.call()?;
        *contents = Contents { calls_left: contents.calls_left, ..Contents::default() };
        Ok(Box::new(Filling { store: self, last: None }))
    }
}

struct Filling<'s> {
    store: &'s MemoryColdStore,
    last: Option<Vec<u8>>,
}

impl ColdFill for Filling<'_> {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), ColdError> {
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Err(ColdError::damaged("its entries do not come in order"));
        }
        self.last = Some(key.to_vec());
        self.store.call()?.now.entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ColdError> {
        let mut contents = self.store.call()?;
        contents.synced = contents.now.clone();
        Ok(())
    }
}
