//! The snapshots of one pipeline, as files of a directory that is given.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::{SnapshotError, SnapshotReader, SnapshotSize};

const SNAPSHOT: &str = "snapshot-";
const EXTENSION: &str = ".lms";
const TEMPORARY: &str = ".tmp";
/// What the names of files begin with that are made on the way to a snapshot.
const MERGING: &str = "merging-";

/// A file is read and written in parts of this many bytes.
const PART_BYTES: usize = 256 * 1024;

/// Asked between two parts of something long: whether to give up.
pub type SnapshotStop = Arc<dyn Fn() -> bool + Send + Sync>;

/// The directory of one pipeline's snapshots: the engine opens no file itself.
pub trait SnapshotDirectory: fmt::Debug + Send + Sync {
    /// Where it is; for messages.
    fn path(&self) -> &Path;
    /// The names of its files; none where there is no directory.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file to be read.
    fn open(&self, file: &str) -> io::Result<Box<dyn SnapshotFile>>;
    /// Makes an empty file, and the directory if there is none; what had the name before is gone.
    fn create(&self, file: &str) -> io::Result<Box<dyn SnapshotFile>>;
    /// Gives a file another name, at once and durably. What had that name before is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, durably.
    fn remove(&self, file: &str) -> io::Result<()>;
}

/// An open file of a [`SnapshotDirectory`].
pub trait SnapshotFile: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads from a position on, until the buffer is full or the file ends; gives how many bytes.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of the bytes at a position.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Makes durable what was written.
    fn sync(&self) -> io::Result<()>;
}

/// Why a file of a pipeline cannot be made or found.
#[derive(Debug, Error)]
pub enum SnapshotFileError {
    /// What holds the files failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file, or the directory.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// What is in the file, or was to be written to it, is no snapshot.
    #[error("{}: {error}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: SnapshotError,
    },
}

