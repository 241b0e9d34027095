//! The 61 bytes in front of every batch.

use crate::compression::Codec;
use crate::error::BatchError;
use crate::record::MIN_RECORD_LEN;

/// Bytes of a batch header, up to and including the record count.
pub const BATCH_HEADER_LEN: usize = 61;
/// Bytes in front of what the length field counts: base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;
/// Producer id of a batch without one.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of a batch without one.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Base sequence of a batch without one.
pub const NO_SEQUENCE: i32 = -1;
/// Timestamp of a batch or record without one.
pub const NO_TIMESTAMP: i64 = -1;
/// Leader epoch of a batch that no leader has stamped.
pub const NO_LEADER_EPOCH: i32 = -1;

pub(crate) const LENGTH_AT: usize = 8;
pub(crate) const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

pub(crate) const MAGIC: i8 = 2;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// Whose clock made a batch's timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    CreateTime,
    /// The broker's: every record has the batch's maximum.
    LogAppendTime,
}

/// The attribute bits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(i16);

impl Attributes {
    /// From the bits of the header.
    pub fn from_bits(bits: i16) -> Attributes {
        Attributes(bits)
    }

    /// The bits of the header.
    pub fn bits(self) -> i16 {
        self.0
    }

    /// Compression codec, or the error for one that does not exist.
    pub fn codec(self) -> Result<Codec, BatchError> {
        Codec::from_id((self.0 & CODEC_MASK) as u8)
    }

