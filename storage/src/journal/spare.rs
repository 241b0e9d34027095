//! The file that the journal goes on in when its current one is full.
//!
//! ```text
//!   journal   asks for zeros as it writes frames ──────────────┐        takes the file when it needs it
//!   anybody          makes the file, writes zeros up to there ─┴─► …    (the zeros that are left are written then)
//! ```
//!
//! Whoever waits for a frame must not wait for zeros as well, so they are written by another thread. No zero may be written
//! once frames are: who writes has the file's turn, and looks whether it was taken.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::buffer::AlignedBuffer;
use super::error::JournalError;
use super::ring::RingFile;
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, OpenOptions};

/// Zeros written with one call, at most.
const ZEROS_BYTES: usize = 256 << 10;

/// As many zeros as one call writes.
#[derive(Debug, Clone)]
pub(crate) struct Zeros(Arc<AlignedBuffer>);

impl Zeros {
    pub(crate) fn new() -> Zeros {
        let mut zeros = AlignedBuffer::new(ZEROS_BYTES);
        zeros.push(&[0; ZEROS_BYTES]);
        Zeros(Arc::new(zeros))
    }
}

/// A new file, zero-written up to a point.
#[derive(Debug)]
pub(crate) struct Spare {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    path: PathBuf,
    bytes: u64,
    options: OpenOptions,
    zeros: Zeros,
    /// Zeros are due up to here. Only the journal moves it.
    due: AtomicU64,
    /// The disk was full: there will be no file.
    full: AtomicBool,
    making: Mutex<Making>,
}

#[derive(Debug, Default)]
struct Making {
    file: Option<Arc<dyn DiskFile>>,
    zeroed: u64,
    /// It is the journal's, or nobody's: no zeros any more.
    taken: bool,
}