impl SnapshotFileError {
    /// Whether there is no room for it: what it would have been made of has nothing to do with that.
    pub(super) fn is_for_want_of_room(&self) -> bool {
        let (SnapshotFileError::Io { error, .. }
        | SnapshotFileError::Snapshot { error: SnapshotError::Io(error), .. }) = self
        else {
            return false;
        };
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// The files of one pipeline; cheap to clone.
#[derive(Clone, Debug)]
pub struct SnapshotFiles(Arc<dyn SnapshotDirectory>);

impl SnapshotFiles {
    /// Those of a directory.
    pub fn new(directory: Arc<dyn SnapshotDirectory>) -> Self {
        Self(directory)
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The name of an epoch's snapshot.
    pub fn of_epoch(epoch: u64) -> String {
        format!("{SNAPSHOT}{epoch:020}{EXTENSION}")
    }

    /// The name of a file that is of use only on the way to another one.
    pub fn on_the_way(file: &str) -> String {
        format!("{MERGING}{file}")
    }

    /// The snapshots there are, newest first.
    pub fn snapshots(&self) -> Result<Vec<String>, SnapshotFileError> {
        let mut files = self.named(SNAPSHOT)?;
        // Epochs have the same length in names.
        files.sort_unstable_by(|left, right| right.cmp(left));
        Ok(files)
    }

    /// The files of snapshots whose names begin so.
    pub fn named(&self, prefix: &str) -> Result<Vec<String>, SnapshotFileError> {
        let is_one = |name: &String| name.starts_with(prefix) && name.ends_with(EXTENSION);
        Ok(self.names()?.into_iter().filter(is_one).collect())
    }

    fn names(&self) -> Result<Vec<String>, SnapshotFileError> {
        let failed = |error| SnapshotFileError::Io { path: self.directory().to_owned(), error };
        self.0.names().map_err(failed)
    }

    /// Whether there is a file of this name.
    pub fn has(&self, file: &str) -> Result<bool, SnapshotFileError> {
        Ok(self.names()?.iter().any(|name| name == file))
    }

    /// Opens a file and reads its header. Gives its size, too.
    pub fn open(
        &self,
        file: &str,
        stop: &SnapshotStop,
    ) -> Result<(SnapshotReader<SnapshotReading>, u64), SnapshotFileError> {
        let path = self.directory().join(file);
        let opened = self.0.open(file).and_then(|file| Ok((file.size()?, file)));
        let (size, file) = opened.map_err(|error| SnapshotFileError::Io { path: path.clone(), error })?;
        let reading =
            SnapshotReading { file, position: 0, part: Vec::new(), taken: 0, stop: Arc::clone(stop) };
        let reader =
            SnapshotReader::open(reading).map_err(|error| SnapshotFileError::Snapshot { path, error })?;
        Ok((reader, size))
    }

    /// Makes a file: it is whole, or not there.
    pub fn write(
        &self,
        file: &str,
        stop: &SnapshotStop,
        fill: impl FnOnce(SnapshotWriting) -> Result<(SnapshotWriting, SnapshotSize), SnapshotError>,
    ) -> Result<SnapshotSize, SnapshotFileError> {
        let path = self.directory().join(file);
        let temporary = format!("{file}{TEMPORARY}");
        let io = |error| SnapshotFileError::Io { path: path.clone(), error };
        let opened = self.0.create(&temporary).map_err(io)?;
        let writing = SnapshotWriting { file: opened, position: 0, part: Vec::new(), stop: Arc::clone(stop) };
        let filled = fill(writing);
        let filled = filled.map_err(|error| SnapshotFileError::Snapshot { path: path.clone(), error });
        let written = filled.and_then(|(written, size)| {
            written.file.sync().map_err(io)?;
            self.0.rename(&temporary, file).map_err(io)?;
            Ok(size)
        });
        if written.is_err() {
            // Half of one is of no use, and takes room.
            let _ = self.0.remove(&temporary);
        }
        written
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) -> Result<(), SnapshotFileError> {
        let path = || self.directory().join(file);
        self.0.remove(file).map_err(|error| SnapshotFileError::Io { path: path(), error })
    }

    /// Removes what was being written when the process ended.
    pub fn remove_unfinished(&self) -> Result<(), SnapshotFileError> {
        let is_unfinished = |name: &String| name.ends_with(TEMPORARY) || name.starts_with(MERGING);
        self.names()?.iter().filter(|name| is_unfinished(name)).try_for_each(|name| self.remove(name))
    }
}

/// Why whoever is told to stop does not go on.
pub(super) fn stopped() -> io::Error {
    io::Error::other("it was stopped")
}

/// A file that is written from its beginning, in long parts.
pub struct SnapshotWriting {
    file: Box<dyn SnapshotFile>,
    position: u64,
    part: Vec<u8>,
    stop: SnapshotStop,
}

impl SnapshotWriting {
    fn write_part(&mut self) -> io::Result<()> {
        if (self.stop)() {
            return Err(stopped());
        }
        self.file.write_at(&self.part, self.position)?;
        self.position += self.part.len() as u64;
        self.part.clear();
        Ok(())
    }
}

impl Write for SnapshotWriting {
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

impl fmt::Debug for SnapshotWriting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriting").field("file", &self.file).finish_non_exhaustive()
    }
}

/// A file that is read from its beginning, in long parts.
pub struct SnapshotReading {
    file: Box<dyn SnapshotFile>,
    position: u64,
    part: Vec<u8>,
    taken: usize,
    stop: SnapshotStop,
}

impl Read for SnapshotReading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.part.len() {
            if (self.stop)() {
                return Err(stopped());
            }
            self.part.resize(PART_BYTES, 0);
            let read = self.file.read_at(&mut self.part, self.position)?;
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

impl fmt::Debug for SnapshotReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReading").field("file", &self.file).finish_non_exhaustive()
    }
}
