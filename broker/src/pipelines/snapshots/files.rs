//! The files of one pipeline, on a disk.

use std::io::{self, IoSlice};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logmill_storage::disk::{Disk, DiskFile, OpenOptions};
use logmill_stream::{SnapshotDirectory, SnapshotFile, SnapshotFileError as FileError};

/// The directory of all pipelines' files, in the data directory.
const DIRECTORY: &str = "pipelines";

const SAVEPOINT: &str = "savepoint-";
const EXTENSION: &str = ".lms";

/// The files of one pipeline: its snapshots, and what else there is of it.
#[derive(Clone, Debug)]
pub(in crate::pipelines) struct SnapshotFiles {
    place: Arc<OnDisk>,
    snapshots: logmill_stream::SnapshotFiles,
}

/// The directory of one pipeline's files, on a disk.
#[derive(Debug)]
struct OnDisk {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    directory: PathBuf,
}

/// A file on a disk.
#[derive(Debug)]
struct FileOnDisk(Arc<dyn DiskFile>);

impl Deref for SnapshotFiles {
    type Target = logmill_stream::SnapshotFiles;

    fn deref(&self) -> &Self::Target {
        &self.snapshots
    }
}

impl SnapshotFiles {
    pub(in crate::pipelines) fn new(disk: Arc<dyn Disk>, data_dir: &Path, pipeline: &str) -> Self {
        let directory = data_dir.join(DIRECTORY).join(pipeline);
        let place = Arc::new(OnDisk { disk, data_dir: data_dir.to_owned(), directory });
        let snapshots = logmill_stream::SnapshotFiles::new(Arc::<OnDisk>::clone(&place));
        Self { place, snapshots }
    }

    /// The names of the pipelines that have files.
    pub(in crate::pipelines) fn pipelines(
        disk: &dyn Disk,
        data_dir: &Path,
    ) -> Result<Vec<String>, FileError> {
        let path = data_dir.join(DIRECTORY);
        let failed = |error| FileError::Io { path: path.clone(), error };
        if !disk.exists(&path).map_err(failed)? {
            return Ok(Vec::new());
        }
        let entries = disk.read_dir(&path).map_err(failed)?;
        Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
    }

    /// The name of an epoch's snapshot.
    pub(in crate::pipelines) fn of_epoch(epoch: u64) -> String {
        logmill_stream::SnapshotFiles::of_epoch(epoch)
    }

    /// The name of a savepoint's file.
    pub(in crate::pipelines) fn of_savepoint(name: &str) -> String {
        format!("{SAVEPOINT}{name}{EXTENSION}")
    }

    /// The name of the old state, while the new one is made of it.
    pub(in crate::pipelines) fn of_upgrade(file: &str) -> String {
        logmill_stream::SnapshotFiles::on_the_way(&format!("old-{file}"))
    }

    /// The names of the savepoints there are.
    pub(in crate::pipelines) fn savepoints(&self) -> Result<Vec<String>, FileError> {
        let name = |file: String| file[SAVEPOINT.len()..file.len() - EXTENSION.len()].to_owned();
        Ok(self.named(SAVEPOINT)?.into_iter().map(name).collect())
    }

    /// Removes everything: the pipeline is gone.
    pub(in crate::pipelines) fn remove_all(&self) -> Result<(), FileError> {
        let OnDisk { disk, data_dir, directory } = &*self.place;
        let failed = |error| FileError::Io { path: directory.clone(), error };
        if disk.exists(directory).map_err(failed)? {
            disk.remove_dir_all(directory).map_err(failed)?;
            disk.sync_dir(&data_dir.join(DIRECTORY)).map_err(failed)?;
        }
        Ok(())
    }
}

impl SnapshotDirectory for OnDisk {
    fn path(&self) -> &Path {
        &self.directory
    }

    fn names(&self) -> io::Result<Vec<String>> {
        if !self.disk.exists(&self.directory)? {
            return Ok(Vec::new());
        }
        let entries = self.disk.read_dir(&self.directory)?;
        Ok(entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect())
    }

    fn open(&self, file: &str) -> io::Result<Box<dyn SnapshotFile>> {
        Ok(Box::new(FileOnDisk(self.disk.open(&self.directory.join(file), OpenOptions::READ)?)))
    }

    fn create(&self, file: &str) -> io::Result<Box<dyn SnapshotFile>> {
        if !self.disk.exists(&self.directory)? {
            self.disk.create_dir_all(&self.directory)?;
            self.disk.sync_dir(&self.data_dir)?;
            self.disk.sync_dir(&self.data_dir.join(DIRECTORY))?;
        }
        let opened = self.disk.open(&self.directory.join(file), OpenOptions::CREATE)?;
        opened.set_len(0)?;
        Ok(Box::new(FileOnDisk(opened)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.directory.join(from), &self.directory.join(to))?;
        self.disk.sync_dir(&self.directory)
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        self.disk.remove_file(&self.directory.join(file))?;
        self.disk.sync_dir(&self.directory)
    }
}

impl SnapshotFile for FileOnDisk {
    fn size(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_full_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_slices_at(&[IoSlice::new(bytes)], position)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
