//! The machine: one pipeline, stepped from cut to cut.
//!
//! ```text
//! cut, batches ─► prepare (decode, filter, evaluate: no state) ─► apply (event time, windows) ─► emit ─► EpochOutput
//! ```
//!
//! Rows are applied in (partition, offset) order, one at a time where state is concerned: whether a record is late,
//! and in which order a group is folded, is decided by that order alone.

mod clock;
mod cut;
mod emit;
mod errors;
mod machine;
mod output;
mod prepare;
mod progress;
mod restore;
mod sinks;
mod spec;

pub use cut::{AbortedRange, Cut, Input, OffsetRange, TopicPartition};
pub use errors::{EpochError, RecordError, RestoreError};
pub use machine::Pipeline;
pub use output::{EpochOutput, OutputBatch};
pub use progress::{Counters, EmitCursor, InputProgress, PROGRESS_VERSION, Progress, ProgressError};
pub use restore::Restoring;
pub use spec::{InputPartition, PipelineSpec};
