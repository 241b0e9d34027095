//! What can be wrong with bytes that came in, and with a message on its way out.

use thiserror::Error;

/// Bytes that are not a message. The sender's fault; the usual answer is to close the connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} at byte {position}: {kind}")]
pub struct DecodeError {
    /// `Struct.field` in which reading stopped.
    pub field: &'static str,
    /// Where, counted from the first byte given to the decoder.
    pub position: usize,
    /// What was wrong.
    pub kind: DecodeErrorKind,
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeErrorKind {
    /// The bytes end inside a value.
    #[error("{needed} more bytes are needed and {remaining} remain")]
    Truncated {
        /// Bytes the value takes.
        needed: usize,
        /// Bytes left.
        remaining: usize,
    },
    /// A length below -1 (which stands for null).
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// Null where the schema has none.
    #[error("null is not allowed here in version {0}")]
    UnexpectedNull(i16),
    /// An array that cannot fit in the bytes that remain.
    #[error("an array of {count} elements needs at least {least} bytes and {remaining} remain")]
    Count {
        /// Elements the sender promised.
        count: usize,
        /// Bytes they take at least.
        least: usize,
        /// Bytes left.
        remaining: usize,
    },
    /// Decoded, the input would take out of proportion more memory than it has bytes.
    #[error("decoding would take more than {0} bytes of memory")]
    Memory(usize),
    /// A varint of more than 32 bits.
    #[error("a varint does not fit 32 bits")]
    Varint,
    /// A string beyond what Kafka's classic encoding can hold.
    #[error("a string of {0} bytes; at most 32767 are allowed")]
    StringTooLong(usize),
    /// A tagged field whose content is shorter than its announced size.
    #[error("tagged field {tag} leaves {left} bytes of its size unread")]
    TaggedFieldSize {
        /// Which one.
        tag: u32,
        /// Bytes unread.
        left: usize,
    },
    /// Bytes after the end of the message.
    #[error("{0} bytes after the end")]
    TrailingBytes(usize),
    /// A version this message does not have.
    #[error("version {0} is not supported")]
    UnsupportedVersion(i16),
    /// An API nobody knows.
    #[error("API key {0} is unknown")]
    UnknownApiKey(i16),
}

/// A message that cannot be written in the version asked for. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {kind}")]
pub struct EncodeError {
    /// `Struct.field` at which writing stopped.
    pub field: &'static str,
    /// What was wrong.
    pub kind: EncodeErrorKind,
}

/// Why a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeErrorKind {
    /// The field says something that this version cannot say and the reader must know.
    #[error("set, but version {0} has no such field")]
    UnsupportedField(i16),
    /// Null where the schema has none.
    #[error("null is not allowed in version {0}")]
    UnexpectedNull(i16),
    /// Longer than the encoding can say.
    #[error("length {0} is more than the encoding can say")]
    TooLong(usize),
    /// A version this message does not have.
    #[error("version {0} is not supported")]
    UnsupportedVersion(i16),
}
