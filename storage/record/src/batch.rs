//! One batch as bytes.

use bytes::{Bytes, BytesMut};

use crate::builder::ProducerStamp;
use crate::compression::Codec;
use crate::error::BatchError;
use crate::header::{
    ATTRIBUTES_AT, BATCH_HEADER_LEN, BatchHeader, CRC_AT, LEADER_EPOCH_AT, LOG_OVERHEAD, NO_PRODUCER_ID,
    TimestampType,
};
use crate::record::{OpenBatch, Record};

/// Exactly one record batch: its decoded header and its bytes. Cloning costs one reference count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// The door for what a producer sends: everything [`Batch::verify`] checks, and also that offsets inside the batch are
    /// dense (`count = lastOffsetDelta + 1`, at least one record), that an idempotent batch has a sequence, and that the
    /// control bit is clear.
    ///
    /// Records are not decoded. `bytes` must be exactly one batch.
    pub fn validate(bytes: Bytes) -> Result<Batch, BatchError> {
        let batch = Batch::verify(bytes)?;
        let header = &batch.header;
        if header.is_control() {
            return Err(BatchError::ControlFromProducer);
        }
        if header.count < 1 {
            return Err(header.invalid_count("a produced batch has at least one record"));
        }
        if header.count != header.last_offset_delta.wrapping_add(1) {
            return Err(header.invalid_count("a produced batch has count = last offset delta + 1"));
        }
        let invalid_producer = |reason| BatchError::InvalidProducer {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            reason,
        };
        if header.has_producer() {
            if header.producer_epoch < 0 {
                return Err(invalid_producer("a producer id needs an epoch of at least 0"));
            }
            if header.base_sequence < 0 {
                return Err(invalid_producer("a producer id needs a sequence of at least 0"));
            }
        } else if header.producer_id < NO_PRODUCER_ID {
            return Err(invalid_producer("the producer id is below -1"));
        } else if header.is_transactional() {
            return Err(invalid_producer("a transactional batch needs a producer id"));
        }
        Ok(batch)
    }

    /// Checks a batch that was stored or fetched: length, magic 2, CRC-32C, codec, count and offsets within bounds.
    ///
    /// Compaction may have removed records, so the count may be anything up to `lastOffsetDelta + 1`, even 0.
    pub fn verify(bytes: Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::verify(&bytes)?;
        Ok(Batch { header, bytes })
    }

    /// Reads the header only, for bytes that were checked before. Still refuses anything but exactly one batch.
    pub fn trusted(bytes: Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::parse_exact(&bytes)?;
        Ok(Batch { header, bytes })
    }

    /// Puts a finished header in front of a body; for the builder, which knows that the CRC is right.
    pub(crate) fn assemble(header: BatchHeader, bytes: Bytes) -> Batch {
        debug_assert_eq!(BatchHeader::parse(&bytes), Ok(header));
        debug_assert_eq!(header.size(), bytes.len());
        Batch { header, bytes }
    }

    /// The decoded header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, header included.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The records as they are stored: behind the header, compressed if the codec says so.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(BATCH_HEADER_LEN..)
    }

    /// Gives the batch its base offset and leader epoch. Both lie outside the CRC.
    ///
    /// Written in place when this is the only holder of the bytes, otherwise into one copy.
    #[must_use]
    pub fn stamped(self, base_offset: i64, leader_epoch: i32) -> Batch {
        let mut header = self.header;
        header.base_offset = base_offset;
        header.leader_epoch = leader_epoch;
        if header == self.header {
            return self;
        }
        let mut bytes = owned(self.bytes);
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4].copy_from_slice(&leader_epoch.to_be_bytes());
        Batch { header, bytes: bytes.freeze() }
    }

    /// Makes `now` (ms since the epoch) the timestamp of every record: sets the attribute and the maximum timestamp and
    /// computes the CRC again. In place when this is the only holder of the bytes.
    #[must_use]
    pub fn with_log_append_time(self, now: i64) -> Batch {
        let attributes = self.header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        let header = BatchHeader { attributes, max_timestamp: now, ..self.header };
        self.sealed_again(header)
    }

    /// Puts another maximum timestamp (ms since the epoch) into the header and computes the CRC again: for a producer that
    /// did not say the largest one of its records. In place when this is the only holder of the bytes.
    #[must_use]
    pub fn with_max_timestamp(self, max_timestamp: i64) -> Batch {
        let header = BatchHeader { max_timestamp, ..self.header };
        self.sealed_again(header)
    }

    /// Makes it a batch of this producer, inside a transaction or outside, and computes the CRC again: for batches that were
    /// made before anybody knew who sends them. In place when this is the only holder of the bytes.
    #[must_use]
    pub fn with_producer(self, producer: ProducerStamp, transactional: bool) -> Batch {
        let attributes = self.header.attributes.with_transactional(transactional);
        let ProducerStamp { id, epoch, sequence } = producer;
        let header = BatchHeader {
            attributes,
            producer_id: id,
            producer_epoch: epoch,
            base_sequence: sequence,
            ..self.header
        };
        self.sealed_again(header)
    }

    fn sealed_again(self, mut header: BatchHeader) -> Batch {
        let mut bytes = owned(self.bytes);
        bytes[ATTRIBUTES_AT..BATCH_HEADER_LEN].copy_from_slice(&header.encode()[ATTRIBUTES_AT..]);
        header.crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&header.crc.to_be_bytes());
        Batch { header, bytes: bytes.freeze() }
    }

    /// The same batch without its records: what is left of it when compaction has removed them all and its offsets,
    /// producer and sequences have to stay known.
    #[must_use]
    pub fn without_records(&self) -> Batch {
        let mut header = self.header;
        header.attributes = header.attributes.with_codec(Codec::None);
        header.length = (BATCH_HEADER_LEN - LOG_OVERHEAD) as i32;
        header.count = 0;
        let mut bytes = BytesMut::from(&header.encode()[..]);
        header.crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&header.crc.to_be_bytes());
        Batch { header, bytes: bytes.freeze() }
    }

    /// Decompresses, within `budget` bytes, and gives access to the records one by one without allocating for each.
    ///
    /// The budget bounds only what decompression makes; an uncompressed batch is used where it lies.
    pub fn open(&self, budget: usize) -> Result<OpenBatch, BatchError> {
        OpenBatch::new(self, budget)
    }

    /// All records. Keys, values and headers are slices of the batch, or of its decompressed form.
    pub fn records(&self, budget: usize) -> Result<Vec<Record>, BatchError> {
        let open = self.open(budget)?;
        let mut records = Vec::with_capacity(open.count());
        for view in open.records() {
            records.push(open.own(&view?)?);
        }
        Ok(records)
    }
}

/// The bytes for writing: the same memory if nobody else holds it, else a copy.
fn owned(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

/// Walks batches that lie back to back, verifying each ([`Batch::verify`]). Stops after the first error.
///
/// Bytes that end inside a batch give [`BatchError::Truncated`], which the reader of a fetch response expects at the end.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes, failed: false }
}

/// Iterator of [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
    failed: bool,
}

impl Batches {
    /// Bytes not yet walked.
    pub fn remaining(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        let result = BatchHeader::parse(&self.rest).and_then(|header| {
            if self.rest.len() < header.size() {
                return Err(BatchError::Truncated { needed: header.size(), available: self.rest.len() });
            }
            Batch::verify(self.rest.split_to(header.size()))
        });
        self.failed = result.is_err();
        Some(result)
    }
}

#[cfg(test)]
mod tests;
