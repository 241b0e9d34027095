//! What is under way in groups: gone when the machine is.

use std::collections::BTreeMap;

use super::live::Live;
use crate::Str;
use crate::deadlines::Deadlines;

/// Live groups with their parked requests, and deadlines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    pub(super) live: BTreeMap<Str, Live>,
    pub(super) deadlines: Deadlines<(Str, Timer)>,
}

/// What a group can wait for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Members to join (again).
    Join,
    /// Members to fetch their assignment.
    Sync,
    /// A member, or an expected one, to be heard of.
    Session(Str),
    /// Offsets to expire, or an empty group without offsets to be deleted.
    Expiry,
}

impl Waiting {
    pub(super) fn new() -> Waiting {
        Waiting { live: BTreeMap::new(), deadlines: Deadlines::new() }
    }
}