impl Spare {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: &Path,
        name: &str,
        bytes: u64,
        direct: bool,
        zeros: Zeros,
    ) -> Spare {
        Spare {
            disk,
            directory: directory.to_owned(),
            path: directory.join(name),
            bytes,
            options: OpenOptions { direct, ..OpenOptions::CREATE },
            zeros,
            due: AtomicU64::new(0),
            full: AtomicBool::new(false),
            making: Mutex::default(),
        }
    }

    /// Its length when it is ready.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes for which no zeros were asked.
    pub(crate) fn not_asked(&self) -> u64 {
        self.bytes - self.due.load(Ordering::Relaxed)
    }

    /// So many more zeros are due. False when there is nothing left to ask for.
    pub(crate) fn ask(&self, more: u64) -> bool {
        let left = self.not_asked();
        self.due.store(self.bytes - left.saturating_sub(more), Ordering::Relaxed);
        left > 0
    }

    /// The disk was full.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Writes some of the zeros that are due. False when there are no more, for now or for good. With a full disk what there
    /// is of the file is removed at once: all others want the room as well.
    pub(crate) fn write_due(&self) -> Result<bool, JournalError> {
        let mut making = self.making.lock();
        if making.taken {
            return Ok(false);
        }
        let due = self.due.load(Ordering::Relaxed);
        let went_on = self.write_some(&mut making, due)?;
        if self.is_full() {
            self.discard(&mut making)?;
        }
        // Between two writes the journal has its chance.
        MutexGuard::unlock_fair(making);
        Ok(went_on)
    }

    /// The file, as long as it is to be. `None` when the disk is full, and then nothing is left of it.
    pub(crate) fn take(&self) -> Result<Option<RingFile>, JournalError> {
        let mut making = self.making.lock();
        while !self.is_full() && self.write_some(&mut making, self.bytes)? {}
        if self.is_full() {
            self.discard(&mut making)?;
        }
        making.taken = true;
        Ok(making.file.take().map(|file| RingFile { path: self.path.clone(), file, bytes: self.bytes }))
    }

    /// No zeros any more. What there is of the file stays.
    pub(crate) fn leave(&self) {
        self.making.lock().taken = true;
    }

    /// Removes the file, if there is one.
    pub(crate) fn remove(&self) -> Result<(), JournalError> {
        self.discard(&mut self.making.lock())
    }

    fn discard(&self, making: &mut Making) -> Result<(), JournalError> {
        making.taken = true;
        match making.file.take() {
            Some(_) => self.disk.remove_file(&self.path).map_err(JournalError::io("remove", &self.path)),
            None => Ok(()),
        }
    }

    /// One step towards having zeros up to `end`: the file's name, or one write. False when they are there, or the disk is
    /// full.
    fn write_some(&self, making: &mut Making, end: u64) -> Result<bool, JournalError> {
        let Some(file) = &making.file else {
            making.file = self.make()?;
            return Ok(making.file.is_some());
        };
        let most = (end - making.zeroed.min(end)).min(ZEROS_BYTES as u64);
        let length = most.next_multiple_of(BLOCK_BYTES as u64).min(self.bytes - making.zeroed);
        if length == 0 {
            return Ok(false);
        }
        match file.write_at(&self.zeros.0.filled()[..length as usize], making.zeroed) {
            Ok(()) => making.zeroed += length,
            Err(error) if is_full(&error) => {
                self.full.store(true, Ordering::Relaxed);
                return Ok(false);
            }
            Err(error) => return Err(JournalError::io("write", &self.path)(error)),
        }
        if making.zeroed == self.bytes && !file.durable_writes() {
            file.sync_data().map_err(JournalError::io("flush", &self.path))?;
        }
        Ok(making.zeroed < end)
    }

    /// Makes the file and its name. `None` when the disk is full.
    fn make(&self) -> Result<Option<Arc<dyn DiskFile>>, JournalError> {
        let file = match self.disk.open(&self.path, self.options) {
            Err(error) if is_full(&error) => {
                self.full.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            opened => opened.map_err(JournalError::io("create", &self.path))?,
        };
        self.disk.sync_dir(&self.directory).map_err(JournalError::io("flush", &self.directory))?;
        Ok(Some(file))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;
    use crate::disk::sim::Faults;

    const BYTES: u64 = 1 << 20;

    fn spare(disk: &SimDisk) -> Spare {
        disk.create_dir_all(Path::new("/journal")).unwrap();
        Spare::new(Arc::new(disk.clone()), Path::new("/journal"), "1.journal", BYTES, false, Zeros::new())
    }

    fn write_all_due(spare: &Spare) {
        while spare.write_due().unwrap() {}
    }

    #[test]
    fn writes_what_is_due_and_the_rest_when_it_is_taken() {
        let disk = SimDisk::new(1);
        let spare = spare(&disk);
        write_all_due(&spare);
        assert_eq!(disk.files(), [(spare.path.clone(), 0)], "nothing was asked for");
        assert!(spare.ask(300_000));
        write_all_due(&spare);
        assert_eq!(disk.files()[0].1, 300_000_u64.next_multiple_of(BLOCK_BYTES as u64));
        assert!(spare.ask(1));
        assert_eq!(spare.not_asked(), BYTES - 300_001);
        let file = spare.take().unwrap().unwrap();
        assert_eq!((file.bytes, disk.files()[0].1), (BYTES, BYTES));
        assert!(spare.ask(u64::MAX) && !spare.ask(1), "once it is all");
    }

    #[test]
    fn writes_no_zeros_into_a_file_that_was_taken_or_left() {
        let disk = SimDisk::new(2);
        let left = spare(&disk);
        left.ask(BYTES / 2);
        left.leave();
        write_all_due(&left);
        assert_eq!(disk.files(), []);

        let taken = spare(&disk);
        taken.ask(BYTES / 2);
        assert!(taken.write_due().unwrap(), "the name");
        let file = taken.take().unwrap().unwrap();
        file.file.write_at(&[7; BLOCK_BYTES], 0).unwrap();
        taken.ask(BYTES);
        write_all_due(&taken);
        let mut first = [0; BLOCK_BYTES];
        file.file.read_exact_at(&mut first, 0).unwrap();
        assert_eq!(first, [7; BLOCK_BYTES]);
    }

    #[test]
    fn gives_up_on_a_full_disk_and_leaves_nothing() {
        let disk = SimDisk::new(3);
        let spare = spare(&disk);
        disk.set_faults(Faults { capacity_bytes: Some(BYTES / 2), ..Faults::default() });
        spare.ask(BYTES);
        write_all_due(&spare);
        assert!(spare.is_full());
        assert_eq!(disk.files(), [], "what was written is no room for others");
        assert!(spare.take().unwrap().is_none());
    }

    #[test]
    fn gives_up_as_well_when_it_is_taken() {
        let disk = SimDisk::new(4);
        let spare = spare(&disk);
        spare.ask(BYTES / 4);
        write_all_due(&spare);
        disk.set_faults(Faults { capacity_bytes: Some(BYTES / 2), ..Faults::default() });
        assert!(spare.take().unwrap().is_none());
        assert_eq!(disk.files(), []);
    }
}
