//! Topics: the image every handler reads, and the one writer that changes it.
//!
//! The truth is the log `__logmill_metadata` (see `schema.rs`); the [`Image`] is what its records add up
//! to, replaced whole at each change, so that a reader holds one consistent view without a lock.
//!
//! Creating makes the partitions' directories first and then commits one frame with the record that makes
//! them true; directories that no record names (a crash in between) are removed at the next start.
//! The partitions of `__consumer_offsets` and `__transaction_state` are made one by one, when they are first used.
//! Deleting commits the record first and then removes the directories.

mod alter;
mod image;
mod importing;
mod metadata_log;
mod names;
mod owning;
mod registry;
mod schema;

pub use alter::{AlterConfigsError, ConfigUpdate};
pub use image::{Image, Topic};
pub use importing::{ImportTopicError, ImportedPartition, ImportedTopic, Source, TopicImport};
pub use metadata_log::{MetadataError, MetadataLog, MetadataState};
pub use names::{MAX_TOPIC_NAME, NameError, check_name, is_internal};
pub use owning::ClaimError;
pub use registry::{CreateTopicError, DeleteTopicError, NewTopic, TopicDefaults, Topics};
pub use schema::{ConfigScope, MetadataRecord, PipelineRecord, ReservedIds, SchemaError, TopicRecord};

/// The topic that holds everything the broker knows about itself.
pub const METADATA_TOPIC: &str = "__logmill_metadata";
/// Kafka's topic of committed group offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Kafka's topic of transaction states.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// What names the changelog topics of pipelines.
pub const CHANGELOG_PREFIX: &str = "__logmill_changelog.";
/// What names the progress topics of pipelines.
pub const PROGRESS_PREFIX: &str = "__logmill_progress.";
