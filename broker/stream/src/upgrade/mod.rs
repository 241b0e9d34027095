//! Another plan for a pipeline that has state.
//!
//! ```text
//! old plan ─┐                  kept: same identity ──────────► state as it is ──┐
//!           ├─► Upgrade ─────► rebuilt, new ─► Shadow: replay ─► its state ──────┼─► snapshot + progress record
//! new plan ─┘                  dropped                                          ┘    of one epoch that does nothing
//! ```
//!
//! An operator is *kept* when all it computes, down to the sources, is the same in both plans: nothing else may be taken
//! for the same. Any other is *rebuilt*: the new plan runs over the whole input up to the cut, unseen, and what its
//! operators hold then is taken. So what comes behind the cut is what a pipeline gives that has run the new plan from
//! the start; what came before it is what the old plan gave.

mod compare;
mod compose;
mod shadow;

pub use compare::{Fate, OperatorChange, Upgrade};
pub use compose::UpgradeError;
pub use shadow::{Shadow, ShadowError};