    /// Whose clock made the timestamps.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Part of a transaction (data or marker).
    pub fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// Control records for clients' consumers, not data.
    pub fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// The base timestamp is the time from which on compaction may drop tombstones and markers of this batch.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON != 0
    }

    pub(crate) fn with_codec(self, codec: Codec) -> Attributes {
        Attributes(self.0 & !CODEC_MASK | i16::from(codec.id()))
    }

    pub(crate) fn with_timestamp_type(self, kind: TimestampType) -> Attributes {
        self.with_bit(LOG_APPEND_TIME, kind == TimestampType::LogAppendTime)
    }

    pub(crate) fn with_transactional(self, on: bool) -> Attributes {
        self.with_bit(TRANSACTIONAL, on)
    }

    pub(crate) fn with_control(self, on: bool) -> Attributes {
        self.with_bit(CONTROL, on)
    }

    pub(crate) fn with_delete_horizon(self, on: bool) -> Attributes {
        self.with_bit(DELETE_HORIZON, on)
    }

    fn with_bit(self, bit: i16, on: bool) -> Attributes {
        Attributes(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// A batch header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (of the first record ever in it: compaction keeps this number).
    pub base_offset: i64,
    /// Bytes after the length field.
    pub length: i32,
    /// Epoch of the leader that appended the batch, -1 before that.
    pub leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control.
    pub attributes: Attributes,
    /// Last offset of the batch minus its base offset.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas add to, ms since the epoch.
    pub base_timestamp: i64,
    /// Largest timestamp of the batch, ms since the epoch.
    pub max_timestamp: i64,
    /// Producer id, -1 without.
    pub producer_id: i64,
    /// Producer epoch, -1 without.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 without.
    pub base_sequence: i32,
    /// Records in the batch.
    pub count: i32,
}

impl BatchHeader {
    /// Reads a header at the front of `bytes`, which may hold less than the whole batch.
    ///
    /// Checks what makes the header readable: enough bytes, magic 2, a length that covers the header. The meaning of the
    /// fields is checked by [`crate::Batch::verify`] and [`crate::Batch::validate`].
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // The magic byte decides how everything else is read, so it is looked at first.
        if bytes.len() > MAGIC_AT && bytes[MAGIC_AT] as i8 != MAGIC {
            return Err(BatchError::UnsupportedMagic { magic: bytes[MAGIC_AT] as i8 });
        }
        let Some(head) = bytes.first_chunk::<BATCH_HEADER_LEN>() else {
            return Err(BatchError::Truncated { needed: BATCH_HEADER_LEN, available: bytes.len() });
        };
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(field(head, 0)),
            length: i32::from_be_bytes(field(head, LENGTH_AT)),
            leader_epoch: i32::from_be_bytes(field(head, LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(field(head, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(field(head, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(field(head, LAST_OFFSET_DELTA_AT)),
            base_timestamp: i64::from_be_bytes(field(head, BASE_TIMESTAMP_AT)),
            max_timestamp: i64::from_be_bytes(field(head, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(head, PRODUCER_ID_AT)),
            producer_epoch: i16::from_be_bytes(field(head, PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(field(head, BASE_SEQUENCE_AT)),
            count: i32::from_be_bytes(field(head, COUNT_AT)),
        };
        const MINIMUM: i32 = (BATCH_HEADER_LEN - LOG_OVERHEAD) as i32;
        if header.length < MINIMUM {
            return Err(BatchError::InvalidLength { length: header.length, minimum: MINIMUM });
        }
        Ok(header)
    }

    /// Reads the header of `bytes`, which must be exactly one batch.
    pub(crate) fn parse_exact(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size();
        if bytes.len() < size {
            return Err(BatchError::Truncated { needed: size, available: bytes.len() });
        }
        if bytes.len() > size {
            return Err(BatchError::TrailingBytes { extra: bytes.len() - size });
        }
        Ok(header)
    }

    /// Checks a whole batch where it lies, as [`crate::Batch::verify`] does: length, magic 2, CRC-32C, codec, count and
    /// offsets within bounds. `bytes` must be exactly one batch.
    pub fn verify(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::parse_exact(bytes)?;
        let computed = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
        if computed != header.crc {
            return Err(BatchError::Checksum { stored: header.crc, computed });
        }
        header.check_bounds()?;
        let body = bytes.len() - BATCH_HEADER_LEN;
        if !header.codec()?.is_compressed() && header.count as usize > body / MIN_RECORD_LEN {
            return Err(header.invalid_count("more records than the bytes can hold"));
        }
        Ok(header)
    }

    /// Checks what holds for every batch, whatever its body: counts and offsets are not negative, no more records than
    /// offsets. For a header that is used before a checksum vouches for it: it ends behind its beginning.
    pub fn check_bounds(&self) -> Result<(), BatchError> {
        if self.last_offset_delta < 0 || self.count < 0 {
            return Err(self.invalid_count("neither may be negative"));
        }
        if i64::from(self.count) > i64::from(self.last_offset_delta) + 1 {
            return Err(self.invalid_count("more records than offsets"));
        }
        let end_offset = self.base_offset.checked_add(i64::from(self.last_offset_delta) + 1);
        if self.base_offset < 0 || end_offset.is_none() {
            return Err(BatchError::InvalidOffset {
                base_offset: self.base_offset,
                last_offset_delta: self.last_offset_delta,
            });
        }
        Ok(())
    }

    pub(crate) fn invalid_count(&self, reason: &'static str) -> BatchError {
        BatchError::InvalidCount { count: self.count, last_offset_delta: self.last_offset_delta, reason }
    }

    /// The 61 bytes.
    pub fn encode(&self) -> [u8; BATCH_HEADER_LEN] {
        let mut head = [0; BATCH_HEADER_LEN];
        put(&mut head, 0, self.base_offset.to_be_bytes());
        put(&mut head, LENGTH_AT, self.length.to_be_bytes());
        put(&mut head, LEADER_EPOCH_AT, self.leader_epoch.to_be_bytes());
        put(&mut head, MAGIC_AT, MAGIC.to_be_bytes());
        put(&mut head, CRC_AT, self.crc.to_be_bytes());
        put(&mut head, ATTRIBUTES_AT, self.attributes.0.to_be_bytes());
        put(&mut head, LAST_OFFSET_DELTA_AT, self.last_offset_delta.to_be_bytes());
        put(&mut head, BASE_TIMESTAMP_AT, self.base_timestamp.to_be_bytes());
        put(&mut head, MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(&mut head, PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        put(&mut head, PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        put(&mut head, BASE_SEQUENCE_AT, self.base_sequence.to_be_bytes());
        put(&mut head, COUNT_AT, self.count.to_be_bytes());
        head
    }

    /// Offset of the last record (saturating, so that no header can overflow it).
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record; sequences go on at 0 after `i32::MAX`. -1 for a batch without sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + self.length as usize
    }

    /// Part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// A control batch, such as a transaction marker.
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// Compression codec, or the error for one that does not exist.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        self.attributes.codec()
    }

    /// Whose clock made the timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// From an idempotent or transactional producer.
    pub fn has_producer(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }
}

fn field<const N: usize>(head: &[u8; BATCH_HEADER_LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|i| head[at + i])
}

fn put<const N: usize>(head: &mut [u8; BATCH_HEADER_LEN], at: usize, value: [u8; N]) {
    head[at..at + N].copy_from_slice(&value);
}
