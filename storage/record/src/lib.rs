//! The record batch: the one shape shared by wire, disk and pipelines.
//!
//! A batch (Kafka's message format v2) is checked once, at the door, and is bytes from then on:
//!
//! ```text
//! baseOffset i64 │ length i32 │ leaderEpoch i32 │ magic i8=2 │ crc u32 │ attributes i16 │ lastOffsetDelta i32 │
//! baseTimestamp i64 │ maxTimestamp i64 │ producerId i64 │ producerEpoch i16 │ baseSequence i32 │ count i32 │ records…
//! └─ stamped by the broker, outside the CRC ─┘               └─ CRC-32C covers everything from attributes on ─┘
//! ```
//!
//! - [`Batch::validate`] is the door for what a producer sends; [`Batch::verify`] checks what was stored or fetched
//!   (compaction may have left gaps or nothing at all in a batch); [`Batch::trusted`] reads the header only.
//! - [`Batch::stamped`] gives a batch its offset and leader epoch, in place when nobody else holds the bytes.
//! - Records are decoded only on demand, within a memory budget: [`Batch::records`], [`Batch::open`].
//! - [`OpenBatch::survey`] tells in one cheap pass whether every record can be decoded.
//! - [`BatchBuilder`] makes batches; [`EndTxnMarker`] makes and reads the ones that end transactions.
//!
//! Nothing here knows a topic, a file, a socket or a clock. Lengths and counts that come from outside are compared with
//! the bytes that remain before anything is allocated; no input can panic.

#![forbid(unsafe_code)]

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod error;
pub mod header;
pub mod record;
pub mod survey;
pub mod topic_id;
pub mod varint;

pub use batch::{Batch, Batches, batches};
pub use builder::{BatchBuilder, BatchOptions, ProducerStamp};
pub use compression::Codec;
pub use control::EndTxnMarker;
pub use error::BatchError;
pub use header::{
    Attributes, BATCH_HEADER_LEN, BatchHeader, LOG_OVERHEAD, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
pub use record::{OpenBatch, Record, RecordHeader, RecordView};
pub use survey::Survey;
