//! The stream engine: SQL to plan to operators to epochs.
//!
//! ```text
//! script ─► sql::compile ─► Plan ─► Pipeline ─┬─► step(cut, input) ─► EpochOutput ─► one frame
//!                                              └─► restore(changelog, progress)
//! ```
//!
//! A pipeline is a pure machine: the same cuts over the same input give the same bytes, whoever runs it. It knows
//! batches ([`logmill_record`]) and nothing else: no socket, no file, no clock, no thread, no random number. Logs are
//! reached through one seam, [`Logs`].

#![forbid(unsafe_code)]

pub mod builder;
pub mod plan;
pub mod sql;

mod column;
mod decimal;
mod epoch_loop;
mod eval;
mod executor;
mod format;
mod functions;
mod logs;
mod murmur2;
mod operators;
mod pipeline;
mod rows;
mod scalar;
mod snapshot;
mod state;
mod table_query;
pub mod time;
mod trial;
mod upgrade;
mod value;

pub use decimal::{Decimal, MAX_PRECISION};
pub use epoch_loop::{DeclareEndError, EpochLimits, EpochLoop, Followed, Pace, ShedControl, Turn, TurnError};
pub use executor::{Crew, CrewJoin, CrewWork, Executor, Serial, Task};
pub use format::{FormatError, InferError, RecordSample, TableDraft, csv_header, infer};
pub use functions::{
    Argument, FunctionError, FunctionSignature, Functions, UserAggregate, UserFunction, UserScalar,
};
pub use logmill_record::Batch;
pub use logs::{CommitError, Heard, Logs, LogsError, ReadBatches, look_for_time};
pub use pipeline::*;
pub use plan::Plan;
pub use scalar::Scalar;
pub use snapshot::{
    FoundSnapshots, RefusedSnapshot, SNAPSHOT_VERSION, SNAPSHOTS_KEPT, SnapshotCut, SnapshotDirectory,
    SnapshotError, SnapshotFile, SnapshotFileError, SnapshotFiles, SnapshotHeader, SnapshotLogs,
    SnapshotOperator, SnapshotPolicy, SnapshotReader, SnapshotReading, SnapshotSize, SnapshotSource,
    SnapshotStop, SnapshotWriter, SnapshotWriting, StateChanges, UsableSnapshot, make_snapshot,
    merge_snapshot, merge_stretches, write_stretch,
};
pub use sql::{Embedded, Settings, SqlError, compile, compile_with, embed_modules, settings};
pub use state::{
    COLD_VERSION, ColdError, ColdFill, ColdMark, ColdPosition, ColdSize, ColdStore, KeyGroups,
    MemoryColdStore, TakeEntry, TakeSome,
};
pub use table_query::{KeyLookUp, QueryError, QueryRows, QueryTable, TableQuery, TableRows};
pub use trial::{Trial, TrialError, TrialOptions, TrialRecord, run_trial};
pub use upgrade::{Fate, OperatorChange, Shadow, ShadowError, Upgrade, UpgradeError};
pub use value::{DataType, Value};
