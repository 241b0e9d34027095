//! What can be wrong with a batch.

use crate::compression::Codec;

/// Why bytes are not a good batch. The caller knows the topic, partition and offset and adds them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch needs.
    #[error("truncated batch: {needed} bytes needed, {available} available")]
    Truncated {
        /// Bytes that the header, or the length field, asks for.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// More bytes than the batch has.
    #[error("{extra} bytes after the end of the batch")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// The length field is smaller than the rest of the header.
    #[error("batch length {length} is below the {minimum} bytes that the header itself needs")]
    InvalidLength {
        /// The length field.
        length: i32,
        /// The smallest legal value.
        minimum: i32,
    },
    /// Magic byte other than 2.
    #[error("message format version (magic) {magic} is not supported, only 2 is")]
    UnsupportedMagic {
        /// The magic byte.
        magic: i8,
    },
    /// The checksum over the batch does not match.
    #[error("batch checksum (CRC-32C) is {computed:#010x}, its header says {stored:#010x}")]
    Checksum {
        /// CRC in the header.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
    /// Attributes name a compression codec that does not exist.
    #[error("unknown compression codec {id}")]
    UnknownCodec {
        /// The three codec bits.
        id: u8,
    },
    /// Record count and last offset delta do not fit together, or cannot fit into the bytes.
    #[error("record count {count} and last offset delta {last_offset_delta} are impossible: {reason}")]
    InvalidCount {
        /// Records in the batch by its header.
        count: i32,
        /// Last offset delta by its header.
        last_offset_delta: i32,
        /// What does not fit.
        reason: &'static str,
    },
    /// Offsets of the batch leave the range of i64.
    #[error("base offset {base_offset} with last offset delta {last_offset_delta} is out of range")]
    InvalidOffset {
        /// The base offset.
        base_offset: i64,
        /// The last offset delta.
        last_offset_delta: i32,
    },
    /// Producer id, epoch and sequence contradict each other.
    #[error("producer id {producer_id}, epoch {producer_epoch}, sequence {base_sequence}: {reason}")]
    InvalidProducer {
        /// Producer id of the header.
        producer_id: i64,
        /// Producer epoch of the header.
        producer_epoch: i16,
        /// Base sequence of the header.
        base_sequence: i32,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A producer set the control bit.
    #[error("a producer may not send a control batch")]
    ControlFromProducer,
    /// Not an end-of-transaction marker.
    #[error("control record: {reason}")]
    InvalidControl {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A record does not parse.
    #[error("record {index} of the batch: {reason}")]
    InvalidRecord {
        /// Position of the record in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The compressed records do not decompress.
    #[error("{codec} data does not decompress: {reason}")]
    Decompress {
        /// The codec.
        codec: Codec,
        /// What the decoder says.
        reason: String,
    },
    /// Decompressing would need more memory than allowed.
    #[error("{codec} data decompresses to more than the allowed {budget} bytes")]
    OverBudget {
        /// The codec.
        codec: Codec,
        /// Allowed bytes.
        budget: usize,
    },
    /// Compressing failed.
    #[error("compressing with {codec} failed: {reason}")]
    Compress {
        /// The codec.
        codec: Codec,
        /// What the encoder says.
        reason: String,
    },
    /// A batch would be larger than its length field can say.
    #[error("a batch of {bytes} bytes is over the format's limit of 2 GiB")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}
