//! What can be tuned about groups.

use super::consumer::ConsumerSettings;

/// Limits and times of every group. Times are in ms; defaults are Kafka's except where said.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long a group that was empty waits for more members before its first assignment. Saves
    /// rebalances when many start together, costs that long when one starts alone. Kafka: 3 s; here 0.
    pub initial_rebalance_delay_ms: i32,
    /// Shortest session timeout a member may ask for.
    pub min_session_timeout_ms: i32,
    /// Longest session timeout a member may ask for.
    pub max_session_timeout_ms: i32,
    /// How many members a group may have.
    pub max_members: usize,
    /// How long a new member's first join may be parked: if its client is gone it does not stay longer.
    pub new_member_join_timeout_ms: i32,
    /// How many bytes of metadata a member may bring, over all its protocols, and how many of assignment
    /// it may get. Ours: Kafka has only the size of a record.
    pub max_member_bytes: usize,
    /// How many bytes the metadata and assignments of a group may have together. Ours too; keep it below
    /// what a frame may hold.
    pub max_group_bytes: usize,
    /// How many bytes of metadata an offset may carry.
    pub max_offset_metadata_bytes: usize,
    /// How long the offsets of an empty group are kept; `None`: as long as the topic lives. Kafka: 7 days.
    pub offsets_retention_ms: Option<i64>,
    /// How often empty groups are looked through for offsets that expired, and deleted if none are left.
    pub expiry_check_interval_ms: i64,
    /// What holds for groups of the new protocol.
    pub consumer: ConsumerSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            initial_rebalance_delay_ms: 0,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            max_members: usize::MAX,
            new_member_join_timeout_ms: 300_000,
            max_member_bytes: 1 << 20,
            max_group_bytes: 16 << 20,
            max_offset_metadata_bytes: 4096,
            offsets_retention_ms: None,
            expiry_check_interval_ms: 600_000,
            consumer: ConsumerSettings::default(),
        }
    }
}
