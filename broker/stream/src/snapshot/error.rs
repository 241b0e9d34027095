//! A snapshot that cannot be read, written or used.

use std::io;

use thiserror::Error;

use super::SNAPSHOT_VERSION;

/// Why a snapshot cannot be read, written or used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// What holds it failed.
    #[error("the snapshot cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// It ends before its end mark: it was never finished, or was cut.
    #[error("the snapshot is cut off at byte {at}: use an older one, or the changelog if it is whole")]
    Truncated {
        /// Where it ends.
        at: u64,
    },
    /// Its bytes are not those that were written.
    #[error(
        "the snapshot is damaged near byte {at}: {what}; use an older one, or the changelog if it is whole"
    )]
    Damaged {
        /// Where, counted from its beginning.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// A newer release wrote it.
    #[error(
        "snapshot of format version {found}, but this release reads {SNAPSHOT_VERSION}; run the release that wrote it, \
         or a newer one"
    )]
    OtherVersion {
        /// The version found.
        found: u16,
    },
    /// It is not of this pipeline, plan or time.
    #[error("the snapshot does not fit: {reason}")]
    Misfit {
        /// What does not fit.
        reason: String,
    },
    /// Whoever was asked did not want to go on.
    #[error("the snapshot was not read to its end")]
    GivenUp,
    /// An entry is too long for a snapshot.
    #[error("an entry of {bytes} bytes is too long for a snapshot")]
    EntryTooLong {
        /// Key and value.
        bytes: usize,
    },
}
