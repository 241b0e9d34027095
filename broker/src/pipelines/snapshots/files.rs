//! The files of one pipeline, on a disk.

use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logmill_storage::disk::{Disk, DiskFile, OpenOptions};
use logmill_stream::{SnapshotError, SnapshotReader, SnapshotSize};

/// The directory of all pipelines' files, in the data directory.
const DIRECTORY: &str = "pipelines";

const SNAPSHOT: &str = "snapshot-";
const SAVEPOINT: &str = "savepoint-";
const EXTENSION: &str = ".lms";
const TEMPORARY: &str = ".tmp";
/// What the names of files begin with that are made on the way to a snapshot.
pub(super) const MERGING: &str = "merging-";

/// A file is read and written in parts of this many bytes.
const PART_BYTES: usize = 256 * 1024;

/// Asked between two parts: whether to give up.
pub(in crate::pipelines) type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Why a file of a pipeline cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub(in crate::pipelines) enum FileError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Snapshot { path: PathBuf, error: SnapshotError },
}

/// The files of one pipeline.
#[derive(Clone, Debug)]
pub(in crate::pipelines) struct SnapshotFiles {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    directory: PathBuf,
}

impl SnapshotFiles {
    pub(in crate::pipelines) fn new(disk: Arc<dyn Disk>, data_dir: &Path, pipeline: &str) -> Self {
        let directory = data_dir.join(DIRECTORY).join(pipeline);
        Self { disk, data_dir: data_dir.to_owned(), directory }
    }

    pub(in crate::pipelines) fn directory(&self) -> &Path {
        &self.directory
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
        format!("{SNAPSHOT}{epoch:020}{EXTENSION}")
    }

    /// The name of a savepoint's file.
    pub(in crate::pipelines) fn of_savepoint(name: &str) -> String {
        format!("{SAVEPOINT}{name}{EXTENSION}")
    }

    /// The name of the old state, while the new one is made of it.
    pub(in crate::pipelines) fn of_upgrade(file: &str) -> String {
        format!("{MERGING}old-{file}")
    }

    /// The snapshots there are, newest first.
    pub(in crate::pipelines) fn snapshots(&self) -> Result<Vec<String>, FileError> {
        let mut files = self.names(SNAPSHOT)?;
        // Epochs have the same length in names.
        files.sort_unstable_by(|left, right| right.cmp(left));
        Ok(files)
    }

