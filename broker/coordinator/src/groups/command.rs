//! What can be asked of the group coordinator.

use bytes::Bytes;
use uuid::Uuid;

use super::consumer::{ConsumerDescribe, ConsumerHeartbeat};
use crate::{ErrorCode, Str};

/// One request, for groups of this machine's partition.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Become (or stay) a member; parked until the rebalance is over.
    Join(Join),
    /// Fetch the assignment, or bring it as the leader; parked until the leader has brought it.
    Sync(Sync),
    /// Still there.
    Heartbeat(Heartbeat),
    /// Join, stay in, or leave a consumer group.
    ConsumerHeartbeat(ConsumerHeartbeat),
    /// Show consumer groups in detail.
    ConsumerDescribe(ConsumerDescribe),
    /// Stop being a member, or remove others.
    Leave(Leave),
    /// Store offsets.
    CommitOffsets(CommitOffsets),
    /// Store offsets that become true when the producer's transaction commits.
    CommitTransactionalOffsets(CommitTransactionalOffsets),
    /// Read stored offsets.
    FetchOffsets(FetchOffsets),
    /// Show groups in detail.
    Describe(Describe),
    /// Show which groups there are.
    List(List),
    /// Delete empty groups and their offsets.
    Delete(Delete),
    /// Delete some offsets of a group.
    DeleteOffsets(DeleteOffsets),
    /// A topic was deleted: forget every group's offsets in it.
    ForgetTopic(ForgetTopic),
    /// Mark a group as belonging to a part of the broker (a pipeline).
    Own(Own),
    /// Give an owned group back: it becomes an empty group that keeps its offsets.
    Disown(Disown),
}

/// JoinGroup.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Version of the request: decides about `MEMBER_ID_REQUIRED` (4+) and `skip_assignment` (9+).
    pub version: i16,
    /// The group.
    pub group: Str,
    /// The member's id, empty when it has none yet.
    pub member_id: Str,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Str>,
    /// The client's id, as in the request's header.
    pub client_id: Str,
    /// Where the client is, as Kafka shows it: `/127.0.0.1`.
    pub client_host: Str,
    /// How long the member may be silent, in ms.
    pub session_timeout_ms: i32,
    /// How long the member may take to join again in a rebalance, in ms. Version 0 has none: -1, and the
    /// session timeout counts.
    pub rebalance_timeout_ms: i32,
    /// Kind of group, `consumer` for consumers.
    pub protocol_type: Str,
    /// Ways of assigning the member supports, best first, each with the member's metadata for it.
    pub protocols: Vec<(Str, Bytes)>,
    /// Randomness for a new member id.
    pub fresh: Uuid,
}

/// SyncGroup.
#[derive(Debug, Clone, PartialEq)]
pub struct Sync {
    /// The group.
    pub group: Str,
    /// Generation the member is in.
    pub generation: i32,
    /// The member.
    pub member_id: Str,
    /// Its instance id when static.
    pub instance_id: Option<Str>,
    /// Kind of group as the member sees it (version 5+).
    pub protocol_type: Option<Str>,
    /// Chosen protocol as the member sees it (version 5+).
    pub protocol_name: Option<Str>,
    /// Assignment by member id; only the leader brings one.
    pub assignments: Vec<(Str, Bytes)>,
}

/// Heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// The group.
    pub group: Str,
    /// Generation the member is in.
    pub generation: i32,
    /// The member.
    pub member_id: Str,
    /// Its instance id when static.
    pub instance_id: Option<Str>,
}

/// LeaveGroup. Versions 0 to 2 have one member, later ones any number.
#[derive(Debug, Clone, PartialEq)]
pub struct Leave {
    /// The group.
    pub group: Str,
    /// Who is to leave.
    pub members: Vec<LeavingMember>,
}

/// One member to leave.
#[derive(Debug, Clone, PartialEq)]
pub struct LeavingMember {
    /// Its member id; empty to remove a static member by its instance id alone.
    pub member_id: Str,
    /// Its instance id when static.
    pub instance_id: Option<Str>,
}

