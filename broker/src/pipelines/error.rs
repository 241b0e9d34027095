//! Why a pipeline was not started, stopped or found.

use logmill_stream::SqlError;
use logmill_wire::ErrorCode;

use super::manager::{MAX_NAME, MAX_SHARDS};
use crate::topics::{AlterConfigsError, CreateTopicError, MetadataError};

/// Why a pipeline was not started, stopped or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The name cannot be a pipeline's.
    #[error("a pipeline's name has 1 to {MAX_NAME} letters, digits, '.', '_' and '-', not {0:?}")]
    Name(String),
    /// The script does not plan.
    #[error("{0}")]
    Script(#[from] SqlError),
    /// No pipeline of this name.
    #[error("there is no pipeline {0:?}; `logmill pipeline list` shows those there are")]
    Unknown(String),
    /// The name runs another script.
    #[error(
        "pipeline {0:?} exists with another script; let that take its place (`logmill pipeline upgrade {0} FILE`), use another \
         name, or delete it first (`logmill pipeline delete {0}`)"
    )]
    OtherScript(String),
    /// A topic it reads is not there.
    #[error("the source topic {0:?} does not exist; create it first (`logmill topic create {0}`)")]
    NoSource(String),
    /// A topic it writes belongs to somebody else, or is one it reads.
    #[error("the sink topic {topic:?} cannot be written: {reason}")]
    Sink {
        /// The topic.
        topic: String,
        /// Why not.
        reason: String,
    },
    /// The declared ends do not fit the sources.
    #[error("the input's end does not fit: {0}")]
    Ends(String),
    /// A budget that is none.
    #[error("a pipeline needs a memory of at least 1 byte")]
    Memory,
    /// A number of shards that there cannot be.
    #[error("a pipeline has 1 to {MAX_SHARDS} shards, not {0}")]
    Shards(u32),
    /// It is not in a state that allows it.
    #[error("pipeline {name:?} {reason}")]
    State {
        /// The pipeline.
        name: String,
        /// Why not.
        reason: String,
    },
    /// No savepoint of this name.
    #[error(
        "pipeline {name:?} has no savepoint {savepoint:?}; `logmill pipeline savepoints {name}` shows those there are"
    )]
    NoSavepoint {
        /// The pipeline.
        name: String,
        /// The savepoint.
        savepoint: String,
    },
    /// There is one of the name.
    #[error("pipeline {name:?} has a savepoint {savepoint:?} already; use another name, or delete that one")]
    SavepointExists {
        /// The pipeline.
        name: String,
        /// The savepoint.
        savepoint: String,
    },
    /// It would go with savepoints that are kept until they are deleted.
    #[error(
        "pipeline {name:?} has savepoints, which would go with it: {}; delete them first (`logmill pipeline savepoint \
         {name} --delete SAVEPOINT`), or say --with-savepoints",
        savepoints.join(", ")
    )]
    HasSavepoints {
        /// The pipeline.
        name: String,
        /// Its savepoints.
        savepoints: Vec<String>,
    },
    /// Records that are needed are not there any more.
    #[error(
        "{topic}-{partition} begins at offset {start}: the records from offset {needed} on are gone, which are needed"
    )]
    Gone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// From where on records are needed.
        needed: i64,
        /// Where the log begins.
        start: i64,
    },
    /// A log ends before what was read of it.
    #[error(
        "{topic}-{partition} ends at offset {end}, and was read up to {read}: the topic was made anew, or has lost records; \
         start the script under another name to read what there is"
    )]
    Beyond {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Up to where it was read.
        read: i64,
        /// Where the log ends.
        end: i64,
    },
    /// A topic it has read is gone, and another one has its name.
    #[error(
        "topic {topic:?} is another one than the one that was read: that had the id {read}, this has {found}; start the \
         script under another name to read the new topic from its beginning"
    )]
    OtherSource {
        /// The topic.
        topic: String,
        /// The id of the topic that was read.
        read: String,
        /// The id of the topic that there is now.
        found: String,
    },
    /// The new script cannot take over.
    #[error("pipeline {name:?} cannot be upgraded: {reason}")]
    Upgrade {
        /// The pipeline.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A file of its snapshots or savepoints.
    #[error("a snapshot or savepoint cannot be read or written: {0}")]
    Files(String),
    /// The broker is on its way down.
    #[error("the broker is stopping; the pipeline starts with it again")]
    Stopping,
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A topic of its own could not be made.
    #[error("a topic of the pipeline could not be made: {0}")]
    Topic(#[from] CreateTopicError),
    /// The configs of a topic of its own could not be set.
    #[error("the configs of a topic of the pipeline could not be set: {0}")]
    Configs(#[from] AlterConfigsError),
    /// The coordinator of its mirrored offsets.
    #[error("the consumer group of the pipeline cannot be used now ({0:?}); try again")]
    Group(ErrorCode),
    /// The operating system gave no thread.
    #[error("no thread for the pipeline: {0}")]
    Thread(#[from] std::io::Error),
}

impl PipelineError {
    /// What needs a pipeline that does not run.
    pub(super) fn runs(name: &str) -> Self {
        Self::State {
            name: name.to_owned(),
            reason: format!("runs; stop it first (`logmill pipeline stop {name}`)"),
        }
    }
}
