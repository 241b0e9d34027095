//! Operators that may leave entries in a cold store: what an epoch's rows touch is read back before it is computed.

use super::Keyed;
use crate::state::{ColdError, ColdTables, Growth};

/// An operator of one shard whose entries need not all be in memory.
pub(crate) trait Spilling {
    /// Reads back what the epoch's rows touch and is not here. Behind it the operator finds everything it looks for.
    fn read_back(&mut self, inputs: &[Vec<Keyed>], cold: &ColdTables) -> Result<(), ColdError>;

    /// Bytes of the entries that are here.
    fn held(&self) -> u64;

    /// Lets go of entries until those that are left have `keep` bytes at most. Every change was handed to the changelog.
    fn let_go(&mut self, keep: u64);

    /// By how much all of its entries have grown since it was last asked, here or not.
    fn take_growth(&mut self) -> Growth;

    /// Whether a table's entries count as the operator's, or are parts of those of another table.
    fn counts(&self, _table: u8) -> bool {
        true
    }
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
