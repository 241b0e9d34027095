//! `__consumer_offsets`: committed offsets and classic groups. The number in front of a key is not only
//! its version but says which kind of record it is.

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
    /// Another kind of record, of a newer group protocol; the number says which.
    Other(i16),
}

impl Key {
    /// Reads a record's key.
    pub fn decode(bytes: Bytes) -> Result<Key, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        decoder.at("consumer offsets key");
        let kind = decoder.i16()?;
        let key = match kind {
            0..=1 => Key::OffsetCommit(OffsetCommitKey::decode(&mut decoder, kind)?),
            2 => Key::GroupMetadata(GroupMetadataKey::decode(&mut decoder, kind)?),
            _ => return Ok(Key::Other(kind)),
        };
        decoder.finish()?;
        Ok(key)
    }
}

impl OffsetCommitKey {
    /// The key's bytes, as Kafka writes them today (version 1).
    pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        super::encode(self, 1)
    }
}

impl GroupMetadataKey {
    /// The key's bytes.
    pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        super::encode(self, 2)
    }
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
}
