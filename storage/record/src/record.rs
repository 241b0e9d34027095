//! Records inside a batch.

use bytes::Bytes;

use crate::batch::Batch;
use crate::compression::{self, Codec, Compressor};
use crate::error::BatchError;
use crate::header::{ATTRIBUTES_AT, BATCH_HEADER_LEN, BatchHeader, CRC_AT, LOG_OVERHEAD, TimestampType};
use crate::varint::{self, VarintError};

/// The smallest record: length, attributes, timestamp delta, offset delta, key length, value length, header count.
pub(crate) const MIN_RECORD_LEN: usize = 7;
/// The smallest record header: key length and value length.
pub(crate) const MIN_HEADER_LEN: usize = 2;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since the epoch: the producer's, or the broker's under LogAppendTime.
    pub timestamp: i64,
    /// Key, if it has one.
    pub key: Option<Bytes>,
    /// Value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Headers in their order; keys may repeat.
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordHeader {
    /// Key, UTF-8 by convention.
    pub key: Bytes,
    /// Value, which may be absent.
    pub value: Option<Bytes>,
}

/// A batch with its records decompressed, ready to be walked.
#[derive(Debug, Clone)]
pub struct OpenBatch {
    header: BatchHeader,
    body: Bytes,
}

impl OpenBatch {
    pub(crate) fn new(batch: &Batch, budget: usize) -> Result<OpenBatch, BatchError> {
        let header = *batch.header();
        let codec = header.codec()?;
        let stored = batch.body();
        // A compacted batch may be empty, and then has no compressed frame to read.
        let body = if stored.is_empty() { stored } else { compression::decompress(codec, &stored, budget)? };
        if header.count < 0 || header.count as usize > body.len() / MIN_RECORD_LEN {
            return Err(BatchError::InvalidCount {
                count: header.count,
                last_offset_delta: header.last_offset_delta,
                reason: "more records than the bytes can hold",
            });
        }
        Ok(OpenBatch { header, body })
    }

    /// Records in the batch.
    pub fn count(&self) -> usize {
        self.header.count as usize
    }

    /// Header of the batch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records, decompressed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Walks the records. After an error, or after bytes left over behind the last record, the walk ends.
    pub fn records(&self) -> RecordViews<'_> {
        RecordViews { header: self.header, rest: &self.body, next: 0, growing: None }
    }

    /// The same from an offset on. The records before are passed over by their lengths, and not looked at further: whoever
    /// takes a large batch part by part does not walk all of it for each. That offsets do not grow is an error here: the
    /// parts would not be the whole.
    pub fn records_from(&self, offset: i64) -> RecordViews<'_> {
        let mut last = -1;
        let mut views = self.records();
        while views.next < self.header.count {
            let mut rest = views.rest;
            match pass_record(&mut rest) {
                Some(delta)
                    if delta > last && self.header.base_offset.wrapping_add(i64::from(delta)) < offset =>
                {
                    last = delta;
                    views = RecordViews { rest, next: views.next + 1, ..views };
                }
                // What is wrong with it says the walk.
                _ => break,
            }
        }
        RecordViews { growing: Some(last), ..views }
    }

    /// The same records as one batch in another codec, at the codec's default level or the one given.
    ///
    /// The bytes of the records stay as they are; whoever has them from a client walks them first.
    pub fn repack(&self, codec: Codec, level: Option<i32>) -> Result<Batch, BatchError> {
        let mut bytes = vec![0; BATCH_HEADER_LEN];
        // An empty batch has nothing to compress, and its reader expects no frame.
        let codec = if self.body.is_empty() { Codec::None } else { codec };
        Compressor::with_level(level).compress(codec, &self.body, &mut bytes)?;
        let length = i32::try_from(bytes.len() - LOG_OVERHEAD)
            .map_err(|_| BatchError::TooLarge { bytes: bytes.len() })?;
        let attributes = self.header.attributes.with_codec(codec);
        let mut header = BatchHeader { length, attributes, ..self.header };
        bytes[..BATCH_HEADER_LEN].copy_from_slice(&header.encode());
        header.crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&header.crc.to_be_bytes());
        Ok(Batch::assemble(header, Bytes::from(bytes)))
    }

    /// Makes a record of its own from a view; its parts share the batch's memory.
    pub fn own(&self, view: &RecordView<'_>) -> Result<Record, BatchError> {
        let slice = |part: &[u8]| self.body.slice_ref(part);
        let mut headers = Vec::with_capacity(view.header_count);
        for header in view.headers() {
            let (key, value) = header?;
            headers.push(RecordHeader { key: slice(key), value: value.map(slice) });
        }
        Ok(Record {
            offset: view.offset,
            timestamp: view.timestamp,
            key: view.key.map(slice),
            value: view.value.map(slice),
            headers,
        })
    }
}