/// OffsetCommit.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitOffsets {
    /// Version of the request: 9+ says GROUP_ID_NOT_FOUND where older ones say ILLEGAL_GENERATION.
    pub version: i16,
    /// The group.
    pub group: Str,
    /// Generation or member epoch, or -1 when the client manages its partitions itself.
    pub generation: i32,
    /// The member, or empty.
    pub member_id: Str,
    /// Its instance id when static.
    pub instance_id: Option<Str>,
    /// How long the offsets are to be kept while the group is empty, in ms; -1: as the broker is set
    /// (versions 2 to 4).
    pub retention_ms: i64,
    /// The offsets.
    pub offsets: Vec<TopicOffsets>,
}

/// TxnOffsetCommit. That the transaction is open and includes this partition of `__consumer_offsets` is the
/// transaction coordinator's and the sequencer's to check.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitTransactionalOffsets {
    /// Version of the request: 6+ says GROUP_ID_NOT_FOUND and STALE_MEMBER_EPOCH where older ones say
    /// ILLEGAL_GENERATION (KIP-1319).
    pub version: i16,
    /// The group.
    pub group: Str,
    /// The transaction's producer id.
    pub producer_id: i64,
    /// The transaction's producer epoch.
    pub producer_epoch: i16,
    /// Generation or member epoch, or -1 (versions 0 to 2 have none) (KIP-447).
    pub generation: i32,
    /// The member, or empty.
    pub member_id: Str,
    /// Its instance id when static.
    pub instance_id: Option<Str>,
    /// The offsets.
    pub offsets: Vec<TopicOffsets>,
}

/// Offsets to be stored in one topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicOffsets {
    /// The topic's name.
    pub topic: Str,
    /// Its id, when the broker knows it.
    pub topic_id: Option<Uuid>,
    /// Its partitions.
    pub partitions: Vec<PartitionOffset>,
}

/// An offset to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionOffset {
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 when unknown.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Option<Str>,
    /// An error the caller found already (unknown topic, say): this partition is only answered with it.
    pub refused: Option<ErrorCode>,
}

/// OffsetFetch for one group (version 8+ asks for several: one command each).
#[derive(Debug, Clone, PartialEq)]
pub struct FetchOffsets {
    /// The group.
    pub group: Str,
    /// Who asks, when it says so (version 9 and up).
    pub member_id: Option<Str>,
    /// The member's epoch, or -1.
    pub member_epoch: i32,
    /// Which partitions; `None`: all that are stored.
    pub topics: Option<Vec<(Str, Vec<i32>)>>,
    /// Answer UNSTABLE_OFFSET_COMMIT where a transaction's offset is pending (KIP-447).
    pub require_stable: bool,
}

/// DescribeGroups.
#[derive(Debug, Clone, PartialEq)]
pub struct Describe {
    /// The groups.
    pub groups: Vec<Str>,
}

/// ListGroups. Groups of one partition's machine; the driver joins the machines' answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct List {
    /// Only groups in these states (names without regard to case); empty: all.
    pub states: Vec<Str>,
    /// Only groups of these types (`classic`, `consumer`); empty: all.
    pub types: Vec<Str>,
}

/// DeleteGroups.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    /// The groups.
    pub groups: Vec<Str>,
}

/// OffsetDelete.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteOffsets {
    /// The group.
    pub group: Str,
    /// Which partitions.
    pub topics: Vec<(Str, Vec<i32>)>,
}

/// A topic no longer exists.
#[derive(Debug, Clone, PartialEq)]
pub struct ForgetTopic {
    /// Its name.
    pub topic: Str,
}

/// Takes a group for a part of the broker. It shows as stable with one member and refuses members, commits
/// and deletion from outside; its owner writes offsets as records of its own frames
/// ([`Record::Offset`](super::Record::Offset)).
#[derive(Debug, Clone, PartialEq)]
pub struct Own {
    /// The group.
    pub group: Str,
    /// Who owns it: shown as the member's and the client's id.
    pub owner: Str,
    /// The partitions it reads, by topic: shown as the member's assignment. Owning again with others
    /// changes them.
    pub assignment: Vec<(Str, Vec<i32>)>,
}

/// Gives an owned group back.
#[derive(Debug, Clone, PartialEq)]
pub struct Disown {
    /// The group.
    pub group: Str,
    /// Who owned it.
    pub owner: Str,
}
