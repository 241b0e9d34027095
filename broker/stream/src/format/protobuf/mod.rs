//! Protobuf: messages of a type that is described by a `.proto` text or a descriptor.
//!
//! Fields are named by path, `a.b`. A field without presence (a plain one of proto3) reads as its default where it is
//! absent, every other as `NULL`; nothing inside of an absent message has a value. Enums are `STRING`s by name,
//! `google.protobuf.Timestamp` is a `TIMESTAMP(3)`, its wrappers are what they wrap.

mod decode;
mod descriptor;
mod encode;
mod proto;
mod schema;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use decode::ProtobufDecoder;
pub(crate) use encode::ProtobufEncoder;
pub(crate) use schema::Schema;
