//! The directories in the data directory, and whose they are.

use std::path::Path;

use crate::disk::Disk;
use crate::log::names::{FileKind, PARTITION_METADATA};
use crate::store::adopting::{IMPORT_SUFFIX, IMPORTED_SUFFIX, marked_directory};
use crate::store::checkpoint_file::CheckpointedPartition;
use crate::store::directories::{DELETED_SUFFIX, is_deleted_name, parse_directory_name};
use crate::store::error::StoreError;

/// The directories in the data directory.
pub(super) struct Found {
    /// Name, topic name and index.
    pub(super) partitions: Vec<(String, String, i32)>,
    /// Names of directories of partitions that were being deleted.
    pub(super) dying: Vec<String>,
    /// Names of unfinished imports, and of marks of finished ones.
    pub(super) imports: Vec<String>,
}

impl Found {
    pub(super) fn read(disk: &dyn Disk, data_dir: &Path) -> Result<Found, StoreError> {
        let mut found = Found { partitions: Vec::new(), dying: Vec::new(), imports: Vec::new() };
        let entries = disk.read_dir(data_dir).map_err(StoreError::io("list", data_dir))?;
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            if is_deleted_name(&entry.name) {
                found.dying.push(entry.name);
            } else if [IMPORT_SUFFIX, IMPORTED_SUFFIX]
                .iter()
                .any(|s| marked_directory(&entry.name, s).is_some())
            {
                found.imports.push(entry.name);
            } else if let Some((topic_name, index)) = parse_directory_name(&entry.name) {
                let topic_name = topic_name.to_owned();
                found.partitions.push((entry.name, topic_name, index));
            }
        }
        Ok(found)
    }

    /// All of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        let partitions = self.partitions.iter().map(|(name, ..)| name);
        partitions.chain(&self.dying).chain(&self.imports)
    }

    /// The directory was put in its place by an import, and whether a checkpoint knows it is not said by that.
    pub(super) fn is_imported(&self, name: &str) -> bool {
        self.imports.iter().any(|mark| marked_directory(mark, IMPORTED_SUFFIX) == Some(name))
    }

    /// The partition's directory waits to be removed.
    pub(super) fn is_dying(&self, partition: &CheckpointedPartition) -> bool {
        let suffix = format!(".{}{DELETED_SUFFIX}", partition.id.topic.simple());
        let name = format!("{}-{}", partition.topic_name, partition.id.partition);
        self.dying.iter().any(|dying| dying.strip_suffix(&suffix) == Some(&name))
    }
}

/// Whose a directory is that the checkpoint does not know.
pub(super) enum Claim {
    /// A partition, made since the checkpoint.
    Partition,
    /// It was being made when the machine went down: without metadata, which comes last, and with nothing in it but what
    /// comes before that.
    Unfinished,
    /// Something else with a name like a partition's. It is left alone.
    Nobody,
}

pub(super) fn claim(disk: &dyn Disk, directory: &Path) -> Result<Claim, StoreError> {
    let entries = disk.read_dir(directory).map_err(StoreError::io("list", directory))?;
    let mut unfinished = true;
    for entry in entries {
        if entry.name == PARTITION_METADATA {
            return Ok(Claim::Partition);
        }
        let is_log = matches!(FileKind::parse(&entry.name), Some((FileKind::Log, _)));
        if is_log {
            let path = directory.join(&entry.name);
            if disk.file_len(&path).map_err(StoreError::io("measure", &path))? > 0 {
                return Ok(Claim::Partition);
            }
        }
        unfinished &= is_log || entry.name.strip_suffix(".tmp") == Some(PARTITION_METADATA);
    }
    Ok(if unfinished { Claim::Unfinished } else { Claim::Nobody })
}
