//! Making batches.

use bytes::{BufMut, Bytes};

use crate::batch::Batch;
use crate::compression::{Codec, Compressor};
use crate::error::BatchError;
use crate::header::{
    ATTRIBUTES_AT, Attributes, BATCH_HEADER_LEN, BatchHeader, CRC_AT, LOG_OVERHEAD, NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
use crate::varint;

/// Who produces a batch: the header fields of an idempotent or transactional producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// Producer id.
    pub id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// Sequence of the first record, or -1 for a batch without sequences (markers, coordinators).
    pub sequence: i32,
}

/// How batches are to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchOptions {
    /// Compression.
    pub codec: Codec,
    /// Producer fields; none for a plain batch.
    pub producer: Option<ProducerStamp>,
    /// Part of a transaction.
    pub transactional: bool,
    /// Control records.
    pub control: bool,
    /// Give every record the broker's time, in ms since the epoch, instead of its own.
    pub log_append_time: Option<i64>,
    /// Compaction: the time from which on tombstones and markers of the batch may go, in ms since the epoch.
    pub delete_horizon: Option<i64>,
}

/// Collects records and makes a batch of them. Can be used again after [`BatchBuilder::build`]; working memory is kept.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    compressor: Compressor,
    /// Room for the header, then the records, uncompressed.
    buffer: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new(options: BatchOptions) -> BatchBuilder {
        BatchBuilder {
            options,
            compressor: Compressor::default(),
            buffer: vec![0; BATCH_HEADER_LEN],
            count: 0,
            last_offset_delta: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// The options of the next [`BatchBuilder::build`].
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// Changes the producer of the next [`BatchBuilder::build`], for instance its sequence.
    pub fn set_producer(&mut self, producer: Option<ProducerStamp>) {
        self.options.producer = producer;
    }

    /// Adds a record at the next offset. `timestamp` in ms since the epoch; headers are (key, value) in order.
    ///
    /// The batch may hold at most `i32::MAX` bytes, which [`BatchBuilder::build`] checks; watch
    /// [`BatchBuilder::size_estimate`].
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        self.push_at(self.last_offset_delta + 1, timestamp, key, value, headers);
    }

    /// Adds a record `offset_delta` after the base offset; deltas must grow. Compaction keeps the records' offsets with it.
    ///
    /// # Panics
    /// If the delta does not grow: that is a mistake of the caller, not of its input.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        assert!(offset_delta > self.last_offset_delta, "offset deltas must grow");
        if self.count == 0 {
            // With a delete horizon the header's base timestamp is the horizon, and deltas count from there.
            self.base_timestamp = self.options.delete_horizon.unwrap_or(timestamp);
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let size = 1
            + varint::size_i64(timestamp_delta)
            + varint::size_i32(offset_delta)
            + nullable_size(key)
            + nullable_size(value)
            + varint::size_i32(headers.len() as i32)
            + headers
                .iter()
                .map(|(key, value)| nullable_size(Some(key)) + nullable_size(*value))
                .sum::<usize>();
        let out = &mut self.buffer;
        out.reserve(size + 5);
        varint::write_i32(out, size as i32);
        let start = out.len();
        out.put_i8(0);
        varint::write_i64(out, timestamp_delta);
        varint::write_i32(out, offset_delta);
        put_nullable(out, key);
        put_nullable(out, value);
        varint::write_i32(out, headers.len() as i32);
        for (key, value) in headers {
            put_nullable(out, Some(key));
            put_nullable(out, *value);
        }
        debug_assert_eq!(out.len() - start, size);
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// Records pushed so far.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Records pushed so far, as collections name it.
    pub fn len(&self) -> usize {
        self.count()
    }

    /// No record was pushed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that the batch would have without compression, header included.
    pub fn size_estimate(&self) -> usize {
        self.buffer.len()
    }

    /// What [`BatchBuilder::size_estimate`] comes to at most with one more record.
    pub fn size_with(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> usize {
        /// The longest varint of 32 bits, and of 64.
        const LENGTH: usize = 5;
        const TIME: usize = 10;
        let bytes = |bytes: Option<&[u8]>| LENGTH + bytes.map_or(0, <[u8]>::len);
        // Its length, attributes, time and offset, and how many headers it has.
        let fixed = LENGTH + 1 + TIME + LENGTH + LENGTH;
        let headers = headers.iter().map(|(key, value)| bytes(Some(key)) + bytes(*value));
        self.size_estimate() + fixed + bytes(key) + bytes(value) + headers.sum::<usize>()
    }

    /// Makes the batch, with base offset 0, and empties the builder.
    ///
    /// Fails when the batch is over the format's 2 GiB, or when a codec fails; the records are gone then too.
    ///
    /// # Panics
    /// If no record was pushed.
    pub fn try_build(&mut self) -> Result<Batch, BatchError> {
        assert!(self.count > 0, "a batch needs a record");
        self.try_build_spanning(self.last_offset_delta)
    }

    /// Makes the batch, with base offset 0, and empties the builder.
    ///
    /// # Panics
    /// If no record was pushed, or the batch is over the format's 2 GiB: callers that cannot know use
    /// [`BatchBuilder::try_build`].
    pub fn build(&mut self) -> Batch {
        match self.try_build() {
            Ok(batch) => batch,
            Err(error) => panic!("batch cannot be built: {error}"),
        }
    }

    /// Like [`BatchBuilder::try_build`], but with a last offset delta of the caller's, and possibly without any record:
    /// compaction keeps a batch's range of offsets when it removes records.
    pub fn try_build_spanning(&mut self, last_offset_delta: i32) -> Result<Batch, BatchError> {
        assert!(last_offset_delta >= self.last_offset_delta.max(0), "the range must cover the records");
        let result = self.finish(last_offset_delta);
        self.buffer.truncate(BATCH_HEADER_LEN);
        self.buffer.resize(BATCH_HEADER_LEN, 0);
        self.count = 0;
        self.last_offset_delta = -1;
        self.base_timestamp = NO_TIMESTAMP;
        self.max_timestamp = NO_TIMESTAMP;
        result
    }

    fn finish(&mut self, last_offset_delta: i32) -> Result<Batch, BatchError> {
        // An empty batch has nothing to compress, and its reader expects no frame.
        let codec = if self.count == 0 { Codec::None } else { self.options.codec };
        let mut bytes = if codec.is_compressed() {
            let mut out = Vec::with_capacity(BATCH_HEADER_LEN + self.buffer.len() / 2);
            out.resize(BATCH_HEADER_LEN, 0);
            self.compressor.compress(codec, &self.buffer[BATCH_HEADER_LEN..], &mut out)?;
            out
        } else {
            // Hand the buffer over: the batch is then the only holder of its bytes and can be stamped in place.
            let capacity = self.buffer.len();
            std::mem::replace(&mut self.buffer, Vec::with_capacity(capacity))
        };
        let length = i32::try_from(bytes.len() - LOG_OVERHEAD)
            .map_err(|_| BatchError::TooLarge { bytes: bytes.len() })?;
        let producer = self.options.producer;
        let log_append_time = self.options.log_append_time;
        let timestamp_type =
            if log_append_time.is_some() { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        let mut header = BatchHeader {
            base_offset: 0,
            length,
            leader_epoch: NO_LEADER_EPOCH,
            crc: 0,
            attributes: Attributes::default()
                .with_codec(codec)
                .with_timestamp_type(timestamp_type)
                .with_transactional(self.options.transactional)
                .with_control(self.options.control)
                .with_delete_horizon(self.options.delete_horizon.is_some()),
            last_offset_delta,
            base_timestamp: self.options.delete_horizon.unwrap_or(self.base_timestamp),
            max_timestamp: log_append_time.unwrap_or(self.max_timestamp),
            producer_id: producer.map_or(NO_PRODUCER_ID, |p| p.id),
            producer_epoch: producer.map_or(NO_PRODUCER_EPOCH, |p| p.epoch),
            base_sequence: producer.map_or(NO_SEQUENCE, |p| p.sequence),
            count: self.count,
        };
        bytes[..BATCH_HEADER_LEN].copy_from_slice(&header.encode());
        header.crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&header.crc.to_be_bytes());
        Ok(Batch::assemble(header, Bytes::from(bytes)))
    }
}

fn nullable_size(part: Option<&[u8]>) -> usize {
    part.map_or(1, |part| varint::size_i32(part.len() as i32) + part.len())
}

fn put_nullable(out: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        Some(part) => {
            varint::write_i32(out, part.len() as i32);
            out.extend_from_slice(part);
        }
        None => varint::write_i32(out, -1),
    }
}

#[cfg(test)]
mod tests;