    /// The names of the savepoints there are.
    pub(in crate::pipelines) fn savepoints(&self) -> Result<Vec<String>, FileError> {
        let name = |file: String| file[SAVEPOINT.len()..file.len() - EXTENSION.len()].to_owned();
        Ok(self.names(SAVEPOINT)?.into_iter().map(name).collect())
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        let failed = |error| FileError::Io { path: self.directory.clone(), error };
        if !self.disk.exists(&self.directory).map_err(failed)? {
            return Ok(Vec::new());
        }
        let entries = self.disk.read_dir(&self.directory).map_err(failed)?;
        let names = entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name);
        Ok(names.filter(|name| name.starts_with(prefix) && name.ends_with(EXTENSION)).collect())
    }

    /// Whether there is a file of this name.
    pub(in crate::pipelines) fn has(&self, file: &str) -> Result<bool, FileError> {
        let path = self.directory.join(file);
        self.disk.exists(&path).map_err(|error| FileError::Io { path, error })
    }

    /// Opens a file and reads its header. Gives its size, too.
    pub(in crate::pipelines) fn open(
        &self,
        file: &str,
        stop: &Stop,
    ) -> Result<(SnapshotReader<Reading>, u64), FileError> {
        let path = self.directory.join(file);
        let opened = self.disk.open(&path, OpenOptions::READ).and_then(|file| Ok((file.len()?, file)));
        let (size, file) = opened.map_err(|error| FileError::Io { path: path.clone(), error })?;
        let reading = Reading { file, position: 0, part: Vec::new(), taken: 0, stop: Arc::clone(stop) };
        let reader = SnapshotReader::open(reading).map_err(|error| FileError::Snapshot { path, error })?;
        Ok((reader, size))
    }

    /// Makes a file: it is whole, or not there.
    pub(in crate::pipelines) fn write(
        &self,
        file: &str,
        stop: &Stop,
        fill: impl FnOnce(Writing) -> Result<(Writing, SnapshotSize), SnapshotError>,
    ) -> Result<SnapshotSize, FileError> {
        let path = self.directory.join(file);
        let temporary = self.directory.join(format!("{file}{TEMPORARY}"));
        let io = |error| FileError::Io { path: path.clone(), error };
        self.make_directory().map_err(io)?;
        let opened = self.disk.open(&temporary, OpenOptions::CREATE).map_err(io)?;
        opened.set_len(0).map_err(io)?;
        let writing = Writing { file: opened, position: 0, part: Vec::new(), stop: Arc::clone(stop) };
        let filled = fill(writing);
        let (written, size) = match filled {
            Ok(filled) => filled,
            Err(error) => {
                // Half of one is of no use, and takes room.
                let _ = self.disk.remove_file(&temporary);
                return Err(FileError::Snapshot { path, error });
            }
        };
        written.file.sync_data().map_err(io)?;
        self.disk.rename(&temporary, &path).map_err(io)?;
        self.disk.sync_dir(&self.directory).map_err(io)?;
        Ok(size)
    }

    fn make_directory(&self) -> io::Result<()> {
        if self.disk.exists(&self.directory)? {
            return Ok(());
        }
        self.disk.create_dir_all(&self.directory)?;
        self.disk.sync_dir(&self.data_dir)?;
        self.disk.sync_dir(&self.data_dir.join(DIRECTORY))
    }

    /// Removes a file.
    pub(in crate::pipelines) fn remove(&self, file: &str) -> Result<(), FileError> {
        let path = self.directory.join(file);
        let removed = self.disk.remove_file(&path).and_then(|()| self.disk.sync_dir(&self.directory));
        removed.map_err(|error| FileError::Io { path, error })
    }

    /// Removes what was being written when the process ended.
    pub(in crate::pipelines) fn remove_unfinished(&self) -> Result<(), FileError> {
        let failed = |error| FileError::Io { path: self.directory.clone(), error };
        if !self.disk.exists(&self.directory).map_err(failed)? {
            return Ok(());
        }
        for entry in self.disk.read_dir(&self.directory).map_err(failed)? {
            if entry.name.ends_with(TEMPORARY) || entry.name.starts_with(MERGING) {
                self.disk.remove_file(&self.directory.join(&entry.name)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Removes everything: the pipeline is gone.
    pub(in crate::pipelines) fn remove_all(&self) -> Result<(), FileError> {
        let failed = |error| FileError::Io { path: self.directory.clone(), error };
        if self.disk.exists(&self.directory).map_err(failed)? {
            self.disk.remove_dir_all(&self.directory).map_err(failed)?;
            self.disk.sync_dir(&self.data_dir.join(DIRECTORY)).map_err(failed)?;
        }
        Ok(())
    }
}

/// Why whoever is told to stop does not go on.
pub(super) fn stopped() -> io::Error {
    io::Error::other("it was stopped")
}

/// A file that is written from its beginning, in long parts.
pub(in crate::pipelines) struct Writing {
    file: Arc<dyn DiskFile>,
    position: u64,
    part: Vec<u8>,
    stop: Stop,
}

impl Writing {
    fn write_part(&mut self) -> io::Result<()> {
        if (self.stop)() {
            return Err(stopped());
        }
        self.file.write_slices_at(&[IoSlice::new(&self.part)], self.position)?;
        self.position += self.part.len() as u64;
        self.part.clear();
        Ok(())
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART_BYTES {
            self.write_part()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.part.is_empty() {
            true => Ok(()),
            false => self.write_part(),
        }
    }
}

/// A file that is read from its beginning, in long parts.
pub(in crate::pipelines) struct Reading {
    file: Arc<dyn DiskFile>,
    position: u64,
    part: Vec<u8>,
    taken: usize,
    stop: Stop,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.part.len() {
            if (self.stop)() {
                return Err(stopped());
            }
            self.part.resize(PART_BYTES, 0);
            let read = self.file.read_full_at(&mut self.part, self.position)?;
            self.part.truncate(read);
            self.position += read as u64;
            self.taken = 0;
        }
        let count = buffer.len().min(self.part.len() - self.taken);
        buffer[..count].copy_from_slice(&self.part[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
