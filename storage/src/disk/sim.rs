//! A disk in memory that keeps only what it promised.
//!
//! ```text
//!   write ──► current  (what reads see)                       crash: a seeded choice of what was pending survives,
//!         └─► pending  (not promised)  ──sync──► durable              block by block, name by name; the rest is gone
//! ```
//!
//! - Every changing call has a number ([`SimDisk::calls`]); [`SimDisk::crash_at`] ends the machine inside that call: its
//!   effect is pending, torn like everything else, and every later call fails until [`SimDisk::restart`]. Reads are not
//!   numbered: a crash during one leaves the same disk as a crash before the next change.
//! - Chance comes from the seed alone: the same seed and calls give the same disk and the same [`SimDisk::trace`].
//! - [`Faults`] are switched on by the test: a full disk, failing or lying flushes, short and failing reads. A single call
//!   fails by [`SimDisk::fail_next`]; rot is [`SimDisk::rot`].

mod file;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, MutexGuard};

use self::file::SimFile;
use self::tree::{Flushing, Tree};
use super::{DirEntry, Disk, DiskFile, DiskLock, FileSystem, OpenOptions};

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// What the disk does wrong. A path matches when it contains the given text.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Bytes that all files together may have; beyond, writes fail with [`io::ErrorKind::StorageFull`] after a part.
    pub capacity_bytes: Option<u64>,
    /// Flushes (and durable writes) of these paths report success and flush nothing.
    pub lying_flushes: Option<String>,
    /// Flushes (and durable writes) of these paths fail; what was pending is forgotten, as operating systems do.
    pub failing_flushes: Option<String>,
    /// A flush that fails says that there is no space, as on a volume that promises more than it has.
    pub flushes_say_full: bool,
    /// Reads of these paths fail.
    pub failing_reads: Option<String>,
    /// Directories of these paths cannot be removed.
    pub failing_removals: Option<String>,
    /// Reads return fewer bytes than asked for, now and then.
    pub short_reads: bool,
    /// The file system has no direct IO.
    pub no_direct: bool,
    /// It cannot be flushed as a whole.
    pub no_whole_flush: bool,
}

/// A kind of call that fails once ([`SimDisk::fail_next`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// A write: a part of it is written.
    Write,
    /// A flush, of a file, a directory, or the whole, or a durable write: what was pending counts as clean, and nothing of
    /// it reached the device. Another try succeeds, and says nothing about what was lost.
    Flush,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    random: Random,
    faults: Faults,
    locks: BTreeSet<PathBuf>,
    /// The call that fails next, by its kind and a part of its path.
    armed: Option<(Failing, String)>,
    failures: u64,
    calls: u64,
    flushes: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// Handles of before the last restart are dead.
    generation: u64,
    /// What time it is for files, in ms.
    time: i64,
    /// When files were last written to, of those that were since the time was set.
    modified: BTreeMap<PathBuf, i64>,
    trace: u64,
}

