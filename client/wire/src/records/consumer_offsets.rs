//! `__consumer_offsets`: committed offsets, classic groups and consumer groups (KIP-848). The number in front
//! of a key is not only its version but says which kind of record it is.

use bytes::Bytes;
use uuid::Uuid;

use crate::decoder::Decoder;
use crate::error::{DecodeError, EncodeError};
use crate::schema::{NEVER, between, schema, since};
use crate::{Message, Str};

/// A key, by the kind of record it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// The value is an [`OffsetCommitValue`], or absent: the offset is deleted.
    OffsetCommit(OffsetCommitKey),
    /// The value is a [`GroupMetadataValue`], or absent: the group is deleted.
    GroupMetadata(GroupMetadataKey),
    /// The value is a [`ConsumerGroupMetadataValue`], or absent: the group is deleted.
    ConsumerGroupMetadata(ConsumerGroupMetadataKey),
    /// The value is a [`ConsumerGroupPartitionMetadataValue`]; Kafka no longer writes it since 4.1.
    ConsumerGroupPartitionMetadata(ConsumerGroupPartitionMetadataKey),
    /// The value is a [`ConsumerGroupMemberMetadataValue`], or absent: the member is gone.
    ConsumerGroupMemberMetadata(ConsumerGroupMemberMetadataKey),
    /// The value is a [`ConsumerGroupTargetAssignmentMetadataValue`].
    ConsumerGroupTargetAssignmentMetadata(ConsumerGroupTargetAssignmentMetadataKey),
    /// The value is a [`ConsumerGroupTargetAssignmentMemberValue`].
    ConsumerGroupTargetAssignmentMember(ConsumerGroupTargetAssignmentMemberKey),
    /// The value is a [`ConsumerGroupCurrentMemberAssignmentValue`].
    ConsumerGroupCurrentMemberAssignment(ConsumerGroupCurrentMemberAssignmentKey),
    /// The value is a [`ConsumerGroupRegularExpressionValue`].
    ConsumerGroupRegularExpression(ConsumerGroupRegularExpressionKey),
    /// Another kind of record, of a newer group protocol; the number says which.
    Other(i16),
}

impl Key {
    /// Reads a record's key.
    pub fn decode(bytes: Bytes) -> Result<Key, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        decoder.at("consumer offsets key");
        let kind = decoder.i16()?;
        let from = &mut decoder;
        let key = match kind {
            0..=1 => Key::OffsetCommit(Message::decode(from, kind)?),
            2 => Key::GroupMetadata(Message::decode(from, kind)?),
            3 => Key::ConsumerGroupMetadata(Message::decode(from, kind)?),
            4 => Key::ConsumerGroupPartitionMetadata(Message::decode(from, kind)?),
            5 => Key::ConsumerGroupMemberMetadata(Message::decode(from, kind)?),
            6 => Key::ConsumerGroupTargetAssignmentMetadata(Message::decode(from, kind)?),
            7 => Key::ConsumerGroupTargetAssignmentMember(Message::decode(from, kind)?),
            8 => Key::ConsumerGroupCurrentMemberAssignment(Message::decode(from, kind)?),
            16 => Key::ConsumerGroupRegularExpression(Message::decode(from, kind)?),
            _ => return Ok(Key::Other(kind)),
        };
        decoder.finish()?;
        Ok(key)
    }
}

/// A key's bytes, as Kafka writes them today: the newest version is also the kind.
pub fn encode_key<K: Message>(key: &K) -> Result<Bytes, EncodeError> {
    super::encode(key, *K::VERSIONS.end())
}

