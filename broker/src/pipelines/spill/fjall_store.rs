//! A store of a pipeline's state in fjall, a log-structured merge tree.
//!
//! ```text
//! [0]              that there is a store, and how large its tables in memory get; written to a table when it is made, and never
//!                  again
//! [1]              its mark
//! [2] key          an entry
//! [2] front [0]    the entries whose keys are longer than fjall takes, and begin with these bytes; see `long_keys.rs`
//! ```
//!
//! Those come where their keys do: behind the key that is these bytes, and before every other one.
//!
//! Its journal is not flushed: what the power takes is in the changelog. What is left is what was written up to some point
//! only within one keyspace, because each flushes its tables by itself: so there is one. It is written by the pipeline's
//! thread, and flushes and compacts on a thread of its own.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::ErrorKind;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::compaction::Leveled;
use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use logmill_stream::{ColdError, ColdFill, ColdMark, ColdStore, TakeSome};

use super::long_keys::{self, MAX_KEY};

const THERE: &[u8] = &[0];
const MARK: &[u8] = &[1];
const ENTRY: u8 = 2;

/// What tables in memory may have had, at most, in a store that does not say it.
const OLD_BUFFER_BYTES: u64 = 64 << 20;

/// A key of fjall's that stands for long keys is so long; no other is.
const LONG_KEYS: usize = MAX_KEY + 2;

/// The least a journal may grow to before what it holds is flushed to tables; fjall takes no less.
const JOURNAL_BYTES: u64 = 64 << 20;

/// What tables in memory, tables on disk and the cache of blocks have at least and at most, in bytes. A table is flushed
/// when it is complete, and whoever else has to do with the device waits for that: for some ms, with these.
const BUFFER_BYTES: (u64, u64) = (1 << 20, 16 << 20);
const TABLE_BYTES: (u64, u64) = (4 << 20, 16 << 20);
const CACHE_BYTES: (u64, u64) = (1 << 20, 1 << 30);

/// How long a write waits for tables in memory to be flushed, when those are twice as large as they should be, in all and
/// between two looks. A compaction may take longer: then the next write waits again.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// Files that are open at a time.
const OPEN_FILES: usize = 128;

pub(super) struct FjallStore {
    database: Database,
    state: Keyspace,
    /// At how many bytes its tables in memory are full.
    pub(super) buffer: u64,
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore").field("path", &self.state.path()).finish_non_exhaustive()
    }
}

/// The key of fjall's of an entry.
fn stored(key: &[u8]) -> Vec<u8> {
    [&[ENTRY][..], key].concat()
}

/// The key of fjall's of the entries with long keys that begin so.
fn stored_long(front: &[u8]) -> Vec<u8> {
    [&[ENTRY][..], front, &[0][..]].concat()
}

/// The end of the keys that begin with a prefix, of which not every byte is the greatest.
fn behind(mut prefix: Vec<u8>) -> Bound<Vec<u8>> {
    while prefix.pop_if(|last| *last == u8::MAX).is_some() {}
    let Some(last) = prefix.last_mut() else { return Bound::Unbounded };
    *last += 1;
    Bound::Excluded(prefix)
}

impl FjallStore {
    /// Opens the store in a directory, or makes one. Its tables in memory and its cache take about `memory` bytes.
    pub(super) fn open(path: &Path, memory: u64) -> Result<FjallStore, ColdError> {
        // What it does not expect of its own files is a panic in places.
        let opened = catch_unwind(AssertUnwindSafe(|| FjallStore::try_open(path, memory)));
        match opened {
            Ok(Ok(Some(store))) => Ok(store),
            Ok(Err(error @ (fjall::Error::Io(_) | fjall::Error::Locked))) => Err(failed(&error)),
            Ok(Err(error)) => Err(ColdError::Damaged { what: error.to_string() }),
            Ok(Ok(None)) | Err(_) => {
                Err(ColdError::Damaged { what: "its files are not what they were".to_owned() })
            }
        }
    }