impl SimDisk {
    /// An empty disk whose chances come from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk {
            state: Arc::new(Mutex::new(State {
                tree: Tree::new(),
                random: Random::new(seed),
                faults: Faults::default(),
                locks: BTreeSet::new(),
                armed: None,
                failures: 0,
                calls: 0,
                flushes: 0,
                crash_at: None,
                crashed: false,
                generation: 0,
                time: 0,
                modified: BTreeMap::new(),
                trace: 0,
            })),
        }
    }

    /// Changing calls so far.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Calls so far that flush something.
    pub fn flushes(&self) -> u64 {
        self.state.lock().flushes
    }

    /// Digest of all changing calls so far: their kinds, paths, positions and bytes.
    pub fn trace(&self) -> u64 {
        self.state.lock().trace
    }

    /// What time it is for files that are written to from now on, in ms since the epoch; 0 in the beginning.
    pub fn set_time(&self, ms: i64) {
        self.state.lock().time = ms;
    }

    /// Crashes inside the changing call of this number (the first call is 1).
    pub fn crash_at(&self, call: u64) {
        self.state.lock().crash_at = Some(call);
    }

    /// Crashes now.
    pub fn crash(&self) {
        self.state.lock().crashed = true;
    }

    /// The machine is down.
    pub fn crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Brings the machine up after a crash (which happens now, if it did not happen yet): decides what of the pending
    /// changes survived. Handles and locks of before are dead.
    pub fn restart(&self) {
        let state = &mut *self.state.lock();
        state.tree.crash(&mut state.random);
        state.locks.clear();
        state.generation += 1;
        state.crash_at = None;
        state.crashed = false;
    }

    /// The process ends, and another one may begin: handles and locks of before are dead, what was written stays in the
    /// page cache.
    pub fn end_process(&self) {
        let state = &mut *self.state.lock();
        state.locks.clear();
        state.generation += 1;
    }

    /// Lets the next call of a kind fail whose path contains a text, once. Replaces what was to fail before.
    pub fn fail_next(&self, what: Failing, path: &str) {
        self.state.lock().armed = Some((what, path.to_owned()));
    }

    /// Nothing more fails.
    pub fn fail_nothing(&self) {
        self.state.lock().armed = None;
    }

    /// Calls so far that wrote or flushed a file or directory, failed, and said so.
    pub fn failures(&self) -> u64 {
        self.state.lock().failures
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Flips the bits of `mask` in one byte of a file, on the medium: rot.
    pub fn rot(&self, path: &Path, position: u64, mask: u8) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let node = state.tree.find(path)?;
        state.tree.file_mut(node)?.rot(position, mask)
    }

    /// Puts a file in place, durably, as if by another hand.
    pub fn plant(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let node = state.tree.open(path, OpenOptions::CREATE)?;
        state.tree.file_mut(node)?.plant(bytes);
        state.tree.sync_dir(path.parent().unwrap_or(Path::new("/")))
    }

    /// All files with their lengths, sorted by path.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state.lock().tree.files()
    }

    /// Begins a changing call. `Ok(true)` means: the machine goes down inside it.
    fn begin(&self, kind: Call, path: &Path, position: u64) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.state.lock();
        state.alive()?;
        state.calls += 1;
        state.flushes += u64::from(matches!(kind, Call::SyncData | Call::SyncDir | Call::SyncWhole));
        state.crashed = state.crash_at == Some(state.calls);
        state.note(&[kind as u8]);
        state.note(path.as_os_str().as_encoded_bytes());
        state.note(&position.to_le_bytes());
        if matches!(kind, Call::Create | Call::Write | Call::SetLen) && state.time > 0 {
            let time = state.time;
            state.modified.insert(path.to_owned(), time);
        }
        let crashing = state.crashed;
        Ok((state, crashing))
    }

    fn change(
        &self,
        kind: Call,
        path: &Path,
        change: impl FnOnce(&mut Tree) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut state, crashing) = self.begin(kind, path, 0)?;
        let result = change(&mut state.tree);
        if crashing { Err(crash()) } else { result }
    }
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(crash()) } else { Ok(()) }
    }

    /// Whether this call is the one that fails.
    fn fails(&mut self, what: Failing, path: &Path) -> bool {
        let path = path.to_string_lossy();
        self.armed.take_if(|(kind, part)| *kind == what && path.contains(part.as_str())).is_some()
    }

    fn flush_failure(&mut self) -> io::Error {
        let failure = self.failure("simulated flush failure");
        if self.faults.flushes_say_full { io::ErrorKind::StorageFull.into() } else { failure }
    }

    fn failure(&mut self, message: &str) -> io::Error {
        self.failures += 1;
        io::Error::other(message)
    }

    fn note(&mut self, bytes: &[u8]) {
        let digest = crc32fast::hash(bytes);
        self.trace = (self.trace.rotate_left(17) ^ u64::from(digest)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Kinds of changing calls, for the trace.
#[derive(Debug, Clone, Copy)]
enum Call {
    Create,
    CreateDir,
    Rename,
    RemoveFile,
    RemoveDir,
    SyncDir,
    Write,
    SyncData,
    SyncWhole,
    SetLen,
}

fn crash() -> io::Error {
    io::Error::other("the simulated machine is down")
}

fn matches(fault: Option<&String>, path: &Path) -> bool {
    fault.is_some_and(|part| path.to_string_lossy().contains(part.as_str()))
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, options: OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        let exists = {
            let state = self.state.lock();
            state.alive()?;
            state.tree.find(path).is_ok()
        };
        let (mut state, crashing) = if exists || !options.create {
            (self.state.lock(), false)
        } else {
            self.begin(Call::Create, path, 0)?
        };
        let node = state.tree.open(path, options)?;
        if crashing {
            return Err(crash());
        }
        let direct = options.direct && !state.faults.no_direct;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            node,
            path: path.to_owned(),
            writable: options.write,
            direct,
            generation: state.generation,
            told: AtomicU64::new(state.tree.file_mut(node)?.failures()),
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.exists(path)? {
            return Ok(());
        }
        self.change(Call::CreateDir, path, |tree| tree.create_dir_all(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        state.alive()?;
        state.tree.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Call::Rename, from, |tree| tree.rename(from, to))?;
        let mut state = self.state.lock();
        match state.modified.remove(from) {
            Some(time) => state.modified.insert(to.to_owned(), time),
            None => state.modified.remove(to),
        };
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(Call::RemoveFile, path, |tree| tree.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let stuck = {
            let state = self.state.lock();
            matches(state.faults.failing_removals.as_ref(), path) && state.tree.find(path).is_ok()
        };
        if stuck {
            return Err(io::Error::other("simulated failure to remove"));
        }
        self.change(Call::RemoveDir, path, |tree| tree.remove_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (mut state, crashing) = self.begin(Call::SyncDir, path, 0)?;
        if crashing {
            return Err(crash());
        }
        if matches(state.faults.failing_flushes.as_ref(), path) || state.fails(Failing::Flush, path) {
            return Err(state.flush_failure());
        }
        if matches(state.faults.lying_flushes.as_ref(), path) {
            return Ok(());
        }
        state.tree.sync_dir(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.alive()?;
        let node = state.tree.find(path)?;
        Ok(state.tree.file_mut(node)?.len())
    }

    fn modified(&self, path: &Path) -> io::Result<i64> {
        let state = self.state.lock();
        state.alive()?;
        state.tree.find(path)?;
        Ok(state.modified.get(path).copied().unwrap_or(0))
    }

    fn set_modified(&self, path: &Path, ms: i64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.alive()?;
        state.tree.find(path)?;
        state.modified.insert(path.to_owned(), ms);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        state.alive()?;
        Ok(state.tree.find(path).is_ok())
    }

    fn file_system(&self, directory: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        let state = self.state.lock();
        state.alive()?;
        state.tree.find(directory)?;
        let whole = SimFileSystem { disk: self.clone(), generation: state.generation };
        Ok((!state.faults.no_whole_flush).then(|| Box::new(whole) as Box<dyn FileSystem>))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.open(path, OpenOptions::CREATE)?;
        let mut state = self.state.lock();
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), generation: state.generation }))
    }
}

#[derive(Debug)]
struct SimFileSystem {
    disk: SimDisk,
    generation: u64,
}

impl FileSystem for SimFileSystem {
    fn sync(&self) -> io::Result<()> {
        let (mut state, crashing) = self.disk.begin(Call::SyncWhole, Path::new("/"), 0)?;
        if crashing || state.generation != self.generation {
            return Err(crash());
        }
        let State { tree, faults, armed, .. } = &mut *state;
        let armed_path = armed.as_ref().and_then(|(what, part)| (*what == Failing::Flush).then_some(part));
        let failed = tree.sync_whole(|path| {
            if matches(faults.failing_flushes.as_ref(), path) || matches(armed_path, path) {
                Flushing::Fails
            } else if matches(faults.lying_flushes.as_ref(), path) {
                Flushing::Lies
            } else {
                Flushing::Works
            }
        });
        if !failed {
            return Ok(());
        }
        // Whose bytes it was is told by the handles of the files.
        state.armed = None;
        Err(io::Error::other("simulated flush failure"))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    generation: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.generation == self.generation {
            state.locks.remove(&self.path);
        }
    }
}

/// A small deterministic generator (SplitMix64), for simulations only.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers follow from `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