schema! {
    /// Whose offset, of which partition. Both versions are alike.
    record OffsetCommitKey(0..=1, flexible NEVER) {
        group: Str;
        topic: Str;
        partition: i32;
    }

    /// A committed offset.
    record OffsetCommitValue(0..=4, flexible 4) {
        offset: i64;
        /// Epoch of the last record read; -1 when the client did not say.
        leader_epoch: i32 = -1,     since(3).ignorable();
        metadata: Str;
        commit_timestamp: i64;
        expire_timestamp: i64 = -1, between(1, 1).ignorable();
        /// Which topic of this name was meant; nil when the client did not say.
        topic_id: Uuid,             since(4).tag(0).ignorable();
    }

    /// Which classic group. The only version is 2: the number tells the kinds of key apart.
    record GroupMetadataKey(2..=2, flexible NEVER) {
        group: Str;
    }

    /// A classic group as its last rebalance left it.
    record GroupMetadataValue(0..=4, flexible 4) {
        protocol_type: Str;
        generation: i32;
        protocol: Option<Str> = Some(Str::default());
        leader: Option<Str> = Some(Str::default());
        current_state_timestamp: i64 = -1, since(2).ignorable();
        members: Vec<MemberMetadata>;
    }

    /// One member of a classic group.
    struct MemberMetadata {
        member_id: Str;
        group_instance_id: Option<Str>, since(3).ignorable();
        client_id: Str;
        client_host: Str;
        /// Milliseconds.
        rebalance_timeout: i32,         since(1).ignorable();
        /// Milliseconds.
        session_timeout: i32;
        subscription: Bytes;
        assignment: Bytes;
    }

    /// Which consumer group.
    record ConsumerGroupMetadataKey(3..=3, flexible NEVER) {
        group_id: Str;
    }

    /// Where a consumer group stands.
    record ConsumerGroupMetadataValue(0..=0, flexible 0) {
        epoch: i32;
        /// A fingerprint of the subscribed topics; 0: not known (KIP-1101).
        metadata_hash: i64,           since(0).tag(0);
        /// When the group was created, in ms; -1: not known (KIP-1282).
        creation_time_ms: i64 = -1,   since(0).tag(1);
    }

    /// Which consumer group's topics.
    record ConsumerGroupPartitionMetadataKey(4..=4, flexible NEVER) {
        group_id: Str;
    }

    /// The subscribed topics as Kafka 4.0 and older knew them.
    record ConsumerGroupPartitionMetadataValue(0..=0, flexible 0) {
        topics: Vec<TopicMetadata>;
    }

    /// One subscribed topic.
    struct TopicMetadata {
        topic_id: Uuid;
        topic_name: Str;
        num_partitions: i32;
        partition_metadata: Vec<PartitionMetadata>;
    }

    /// Where a partition's replicas are.
    struct PartitionMetadata {
        partition: i32;
        racks: Vec<Str>;
    }

    /// Which member of a consumer group.
    record ConsumerGroupMemberMetadataKey(5..=5, flexible NEVER) {
        group_id: Str;
        member_id: Str;
    }

    /// What a member is and wants.
    record ConsumerGroupMemberMetadataValue(0..=0, flexible 0) {
        instance_id: Option<Str>;
        rack_id: Option<Str>;
        client_id: Str;
        client_host: Str;
        subscribed_topic_names: Vec<Str>;
        subscribed_topic_regex: Option<Str>;
        rebalance_timeout_ms: i32 = -1;
        server_assignor: Option<Str>;
        /// Set for a member that speaks the classic protocol.
        classic_member_metadata: Option<ClassicMemberMetadata>, since(0).tag(0);
    }

    /// What a member of the classic protocol said when it joined.
    struct ClassicMemberMetadata {
        session_timeout_ms: i32;
        supported_protocols: Vec<ClassicProtocol>;
    }

    /// One way of assigning that a classic member supports.
    struct ClassicProtocol {
        name: Str;
        metadata: Bytes;
    }

    /// Which consumer group's assignment.
    record ConsumerGroupTargetAssignmentMetadataKey(6..=6, flexible NEVER) {
        group_id: Str;
    }

    /// For which epoch of the group the assignment was made.
    record ConsumerGroupTargetAssignmentMetadataValue(0..=0, flexible 0) {
        assignment_epoch: i32;
    }

    /// Whose assignment.
    record ConsumerGroupTargetAssignmentMemberKey(7..=7, flexible NEVER) {
        group_id: Str;
        member_id: Str;
    }

    /// What a member is to hold.
    record ConsumerGroupTargetAssignmentMemberValue(0..=0, flexible 0) {
        topic_partitions: Vec<TargetTopicPartitions>;
    }

    /// Partitions of one topic.
    struct TargetTopicPartitions {
        topic_id: Uuid;
        partitions: Vec<i32>;
    }

    /// Whose current assignment.
    record ConsumerGroupCurrentMemberAssignmentKey(8..=8, flexible NEVER) {
        group_id: Str;
        member_id: Str;
    }

    /// How far a member has come.
    record ConsumerGroupCurrentMemberAssignmentValue(0..=0, flexible 0) {
        member_epoch: i32;
        previous_member_epoch: i32;
        /// 0 stable, 1 has to give up partitions, 2 waits for partitions of others.
        state: i8;
        assigned_partitions: Vec<AssignedTopicPartitions>;
        partitions_pending_revocation: Vec<AssignedTopicPartitions>;
    }

    /// Partitions of one topic.
    struct AssignedTopicPartitions {
        topic_id: Uuid;
        partitions: Vec<i32>;
        /// In which epoch the member got each of the partitions (KIP-1251).
        assignment_epochs: Option<Vec<i32>>, since(0).tag(0);
    }

    /// Which regular expression of a consumer group.
    record ConsumerGroupRegularExpressionKey(16..=16, flexible NEVER) {
        group_id: Str;
        regular_expression: Str;
    }

    /// The topics it stood for when it was last looked at.
    record ConsumerGroupRegularExpressionValue(0..=0, flexible 0) {
        topics: Vec<Str>;
        /// The version of the cluster's metadata then.
        version: i64;
        /// When that was, in ms.
        timestamp: i64;
    }
}
