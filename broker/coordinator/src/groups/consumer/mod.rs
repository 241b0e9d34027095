//! Consumer groups of the new protocol (KIP-848): the coordinator shares the partitions out itself and leads
//! each member there by its heartbeats.
//!
//! ```text
//! a member's wish, or the topics, changed ──► group epoch + 1 ──► target assignment for that epoch
//!                                                                        │
//!   member: Stable ──► Unrevoked (gives up what is not in its target) ───┤ each heartbeat goes one step
//!              ▲                                                         │
//!              └────── Unreleased (waits for what others have not given up yet) ◄──┘
//! ```
//!
//! A partition is handed to a member only when nobody holds it any more, so no two ever have it. Everything
//! here is durable; only deadlines are not. A change is worked out on a [`draft::Draft`], a copy of the group
//! that takes in its own records.

mod assignor;
mod classic;
mod command;
mod commit;
mod describe;
mod draft;
mod fence;
mod group;
mod heartbeat;
mod migrate;
mod partitions;
mod reconcile;
mod record;
mod refusal;
mod reply;
mod search;
mod settings;
mod subscription;
mod target;
mod times;

pub use assignor::Assignor;
pub use command::{ConsumerDescribe, ConsumerHeartbeat};
pub(super) use commit::{CommitBy, Permission};
pub(super) use group::ConsumerGroup;
pub use partitions::Partitions;
pub use record::{
    AssignmentEpochs, ClassicMember, ConsumerRecord, CurrentAssignment, MemberState, ResolvedRegex,
    StoredConsumerGroup, StoredConsumerMember,
};
pub use reply::{ConsumerBeat, ConsumerDescription, ConsumerMemberDescription};
pub(super) use search::Searches;
pub use search::{RegexSearch, RegexesFound};
pub use settings::{ConsumerSettings, MigrationPolicy};
pub use times::{ConsumerTimes, GroupTimes};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
