//! What can go wrong with the journal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

/// The journal cannot be read or written. Nothing was cut or repaired.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The operating system failed. After a failed write or flush it is unknown what is on the device.
    #[error("journal: {operation} {}: {source}", file.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// Its answer.
        source: Arc<io::Error>,
    },
    /// A frame that was known to be durable is damaged: what follows it cannot be trusted to be complete. Restore the
    /// file from a backup, or give up everything from this frame on by hand.
    #[error("journal {}: corrupt at position {position}, frame {sequence}: {reason}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where the frame should begin.
        position: u64,
        /// Number of the frame that should be there.
        sequence: u64,
        /// Why this is not just a torn end.
        reason: String,
    },
    /// The file belongs to another data directory.
    #[error(
        "journal {}: belongs to data directory {found}, this is {expected}; put the right file back",
        file.display()
    )]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Id of this data directory.
        expected: Uuid,
        /// Id found in the file.
        found: Uuid,
    },
    /// The file from which replay has to begin is not there: files are missing or were replaced by older ones.
    #[error(
        "journal {}: file number {number} of incarnation {incarnation} is not there; files are missing or older than the checkpoint",
        directory.display()
    )]
    Missing {
        /// The journal's directory.
        directory: PathBuf,
        /// Running number of the file.
        number: u64,
        /// Incarnation that the checkpoint names.
        incarnation: u64,
    },
    /// The journal went on after this checkpoint: the checkpoint is an old copy, or the disk lost its replacement. With it
    /// everything since would be given up without a word.
    #[error(
        "journal {}: has frames of incarnation {found}, the checkpoint knows only {expected}; it is an old copy, put the newest back",
        file.display()
    )]
    StaleCheckpoint {
        /// A file that the checkpoint does not know.
        file: PathBuf,
        /// Incarnation that the checkpoint names.
        expected: u64,
        /// Incarnation found in the file.
        found: u64,
    },
    /// Written by a newer version of Logmill. Nothing was changed.
    #[error(
        "{}: format version {found} is newer than {known}, the newest this version knows; start a newer Logmill",
        file.display()
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Version found.
        found: u16,
        /// Newest version known.
        known: u16,
    },
}

impl JournalError {
    pub(crate) fn io(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> JournalError {
        move |source| JournalError::Io { operation, file: file.to_owned(), source: Arc::new(source) }
    }
}
