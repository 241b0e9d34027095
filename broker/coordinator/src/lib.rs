//! Consumer groups and transactions as pure state machines over records.
//!
//! Two machines, [`groups::GroupMachine`] and [`transactions::TransactionMachine`], one of each per partition
//! of `__consumer_offsets` and `__transaction_state`. They decide; the broker acts: see [`Machine`] for the
//! contract between the two. This crate knows no clock, no randomness, no sockets, files or threads.

#![forbid(unsafe_code)]

mod deadlines;
pub mod groups;
mod limits;
mod machine;
mod partitioner;
mod pattern;
#[cfg(test)]
mod random;
mod schema;
#[cfg(test)]
mod testing;
pub mod transactions;

pub use logmill_wire::{ErrorCode, Str};
pub use machine::{Machine, RequestId, Step};
pub use partitioner::{java_string_hash, partition_for};
pub use pattern::{PatternError, compile_whole};
pub use schema::{KeyValue, SchemaError};
