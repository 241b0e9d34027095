//! What is kept of consumer groups (KIP-848), beside their offsets.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use super::partitions::Partitions;
use crate::Str;

/// One record of a consumer group. `None` as a value is a tombstone.
#[derive(Debug, Clone, PartialEq)]
pub enum ConsumerRecord {
    /// Where the group stands; without a value the group is gone, with everything in it.
    Group(Option<StoredConsumerGroup>),
    /// What Kafka 4.0 and older kept of the subscribed topics, as it was read. Never written, except to
    /// delete it with its group.
    PartitionMetadata(Option<Bytes>),
    /// What a member is and wants.
    Member {
        /// The member.
        member_id: Str,
        /// Its new state, `None` when it is gone.
        value: Option<StoredConsumerMember>,
    },
    /// For which epoch of the group the target assignment is.
    TargetEpoch(Option<i32>),
    /// What a member is to hold.
    Target {
        /// The member.
        member_id: Str,
        /// The partitions, `None` when it is gone.
        value: Option<Partitions>,
    },
    /// What a member holds.
    Current {
        /// The member.
        member_id: Str,
        /// How far it has come, `None` when it is gone.
        value: Option<CurrentAssignment>,
    },
    /// Which topics a regular expression stands for.
    Regex {
        /// The expression.
        regex: Str,
        /// Its topics, `None` when no member uses it any more.
        value: Option<ResolvedRegex>,
    },
}

impl ConsumerRecord {
    /// Whether something is gone.
    pub(in crate::groups) fn is_tombstone(&self) -> bool {
        match self {
            ConsumerRecord::Group(value) => value.is_none(),
            ConsumerRecord::PartitionMetadata(value) => value.is_none(),
            ConsumerRecord::Member { value, .. } => value.is_none(),
            ConsumerRecord::TargetEpoch(value) => value.is_none(),
            ConsumerRecord::Target { value, .. } => value.is_none(),
            ConsumerRecord::Current { value, .. } => value.is_none(),
            ConsumerRecord::Regex { value, .. } => value.is_none(),
        }
    }
}

/// Where a consumer group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoredConsumerGroup {
    /// How many times its members' wishes, or the topics they wish for, have changed.
    pub epoch: i32,
    /// A fingerprint of the subscribed topics; 0 when there are none or it is not known.
    pub metadata_hash: i64,
    /// When the group was created, in ms; -1 when not known.
    pub created: i64,
}

/// What a member is and wants, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredConsumerMember {
    /// Its instance id when static.
    pub instance_id: Option<Str>,
    /// Where the client says it is.
    pub rack_id: Option<Str>,
    /// The client's id.
    pub client_id: Str,
    /// The client's host.
    pub client_host: Str,
    /// The topics it wants to read, sorted and each once.
    pub topic_names: Vec<Str>,
    /// It also wants the topics of this name pattern; never empty.
    pub topic_regex: Option<Str>,
    /// How long it may take to give up partitions, in ms.
    pub rebalance_timeout_ms: i32,
    /// By which server-side assignor it wants to be assigned to.
    pub assignor: Option<Str>,
    /// Set for a member that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member of the classic protocol said when it joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMember {
    /// In ms.
    pub session_timeout_ms: i32,
    /// What it supports, best first, with its metadata for each; never empty.
    pub protocols: Vec<(Str, Bytes)>,
}

/// How far a member has come on its way to the target assignment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrentAssignment {
    /// Its epoch; -2 when it is static, has left and will be back.
    pub epoch: i32,
    /// Its epoch before: a heartbeat with it is one whose answer was lost.
    pub previous_epoch: i32,
    /// What it waits for.
    pub state: MemberState,
    /// What it may hold.
    pub assigned: Partitions,
    /// What it has to give up.
    pub revoking: Partitions,
    /// In which epoch it got each of these partitions (KIP-1251): an offset that was read in that epoch or later
    /// is its own to commit.
    pub since: AssignmentEpochs,
}

/// An epoch for each partition: topic id, index.
pub type AssignmentEpochs = BTreeMap<(Uuid, i32), i32>;

impl CurrentAssignment {
    /// Forgets what it had to give up.
    pub(super) fn without_revoking(mut self) -> Self {
        self.revoking = Partitions::new();
        let assigned = &self.assigned;
        self.since.retain(|(topic, partition), _| assigned.contains(*topic, *partition));
        self
    }
}

/// What a member waits for on its way to the target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberState {
    /// Nothing.
    #[default]
    Stable,
    /// It has to give up partitions before it can go on.
    Unrevoked,
    /// Others have to give up partitions that it is to get.
    Unreleased,
    /// A state that a newer Kafka has written: the member has to join anew.
    Unknown,
}

/// Which topics a regular expression stood for when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedRegex {
    /// The topics' names, sorted.
    pub topics: Vec<Str>,
    /// Which change of the topics was the last one seen.
    pub version: i64,
    /// When that was, in ms.
    pub timestamp: i64,
}
