//! Avro: data of a schema that is given, bare or behind Confluent's header.
//!
//! The schema is the writer's. What a table reads is chosen by its columns; a record's fields are named by path, `a.b`.

mod decode;
mod encode;
mod schema;
#[cfg(test)]
mod tests;

pub(crate) use decode::AvroDecoder;
pub(crate) use encode::AvroEncoder;
pub(crate) use schema::Schema;
