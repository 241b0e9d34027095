//! A disk that counts what is read and written of files, by their paths, and has as much room as it is told.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logmill_storage::RealDisk;
use logmill_storage::disk::{DirEntry, Disk, DiskFile, DiskLock, FileSystem, OpenOptions};
use parking_lot::Mutex;

/// Bytes that came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::pipelines) struct Moved {
    pub(in crate::pipelines) read: u64,
    pub(in crate::pipelines) written: u64,
}

type Counts = Arc<Mutex<Vec<(PathBuf, Moved)>>>;

/// The real disk; see the module.
#[derive(Debug, Default, Clone)]
pub(in crate::pipelines) struct CountingDisk {
    counts: Counts,
    free: Arc<Mutex<Option<u64>>>,
}

impl CountingDisk {
    /// From now on it says that there is room for so many bytes.
    pub(in crate::pipelines) fn set_free_bytes(&self, bytes: u64) {
        *self.free.lock() = Some(bytes);
    }

    /// Of all files in whose paths one of these words is.
    pub(in crate::pipelines) fn moved(&self, words: &[&str]) -> Moved {
        let counts = self.counts.lock();
        let is_meant = |path: &Path| words.iter().any(|word| path.to_string_lossy().contains(word));
        let of_them = counts.iter().filter(|(path, _)| is_meant(path));
        of_them.fold(Moved::default(), |sum, (_, moved)| Moved {
            read: sum.read + moved.read,
            written: sum.written + moved.written,
        })
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn DiskFile>,
    counts: Counts,
    path: PathBuf,
}

impl CountingFile {
    fn count(&self, read: usize, written: usize) {
        let mut counts = self.counts.lock();
        let place = match counts.iter().position(|(path, _)| *path == self.path) {
            Some(place) => place,
            None => {
                counts.push((self.path.clone(), Moved::default()));
                counts.len() - 1
            }
        };
        counts[place].1.read += read as u64;
        counts[place].1.written += written as u64;
    }
}

impl DiskFile for CountingFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, position)?;
        self.count(read, 0);
        Ok(read)
    }

    fn write_slices_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.count(0, slices.iter().map(|slice| slice.len()).sum());
        self.file.write_slices_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn durable_writes(&self) -> bool {
        self.file.durable_writes()
    }
}

impl Disk for CountingDisk {
    fn open(&self, path: &Path, options: OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, options)?;
        Ok(Arc::new(CountingFile { file, counts: Arc::clone(&self.counts), path: path.to_owned() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        RealDisk.file_len(path)
    }

    fn modified(&self, path: &Path) -> io::Result<i64> {
        RealDisk.modified(path)
    }

    fn set_modified(&self, path: &Path, ms: i64) -> io::Result<()> {
        RealDisk.set_modified(path, ms)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        RealDisk.lock(path)
    }

    fn file_system(&self, directory: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        RealDisk.file_system(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<Option<u64>> {
        let free = *self.free.lock();
        free.map_or_else(|| RealDisk.free_bytes(directory), |free| Ok(Some(free)))
    }
}
