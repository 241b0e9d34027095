//! Records to rows and rows to records.
//!
//! ```text
//! record ─► RowDecoder ─┬─ value ─► Decoder (JSON, CSV, Avro, …) ─┐
//!                       ├─ key ───► Decoder ──────────────────────┼─► one cell a column ─► columns
//!                       └─ headers, offset, partition, time ──────┘
//! ```
//!
//! A row lands whole or not at all: cells are filled first, and only when all are there are they appended. Only columns
//! in use are made; what is passed over is checked as far as its format can be checked without making it. Nothing is
//! allocated by a length that a record claims before the bytes are there, and what nests is bounded.

mod avro;
mod cell;
mod csv;
mod debezium;
mod decoder;
mod draft;
mod encoder;
mod error;
mod infer;
mod json;
mod protobuf;
mod raw;
mod record;
#[cfg(test)]
mod testing;

pub(crate) use avro::Schema as AvroSchema;
pub(crate) use debezium::created;
pub(crate) use encoder::RecordEncoder;
pub use error::FormatError;
pub use infer::{InferError, RecordSample, TableDraft, csv_header, infer};
pub(crate) use json::{encode_key, write_cell};
pub(crate) use record::{Landed, RecordPlace, RowDecoder};
