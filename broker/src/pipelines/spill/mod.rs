//! State of pipelines that is not in memory: in a store on disk, which may be lost at any time.
//!
//! ```text
//! epoch durable ─► store (changes and how far they go, in one step) ─► what an epoch touches is read back
//! restart ─► store, if it is this pipeline's ─► the changelog behind it         else: snapshot and changelog into a new one
//!
//! DATA_DIR/pipelines/NAME/spill/      or pipelines.spill_dir/logmill-spill-CLUSTER/NAME/
//! ```
//!
//! A pipeline begins to spill when its state passes half of its budget. The store is never where state is durable: it is
//! written behind the commit and not flushed, and one that is torn, damaged or of something else is thrown away.

mod directory;
mod fjall_store;
mod left_over;
mod long_keys;
mod resuming;
mod room;
#[cfg(test)]
mod tests;

pub(super) use directory::SpillDirectory;
pub use directory::SpillSettings;
pub(super) use left_over::remove_left_over;
pub(super) use resuming::{Spill, position, store_error};

/// How much of a budget state in memory may take before the rest is spilt: what an epoch touches, and the store's own
/// caches, need room beside it.
pub(super) const fn share_of(budget: u64) -> u64 {
    budget / 2
}
