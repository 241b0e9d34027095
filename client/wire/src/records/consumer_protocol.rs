//! What members of a classic group of consumers (protocol type `consumer`) put into JoinGroup and get
//! from SyncGroup. The broker passes it on unread; only clients read it.
//!
//! A newer version than ours is read as far as ours goes, as Kafka's clients do.

use bytes::Bytes;

use crate::Str;
use crate::decoder::Decoder;
use crate::error::{DecodeError, EncodeError};
use crate::schema::{Message, NEVER, schema, since};

schema! {
    /// What a member asks for.
    record ConsumerProtocolSubscription(0..=3, flexible NEVER) {
        topics: Vec<Str>;
        user_data: Option<Bytes>;
        /// What the member holds now, for assignors that avoid moving it.
        owned_partitions: Vec<TopicPartition>, since(1).ignorable();
        /// In which generation it got them; -1 if unknown.
        generation_id: i32 = -1,               since(2).ignorable();
        rack_id: Option<Str>,                  since(3).ignorable();
    }

    /// What a member gets.
    record ConsumerProtocolAssignment(0..=3, flexible NEVER) {
        assigned_partitions: Vec<TopicPartition>;
        user_data: Option<Bytes>;
    }

    /// Partitions of one topic.
    struct TopicPartition {
        topic: Str;
        partitions: Vec<i32>;
    }
}

impl ConsumerProtocolSubscription {
    /// Reads what a member sent, in whatever version.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        decode_known_part(bytes)
    }

    /// The bytes for JoinGroup, in our newest version.
    pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        super::encode(self, *Self::VERSIONS.end())
    }
}

impl ConsumerProtocolAssignment {
    /// Reads what the leader sent, in whatever version.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        decode_known_part(bytes)
    }

    /// The bytes for SyncGroup, in our newest version.
    pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        super::encode(self, *Self::VERSIONS.end())
    }
}

/// Reads a message that may be of a newer version, which has our fields in front and then more.
fn decode_known_part<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    decoder.at(M::NAME);
    let version = decoder.i16()?.min(*M::VERSIONS.end());
    M::decode(&mut decoder, version)
}
