//! Snapshots of pipelines on disk, which bound what a restart has to read.
//!
//! ```text
//! DATA_DIR/pipelines/NAME/snapshot-EPOCH.lms     the two latest; the logs before the older one are let go
//!                         savepoint-NAME.lms     kept until they are deleted
//! ```
//!
//! A snapshot is made in the background, on a thread of its own, of the snapshot before and the changelog since: the
//! pipeline does not wait for it. A file is complete or not there: it is written beside its place, flushed, renamed, and
//! its name flushed. A restart takes the newest one that is whole and belongs to what the progress log says.

mod files;
mod keeper;
mod own_logs;
#[cfg(test)]
mod tests;

pub(super) use files::SnapshotFiles;
pub use keeper::SnapshotSettings;
pub(super) use keeper::{Keeper, Snapshots};
pub(super) use logmill_stream::{SnapshotCut as Cut, SnapshotFileError as FileError, SnapshotStop as Stop};
pub(super) use own_logs::{OwnLogs, for_each_batch};

/// Says why a snapshot is not gone on from.
pub(super) fn told(what: &str) {
    tracing::warn!("a snapshot cannot be gone on from: {what}");
}
