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
//! - **Snapshots** of a task's state are on the worker's own disk, and bound what of the changelog it reads when it starts
//!   again here. They are never needed: one that does not go with what is committed is refused, and all of the changelog read.
//!
//! The room knows the engine and the client, and no broker.

#![forbid(unsafe_code)]

mod commits;
mod error;
mod layout;
mod logs;
mod memory;
mod names;
mod own_logs;
mod restore;
mod restoring;
mod shard_threads;
mod snapshots;
mod state_dir;
mod task;
mod worker;

pub use logmill_stream::EpochLimits;

pub use error::{TaskError, WorkerError};
pub use layout::Division;
pub use snapshots::SnapshotOptions;
pub use worker::{Ended, MAX_SHARDS, TaskReport, Worker, WorkerOptions};
