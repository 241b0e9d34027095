//! Another plan for a pipeline that has state.
//!
//! ```text
//! old plan ─┐                  kept: same identity ──────────► state as it is ──┐
//!           ├─► Upgrade ─────► migrated ───────► its state, entry by entry ──────┼─► snapshot + progress record
//! new plan ─┘                  rebuilt, new ─► Shadow: replay ─► its state ──────┘    of one epoch that does nothing
//!                              dropped
//! ```
//!
//! An operator is *kept* when all it computes, down to the sources, is the same in both plans. It is *migrated* when the
//! old plan's state has all that it needs (`migrate`). Any other is *rebuilt*: the new plan runs over the whole input up to the cut, unseen, and what its
//! operators hold then is taken. So what comes behind the cut is what a pipeline gives that has run the new plan from
//! the start; what came before it is what the old plan gave.

mod carry;
mod compare;
mod compose;
mod migrate;
mod seen;
mod shadow;

pub use compare::{Fate, OperatorChange, Upgrade};
pub use compose::UpgradeError;
pub use shadow::{Shadow, ShadowError};
