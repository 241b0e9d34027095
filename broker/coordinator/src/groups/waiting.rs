//! What is under way in groups: gone when the machine is.

use std::collections::BTreeMap;

use super::consumer::Searches;
use super::live::Live;
use crate::Str;
use crate::deadlines::Deadlines;

/// Live groups with their parked requests, and deadlines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    pub(super) live: BTreeMap<Str, Live>,
    pub(super) deadlines: Deadlines<(Str, Timer)>,
    /// By which version of the topics each consumer group was last looked at.
    pub(super) seen_topics: BTreeMap<Str, i64>,
    /// When each consumer group got its last target assignment.
    pub(super) assigned: BTreeMap<Str, i64>,
    /// For the topics that consumer groups' patterns stand for.
    pub(super) searches: Searches,
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
    /// A member of a consumer group to give up what it has to.
    Rebalance(Str),
    /// A classic member of a consumer group to join again.
    ClassicJoin(Str),
    /// A classic member of a consumer group to fetch its assignment.
    ClassicSync(Str),
    /// Offsets to expire, or an empty group without offsets to be deleted.
    Expiry,
}

impl Waiting {
    pub(super) fn new() -> Waiting {
        Waiting {
            live: BTreeMap::new(),
            deadlines: Deadlines::new(),
            seen_topics: BTreeMap::new(),
            assigned: BTreeMap::new(),
            searches: Searches::default(),
        }
    }
}
