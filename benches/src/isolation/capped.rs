//! The broker on a disk that has only so much room: what a small file system is, without one to mount.
//!
//! The files are this machine's, and so is the time that they take. What they may grow by comes from whoever started the
//! process, a number of bytes a line on its standard input; before the first there is no bound. The broker is the one of the
//! other rows, but for the allocator, which is that of this program.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use logmill_broker::loggers::Loggers;
use logmill_broker::node::Node;
use logmill_broker::pipelines::build::Functions;
use logmill_config::{ByteSize, Config, HostPort, Sources};
use logmill_storage::disk::{DirEntry, DiskFile, DiskLock, FileSystem, OpenOptions};
use logmill_storage::{Disk, RealDisk};

/// An epoch takes less than there is room for, so that the disk gets full bit by bit.
const EPOCH: ByteSize = ByteSize::kib(256);

/// Where to listen and to write, as the broker's own command has it.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long = "set")]
    settings: Vec<String>,
}

/// Serves until the process is ended, or its standard input.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let listen = HostPort { host: settings.listen.ip().to_string(), port: settings.listen.port() };
    let flags = settings.settings.iter().map(|setting| {
        let (key, value) =
            setting.split_once('=').with_context(|| format!("{setting:?} is not KEY=VALUE"))?;
        Ok(("--set".to_owned(), key.to_owned(), value.to_owned()))
    });
    let sources = Sources { flags: flags.collect::<anyhow::Result<_>>()?, ..Sources::default() };
    let given = logmill_config::load(&sources)?.config;
    let mut config = Config { data_dir: settings.data_dir.clone(), listen, ..given };
    config.pipelines.epoch_bytes = EPOCH;
    let disk = Capped::default();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let runtime = tokio::runtime::Runtime::new()?;
    let _node = runtime.block_on(Node::start_on(shared, config, Loggers::fixed("off"), Functions::new()))?;
    for line in io::stdin().lines() {
        let line = line?;
        disk.set_room(line.parse().with_context(|| format!("{line:?} is no number of bytes"))?);
    }
    Ok(())
}

/// A disk of this machine whose files may grow by so much.
#[derive(Debug, Clone, Default)]
struct Capped(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// `None` is no bound.
    room: Option<u64>,
    /// The files that were opened, and how long they are.
    lengths: HashMap<PathBuf, Arc<AtomicU64>>,
}

impl State {
    fn take(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(bytes).ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }

    fn give_back(&mut self, bytes: u64) {
        if let Some(room) = &mut self.room {
            *room += bytes;
        }
    }

    fn forget(&mut self, path: &Path) {
        if let Some(length) = self.lengths.remove(path) {
            self.give_back(length.load(Ordering::Relaxed));
        }
    }
}

impl Capped {
    /// What files may grow by from now on.
    fn set_room(&self, bytes: u64) {
        self.state().room = Some(bytes);
    }

    /// Every change of it is one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct File {
    file: Arc<dyn DiskFile>,
    length: Arc<AtomicU64>,
    disk: Capped,
}

impl File {
    /// Makes it so long at least, if there is room.
    fn grow(&self, to: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let length = self.length.load(Ordering::Relaxed);
        if to > length {
            state.take(to - length)?;
            self.length.store(to, Ordering::Relaxed);
        }
        Ok(())
    }

    fn shrink(&self, to: u64) {
        let mut state = self.disk.state();
        let length = self.length.load(Ordering::Relaxed);
        if to < length {
            state.give_back(length - to);
            self.length.store(to, Ordering::Relaxed);
        }
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_slices_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        self.grow(position + bytes as u64)?;
        self.file.write_slices_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.grow(length)?;
        self.file.set_len(length)?;
        self.shrink(length);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn durable_writes(&self) -> bool {
        self.file.durable_writes()
    }
}

impl Disk for Capped {
    fn open(&self, path: &Path, options: OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, options)?;
        let found = file.len()?;
        let length =
            self.state().lengths.entry(path.to_owned()).or_insert_with(|| Arc::new(found.into())).clone();
        Ok(Arc::new(File { file, length, disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        let mut state = self.state();
        state.forget(to);
        // A directory takes its files along.
        let moved: Vec<PathBuf> =
            state.lengths.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let Some(length) = state.lengths.remove(&path) else { continue };
            let below = path.strip_prefix(from).unwrap_or(Path::new(""));
            let path = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            state.lengths.insert(path, length);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)?;
        self.state().forget(path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)?;
        let mut state = self.state();
        let gone: Vec<PathBuf> =
            state.lengths.keys().filter(|file| file.starts_with(path)).cloned().collect();
        gone.iter().for_each(|file| state.forget(file));
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.read_dir(path)
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
        let room = self.state().room;
        room.map_or_else(|| RealDisk.free_bytes(directory), |room| Ok(Some(room)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_grow_by_what_there_is_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| directory.path().join(name));
        let disk = Capped::default();
        let file = disk.open(&a, OpenOptions::CREATE).unwrap();
        file.write_at(&[1; 100], 0).unwrap();
        disk.set_room(10);
        file.write_at(&[2; 100], 0).unwrap();
        file.write_at(&[2; 20], 90).unwrap();
        let full =
            |written: io::Result<()>| written.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        assert!(full(file.write_at(&[3], 110)));
        assert!(full(file.set_len(111)));
        assert_eq!(file.len().unwrap(), 110);
        // What is cut off or removed is room for others, under whichever name it is.
        file.set_len(105).unwrap();
        let other = disk.open(&b, OpenOptions::CREATE).unwrap();
        other.write_at(&[4; 5], 0).unwrap();
        assert!(full(other.write_at(&[4], 5)));
        disk.rename(&a, &c).unwrap();
        disk.remove_file(&c).unwrap();
        other.write_at(&[4; 105], 5).unwrap();
        assert!(full(other.write_at(&[4], 110)));
        disk.rename(&b, &a).unwrap();
        disk.remove_dir_all(directory.path()).unwrap();
        assert_eq!(disk.state().room, Some(110));
        assert_eq!(disk.free_bytes(directory.path()).unwrap(), Some(110));
    }
}
