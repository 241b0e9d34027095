//! What can go wrong with the store as a whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::PartitionId;
use crate::journal::JournalError;
use crate::log::LogError;

/// Opening the store, or an operation on a partition as a whole, failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process works on the data directory.
    #[error("data directory {} is in use by another process; stop it, or use another directory", directory.display())]
    Locked {
        /// The data directory.
        directory: PathBuf,
    },
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A partition's directory cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The operating system failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its answer.
        source: Arc<io::Error>,
    },
    /// The checkpoint is damaged.
    #[error("checkpoint {}: {reason}; restore it from a backup of this data directory", file.display())]
    CorruptCheckpoint {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The checkpoint was written by a newer version of Logmill. Nothing was changed.
    #[error("checkpoint {}: format version {found} is newer than {known}, the newest this version knows; start a newer Logmill", file.display())]
    NewerCheckpoint {
        /// The file.
        file: PathBuf,
        /// Version found.
        found: u16,
        /// Newest version known.
        known: u16,
    },
    /// There is data, but no checkpoint that says how to read it.
    #[error("data directory {} holds {what} but no checkpoint; restore {checkpoint}, or use an empty directory", directory.display())]
    CheckpointMissing {
        /// The data directory.
        directory: PathBuf,
        /// What was found.
        what: String,
        /// Name of the missing file.
        checkpoint: &'static str,
    },
    /// A partition that the checkpoint knows, and that was not deleted, has no directory.
    #[error("partition {topic_name}-{} ({partition}) has no directory in {}; restore it from a backup", partition.partition, directory.display())]
    PartitionMissing {
        /// Which.
        partition: PartitionId,
        /// Its topic's name.
        topic_name: String,
        /// The data directory.
        directory: PathBuf,
    },
    /// The directory of a partition that the checkpoint knows says that it is another topic's.
    #[error(
        "{} says that the partition is topic {found}'s, and the checkpoint knows it as {topic_name}-{} of topic {}: the file \
         is damaged, or the directory was exchanged; if it is the right directory, remove the file, and the next start \
         writes it again from the checkpoint",
        file.display(), expected.partition, expected.topic
    )]
    OtherTopic {
        /// The file that says so.
        file: PathBuf,
        /// Name of the topic, from the directory's name.
        topic_name: String,
        /// The partition that belongs there.
        expected: PartitionId,
        /// The topic id in the file.
        found: uuid::Uuid,
    },
    /// Two directories are the same partition.
    #[error("partition {partition} has two directories, {} and {}; one is a copy: move it away", first.display(), second.display())]
    PartitionTwice {
        /// Which.
        partition: PartitionId,
        /// One directory.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The directory that the partition needs belongs to another partition.
    #[error("directory {} is taken by {owner}; delete that partition first", directory.display())]
    DirectoryTaken {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// The topic name cannot be the name of a directory.
    #[error("topic name {name:?} cannot be used for a directory")]
    InvalidTopicName {
        /// The name.
        name: String,
    },
    /// There is no room for the first file of a new incarnation of the journal.
    #[error("no space for the journal in {}; free some, or allow the journal more bytes", directory.display())]
    NoSpaceForJournal {
        /// The journal's directory.
        directory: PathBuf,
    },
    /// A topic's record names a partition that is not in the data directory.
    #[error("partition {topic_name}-{} ({partition}) is not in the data directory; restore it from a backup", partition.partition)]
    MissingPartition {
        /// Name of the topic.
        topic_name: String,
        /// Which.
        partition: PartitionId,
    },
    /// There is no such partition.
    #[error("partition {0} does not exist")]
    UnknownPartition(PartitionId),
    /// The store failed earlier, or is closed.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

impl StoreError {
    /// For a caller whose own records name a partition that the store does not have.
    pub fn missing_partition(topic_name: &str, partition: PartitionId) -> StoreError {
        StoreError::MissingPartition { topic_name: topic_name.to_owned(), partition }
    }

    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io { operation, path: path.to_owned(), source: Arc::new(source) }
    }
}

/// The store has failed for good: what is on the device is not known any more. Nothing is accepted from here on; the
/// process reports it and ends, and the next start replays what was acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fatal {
    /// A journal write or flush failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A partition's log failed.
    #[error("partition {partition}: {source}")]
    Log {
        /// Which.
        partition: PartitionId,
        /// What happened.
        source: LogError,
    },
    /// Another file failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its answer.
        source: Arc<io::Error>,
    },
    /// The store was closed while something accepted could not be put into the segments, as with a full disk. It is in
    /// the journal, if it was acknowledged, and the next start replays it.
    #[error("closed before everything was written to the segments; what was acknowledged is in the journal")]
    NotApplied,
}

impl Fatal {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Fatal {
        move |source| Fatal::Io { operation, path: path.to_owned(), source: Arc::new(source) }
    }
}
