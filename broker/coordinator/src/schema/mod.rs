//! The machines' records as Kafka's bytes: what the driver puts into batches, and reads back at load.

mod consumer_groups;
mod groups;
#[cfg(test)]
mod tests;
mod transactions;

use bytes::Bytes;
use logmill_wire::{DecodeError, EncodeError};
use thiserror::Error;

/// A record's key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Why bytes of an internal topic are not a record of ours, or a record cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// Neither ours nor Kafka's: every record of an internal topic has a key.
    #[error("a record without a key")]
    NoKey,
    /// A kind of record that belongs to another group protocol or a newer Kafka. The loader may leave it
    /// out; what it says is not known here.
    #[error("a record of kind {kind}, which this version does not know")]
    UnknownKind {
        /// The number in front of the key.
        kind: i16,
    },
    /// Damaged, or of a version this one does not know.
    #[error("the {part} of a record cannot be read: {source}")]
    Unreadable {
        /// `key` or `value`.
        part: &'static str,
        /// What was wrong.
        source: DecodeError,
    },
    /// A transaction state Kafka did not have when this was written.
    #[error("transactional id {transactional_id:?} is in the unknown state {status}")]
    UnknownState {
        /// Whose.
        transactional_id: String,
        /// The number.
        status: i8,
    },
    /// Something is too large for Kafka's encoding. The machines let nothing in that is.
    #[error("a record cannot be written: {0}")]
    Unwritable(#[from] EncodeError),
}

fn unreadable(part: &'static str) -> impl Fn(DecodeError) -> SchemaError {
    move |source| SchemaError::Unreadable { part, source }
}
