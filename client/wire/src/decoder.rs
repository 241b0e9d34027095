//! Reading Kafka's primitive types from a frame, without trust.

use bytes::{Buf, Bytes};
use uuid::Uuid;

use crate::error::{DecodeError, DecodeErrorKind};
use crate::text::Str;

/// Decoded values may take this much memory whatever the size of the input …
const MEMORY_FLOOR: usize = 1 << 20;
/// … and this many bytes for each byte of the input beyond it. A list of one-letter strings is legal
/// and takes eight; nothing a client has reason to send takes sixteen.
const MEMORY_PER_INPUT_BYTE: usize = 16;

/// Reads Kafka's primitive types from one frame. Strings and byte fields are slices of it.
///
/// Nothing is allocated for a count or length before it has been checked against the bytes that
/// remain, and all arrays together stay within a budget that grows with the input.
#[derive(Debug)]
pub struct Decoder {
    rest: Bytes,
    position: usize,
    budget: usize,
    memory_limit: usize,
    field: &'static str,
    pub(crate) version: i16,
    pub(crate) flexible: bool,
}

impl Decoder {
    /// A decoder at the first byte.
    pub fn new(bytes: Bytes) -> Decoder {
        let memory_limit = bytes.len().saturating_mul(MEMORY_PER_INPUT_BYTE).saturating_add(MEMORY_FLOOR);
        Decoder {
            rest: bytes,
            position: 0,
            budget: memory_limit,
            memory_limit,
            field: "frame",
            version: 0,
            flexible: false,
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Ends reading; an error when bytes are left over.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeErrorKind::TrailingBytes(left))),
        }
    }

    /// Says which version's layout is read from here on, and whether with compact lengths and tags.
    pub(crate) fn enter(&mut self, version: i16, flexible: bool) {
        self.version = version;
        self.flexible = flexible;
    }

    /// Names what is read next, for errors.
    pub(crate) fn at(&mut self, field: &'static str) {
        self.field = field;
    }

    #[cold]
    pub(crate) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { field: self.field, position: self.position, kind }
    }

    fn need(&self, needed: usize) -> Result<(), DecodeError> {
        let remaining = self.rest.len();
        if needed > remaining {
            return Err(self.error(DecodeErrorKind::Truncated { needed, remaining }));
        }
        Ok(())
    }

    /// The next `length` bytes, shared with the frame.
    pub(crate) fn slice(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.need(length)?;
        self.position += length;
        Ok(self.rest.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(head) = self.rest.first_chunk::<N>().copied() else {
            return Err(self.error(DecodeErrorKind::Truncated { needed: N, remaining: self.rest.len() }));
        };
        self.position += N;
        self.rest.advance(N);
        Ok(head)
    }

    /// One signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    /// A 16-bit number.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    /// An unsigned 16-bit number.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A 32-bit number.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// A 64-bit number.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A 64-bit floating point number.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array().map(f64::from_be_bytes)
    }

    /// A 128-bit identifier.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    /// An unsigned varint of at most 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for index in 0..5 {
            let [byte] = self.array::<1>()?;
            if index == 4 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(DecodeErrorKind::Varint))
    }

    /// A length or count, `None` for null: compact in a flexible version, else a plain number.
    fn length(
        &mut self,
        plain: fn(&mut Decoder) -> Result<i32, DecodeError>,
    ) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return Ok(self.unsigned_varint()?.checked_sub(1).map(|length| length as usize));
        }
        match plain(self)? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(self.error(DecodeErrorKind::NegativeLength(length))),
            },
        }
    }

    /// A string in the classic encoding (16-bit length) whatever the version; only headers need it.
    pub(crate) fn classic_string(&mut self) -> Result<Option<Str>, DecodeError> {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let text = self.string();
        self.flexible = flexible;
        text
    }

    pub(crate) fn string(&mut self) -> Result<Option<Str>, DecodeError> {
        let Some(length) = self.length(|d| d.i16().map(i32::from))? else { return Ok(None) };
        if length > i16::MAX as usize {
            return Err(self.error(DecodeErrorKind::StringTooLong(length)));
        }
        let bytes = self.slice(length)?;
        match Str::from_utf8(&bytes) {
            Some(text) => Ok(Some(text)),
            None => self.lossy(&bytes).map(Some),
        }
    }

    /// What Kafka makes of a string that is not UTF-8. Not every client looks at what it sends: offsets come with binary
    /// metadata, client ids in the encoding of somebody's terminal.
    fn lossy(&mut self, bytes: &Bytes) -> Result<Str, DecodeError> {
        let text = Str::from_utf8_lossy(bytes);
        // It is no slice of the frame, and may be longer than what it was made of.
        self.charge(text.len())?;
        // It goes into answers and records, which could not be written.
        if text.len() > i16::MAX as usize {
            return Err(self.error(DecodeErrorKind::StringTooLong(text.len())));
        }
        Ok(text)
    }

    pub(crate) fn bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        match self.length(Decoder::i32)? {
            None => Ok(None),
            Some(length) => self.slice(length).map(Some),
        }
    }

    /// The count of an array, `None` for null. `least` is the fewest bytes an element can take,
    /// `memory` what it takes decoded; a count that fits neither is refused here.
    pub(crate) fn count(&mut self, least: usize, memory: usize) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(Decoder::i32)? else { return Ok(None) };
        let least = count.saturating_mul(least.max(1));
        if least > self.rest.len() {
            return Err(self.error(DecodeErrorKind::Count { count, least, remaining: self.rest.len() }));
        }
        self.charge(count.saturating_mul(memory))?;
        Ok(Some(count))
    }

    /// Takes memory for decoded values from the budget.
    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.budget.checked_sub(bytes) {
            Some(budget) => self.budget = budget,
            None => return Err(self.error(DecodeErrorKind::Memory(self.memory_limit))),
        }
        Ok(())
    }

    /// The tagged fields at the end of a structure. `read` is given each tag and says whether it knew
    /// it (and then has read it whole); unknown ones are skipped.
    pub(crate) fn tagged_fields(
        &mut self,
        read: &mut dyn FnMut(&mut Decoder, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()?;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            self.need(size)?;
            let after = self.rest.split_off(size);
            let known = read(self, tag)?;
            let left = self.rest.len();
            if known && left > 0 {
                return Err(self.error(DecodeErrorKind::TaggedFieldSize { tag, left }));
            }
            self.position += left;
            self.rest = after;
        }
        Ok(())
    }
}