/// One record, borrowed. Its headers are parsed when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// Key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    index: i32,
    header_count: usize,
    header_bytes: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// How many headers the record has. Not more than its bytes can hold.
    pub fn header_count(&self) -> usize {
        self.header_count
    }

    /// How many bytes key, value and headers have together, the headers' lengths included.
    pub fn data_len(&self) -> usize {
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        length(self.key) + length(self.value) + self.header_bytes.len()
    }

    /// Walks the headers: key and value. Checks, behind the last one, that the record ends there.
    pub fn headers(&self) -> HeaderViews<'a> {
        HeaderViews { rest: self.header_bytes, left: self.header_count, index: self.index, done: false }
    }
}

/// Iterator of [`OpenBatch::records`].
#[derive(Debug, Clone)]
pub struct RecordViews<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    next: i32,
    /// The offset delta of the record before, where deltas must grow.
    growing: Option<i32>,
}

impl<'a> Iterator for RecordViews<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.header.count {
            if self.next == self.header.count && !self.rest.is_empty() {
                self.next = i32::MAX;
                return Some(Err(BatchError::TrailingBytes { extra: self.rest.len() }));
            }
            return None;
        }
        let index = self.next;
        let parsed = parse_record(&self.header, &mut self.rest, index);
        let parsed = match self.growing {
            Some(last) => parsed.and_then(|view| match view.offset_delta > last {
                true => Ok(view),
                false => Err("its offset is not behind the offset of the record before"),
            }),
            None => parsed,
        };
        match parsed {
            Ok(view) => {
                self.growing = self.growing.map(|_| view.offset_delta);
                self.next += 1;
                Some(Ok(view))
            }
            Err(reason) => {
                self.next = i32::MAX;
                Some(Err(BatchError::InvalidRecord { index, reason }))
            }
        }
    }
}

/// Iterator of [`RecordView::headers`].
#[derive(Debug, Clone)]
pub struct HeaderViews<'a> {
    rest: &'a [u8],
    left: usize,
    index: i32,
    done: bool,
}

impl<'a> Iterator for HeaderViews<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let index = self.index;
        if self.left == 0 {
            self.done = true;
            let reason = "bytes after the last header";
            return (!self.rest.is_empty()).then_some(Err(BatchError::InvalidRecord { index, reason }));
        }
        self.left -= 1;
        let parsed = parse_header(&mut self.rest);
        self.done = parsed.is_err();
        Some(parsed.map_err(|reason| BatchError::InvalidRecord { index, reason }))
    }
}

/// The offset delta of a record that is not looked at further. `None`: it is damaged.
fn pass_record(input: &mut &[u8]) -> Option<i32> {
    let length = usize::try_from(varint::read_i32(input).ok()?).ok()?;
    let (record, rest) = input.split_at_checked(length)?;
    *input = rest;
    let (_, mut record) = record.split_first()?;
    varint::read_i64(&mut record).ok()?;
    varint::read_i32(&mut record).ok()
}

fn parse_record<'a>(
    header: &BatchHeader,
    input: &mut &'a [u8],
    index: i32,
) -> Result<RecordView<'a>, &'static str> {
    let length = varint::read_i32(input).map_err(reason)?;
    let length = usize::try_from(length).map_err(|_| "negative record length")?;
    if length > input.len() {
        return Err("record is longer than the batch");
    }
    let (mut record, rest) = input.split_at(length);
    *input = rest;

    // Attributes of a record are unused; the format reserves the byte.
    let (_, after_attributes) = record.split_first().ok_or("record without attributes")?;
    record = after_attributes;
    let timestamp_delta = varint::read_i64(&mut record).map_err(reason)?;
    let offset_delta = varint::read_i32(&mut record).map_err(reason)?;
    if offset_delta < 0 || offset_delta > header.last_offset_delta {
        return Err("offset delta outside the batch");
    }
    let key = read_nullable(&mut record)?;
    let value = read_nullable(&mut record)?;
    let header_count = varint::read_i32(&mut record).map_err(reason)?;
    let header_count = usize::try_from(header_count).map_err(|_| "negative header count")?;
    if header_count > record.len() / MIN_HEADER_LEN {
        return Err("more headers than the record can hold");
    }
    if header_count == 0 && !record.is_empty() {
        return Err("bytes after the last header");
    }
    let timestamp = match header.timestamp_type() {
        TimestampType::CreateTime => header.base_timestamp.wrapping_add(timestamp_delta),
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    Ok(RecordView {
        offset: header.base_offset.wrapping_add(i64::from(offset_delta)),
        offset_delta,
        timestamp,
        key,
        value,
        index,
        header_count,
        header_bytes: record,
    })
}

fn parse_header<'a>(input: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), &'static str> {
    let key = read_nullable(input)?.ok_or("header without a key")?;
    Ok((key, read_nullable(input)?))
}

fn read_nullable<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
    let length = varint::read_i32(input).map_err(reason)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| "negative length")?;
    if length > input.len() {
        return Err("field is longer than the record");
    }
    let (part, rest) = input.split_at(length);
    *input = rest;
    Ok(Some(part))
}

fn reason(error: VarintError) -> &'static str {
    match error {
        VarintError::Truncated => "variable-length integer is cut off",
        VarintError::TooWide => "variable-length integer is wider than its type",
    }
}
