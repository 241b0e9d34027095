//! Pipelines: the drivers of the stream engine.
//!
//! ```text
//! source partitions ──read──► Pipeline::step (pure, on the pipeline's own threads) ──► one frame
//!        ▲                                                                              │
//!        └── woken by publication        outputs + changelog + progress + mirrored offsets
//! ```
//!
//! A pipeline is a metadata record (name, script, generation, declared input ends, memory, shards), a changelog topic with
//! its state, a progress topic with one record for each epoch, and the consumer group `logmill.<name>` that
//! mirrors its input offsets for lag tools. The progress record is the truth: an epoch's frame is accepted
//! only where the progress log ends where the epoch before left it, so an older generation can commit
//! nothing.
//!
//! What one of them does wrong stays with it: an error ends its thread and no other, a full disk or a state over its
//! budget makes it wait, an epoch that is too large for a frame is computed in parts.

mod adjusting;
mod attempt;
mod control;
mod courtesy;
mod deleting;
mod ending;
mod error;
mod event_log;
mod events;
mod failure;
mod gaps;
mod held_back;
mod logs;
mod look_ups;
mod manager;
mod meter;
mod output_ends;
mod query;
mod read_bound;
mod replaying;
mod restoring;
mod runner;
mod savepoints;
mod shard_threads;
mod shown;
mod snapshots;
mod spill;
mod starting;
mod status;
mod taking_up;
mod telling;
#[cfg(test)]
mod tests;
mod upgrades;
mod viewing;

/// Scripts planned and tried without a broker.
pub mod trial {
    pub use logmill_record::Record;
    pub use logmill_stream::plan::{OperatorState, OutputMode, ShedPolicy};
    pub use logmill_stream::time::Iso;
    pub use logmill_stream::{
        Embedded, EpochLimits, Plan, Settings, ShedControl, SqlError, Trial, TrialError, TrialOptions,
        TrialRecord, WHOLE_LEVEL, compile, embed_modules, run_trial, settings,
    };
}

/// What a program that embeds the broker builds pipelines of: scripts from values, and functions of its own.
pub mod build {
    pub use logmill_stream::builder::*;
    pub use logmill_stream::{
        Argument, DataType, FunctionError, FunctionSignature, Functions, UserAggregate, UserScalar, Value,
    };
}

/// Tables drafted from samples of records.
pub mod draft {
    pub use logmill_stream::plan::{
        AvroFormat, CsvFormat, DebeziumFormat, Format, ProtobufFormat, ProtobufSchema,
    };
    pub use logmill_stream::{DataType, InferError, RecordSample, TableDraft, csv_header, infer};
}

pub use control::InputEnds;
pub use ending::InputEnd;
pub use error::PipelineError;
pub use events::{Event, EventKind};
pub use failure::Failure;
pub use held_back::{HeldBack, Why};
pub use manager::{MAX_SHARDS, PipelineSettings, PipelineSurroundings, Pipelines, RunOptions};
pub use meter::{EpochTimes, Phase, Shares};
pub use query::{AskError, QueryAnswer};
pub use savepoints::SavepointView;
pub use snapshots::SnapshotSettings;
pub use spill::SpillSettings;
pub use status::{PipelineState, PipelineView, ShedView, SourceView};
pub use upgrades::UpgradeView;
