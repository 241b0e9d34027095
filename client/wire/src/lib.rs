//! Kafka's wire language: requests and responses in every version we speak, frames, error codes,
//! and the records of Kafka's internal topics. No IO, no clock, no threads.
//!
//! - [`messages`]: one file per API; the struct definitions *are* the schema (see [`schema`]).
//! - [`records`]: keys and values of `__consumer_offsets` and `__transaction_state`, and what group
//!   members tell each other.
//! - [`frame`]: headers, and whole requests and responses with their length in front.
//! - [`Decoder`], [`Encoder`]: Kafka's primitive types. The decoder checks every count and length
//!   against the bytes that remain before it allocates, and gives out slices of the frame; the encoder
//!   hands large byte fields through as segments of their own, never copied.

#![forbid(unsafe_code)]

mod api_key;
mod chunks;
mod decoder;
mod encoder;
mod error;
mod error_code;
pub mod frame;
pub mod messages;
pub mod records;
#[cfg(feature = "samples")]
pub mod samples;
pub mod schema;
mod text;

pub use api_key::ApiKey;
pub use chunks::Chunks;
pub use decoder::Decoder;
pub use encoder::{Encoder, SEGMENT_FROM, Segments};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use error_code::ErrorCode;
pub use schema::{Message, Request, Response};
pub use text::Str;
