//! What can be tuned about consumer groups.

use super::assignor::Assignor;

/// What holds for every consumer group; defaults are Kafka's.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerSettings {
    /// How many members a group may have.
    pub max_members: usize,
    /// What members may ask to be assigned by; the first one serves those who do not ask.
    pub assignors: Vec<Assignor>,
    /// Whether groups may change their protocol while they have members.
    pub migration: MigrationPolicy,
}

/// Between which protocols a group with members may change, as its members come and go
/// (`group.consumer.migration.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Not at all.
    Disabled,
    /// Only to the new protocol, when its first such member joins.
    Upgrade,
    /// Only to the classic protocol, when its last member of the new protocol leaves.
    Downgrade,
    /// Both ways.
    Bidirectional,
}

impl MigrationPolicy {
    pub(super) fn upgrades(self) -> bool {
        matches!(self, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional)
    }

    pub(super) fn downgrades(self) -> bool {
        matches!(self, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional)
    }
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        ConsumerSettings {
            max_members: usize::MAX,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            migration: MigrationPolicy::Bidirectional,
        }
    }
}
