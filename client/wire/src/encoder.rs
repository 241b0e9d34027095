//! Writing Kafka's primitive types, with large byte fields passed through instead of copied.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::chunks::Chunks;
use crate::error::{EncodeError, EncodeErrorKind};

/// A byte field of at least this many bytes becomes a segment of its own; below it, copying is cheaper
/// than one more entry in a vectored write.
pub const SEGMENT_FROM: usize = 1024;

/// Builds one frame as a list of segments for a vectored write.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
    /// Byte fields that go between the bytes of `buffer`, each before the given position in it.
    insertions: Vec<(usize, Bytes)>,
    inserted: usize,
    field: &'static str,
    pub(crate) version: i16,
    pub(crate) flexible: bool,
}

impl Encoder {
    /// An empty frame.
    pub fn new() -> Encoder {
        Encoder { field: "frame", ..Encoder::default() }
    }

    /// Length written so far, in bytes.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.inserted
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame, as segments in order; none of them is empty.
    pub fn into_segments(mut self) -> Segments {
        let mut segments = Vec::with_capacity(2 * self.insertions.len() + 1);
        let mut done = 0;
        for (position, bytes) in self.insertions {
            if position > done {
                segments.push(self.buffer.split_to(position - done).freeze());
                done = position;
            }
            segments.push(bytes);
        }
        if !self.buffer.is_empty() {
            segments.push(self.buffer.freeze());
        }
        Segments(segments)
    }

    /// Says which version's layout is written from here on, and whether with compact lengths and tags.
    pub(crate) fn enter(&mut self, version: i16, flexible: bool) {
        self.version = version;
        self.flexible = flexible;
    }

    /// Names what is written next, for errors.
    pub(crate) fn at(&mut self, field: &'static str) {
        self.field = field;
    }

    #[cold]
    pub(crate) fn error(&self, kind: EncodeErrorKind) -> EncodeError {
        EncodeError { field: self.field, kind }
    }

    /// One signed byte.
    pub fn put_i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// A 16-bit number.
    pub fn put_i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// An unsigned 16-bit number.
    pub fn put_u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// A 32-bit number.
    pub fn put_i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// A 64-bit number.
    pub fn put_i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// A 64-bit floating point number.
    pub fn put_f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// A 128-bit identifier.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    /// An unsigned varint.
    pub fn put_unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// Bytes as they are, without a length: as a segment of their own when large enough.
    pub fn put_bytes_segment(&mut self, bytes: &Bytes) {
        if bytes.len() < SEGMENT_FROM {
            self.buffer.put_slice(bytes);
        } else {
            self.inserted += bytes.len();
            self.insertions.push((self.buffer.len(), bytes.clone()));
        }
    }

    /// A length or count (`None`: null) of at most `limit`, compact in a flexible version.
    fn put_length(
        &mut self,
        length: Option<usize>,
        limit: usize,
        plain: fn(&mut Encoder, i32),
    ) -> Result<(), EncodeError> {
        match length {
            Some(length) if length > limit => Err(self.error(EncodeErrorKind::TooLong(length))),
            Some(length) if self.flexible => {
                self.put_unsigned_varint(length as u32 + 1);
                Ok(())
            }
            None if self.flexible => {
                self.put_unsigned_varint(0);
                Ok(())
            }
            Some(length) => {
                plain(self, length as i32);
                Ok(())
            }
            None => {
                plain(self, -1);
                Ok(())
            }
        }
    }

    pub(crate) fn put_string(&mut self, text: Option<&str>) -> Result<(), EncodeError> {
        self.put_length(text.map(str::len), i16::MAX as usize, |e, length| e.put_i16(length as i16))?;
        if let Some(text) = text {
            self.buffer.put_slice(text.as_bytes());
        }
        Ok(())
    }

    /// A string in the classic encoding (16-bit length) whatever the version; only headers need it.
    pub(crate) fn put_classic_string(&mut self, text: Option<&str>) -> Result<(), EncodeError> {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let result = self.put_string(text);
        self.flexible = flexible;
        result
    }

    pub(crate) fn put_bytes(&mut self, bytes: Option<&Bytes>) -> Result<(), EncodeError> {
        self.put_length(bytes.map(Bytes::len), i32::MAX as usize, Encoder::put_i32)?;
        if let Some(bytes) = bytes {
            self.put_bytes_segment(bytes);
        }
        Ok(())
    }

    pub(crate) fn put_chunks(&mut self, chunks: Option<&Chunks>) -> Result<(), EncodeError> {
        self.put_length(chunks.map(Chunks::len), i32::MAX as usize, Encoder::put_i32)?;
        for piece in chunks.iter().flat_map(|chunks| chunks.iter()) {
            self.put_bytes_segment(piece);
        }
        Ok(())
    }

    pub(crate) fn put_count(&mut self, count: Option<usize>) -> Result<(), EncodeError> {
        self.put_length(count, i32::MAX as usize, Encoder::put_i32)
    }

    /// One tagged field: its tag, its size, and what `write` writes.
    pub(crate) fn put_tagged_field(
        &mut self,
        tag: u32,
        write: &dyn Fn(&mut Encoder) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut content = Encoder::new();
        content.enter(self.version, self.flexible);
        write(&mut content)?;
        self.put_unsigned_varint(tag);
        match u32::try_from(content.len()) {
            Ok(size) => self.put_unsigned_varint(size),
            Err(_) => return Err(self.error(EncodeErrorKind::TooLong(content.len()))),
        }
        for segment in content.into_segments().0 {
            self.put_bytes_segment(&segment);
        }
        Ok(())
    }

    /// Writes over four bytes already written, for the length in front of a frame.
    pub(crate) fn set_i32(&mut self, position: usize, value: i32) {
        self.buffer[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }
}

/// An encoded frame: non-empty slices in order, made for a vectored write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segments(Vec<Bytes>);

impl Segments {
    /// Length of the whole in bytes.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The slices in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.0.iter()
    }

    /// The slices in order, to be consumed by a writer.
    pub fn into_vec(self) -> Vec<Bytes> {
        self.0
    }

    /// The whole in one piece: free when it is one already, else one copy.
    pub fn into_bytes(self) -> Bytes {
        Chunks::from(self.0).into_bytes()
    }
}

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
