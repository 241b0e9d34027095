//! Keys and values of Kafka's internal topics, and what group members tell each other: messages that
//! carry their version in front, as a 16-bit number.

#![allow(missing_docs)] // As in `messages`: most field names say all there is to say.

use bytes::Bytes;

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, EncodeError};
use crate::schema::Message;

pub mod consumer_offsets;
pub mod consumer_protocol;
pub mod transaction_state;

/// Every record, and what members tell each other.
#[cfg(feature = "samples")]
pub const ALL: &[crate::samples::Sampled] = {
    use crate::samples::Sampled;
    &[
        Sampled::of::<consumer_offsets::OffsetCommitKey>(),
        Sampled::of::<consumer_offsets::OffsetCommitValue>(),
        Sampled::of::<consumer_offsets::GroupMetadataKey>(),
        Sampled::of::<consumer_offsets::GroupMetadataValue>(),
        Sampled::of::<consumer_offsets::ConsumerGroupMetadataKey>(),
        Sampled::of::<consumer_offsets::ConsumerGroupMetadataValue>(),
        Sampled::of::<consumer_offsets::ConsumerGroupPartitionMetadataKey>(),
        Sampled::of::<consumer_offsets::ConsumerGroupPartitionMetadataValue>(),
        Sampled::of::<consumer_offsets::ConsumerGroupMemberMetadataKey>(),
        Sampled::of::<consumer_offsets::ConsumerGroupMemberMetadataValue>(),
        Sampled::of::<consumer_offsets::ConsumerGroupTargetAssignmentMetadataKey>(),
        Sampled::of::<consumer_offsets::ConsumerGroupTargetAssignmentMetadataValue>(),
        Sampled::of::<consumer_offsets::ConsumerGroupTargetAssignmentMemberKey>(),
        Sampled::of::<consumer_offsets::ConsumerGroupTargetAssignmentMemberValue>(),
        Sampled::of::<consumer_offsets::ConsumerGroupCurrentMemberAssignmentKey>(),
        Sampled::of::<consumer_offsets::ConsumerGroupCurrentMemberAssignmentValue>(),
        Sampled::of::<consumer_offsets::ConsumerGroupRegularExpressionKey>(),
        Sampled::of::<consumer_offsets::ConsumerGroupRegularExpressionValue>(),
        Sampled::of::<transaction_state::TransactionLogKey>(),
        Sampled::of::<transaction_state::TransactionLogValue>(),
        Sampled::of::<consumer_protocol::ConsumerProtocolSubscription>(),
        Sampled::of::<consumer_protocol::ConsumerProtocolAssignment>(),
    ]
};

/// Writes a message with its version in front.
pub fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.put_i16(version);
    message.encode(&mut encoder, version)?;
    Ok(encoder.into_segments().into_bytes())
}

/// Reads a message written by [`encode`], or by Kafka, to the last byte. A version we do not have is an
/// error.
pub fn decode<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    decoder.at(M::NAME);
    let version = decoder.i16()?;
    let message = M::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok(message)
}