    /// `None` when there is a store without its tables: fjall makes new ones where it finds none.
    fn try_open(path: &Path, memory: u64) -> fjall::Result<Option<FjallStore>> {
        let buffer = (memory / 4).clamp(BUFFER_BYTES.0, BUFFER_BYTES.1);
        let cache = (memory / 2).clamp(CACHE_BYTES.0, CACHE_BYTES.1);
        let database = Database::builder(path)
            .cache_size(cache)
            .max_cached_files(Some(OPEN_FILES))
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()?;
        let tables = Leveled::default().with_table_target_size(buffer.clamp(TABLE_BYTES.0, TABLE_BYTES.1));
        // An index or a filter that is one block is larger than the cache can be, and is read whole for each key.
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(buffer)
                .compaction_strategy(Arc::new(tables))
                .index_block_partitioning_policy(PartitioningPolicy::all(true))
                .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        };
        let state = database.keyspace("state", options)?;
        // A store keeps the options that it was made with, whatever memory there is now.
        let buffer = match state.get(THERE)? {
            Some(said) => said.as_ref().try_into().map_or(OLD_BUFFER_BYTES, u64::from_be_bytes),
            None if !state.is_empty()? => return Ok(None),
            None => {
                let mut making = state.start_ingestion()?;
                making.write(THERE, buffer.to_be_bytes())?;
                making.finish()?;
                buffer
            }
        };
        Ok(Some(FjallStore { database, state, buffer }))
    }

    /// Waits while its one thread compacts and flushes nothing: fjall looks only at tables that are full, and makes no
    /// other full meanwhile.
    fn wait_for_flushes(&self) -> Result<(), ColdError> {
        let since = Instant::now();
        while self.database.write_buffer_size() > 2 * self.buffer && since.elapsed() < PATIENCE {
            // It says when the thread has failed.
            self.database.persist(PersistMode::Buffer).map_err(|error| failed(&error))?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The long keys that begin with these bytes.
    fn long(&self, front: &[u8]) -> Result<long_keys::Entries, ColdError> {
        let found = self.state.get(stored_long(front)).map_err(|error| read_failed(&error))?;
        found.map_or_else(|| Ok(BTreeMap::new()), |entries| long_keys::decode(&entries))
    }
}

/// Why a call failed: for want of room, or otherwise.
fn failed(error: &fjall::Error) -> ColdError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(io, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return ColdError::Full { what: error.to_string() };
        }
        source = error.source();
    }
    // Errors of the trees do not all say what they come from.
    let what = error.to_string();
    match what.contains("StorageFull") || what.contains("QuotaExceeded") {
        true => ColdError::Full { what },
        false => ColdError::Failed { what },
    }
}

fn read_failed(error: &fjall::Error) -> ColdError {
    match error {
        fjall::Error::Io(_) | fjall::Error::Poisoned | fjall::Error::Locked => failed(error),
        error => ColdError::Damaged { what: error.to_string() },
    }
}

