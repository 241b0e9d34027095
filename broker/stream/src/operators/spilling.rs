//! Operators that may leave entries in a cold store: what an epoch's rows touch is read back before it is computed.

use std::ops::RangeInclusive;

use super::{EpochTime, Keyed, Place};
use crate::state::{ColdError, ColdTables, Growth};

/// An operator of one shard whose entries need not all be in memory.
pub(crate) trait Spilling {
    /// Reads back what the epoch's rows and its time touch and is not here. Behind it the operator finds everything it looks
    /// for. What is to be forgotten may be so here already, lest all of it is here at once.
    fn read_back(
        &mut self,
        time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError>;

    /// Finds the keys that are due first at an end, behind a place: [`Operator::due_rows`](super::Operator::due_rows) is asked
    /// next. Its own are those of some key groups.
    fn find_due(
        &mut self,
        _from: &Place,
        _end: i64,
        _most: usize,
        _groups: RangeInclusive<u8>,
        _cold: &ColdTables,
    ) -> Result<(), ColdError> {
        Ok(())
    }

    /// Reads back what is due between two places and is not here, behind the epoch's rows and before the operator is advanced.
    fn read_due(
        &mut self,
        _from: &Place,
        _to: &Place,
        _groups: RangeInclusive<u8>,
        _cold: &ColdTables,
    ) -> Result<(), ColdError> {
        Ok(())
    }

    /// Bytes of the entries that are here.
    fn held(&self) -> u64;

    /// Lets go of entries until those that are left have `keep` bytes at most. Every change was handed to the changelog.
    fn let_go(&mut self, keep: u64);

    /// By how much all of its entries have grown since it was last asked, here or not.
    fn take_growth(&mut self) -> Growth;

    /// The tables of which every entry is shown to it when a run begins.
    fn shown_tables(&self) -> &'static [u8] {
        &[]
    }

    /// Sees an entry of one of them, and what it counts for.
    fn show(&mut self, _table: u8, _key: &[u8], _value: &[u8], _size: u32) -> Result<(), ColdError> {
        Ok(())
    }

    /// Whether a table's entries count as the operator's, or are parts of those of another table.
    fn counts(&self, _table: u8) -> bool {
        true
    }
}

/// Of so many keys that are to be forgotten the entries are here at once.
pub(crate) const FORGOTTEN_AT_ONCE: usize = 1_024;

/// A part's share of what may be kept of all.
pub(crate) fn share(part: u64, keep: u64, all: u64) -> u64 {
    let share = u128::from(part) * u128::from(keep) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// The keys of rows that are not here, in their order, each once.
pub(crate) fn missing<'k>(
    inputs: impl IntoIterator<Item = &'k Keyed>,
    mut holds: impl FnMut(&[u8]) -> bool,
) -> Vec<&'k [u8]> {
    let mut missing = Vec::new();
    for Keyed { rows, keys } in inputs {
        missing.extend((0..rows.len()).map(|row| keys.get(row)).filter(|key| !holds(key)));
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}
