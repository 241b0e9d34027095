//! What can go wrong with a partition's directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::names::PARTITION_METADATA;

/// Bytes that are not what they must be. Names the place; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: corrupt at position {position} (offset {offset} expected): {reason}", file.display())]
pub struct Corruption {
    /// The file.
    pub file: PathBuf,
    /// Byte position of the batch in the file.
    pub position: u64,
    /// The offset that was looked for.
    pub offset: i64,
    /// What is wrong there.
    pub reason: String,
}

/// A read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log. Consumers reset to one that is.
    #[error("offset {offset} is out of range: the log has {log_start_offset} to {end_offset}")]
    OutOfRange {
        /// Asked for.
        offset: i64,
        /// First offset there is.
        log_start_offset: i64,
        /// Offset after the last that may be read.
        end_offset: i64,
    },
    /// Damaged bytes below the end of the log. The rest of the log stays readable.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The partition was deleted meanwhile.
    #[error("the partition of {} was deleted", directory.display())]
    Deleted {
        /// Where it was.
        directory: PathBuf,
    },
    /// The operating system failed the read.
    #[error("{operation} {}: {source}", file.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        file: PathBuf,
        /// Its answer.
        source: Arc<io::Error>,
    },
}

/// An operation on a partition's directory failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The operating system failed. After [`LogError::is_full`] the same call may be tried again: what was written is
    /// behind the valid end and will be written over.
    #[error("{operation} {}: {source}", file.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// Its answer.
        source: Arc<io::Error>,
    },
    /// Damaged bytes where the log must be intact.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A file that says what the partition is does not parse.
    #[error("{}: {reason}", file.display())]
    Metadata {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log ends before the point up to which it was known to be on the device. Data is gone: the directory needs to
    /// be restored or given up by hand; nothing was changed.
    #[error(
        "{}: valid batches end at offset {valid_end}, but everything before {recovery_point} was on the device: {reason}",
        directory.display()
    )]
    LostBelowRecoveryPoint {
        /// The partition's directory.
        directory: PathBuf,
        /// Offset after the last valid batch.
        valid_end: i64,
        /// Offset up to which all was flushed.
        recovery_point: i64,
        /// What lies at the end.
        reason: String,
    },
    /// A batch does not go on where the log ends. A mistake of the caller, or bytes missing between.
    #[error("{}: batch at offset {found}, the log ends at {expected}", directory.display())]
    NotNext {
        /// The partition's directory.
        directory: PathBuf,
        /// End of the log.
        expected: i64,
        /// Base offset of the batch.
        found: i64,
    },
    /// The journal has a batch that differs from the one in the segment, although both are intact.
    #[error("{}: at offset {offset} position {position} the segment holds another batch than the journal", file.display())]
    Diverged {
        /// The segment.
        file: PathBuf,
        /// Position of the segment's batch.
        position: u64,
        /// Base offset of the journal's batch.
        offset: i64,
    },
}

impl LogError {
    pub(crate) fn io(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> LogError {
        move |source| LogError::Io { operation, file: file.to_owned(), source: Arc::new(source) }
    }

    /// The same failure where it cannot be taken for one that lets the caller go on.
    pub(crate) fn not_full(self) -> LogError {
        match self {
            LogError::Io { operation, file, source } => {
                LogError::Io { operation, file, source: Arc::new(io::Error::other(source)) }
            }
            other => other,
        }
    }

    /// `partition.metadata` is missing, or is not what was once written.
    pub(crate) fn is_bad_metadata(&self) -> bool {
        match self {
            LogError::Metadata { .. } => true,
            LogError::Io { file, source, .. } => {
                source.kind() == io::ErrorKind::NotFound && file.ends_with(PARTITION_METADATA)
            }
            _ => false,
        }
    }

    /// The disk, or the quota, is full.
    pub fn is_full(&self) -> bool {
        match self {
            LogError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}

impl From<ReadError> for LogError {
    fn from(error: ReadError) -> LogError {
        match error {
            ReadError::Corrupt(corruption) => LogError::Corrupt(corruption),
            ReadError::Io { operation, file, source } => LogError::Io { operation, file, source },
            ReadError::Deleted { directory } => {
                LogError::io("read", &directory)(io::ErrorKind::NotFound.into())
            }
            ReadError::OutOfRange { offset, end_offset, .. } => {
                LogError::NotNext { directory: PathBuf::new(), expected: end_offset, found: offset }
            }
        }
    }
}

impl ReadError {
    pub(crate) fn io(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> ReadError {
        move |source| ReadError::Io { operation, file: file.to_owned(), source: Arc::new(source) }
    }
}