impl ColdStore for FjallStore {
    fn mark(&self) -> Result<Option<ColdMark>, ColdError> {
        let Some(mark) = self.state.get(MARK).map_err(|error| read_failed(&error))? else { return Ok(None) };
        let mark = serde_json::from_slice(&mark);
        mark.map(Some).map_err(|error| ColdError::Damaged { what: format!("its mark: {error}") })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ColdError> {
        if key.len() <= MAX_KEY {
            let found = self.state.get(stored(key)).map_err(|error| read_failed(&error))?;
            return Ok(found.map(|value| value.to_vec()));
        }
        let (front, rest) = key.split_at(MAX_KEY);
        Ok(self.long(front)?.remove(rest))
    }

    fn scan_from(&self, prefix: &[u8], from: &[u8], take: &mut TakeSome<'_>) -> Result<(), ColdError> {
        if let Some((front, rest)) = prefix.split_at_checked(MAX_KEY).filter(|(_, rest)| !rest.is_empty()) {
            let long = self.long(front)?;
            for (rest, value) in long.range(rest.to_vec()..).take_while(|(key, _)| key.starts_with(rest)) {
                let key = [front, rest].concat();
                if *key >= *from && !take(&key, value)? {
                    break;
                }
            }
            return Ok(());
        }
        // What is longer than a key may be comes behind the key that it begins with.
        let first = stored(&from[..from.len().min(MAX_KEY)]);
        for guard in self.state.range((Bound::Included(first), behind(stored(prefix)))) {
            let (key, value) = guard.into_inner().map_err(|error| read_failed(&error))?;
            if key.len() < LONG_KEYS {
                let key = &key[1..];
                if key >= from && !take(key, &value)? {
                    return Ok(());
                }
                continue;
            }
            for (rest, value) in long_keys::decode(&value)? {
                let key = [&key[1..=MAX_KEY], &rest].concat();
                if *key >= *from && !take(&key, &value)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn write(
        &self,
        changes: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        mark: &ColdMark,
    ) -> Result<(), ColdError> {
        let mut batch = self.database.batch();
        let mut long = long_keys::Changes::default();
        for (key, value) in changes {
            match (key.len() <= MAX_KEY, value) {
                (true, Some(value)) => batch.insert(&self.state, stored(key), value),
                (true, None) => batch.remove(&self.state, stored(key)),
                (false, value) => long.put(key, value),
            }
        }
        for (front, entries) in long.merged(|front| self.long(front))? {
            match entries {
                Some(entries) => batch.insert(&self.state, stored_long(&front), entries),
                None => batch.remove(&self.state, stored_long(&front)),
            }
        }
        let mark = serde_json::to_vec(mark).expect("a mark is plain data");
        batch.insert(&self.state, MARK, mark);
        batch.commit().map_err(|error| failed(&error))?;
        self.wait_for_flushes()
    }

    fn fill(&self) -> Result<Box<dyn ColdFill + '_>, ColdError> {
        let mut filling = Some(self.state.start_ingestion().map_err(|error| failed(&error))?);
        let step = move |entry: Option<(Vec<u8>, &[u8])>| {
            let done = match (entry, &mut filling) {
                (Some((key, value)), Some(filling)) => filling.write(key, value),
                (None, filling) => filling.take().map_or(Ok(()), |filling| filling.finish()),
                (Some(_), None) => Ok(()),
            };
            done.map_err(|error| failed(&error))
        };
        Ok(Box::new(Filling { step: Box::new(step), long: long_keys::Changes::default() }))
    }
}

/// Takes an entry of fjall's, or that there are no more.
type Step<'s> = Box<dyn FnMut(Option<(Vec<u8>, &[u8])>) -> Result<(), ColdError> + 's>;

struct Filling<'s> {
    step: Step<'s>,
    /// The last keys, if they are long: all of them begin alike, for keys come in order.
    long: long_keys::Changes,
}

impl Filling<'_> {
    /// Writes the long keys there are, but for those that begin so.
    fn write_long(&mut self, but: Option<&[u8]>) -> Result<(), ColdError> {
        if self.long.is_empty() || self.long.begin_with(but) {
            return Ok(());
        }
        for (front, entries) in std::mem::take(&mut self.long).merged(|_| Ok(BTreeMap::new()))? {
            if let Some(entries) = entries {
                (self.step)(Some((stored_long(&front), &entries)))?;
            }
        }
        Ok(())
    }
}

impl ColdFill for Filling<'_> {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), ColdError> {
        if let Some((front, rest)) = key.split_at_checked(MAX_KEY)
            && !rest.is_empty()
        {
            self.write_long(Some(front))?;
            self.long.put(key, Some(value));
            return Ok(());
        }
        self.write_long(None)?;
        (self.step)(Some((stored(key), value)))
    }

    fn finish(mut self: Box<Self>) -> Result<(), ColdError> {
        self.write_long(None)?;
        (self.step)(None)
    }
}
