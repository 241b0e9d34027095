//! Consumer groups of the classic protocol, and their offsets.

mod command;
mod record;
mod reply;
mod settings;
mod state;

pub use command::{
    Command, CommitOffsets, CommitTransactionalOffsets, Delete, DeleteOffsets, Describe, Disown,
    FetchOffsets, ForgetTopic, Heartbeat, Join, Leave, LeavingMember, List, Own, PartitionOffset, Sync,
    TopicOffsets,
};
pub use record::{Record, StoredGroup, StoredMember, StoredOffset};
pub use reply::{
    Committed, Description, Fetched, FetchedOffset, Joined, JoinedMember, Left, LeftMember, Listing,
    MemberDescription, OffsetsDeleted, Reply, Synced,
};
pub use settings::Settings;
pub use state::GroupState;
