//! Where a group stands.

/// Kafka's states of a classic group.
///
/// ```text
///            join                      everybody joined            leader's sync
///   Empty ────────► PreparingRebalance ───────────────► Completing ─────────────► Stable
///     ▲                 │    ▲                              │                        │
///     └── all have left ┘    └── join, leave, expiry ───────┴────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; may have offsets.
    Empty,
    /// Waiting for its members to join (again).
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Everybody may have its assignment.
    Stable,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// The name Kafka's tools show.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}
