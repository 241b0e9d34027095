//! Times of consumer groups. Each group may have its own; they change while the group lives.

use std::collections::BTreeMap;

/// The times that hold for one consumer group, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerTimes {
    /// How often members are told to send a heartbeat.
    pub heartbeat_interval_ms: i32,
    /// How long a member may be silent.
    pub session_timeout_ms: i32,
    /// The least time between two target assignments: changes that come in between wait for the first
    /// heartbeat after it. With 0 every change is followed by an assignment at once.
    pub assignment_interval_ms: i32,
}

impl Default for ConsumerTimes {
    fn default() -> Self {
        ConsumerTimes { heartbeat_interval_ms: 5_000, session_timeout_ms: 45_000, assignment_interval_ms: 0 }
    }
}

/// The times of all consumer groups at one moment. What one of these says never changes; a change is another
/// one, and a group follows it with its members' next heartbeats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupTimes {
    /// Of every group that has none of its own.
    pub default: ConsumerTimes,
    /// Of groups that have their own.
    pub own: BTreeMap<String, ConsumerTimes>,
}

impl GroupTimes {
    /// What holds for a group.
    pub(in crate::groups) fn of(&self, group: &str) -> ConsumerTimes {
        self.own.get(group).copied().unwrap_or(self.default)
    }
}
