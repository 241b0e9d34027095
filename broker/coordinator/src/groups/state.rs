//! Where a group stands.

/// Kafka's states of a group. A classic one goes this way:
///
/// ```text
///            join                      everybody joined            leader's sync
///   Empty ────────► PreparingRebalance ───────────────► Completing ─────────────► Stable
///     ▲                 │    ▲                              │                        │
///     └── all have left ┘    └── join, leave, expiry ───────┴────────────────────────┘
/// ```
///
/// A consumer group is `Empty`, `Assigning`, `Reconciling` or `Stable`.
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
    /// The target assignment is to be made anew.
    Assigning,
    /// Members are on their way to the target assignment.
    Reconciling,
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
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Dead => "Dead",
        }
    }
}
