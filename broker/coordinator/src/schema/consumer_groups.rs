//! `__consumer_offsets`: the records of consumer groups (KIP-848).

use std::collections::BTreeSet;

use bytes::Bytes;
use logmill_wire::Message;
use logmill_wire::records::consumer_offsets::{
    AssignedTopicPartitions, ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue, Key, TargetTopicPartitions, encode_key,
};
use logmill_wire::records::{decode, encode};
use uuid::Uuid;

use super::{KeyValue, SchemaError, unreadable};
use crate::Str;
use crate::groups::{
    AssignmentEpochs, ClassicMember, ConsumerRecord, CurrentAssignment, MemberState, Partitions, Record,
    ResolvedRegex, StoredConsumerGroup, StoredConsumerMember,
};

/// The only version of each value.
const VERSION: i16 = 0;

pub(super) fn encode_record(group: &Str, record: &ConsumerRecord) -> Result<KeyValue, SchemaError> {
    let group_id = group.clone();
    let (key, value) = match record {
        ConsumerRecord::Group(value) => {
            let value = value.map(|group| ConsumerGroupMetadataValue {
                epoch: group.epoch,
                metadata_hash: group.metadata_hash,
                creation_time_ms: group.created,
            });
            (encode_key(&ConsumerGroupMetadataKey { group_id })?, written(value)?)
        }
        ConsumerRecord::PartitionMetadata(value) => {
            (encode_key(&ConsumerGroupPartitionMetadataKey { group_id })?, value.clone())
        }
        ConsumerRecord::Member { member_id, value } => {
            let value = value.as_ref().map(member_value);
            let key = ConsumerGroupMemberMetadataKey { group_id, member_id: member_id.clone() };
            (encode_key(&key)?, written(value)?)
        }
        ConsumerRecord::TargetEpoch(value) => {
            let value =
                value.map(|assignment_epoch| ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch });
            (encode_key(&ConsumerGroupTargetAssignmentMetadataKey { group_id })?, written(value)?)
        }
        ConsumerRecord::Target { member_id, value } => {
            let value = value.as_ref().map(|target| ConsumerGroupTargetAssignmentMemberValue {
                topic_partitions: target
                    .topics()
                    .map(|(topic_id, partitions)| TargetTopicPartitions {
                        topic_id,
                        partitions: partitions.iter().copied().collect(),
                    })
                    .collect(),
            });
            let key = ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: member_id.clone() };
            (encode_key(&key)?, written(value)?)
        }
        ConsumerRecord::Current { member_id, value } => {
            let value = value.as_ref().map(current_value);
            let key = ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: member_id.clone() };
            (encode_key(&key)?, written(value)?)
        }
        ConsumerRecord::Regex { regex, value } => {
            let value = value.as_ref().map(|resolved| ConsumerGroupRegularExpressionValue {
                topics: resolved.topics.clone(),
                version: resolved.version,
                timestamp: resolved.timestamp,
            });
            let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression: regex.clone() };
            (encode_key(&key)?, written(value)?)
        }
    };
    Ok(KeyValue { key, value })
}

/// Reads a record whose key is one of a consumer group's.
pub(super) fn decode_record(key: Key, value: Option<Bytes>) -> Result<Record, SchemaError> {
    let (group, record) = match key {
        Key::ConsumerGroupMetadata(key) => {
            let value = read::<ConsumerGroupMetadataValue>(value)?.map(|value| StoredConsumerGroup {
                epoch: value.epoch,
                metadata_hash: value.metadata_hash,
                created: value.creation_time_ms,
            });
            (key.group_id, ConsumerRecord::Group(value))
        }
        Key::ConsumerGroupPartitionMetadata(key) => {
            let value = value.map(|bytes| Bytes::copy_from_slice(&bytes));
            (key.group_id, ConsumerRecord::PartitionMetadata(value))
        }
        Key::ConsumerGroupMemberMetadata(key) => {
            let value = read(value)?.map(stored_member);
            (key.group_id, ConsumerRecord::Member { member_id: key.member_id.detached(), value })
        }
        Key::ConsumerGroupTargetAssignmentMetadata(key) => {
            let value = read::<ConsumerGroupTargetAssignmentMetadataValue>(value)?;
            (key.group_id, ConsumerRecord::TargetEpoch(value.map(|value| value.assignment_epoch)))
        }
        Key::ConsumerGroupTargetAssignmentMember(key) => {
            let value = read::<ConsumerGroupTargetAssignmentMemberValue>(value)?.map(|value| {
                partitions(value.topic_partitions.into_iter().map(|topic| (topic.topic_id, topic.partitions)))
            });
            (key.group_id, ConsumerRecord::Target { member_id: key.member_id.detached(), value })
        }
        Key::ConsumerGroupCurrentMemberAssignment(key) => {
            let value = read(value)?.map(current_assignment);
            (key.group_id, ConsumerRecord::Current { member_id: key.member_id.detached(), value })
        }
        Key::ConsumerGroupRegularExpression(key) => {
            let value = read::<ConsumerGroupRegularExpressionValue>(value)?.map(|value| ResolvedRegex {
                topics: value.topics.iter().map(Str::detached).collect(),
                version: value.version,
                timestamp: value.timestamp,
            });
            (key.group_id, ConsumerRecord::Regex { regex: key.regular_expression.detached(), value })
        }
        Key::OffsetCommit(_) | Key::GroupMetadata(_) => return Err(SchemaError::UnknownKind { kind: 0 }),
        Key::Other(kind) => return Err(SchemaError::UnknownKind { kind }),
    };
    Ok(Record::Consumer { group: group.detached(), record })
}

