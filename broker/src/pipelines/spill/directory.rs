//! Where the store of one pipeline is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logmill_storage::Disk;
use logmill_stream::{ColdError, ColdStore};

use super::super::snapshots::FileError;
use super::fjall_store::FjallStore;
use super::room::free_on_disk;

/// Where state goes that is not in memory, for all pipelines.
#[derive(Clone, Debug)]
pub struct SpillSettings {
    /// The disk, which removes what is not needed any more. The store itself must be on a real one.
    pub disk: Arc<dyn Disk>,
    /// Whether state leaves memory at all.
    pub is_on: bool,
    /// The directory in which the broker has one of its own; the data directory, where there is none.
    pub directory: Option<PathBuf>,
    /// The broker's data directory.
    pub data_dir: PathBuf,
    /// The cluster's id, by which a directory elsewhere is known to be this broker's.
    pub cluster: String,
}

/// Where a pipeline's store is within the data directory.
pub(super) fn inside(data_dir: &Path, pipeline: &str) -> PathBuf {
    data_dir.join("pipelines").join(pipeline).join("spill")
}

/// The one directory of a broker's within another one, which may be anybody's.
pub(super) fn own_directory(directory: &Path, cluster: &str) -> PathBuf {
    directory.join(format!("logmill-spill-{cluster}"))
}

/// The directory of one pipeline's store.
#[derive(Clone, Debug)]
pub(in crate::pipelines) struct SpillDirectory {
    disk: Arc<dyn Disk>,
    is_on: bool,
    path: PathBuf,
}

impl SpillDirectory {
    pub(in crate::pipelines) fn new(settings: &SpillSettings, pipeline: &str) -> SpillDirectory {
        let path = match &settings.directory {
            Some(directory) => own_directory(directory, &settings.cluster).join(pipeline),
            None => inside(&settings.data_dir, pipeline),
        };
        SpillDirectory { disk: Arc::clone(&settings.disk), is_on: settings.is_on, path }
    }

    /// Whether state leaves memory.
    pub(in crate::pipelines) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(in crate::pipelines) fn path(&self) -> &Path {
        &self.path
    }

    /// What is free on its disk, in bytes, where that is known.
    pub(super) fn free(&self) -> Option<u64> {
        free_on_disk(&self.path)
    }

    /// Whether there is a store, or something that was one.
    pub(in crate::pipelines) fn exists(&self) -> io::Result<bool> {
        self.disk.exists(&self.path)
    }

    /// Opens the store, or makes one that is empty. It may take about `memory` bytes for itself.
    pub(in crate::pipelines) fn open(&self, memory: u64) -> Result<Arc<dyn ColdStore>, ColdError> {
        let made = self.disk.create_dir_all(&self.path);
        made.map_err(|error| ColdError::Failed { what: format!("{}: {error}", self.path.display()) })?;
        Ok(Arc::new(FjallStore::open(&self.path, memory)?))
    }

    /// What is wrong with it, as an error of a pipeline's files.
    pub(in crate::pipelines) fn failed(&self, error: io::Error) -> FileError {
        FileError::Io { path: self.path.clone(), error }
    }

    /// Removes it, if it is there. Nobody has it open.
    pub(in crate::pipelines) fn remove(&self) -> io::Result<()> {
        match self.disk.exists(&self.path)? {
            true => self.disk.remove_dir_all(&self.path),
            false => Ok(()),
        }
    }
}
