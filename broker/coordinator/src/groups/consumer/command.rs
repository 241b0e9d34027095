//! What can be asked of consumer groups.

use uuid::Uuid;

use super::partitions::Partitions;
use crate::Str;

/// ConsumerGroupHeartbeat: join, stay, give up partitions, leave. `None` is what did not change since the
/// member's last heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerHeartbeat {
    /// Version of the request: from 1 on the client chooses the member's id.
    pub version: i16,
    /// The group.
    pub group: Str,
    /// The member's id.
    pub member_id: Str,
    /// The member's epoch: 0 to join, -1 to leave, -2 to leave for a while (static members).
    pub member_epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Str>,
    /// Where the client says it is.
    pub rack_id: Option<Str>,
    /// The client's id, as in the request's header.
    pub client_id: Str,
    /// Where the client is, as Kafka shows it: `/127.0.0.1`.
    pub client_host: Str,
    /// How long the member may take to give up partitions, in ms; -1: unchanged.
    pub rebalance_timeout_ms: i32,
    /// The topics it wants to read.
    pub topic_names: Option<Vec<Str>>,
    /// It also wants the topics of this name pattern; empty: no more.
    pub topic_regex: Option<Str>,
    /// By which assignor it wants to be assigned to.
    pub assignor: Option<Str>,
    /// What it holds.
    pub owned: Option<Partitions>,
    /// Randomness for a new member id.
    pub fresh: Uuid,
}

/// ConsumerGroupDescribe.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerDescribe {
    /// The groups.
    pub groups: Vec<Str>,
}
