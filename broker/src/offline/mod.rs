//! Data directories looked at while no broker runs: for `logmill storage`.
//!
//! ```text
//!   partitions(path)       the partition directories a path stands for
//!   dump(path, …)          batches, records and entries of files, one line after another
//!   verify, repair         of `logmill_storage::inspect`
//!   import(…)              copies partition directories into a data directory, as partitions of topics there
//! ```
//!
//! Apache Kafka's directories are read as well as ours: the format is the same.

mod dump;
mod import;
mod meaning;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use logmill_storage::{Disk, LogError, RealDisk};

pub use dump::{DumpError, DumpOptions, Line, dump};
pub use import::{Import, ImportError, import};
pub use logmill_storage::inspect::{
    Depth, Finding, PartitionDirectory, Repair, RepairError, Repaired, Severity, Verification, repair, verify,
};

pub use crate::topics::{ImportedPartition, ImportedTopic};

/// The file system of this machine.
#[must_use]
pub fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// The partition directories a path stands for: itself, or those in it when it is a data directory.
///
/// # Errors
/// [`LogError::Io`] when the path is no directory or cannot be listed.
pub fn partitions(disk: &Arc<dyn Disk>, path: &Path) -> Result<Vec<PartitionDirectory>, LogError> {
    let itself = PartitionDirectory::open(Arc::clone(disk), path)?;
    if !itself.segments().is_empty() {
        return Ok(vec![itself]);
    }
    let mut found = Vec::new();
    for name in subdirectories(&**disk, path)? {
        let directory = PartitionDirectory::open(Arc::clone(disk), &path.join(name))?;
        if directory.partition().is_some() && !directory.segments().is_empty() {
            found.push(directory);
        }
    }
    Ok(found)
}

fn subdirectories(disk: &dyn Disk, path: &Path) -> Result<Vec<PathBuf>, LogError> {
    let listed = disk.read_dir(path).map_err(|source| LogError::Io {
        operation: "list",
        file: path.to_owned(),
        source: Arc::new(source),
    })?;
    Ok(listed.into_iter().filter(|entry| entry.is_dir).map(|entry| PathBuf::from(entry.name)).collect())
}
