//! What the group coordinator answers.

use bytes::Bytes;

use super::consumer::{ConsumerBeat, ConsumerDescription};
use super::record::StoredOffset;
use crate::{ErrorCode, Str};

/// The answer to the command of the same name. `Own` and `Disown` get [`Reply::Owned`], `ForgetTopic`
/// [`Reply::Forgotten`].
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To `Join`.
    Joined(Joined),
    /// To `Sync`.
    Synced(Synced),
    /// To `Heartbeat`.
    Heartbeat(ErrorCode),
    /// To `ConsumerHeartbeat`.
    ConsumerHeartbeat(ConsumerBeat),
    /// To `ConsumerDescribe`, in the order asked.
    ConsumerDescribed(Vec<ConsumerDescription>),
    /// To `Leave`.
    Left(Left),
    /// To `CommitOffsets` and `CommitTransactionalOffsets`.
    Committed(Committed),
    /// To `FetchOffsets`.
    Fetched(Fetched),
    /// To `Describe`, in the order asked.
    Described(Vec<Description>),
    /// To `List`, sorted by name.
    Listed(Vec<Listing>),
    /// To `Delete`, in the order asked.
    Deleted(Vec<(Str, ErrorCode)>),
    /// To `DeleteOffsets`.
    OffsetsDeleted(OffsetsDeleted),
    /// To `ForgetTopic`.
    Forgotten,
    /// To `Own` and `Disown`.
    Owned(ErrorCode),
}

/// JoinGroup's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// `MEMBER_ID_REQUIRED` comes with a member id to join again with.
    pub error: ErrorCode,
    /// The generation, -1 with an error.
    pub generation: i32,
    /// Kind of group (sent from version 7).
    pub protocol_type: Option<Str>,
    /// The chosen protocol. Null is an empty string below version 7.
    pub protocol_name: Option<Str>,
    /// Who is to make the assignment; empty with an error.
    pub leader: Str,
    /// The leader is not to make a new assignment (version 9).
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Str,
    /// Everybody, for the leader only.
    pub members: Vec<JoinedMember>,
}

/// A member as its group's leader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Str,
    /// Its instance id when static.
    pub instance_id: Option<Str>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// SyncGroup's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Synced {
    /// Error or `None`.
    pub error: ErrorCode,
    /// Kind of group.
    pub protocol_type: Option<Str>,
    /// The chosen protocol.
    pub protocol_name: Option<Str>,
    /// What the leader gave this member; empty with an error.
    pub assignment: Bytes,
}

/// LeaveGroup's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// Error of the whole request. Below version 3 the first member's error is the whole one.
    pub error: ErrorCode,
    /// One per member, in the order asked.
    pub members: Vec<LeftMember>,
}

/// What became of one member that was to leave.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftMember {
    /// As asked.
    pub member_id: Str,
    /// As asked.
    pub instance_id: Option<Str>,
    /// Its error or `None`.
    pub error: ErrorCode,
}

/// OffsetCommit's and TxnOffsetCommit's answer, in the order asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// By topic, each with its partitions.
    pub topics: Vec<(Str, Vec<(i32, ErrorCode)>)>,
}

/// OffsetFetch's answer for one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// Error of the whole group.
    pub error: ErrorCode,
    /// By topic, in the order asked, or sorted when all were asked for.
    pub topics: Vec<(Str, Vec<FetchedOffset>)>,
}

/// A stored offset.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: i32,
    /// The offset; `None` (on the wire -1) when none is stored.
    pub stored: Option<StoredOffset>,
    /// Error or `None`.
    pub error: ErrorCode,
}

/// One group in detail.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// `GROUP_ID_NOT_FOUND` for an unknown group, whose state is `Dead`: below version 6 Kafka answers such
    /// a group without an error.
    pub error: ErrorCode,
    /// The group.
    pub group: Str,
    /// Its state, as [`GroupState::name`](super::GroupState::name) has it.
    pub state: super::GroupState,
    /// Kind of group, may be empty.
    pub protocol_type: Str,
    /// The chosen protocol when stable, else empty.
    pub protocol: Str,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member in detail.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: Str,
    /// Its instance id when static.
    pub instance_id: Option<Str>,
    /// The client's id.
    pub client_id: Str,
    /// The client's host.
    pub client_host: Str,
    /// Its metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

/// One group in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The group.
    pub group: Str,
    /// Kind of group, may be empty.
    pub protocol_type: Str,
    /// Its state.
    pub state: super::GroupState,
    /// `classic` or `consumer`.
    pub group_type: Str,
}

/// OffsetDelete's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetsDeleted {
    /// Error of the whole request.
    pub error: ErrorCode,
    /// By topic, in the order asked.
    pub topics: Vec<(Str, Vec<(i32, ErrorCode)>)>,
}
