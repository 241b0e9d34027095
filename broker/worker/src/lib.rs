//! Pipelines over any Kafka cluster: the engine's second seam, as a group of workers.
//!
//! ```text
//! Worker ─► member of the consumer group ─► tasks (a thread each)
//! task: batches fetched ahead ─► EpochLoop ─► one transaction an epoch ─► cluster
//!       (client, read_committed)              outputs, changelog, progress, offsets of the group
//! ```
//!
//! - **Tasks.** A pipeline whose state goes by the records' key runs on each partition number by itself, as so many tasks as
//!   its sources have partitions ([`Plan::check_partitioned`](logmill_stream::Plan::check_partitioned)); any other as one
//!   task, which one worker of the group runs while the others stand by.
//! - **Exactly once.** Each task writes under its own transactional id. Who begins a task starts a producer with that id:
//!   whoever ran it before is fenced, its last transaction decided. Only then progress and changelog are read, so that
//!   what an earlier owner committed is seen, and what it did not commit never happened. Nobody needs to know how an
//!   interrupted commit ended: the next start of the task reads it.
//! - **State** is in two compacted topics, `logmill-NAME-changelog` and `logmill-NAME-progress`, of one partition for each
//!   task; how far the sources are read is also committed as offsets of the group `logmill-NAME`, for lag tools.
//!
//! The room knows the engine and the client, and no broker.

#![forbid(unsafe_code)]

mod commits;
mod error;
mod layout;
mod logs;
mod memory;
mod names;
mod restore;
mod task;
mod worker;

pub use logmill_stream::EpochLimits;

pub use error::{TaskError, WorkerError};
pub use layout::Division;
pub use worker::{Ended, TaskReport, Worker, WorkerOptions};
