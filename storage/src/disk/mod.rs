//! The seam to the operating system.
//!
//! Everything that storage asks of a file system goes through [`Disk`] and [`DiskFile`]:
//!
//! ```text
//!   journal, log, store ──► dyn Disk / dyn DiskFile ──┬──► RealDisk   files of this machine
//!                                                     └──► SimDisk    memory, seeded: lost, torn and rotten writes,
//!                                                                     full, failing, and a crash at any call
//! ```
//!
//! What a caller may rely on is only what POSIX promises, and [`SimDisk`] takes away everything else:
//! - written bytes are durable after [`DiskFile::sync_data`] (or on return, when [`DiskFile::durable_writes`]);
//! - a created, renamed or removed name is durable after [`Disk::sync_dir`] of its directory;
//! - a crash keeps any subset of the blocks written since, in any order; a rename is atomic.
//!
//! A failed flush leaves it unknown what is on the device, and trying again would lie: the caller gives up for good.

pub mod real;
pub mod sim;

use std::fmt;
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use real::RealDisk;
pub use sim::SimDisk;

/// Unit in which the journal writes, and alignment of direct writes in memory, length and position.
pub const BLOCK_BYTES: usize = 4096;

/// How to open a file. The default opens an existing file for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// Open for writing too.
    pub write: bool,
    /// Make the file when it is not there. Needs `write`.
    pub create: bool,
    /// Fail with [`io::ErrorKind::AlreadyExists`] when the file is there. Needs `create`.
    pub create_new: bool,
    /// Go around the page cache, and make each write durable before it returns, where the file system can do that.
    /// Whether it can is told by [`DiskFile::durable_writes`]. Every access to such a file is aligned to
    /// [`BLOCK_BYTES`] in memory, length and position.
    pub direct: bool,
}

impl OpenOptions {
    /// An existing file, for reading only.
    pub const READ: OpenOptions =
        OpenOptions { write: false, create: false, create_new: false, direct: false };
    /// An existing file, for reading and writing.
    pub const WRITE: OpenOptions = OpenOptions { write: true, ..OpenOptions::READ };
    /// For reading and writing, made when it is not there.
    pub const CREATE: OpenOptions = OpenOptions { create: true, ..OpenOptions::WRITE };
    /// For reading and writing, must not be there yet.
    pub const CREATE_NEW: OpenOptions = OpenOptions { create_new: true, ..OpenOptions::CREATE };
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// File name, without the directory. Names that are not UTF-8 are left out of listings: none of ours is one.
    pub name: String,
    /// It is a directory.
    pub is_dir: bool,
}

/// A file system. Paths are used as given.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, options: OpenOptions) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and those above it. The names are durable after `sync_dir` of each parent.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Renames a file or directory within one directory, replacing a file that is in the way. Atomic.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name. Open handles stay usable.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and what is in it. Not atomic.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Length of a file in bytes.
    fn file_len(&self, path: &Path) -> io::Result<u64>;
    /// When a file was last written to, in ms since the epoch. Not promised to survive a crash.
    fn modified(&self, path: &Path) -> io::Result<i64>;
    /// Gives a file the time of another one, whose place it takes.
    fn set_modified(&self, path: &Path, ms: i64) -> io::Result<()>;
    /// Whether there is a file or directory of that name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Takes the exclusive lock of a file, made when it is not there, without waiting:
    /// [`io::ErrorKind::WouldBlock`] when another process, or this one, holds it. Released when dropped.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
    /// The file system that a directory is on, to make much durable with one call; `None` where there is no such call, or
    /// none that tells of failures.
    fn file_system(&self, directory: &Path) -> io::Result<Option<Box<dyn FileSystem>>>;
    /// How many bytes there is room for on the file system that a directory is on; `None` where nobody knows.
    fn free_bytes(&self, _directory: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// A file system as a whole.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// Makes everything durable that was written, made, renamed or removed on it so far. Fails also when anything failed on
    /// the way to the device, whosever it was, since the last call, or since this was opened.
    fn sync(&self) -> io::Result<()>;
}

/// An exclusive lock, held until dropped.
pub trait DiskLock: fmt::Debug + Send + Sync {}

/// An open file. All methods take a position: there is no cursor to share.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes at `position`. Fewer may come; 0 means the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `slices`, one after another, at `position`. After an error any part may have been written.
    fn write_slices_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Makes what was written so far durable, and the length with it.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// A write is durable when it returns; `sync_data` after it would be wasted.
    fn durable_writes(&self) -> bool;

    /// Nothing in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes all of `bytes` at `position`.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_slices_at(&[IoSlice::new(bytes)], position)
    }

    /// Fills `buffer` from `position`; [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let wanted = buffer.len();
        let got = self.read_full_at(buffer, position)?;
        if got == wanted { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads until `buffer` is full or the file ends; returns how many bytes came.
    fn read_full_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Replaces a file in one step: writes a temporary file beside it, flushes it, renames it over `path`, makes the name
/// durable. After a crash the file is wholly the old or wholly the new one.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let replacement = Replacement::write(disk, path, bytes)?;
    replacement.file.sync_data()?;
    replacement.rename(disk)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
}

/// The same in single steps, for many files together: written beside the file that it is to replace.
#[derive(Debug)]
pub struct Replacement {
    /// To be flushed before [`Replacement::rename`].
    pub file: Arc<dyn DiskFile>,
    temporary: PathBuf,
    path: PathBuf,
}

impl Replacement {
    /// Writes the temporary file.
    pub fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<Replacement> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a file to replace has a directory and a name",
            ));
        };
        let mut temporary = name.to_os_string();
        temporary.push(".tmp");
        let temporary = directory.join(temporary);
        let file = disk.open(&temporary, OpenOptions::CREATE)?;
        file.set_len(0)?;
        file.write_at(bytes, 0)?;
        Ok(Replacement { file, temporary, path: path.to_owned() })
    }

    /// Puts it in its place, durably once the directory is flushed.
    pub fn rename(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.rename(&self.temporary, &self.path)
    }
}

/// The whole content of a file.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenOptions::READ)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let read = file.read_full_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
