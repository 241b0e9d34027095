//! The machine: one pipeline, stepped from cut to cut.

mod cut;
mod errors;
mod output;
mod progress;

pub use cut::{AbortedRange, Cut, Input, OffsetRange, TopicPartition};
pub use errors::{EpochError, RecordError, RestoreError};
pub use output::{EpochOutput, OutputBatch};
pub use progress::{Counters, EmitCursor, InputProgress, PROGRESS_VERSION, Progress, ProgressError};
