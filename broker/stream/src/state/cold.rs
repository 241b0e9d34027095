//! The seam to state that is not in memory: a store of the whole state, which may be lost at any time.
//!
//! It holds what the compacted changelog holds, under the same keys, as of some committed epoch. It is never where state
//! is durable: whoever finds it torn, damaged or of something else throws it away and fills another one from a snapshot
//! and the changelog. So it may lose what was written last, but not something in the middle.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of what is in a store, and of whose sizes its mark tells; the only one this release reads.
pub const COLD_VERSION: u16 = 5;

/// A store for state that is not in memory. Keys are those of the changelog's records.
pub trait ColdStore: fmt::Debug + Send + Sync {
    /// Where it stands; `None` while it is being filled, or if that was never finished.
    fn mark(&self) -> Result<Option<ColdMark>, ColdError>;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ColdError>;

    /// Hands over the entries whose keys begin with `prefix`, in the order of the keys and from a key on that begins with it,
    /// until `take` has enough.
    fn scan_from(&self, prefix: &[u8], from: &[u8], take: &mut TakeSome<'_>) -> Result<(), ColdError>;

    /// Hands over every entry whose key begins with `prefix`, in the order of the keys.
    fn scan(&self, prefix: &[u8], take: &mut TakeEntry<'_>) -> Result<(), ColdError> {
        self.scan_from(prefix, prefix, &mut |key, value| take(key, value).map(|()| true))
    }

    /// Puts entries, or takes them away, and moves the mark: all of it or nothing, whenever the power goes.
    fn write(
        &self,
        changes: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        mark: &ColdMark,
    ) -> Result<(), ColdError>;

    /// Begins to fill a store that is empty.
    fn fill(&self) -> Result<Box<dyn ColdFill + '_>, ColdError>;
}

/// Takes an entry, key and value.
pub type TakeEntry<'t> = dyn FnMut(&[u8], &[u8]) -> Result<(), ColdError> + 't;

/// Takes an entry, key and value, and says whether it wants another one.
pub type TakeSome<'t> = dyn FnMut(&[u8], &[u8]) -> Result<bool, ColdError> + 't;

/// Fills an empty store.
pub trait ColdFill {
    /// Adds an entry. Keys come in ascending order, each once.
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), ColdError>;

    /// Ends it. The store has no mark yet: the next write brings it.
    fn finish(self: Box<Self>) -> Result<(), ColdError>;
}

/// Which epoch of which pipeline a store holds, and how large the state is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdMark {
    /// The version of what is in the store.
    pub version: u16,
    /// The epoch. The store may hold changes of later ones already, of which the changelog has the newest.
    pub at: ColdPosition,
    /// How much each operator keeps that leaves entries in the store, by its identity; as of what is in the store.
    pub sizes: BTreeMap<u32, ColdSize>,
}

/// A committed epoch, and where its changes end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdPosition {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its plan's fingerprint.
    pub plan: u32,
    /// Which run of the pipeline committed the epoch.
    pub generation: u32,
    /// The epoch.
    pub epoch: u64,
    /// Where its state begins in the changelog; see [`Progress::state_from`](crate::Progress::state_from).
    pub state_from: Option<i64>,
    /// The digest in its progress record.
    pub digest: u32,
    /// The offset of that record in the progress log.
    pub progress_offset: i64,
    /// What tells the pipeline's changelog from another one of the same name.
    pub changelog: String,
    /// The offset behind the last record of the changelog that is in the store.
    pub changelog_end: i64,
}

/// How much an operator keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdSize {
    /// Entries of its tables.
    pub entries: u64,
    /// Bytes of their keys and values, and what an entry costs beside them in memory.
    pub bytes: u64,
}

/// A store that cannot be read, written or used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ColdError {
    /// There is no room: what was to be written is not there.
    #[error("there is no room on the disk: {what}")]
    Full {
        /// What its disk says.
        what: String,
    },
    /// It cannot be read or written.
    #[error("the store cannot be read or written: {what}")]
    Failed {
        /// What went wrong.
        what: String,
    },
    /// More is asked for at a time than there is room for in memory.
    #[error("{bytes} bytes or more are to be read back at once, and {limit} may be")]
    TooMuch {
        /// How many bytes there were when it was stopped.
        bytes: u64,
        /// How many there may be.
        limit: u64,
    },
    /// It holds something that no pipeline of this plan wrote.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
}

impl ColdError {
    /// Something in the store is not what was written.
    pub(crate) fn damaged(what: impl Into<String>) -> ColdError {
        ColdError::Damaged { what: what.into() }
    }
}

/// By how much what an operator keeps has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    pub(crate) entries: i64,
    pub(crate) bytes: i64,
}

impl Growth {
    /// An entry was so large before, if it was there, and is so now.
    pub(crate) fn note(&mut self, before: Option<u32>, after: Option<u32>) {
        self.entries += i64::from(after.is_some()) - i64::from(before.is_some());
        self.bytes += i64::from(after.unwrap_or(0)) - i64::from(before.unwrap_or(0));
    }
}

impl std::ops::Add for Growth {
    type Output = Growth;

    fn add(self, other: Growth) -> Growth {
        Growth { entries: self.entries + other.entries, bytes: self.bytes + other.bytes }
    }
}

/// Something counts for more or less in these sums.
pub(crate) fn resize(sums: &mut [&mut u64], before: u32, after: u32) {
    sums.iter_mut().for_each(|sum| **sum = **sum - u64::from(before) + u64::from(after));
}

impl ColdSize {
    pub(crate) fn grow(&mut self, growth: Growth) {
        self.entries = self.entries.saturating_add_signed(growth.entries);
        self.bytes = self.bytes.saturating_add_signed(growth.bytes);
    }
}

/// What an entry costs beside its key and its value in memory, in bytes.
const ENTRY_BYTES: usize = 64;

/// What an entry counts for: its record's key and value, and what it costs beside them.
pub(crate) fn entry_size(record_key: usize, value: usize) -> u32 {
    u32::try_from(record_key + value + ENTRY_BYTES).unwrap_or(u32::MAX)
}
