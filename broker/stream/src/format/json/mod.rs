//! JSON objects to rows and back.

mod decode;
mod encode;
mod scan;

pub(crate) use decode::JsonDecoder;
pub(crate) use encode::{JsonEncoder, encode_key, write_cell};
