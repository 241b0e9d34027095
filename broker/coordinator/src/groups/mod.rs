//! Consumer groups of the classic and of the new protocol (KIP-848, in `consumer`), and their offsets.

mod census;
mod command;
mod commit_offsets;
mod commit_transactional_offsets;
mod consumer;
mod consumer_protocol;
mod delete;
mod delete_offsets;
mod describe;
mod durable;
mod expiry;
mod fetch_offsets;
mod heartbeat;
mod join;
mod leave;
mod list;
mod live;
mod machine;
mod member;
mod own;
mod rebalance;
mod record;
mod reply;
mod settings;
mod state;
mod sync;
mod topics;
mod turn;
mod waiting;

pub use census::GroupCensus;
pub use command::{
    Command, CommitOffsets, CommitTransactionalOffsets, Delete, DeleteOffsets, Describe, Disown,
    FetchOffsets, ForgetTopic, Heartbeat, Join, Leave, LeavingMember, List, Own, PartitionOffset, Sync,
    TopicOffsets,
};
pub use consumer::{
    AssignmentEpochs, Assignor, ClassicMember, ConsumerBeat, ConsumerDescribe, ConsumerDescription,
    ConsumerHeartbeat, ConsumerMemberDescription, ConsumerRecord, ConsumerSettings, ConsumerTimes,
    CurrentAssignment, GroupTimes, MemberState, MigrationPolicy, Partitions, RegexSearch, RegexesFound,
    ResolvedRegex, StoredConsumerGroup, StoredConsumerMember,
};
pub use machine::GroupMachine;
pub use record::{Record, StoredGroup, StoredMember, StoredOffset};
pub use reply::{
    Committed, Description, Fetched, FetchedOffset, Joined, JoinedMember, Left, LeftMember, Listing,
    MemberDescription, OffsetsDeleted, Reply, Synced,
};
pub use settings::Settings;
pub use state::GroupState;
pub use topics::{TopicInfo, TopicView};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