fn written<M: Message>(value: Option<M>) -> Result<Option<Bytes>, SchemaError> {
    Ok(value.map(|value| encode(&value, VERSION)).transpose()?)
}

fn read<M: Message>(value: Option<Bytes>) -> Result<Option<M>, SchemaError> {
    value.map(decode).transpose().map_err(unreadable("value"))
}

fn member_value(member: &StoredConsumerMember) -> ConsumerGroupMemberMetadataValue {
    let classic = member.classic.as_ref().map(|classic| ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic
            .protocols
            .iter()
            .map(|(name, metadata)| ClassicProtocol { name: name.clone(), metadata: metadata.clone() })
            .collect(),
    });
    ConsumerGroupMemberMetadataValue {
        instance_id: member.instance_id.clone(),
        rack_id: member.rack_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.topic_names.clone(),
        subscribed_topic_regex: member.topic_regex.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: member.assignor.clone(),
        classic_member_metadata: classic,
    }
}

fn stored_member(value: ConsumerGroupMemberMetadataValue) -> StoredConsumerMember {
    let owned = |text: Option<Str>| text.map(|text| text.detached());
    let mut topic_names: Vec<Str> = value.subscribed_topic_names.iter().map(Str::detached).collect();
    topic_names.sort();
    topic_names.dedup();
    StoredConsumerMember {
        instance_id: owned(value.instance_id),
        rack_id: owned(value.rack_id),
        client_id: value.client_id.detached(),
        client_host: value.client_host.detached(),
        topic_names,
        topic_regex: owned(value.subscribed_topic_regex).filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: owned(value.server_assignor),
        classic: value.classic_member_metadata.map(|classic| ClassicMember {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic
                .supported_protocols
                .iter()
                .map(|protocol| (protocol.name.detached(), Bytes::copy_from_slice(&protocol.metadata)))
                .collect(),
        }),
    }
}

fn current_value(current: &CurrentAssignment) -> ConsumerGroupCurrentMemberAssignmentValue {
    let topics = |partitions: &Partitions| {
        let of_topic = |(topic_id, partitions): (Uuid, &BTreeSet<i32>)| {
            let since = |partition: &i32| {
                current.since.get(&(topic_id, *partition)).copied().unwrap_or(current.epoch.max(0))
            };
            AssignedTopicPartitions {
                topic_id,
                partitions: partitions.iter().copied().collect(),
                assignment_epochs: Some(partitions.iter().map(since).collect()),
            }
        };
        partitions.topics().map(of_topic).collect()
    };
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch,
        previous_member_epoch: current.previous_epoch,
        state: match current.state {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
            MemberState::Unknown => 127,
        },
        assigned_partitions: topics(&current.assigned),
        partitions_pending_revocation: topics(&current.revoking),
    }
}

fn current_assignment(value: ConsumerGroupCurrentMemberAssignmentValue) -> CurrentAssignment {
    let mut since = AssignmentEpochs::new();
    for topic in value.assigned_partitions.iter().chain(&value.partitions_pending_revocation) {
        for (at, partition) in topic.partitions.iter().enumerate() {
            let told = topic.assignment_epochs.as_ref().and_then(|epochs| epochs.get(at));
            // Who wrote without them allowed commits in the member's epoch alone.
            let epoch = told.copied().unwrap_or(value.member_epoch.max(0));
            since.insert((topic.topic_id, *partition), epoch);
        }
    }
    let all = |topics: Vec<AssignedTopicPartitions>| {
        partitions(topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)))
    };
    CurrentAssignment {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        state: match value.state {
            0 => MemberState::Stable,
            1 => MemberState::Unrevoked,
            2 => MemberState::Unreleased,
            _ => MemberState::Unknown,
        },
        assigned: all(value.assigned_partitions),
        revoking: all(value.partitions_pending_revocation),
        since,
    }
}

fn partitions(topics: impl Iterator<Item = (Uuid, Vec<i32>)>) -> Partitions {
    let pairs = |(topic, partitions): (Uuid, Vec<i32>)| partitions.into_iter().map(move |p| (topic, p));
    topics.flat_map(pairs).collect()
}
