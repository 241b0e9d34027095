//! JSON to columns and back.

mod decode;
mod encode;

pub(crate) use decode::JsonDecoder;
pub(crate) use encode::{RowEncoder, encode_key};
