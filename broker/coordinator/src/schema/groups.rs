//! `__consumer_offsets`.

use bytes::Bytes;
use logmill_wire::records::consumer_offsets::{
    GroupMetadataKey, GroupMetadataValue, Key, MemberMetadata, OffsetCommitKey, OffsetCommitValue, encode_key,
};
use logmill_wire::records::{decode, encode};
use uuid::Uuid;

use super::{KeyValue, SchemaError, consumer_groups, unreadable};
use crate::groups::{Record, StoredGroup, StoredMember, StoredOffset};

/// The version Kafka writes; the next one only changes the encoding.
const GROUP_VERSION: i16 = 3;
/// The version Kafka writes without expiry or topic id.
const OFFSET_VERSION: i16 = 3;
/// The only version with an expiry.
const OFFSET_VERSION_WITH_EXPIRY: i16 = 1;
/// The first version with a topic id.
const OFFSET_VERSION_WITH_TOPIC_ID: i16 = 4;

impl Record {
    /// The record as Kafka writes it. Which batch it goes into (`producer`) is not part of it.
    pub fn encode(&self) -> Result<KeyValue, SchemaError> {
        match self {
            Record::Group { group, value } => Ok(KeyValue {
                key: encode_key(&GroupMetadataKey { group: group.clone() })?,
                value: value
                    .as_ref()
                    .map(|value| encode(&GroupMetadataValue::from(value), GROUP_VERSION))
                    .transpose()?,
            }),
            Record::Consumer { group, record } => consumer_groups::encode_record(group, record),
            Record::Offset { group, topic, partition, value, .. } => {
                let key =
                    OffsetCommitKey { group: group.clone(), topic: topic.clone(), partition: *partition };
                let value = value
                    .as_ref()
                    .map(|value| encode(&OffsetCommitValue::from(value), version_of(value)))
                    .transpose()?;
                Ok(KeyValue { key: encode_key(&key)?, value })
            }
        }
    }

    /// Reads a record back. `producer` is the (producer id, epoch) of its batch if that is transactional.
    pub fn decode(
        key: Option<Bytes>,
        value: Option<Bytes>,
        producer: Option<(i64, i16)>,
    ) -> Result<Record, SchemaError> {
        let key = Key::decode(key.ok_or(SchemaError::NoKey)?).map_err(unreadable("key"))?;
        match key {
            Key::GroupMetadata(GroupMetadataKey { group }) => {
                let value: Option<GroupMetadataValue> =
                    value.map(decode).transpose().map_err(unreadable("value"))?;
                Ok(Record::Group { group: group.detached(), value: value.map(StoredGroup::from) })
            }
            Key::OffsetCommit(OffsetCommitKey { group, topic, partition }) => {
                let value: Option<OffsetCommitValue> =
                    value.map(decode).transpose().map_err(unreadable("value"))?;
                Ok(Record::Offset {
                    group: group.detached(),
                    topic: topic.detached(),
                    partition,
                    value: value.map(StoredOffset::from),
                    producer,
                })
            }
            Key::Other(kind) => Err(SchemaError::UnknownKind { kind }),
            key => consumer_groups::decode_record(key, value),
        }
    }
}

fn version_of(offset: &StoredOffset) -> i16 {
    if offset.expire_timestamp.is_some() {
        OFFSET_VERSION_WITH_EXPIRY
    } else if offset.topic_id.is_some() {
        OFFSET_VERSION_WITH_TOPIC_ID
    } else {
        OFFSET_VERSION
    }
}

impl From<&StoredOffset> for OffsetCommitValue {
    fn from(offset: &StoredOffset) -> Self {
        OffsetCommitValue {
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata.clone(),
            commit_timestamp: offset.commit_timestamp,
            expire_timestamp: offset.expire_timestamp.unwrap_or(-1),
            topic_id: offset.topic_id.unwrap_or_default(),
        }
    }
}

impl From<OffsetCommitValue> for StoredOffset {
    fn from(value: OffsetCommitValue) -> Self {
        StoredOffset {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.detached(),
            commit_timestamp: value.commit_timestamp,
            expire_timestamp: Some(value.expire_timestamp).filter(|at| *at >= 0),
            topic_id: Some(value.topic_id).filter(|id| *id != Uuid::nil()),
        }
    }
}

impl From<&StoredGroup> for GroupMetadataValue {
    fn from(group: &StoredGroup) -> Self {
        GroupMetadataValue {
            protocol_type: group.protocol_type.clone(),
            generation: group.generation,
            protocol: group.protocol.clone(),
            leader: group.leader.clone(),
            current_state_timestamp: group.since,
            members: group.members.iter().map(MemberMetadata::from).collect(),
        }
    }
}

impl From<GroupMetadataValue> for StoredGroup {
    fn from(value: GroupMetadataValue) -> Self {
        StoredGroup {
            protocol_type: value.protocol_type.detached(),
            generation: value.generation,
            protocol: value.protocol.map(|protocol| protocol.detached()),
            leader: value.leader.map(|leader| leader.detached()),
            since: value.current_state_timestamp,
            members: value.members.into_iter().map(StoredMember::from).collect(),
        }
    }
}

impl From<&StoredMember> for MemberMetadata {
    fn from(member: &StoredMember) -> Self {
        MemberMetadata {
            member_id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.subscription.clone(),
            assignment: member.assignment.clone(),
        }
    }
}

impl From<MemberMetadata> for StoredMember {
    fn from(member: MemberMetadata) -> Self {
        // Version 0 has no rebalance timeout: the session timeout counts.
        let rebalance_timeout_ms =
            if member.rebalance_timeout > 0 { member.rebalance_timeout } else { member.session_timeout };
        StoredMember {
            member_id: member.member_id.detached(),
            instance_id: member.group_instance_id.map(|instance| instance.detached()),
            client_id: member.client_id.detached(),
            client_host: member.client_host.detached(),
            rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout,
            subscription: Bytes::copy_from_slice(&member.subscription),
            assignment: Bytes::copy_from_slice(&member.assignment),
        }
    }
}
