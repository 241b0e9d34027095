//! Who is to read what: the server-side assignors.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::partitions::Partitions;
use crate::Str;

/// A way to share partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// As many partitions for each as for any other, moving as few as possible.
    Uniform,
    /// Of each topic a range of neighbouring partitions for each, so that partitions of the same number go to
    /// the same member.
    Range,
}

impl Assignor {
    /// As members ask for it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of this name.
    pub fn by_name(name: &str) -> Option<Assignor> {
        [Assignor::Uniform, Assignor::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    pub(super) fn assign(self, spec: &Spec) -> BTreeMap<Str, Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(spec),
            Assignor::Range => range::assign(spec),
        }
    }
}

/// What is to be shared out among whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Spec {
    pub(super) members: BTreeMap<Str, SpecMember>,
    /// How many partitions each subscribed topic has.
    pub(super) topics: BTreeMap<Uuid, i32>,
}

/// One member as an assignor sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct SpecMember {
    pub(super) instance_id: Option<Str>,
    /// Subscribed topics, all of which are in [`Spec::topics`].
    pub(super) topics: BTreeSet<Uuid>,
    /// What it was to hold before.
    pub(super) before: Arc<Partitions>,
}

#[cfg(test)]
mod tests;
