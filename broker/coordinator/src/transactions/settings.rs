//! What can be tuned about transactions.

/// Limits and times of every transactional id. Times are in ms; defaults are Kafka's.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Written into every marker; the leader epoch of this machine's partition of `__transaction_state`.
    pub coordinator_epoch: i32,
    /// Longest timeout a producer may ask for.
    pub max_timeout_ms: i32,
    /// A transactional id without an open transaction is forgotten after this long without use.
    pub id_expiry_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { coordinator_epoch: 0, max_timeout_ms: 900_000, id_expiry_ms: 7 * 24 * 3_600_000 }
    }
}
