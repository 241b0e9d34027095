//! The machine: one pipeline, stepped from cut to cut.
//!
//! ```text
//! cut, batches ─► prepare (decode, evaluate: no state) ─► graph (operators, shards) ─► emit ─► EpochOutput
//! ```
//!
//! Rows are taken in (partition, offset) order: whether a record is late, and in which order a group is folded, is
//! decided by that order alone.

mod changes;
mod chunk;
mod clock;
mod cut;
mod emit;
mod emit_table;
mod errors;
mod follow;
mod graph;
mod machine;
mod output;
mod prepare;
mod progress;
mod readers;
mod restore;
mod room;
mod shards;
mod shed;
mod side;
mod sinks;
mod size;
mod sizes;
mod spec;
mod spill;
mod stretch;
mod times;

pub(crate) use cut::Newest;
pub use cut::{AbortedRange, AheadStop, Cut, Input, OffsetRange, Shedding, TopicPartition, WHOLE_LEVEL};
pub use errors::{EpochError, RecordError, Rejected, RestoreError};
pub use graph::Reached;
pub use machine::Pipeline;
pub use output::{EpochOutput, OutputBatch};
pub(crate) use prepare::DECOMPRESSED_BATCH_BYTES;
pub use progress::{
    Counters, Gap, InputProgress, LastRejected, OperatorProgress, PROGRESS_VERSION, PartialWindow, Progress,
    ProgressError, SourceShedding,
};
pub use restore::{GoOn, LOOK_BYTES, Restoring};
pub use size::OperatorSize;
pub use spec::{InputPartition, PipelineSpec};
pub use spill::FillError;
