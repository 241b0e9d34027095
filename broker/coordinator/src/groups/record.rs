//! What the group coordinator keeps: the records of `__consumer_offsets`.

use bytes::Bytes;
use uuid::Uuid;

use super::consumer::ConsumerRecord;
use crate::Str;

/// One record. `None` as a value is a tombstone.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A group's members and generation.
    Group {
        /// The group.
        group: Str,
        /// Its new state, `None` when it is deleted.
        value: Option<StoredGroup>,
    },
    /// Something about a consumer group of the new protocol.
    Consumer {
        /// The group.
        group: Str,
        /// What.
        record: ConsumerRecord,
    },
    /// A group's offset in one partition.
    Offset {
        /// The group.
        group: Str,
        /// Topic read.
        topic: Str,
        /// Partition read.
        partition: i32,
        /// The offset, `None` when it is deleted.
        value: Option<StoredOffset>,
        /// The transaction it belongs to, as (producer id, producer epoch): true when its marker commits.
        /// Such records go into a transactional batch of that producer.
        producer: Option<(i64, i16)>,
    },
}

/// A group as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredGroup {
    /// Kind of group.
    pub protocol_type: Str,
    /// How many times it has been put together.
    pub generation: i32,
    /// The chosen protocol; `None` while empty.
    pub protocol: Option<Str>,
    /// The leader's member id; `None` while empty.
    pub leader: Option<Str>,
    /// Since when it is in its state, in ms; -1 when unknown (old imported records).
    pub since: i64,
    /// Its members, in the order they joined; none while it is empty.
    pub members: Vec<StoredMember>,
}

/// A member as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMember {
    /// Its id.
    pub member_id: Str,
    /// Its instance id when static.
    pub instance_id: Option<Str>,
    /// The client's id.
    pub client_id: Str,
    /// The client's host.
    pub client_host: Str,
    /// In ms.
    pub rebalance_timeout_ms: i32,
    /// In ms.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 when unknown.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Str,
    /// When it was committed, in ms.
    pub commit_timestamp: i64,
    /// Until when it is kept, in ms, when its client said so.
    pub expire_timestamp: Option<i64>,
    /// The topic's id, when it was known.
    pub topic_id: Option<Uuid>,
}
