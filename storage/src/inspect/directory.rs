//! The files of one partition directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::disk::Disk;
use crate::log::compaction::swap::SWAP_NOTE;
use crate::log::manifest::SEGMENT_MANIFEST;
use crate::log::names::{FileKind, LEADER_EPOCHS, LEFTOVERS, PARTITION_METADATA};
use crate::log::{LogError, PartitionLog};

/// What a file of a partition directory is for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRole {
    /// Batches: the truth.
    Log,
    /// Offset to position.
    OffsetIndex,
    /// Timestamp to offset.
    TimeIndex,
    /// Aborted transactions.
    TransactionIndex,
    /// Producers and their open transactions.
    ProducerSnapshot,
    /// Where each leader epoch begins.
    LeaderEpochs,
    /// Which topic the directory belongs to.
    Metadata,
    /// What the segments must hold.
    SegmentManifest,
    /// Which segments a compacted one replaces: a compaction was interrupted.
    SwapNote,
    /// What an interrupted operation left behind (`.deleted`, `.cleaned`, `.tmp`); read only when a note says so.
    Leftover,
    /// Nothing that a partition directory is known to hold.
    Unknown,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryFile {
    /// Its whole path.
    pub path: PathBuf,
    /// What it is for.
    pub role: FileRole,
    /// The offset it is named after: a segment's base, or the offset a snapshot was taken at.
    pub offset: Option<i64>,
    /// Its length.
    pub bytes: u64,
}

/// One partition's directory, listed.
#[derive(Debug, Clone)]
pub struct PartitionDirectory {
    pub(super) disk: Arc<dyn Disk>,
    path: PathBuf,
    files: Vec<DirectoryFile>,
}

impl PartitionDirectory {
    /// Lists a directory. Reads no file.
    ///
    /// # Errors
    /// [`LogError::Io`] when it cannot be listed.
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<PartitionDirectory, LogError> {
        let mut files = Vec::new();
        for entry in disk.read_dir(path).map_err(LogError::io("list", path))? {
            if entry.is_dir {
                continue;
            }
            let (role, offset) = role_of(&entry.name);
            let file = path.join(&entry.name);
            let bytes = disk.file_len(&file).map_err(LogError::io("look at", &file))?;
            files.push(DirectoryFile { path: file, role, offset, bytes });
        }
        files.sort_by(|a, b| (a.offset, a.role, &a.path).cmp(&(b.offset, b.role, &b.path)));
        Ok(PartitionDirectory { disk, path: path.to_owned(), files })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files, by the offset in their names.
    #[must_use]
    pub fn files(&self) -> &[DirectoryFile] {
        &self.files
    }

    /// Base offsets of the segments, in order.
    #[must_use]
    pub fn segments(&self) -> Vec<i64> {
        self.of_role(FileRole::Log).filter_map(|file| file.offset).collect()
    }

    /// The topic's id, from `partition.metadata`.
    ///
    /// # Errors
    /// [`LogError`] when the file is missing or does not parse.
    pub fn topic_id(&self) -> Result<Uuid, LogError> {
        PartitionLog::read_topic_id(&*self.disk, &self.path)
    }

    /// Topic name and partition, from the directory's name (`<topic>-<partition>`).
    #[must_use]
    pub fn partition(&self) -> Option<(&str, i32)> {
        crate::store::parse_directory_name(self.path.file_name()?.to_str()?)
    }

    pub(super) fn of_role(&self, role: FileRole) -> impl Iterator<Item = &DirectoryFile> {
        self.files.iter().filter(move |file| file.role == role)
    }

    pub(super) fn file(&self, role: FileRole, offset: i64) -> Option<&DirectoryFile> {
        self.of_role(role).find(|file| file.offset == Some(offset))
    }
}

pub(super) fn role_of(name: &str) -> (FileRole, Option<i64>) {
    if let Some((kind, offset)) = FileKind::parse(name) {
        let role = match kind {
            FileKind::Log => FileRole::Log,
            FileKind::OffsetIndex => FileRole::OffsetIndex,
            FileKind::TimeIndex => FileRole::TimeIndex,
            FileKind::TransactionIndex => FileRole::TransactionIndex,
            FileKind::ProducerSnapshot => FileRole::ProducerSnapshot,
        };
        return (role, Some(offset));
    }
    let role = match name {
        PARTITION_METADATA => FileRole::Metadata,
        LEADER_EPOCHS => FileRole::LeaderEpochs,
        SEGMENT_MANIFEST => FileRole::SegmentManifest,
        SWAP_NOTE => FileRole::SwapNote,
        _ if LEFTOVERS.iter().any(|suffix| name.ends_with(suffix)) => FileRole::Leftover,
        _ => FileRole::Unknown,
    };
    (role, None)
}
