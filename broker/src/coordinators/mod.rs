//! The drivers of the coordinators: they carry out what the pure machines of `logmill-coordinator` decide.
//!
//! ```text
//! handler ──command──► machine.handle ──► Step ──► one frame ──► Store::commit
//!                          ▲                            │ sequenced: apply
//!                          └────────────────────────────┘
//! reply ◄── Gate ◄── the frame (or the last one before it) is durable
//! ```
//!
//! All machines stand behind one lock, which is held for memory work only: it makes every decision and the
//! sequencing of its frame one step, also where a frame touches several machines (the end of a transaction
//! with markers in `__consumer_offsets`, a pipeline's epoch with its mirrored offsets). The sequencer
//! checks besides that each internal log still ends where its machine thinks (compare-and-append); if not,
//! the machine is dropped and loaded again from its log. There is no roll-back code.

mod census;
mod commit;
mod deadlines;
mod driver;
mod gate;
mod internal_topics;
mod loading;
mod log_records;
mod searching;
mod slot;
mod starting;
#[cfg(test)]
mod tests;
mod transactional;

pub use commit::CommitError;
pub use driver::{CoordinatorSettings, Coordinators};
pub(crate) use starting::Loading;
pub use starting::Patience;
pub use transactional::{FirstBatch, FirstProduceError, OffsetsInTransaction, TransactionalProduce};
