//! The journal's files: zero-written once, used again and again.
//!
//! ```text
//!   free ──take──► live … live, current ──recycle (checkpoint)──► free
//!    ▲                                                              │ smaller than the current one
//!   spare, zero-written beside the writes (`spare.rs`)              └──► removed
//! ```
//!
//! A file that was written before is overwritten in place: no allocation, no change of its length, hence no work for the
//! file system's own journal when it is flushed. An empty journal starts with one small file; files double in size up to
//! the configured one, and new ones are made only when none is free.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::JournalOptions;
use super::error::JournalError;
use super::spare::{Spare, Zeros};
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, OpenOptions};

/// Zeros asked for at a time, at least.
const MIN_PREPARED_BYTES: u64 = 64 << 10;
const FILE_SUFFIX: &str = ".journal";
/// What a start wants at least for its first file.
const SMALLEST_FIRST_BYTES: u64 = 64 << 10;

/// A file of the ring.
#[derive(Debug)]
pub(crate) struct RingFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
}

/// A file with frames that replay may need, or the one being written.
#[derive(Debug)]
pub(crate) struct LiveFile {
    pub(crate) file: RingFile,
    /// Running number of this use.
    pub(crate) number: u64,
    pub(crate) first_sequence: u64,
}

#[derive(Debug)]
pub(crate) struct Ring {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    options: JournalOptions,
    live: VecDeque<LiveFile>,
    free: Vec<RingFile>,
    spare: Option<Arc<Spare>>,
    zeros: Zeros,
    next_slot: u32,
    disk_full: bool,
    /// A file was taken. The first one may go beyond the ring's limit: only with it can a start write the checkpoint
    /// that gives back all the others.
    started: bool,
}

/// A file found in the journal's directory.
#[derive(Debug, Clone)]
pub(crate) struct FoundFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Its running number and first sequence, when replay read it.
    pub(crate) live: Option<(u64, u64)>,
}

/// The place of a file by its name, when it is a journal file's.
pub(crate) fn slot_of(name: &str) -> Option<u32> {
    name.strip_suffix(FILE_SUFFIX)?.parse().ok()
}

impl Ring {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        options: JournalOptions,
        found: Vec<FoundFile>,
    ) -> Result<Ring, JournalError> {
        let mut ring = Ring {
            disk,
            directory,
            options,
            live: VecDeque::new(),
            free: Vec::new(),
            spare: None,
            zeros: Zeros::new(),
            next_slot: 0,
            disk_full: false,
            started: false,
        };
        let mut live = Vec::new();
        for FoundFile { path, bytes, live: place } in found {
            let slot = path.file_name().and_then(|name| slot_of(name.to_str()?));
            ring.next_slot = ring.next_slot.max(slot.map_or(0, |slot| slot + 1));
            if place.is_none() && bytes < 2 * BLOCK_BYTES as u64 {
                // A start that has to try again has removed it already.
                match ring.disk.remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(JournalError::io("remove", &path)(error));
                    }
                    _ => continue,
                }
            }
            let options = OpenOptions { direct: ring.options.direct, ..OpenOptions::WRITE };
            let file = ring.disk.open(&path, options).map_err(JournalError::io("open", &path))?;
            let file = RingFile { path, file, bytes: bytes - bytes % BLOCK_BYTES as u64 };
            match place {
                Some((number, first_sequence)) => live.push(LiveFile { file, number, first_sequence }),
                None => ring.free.push(file),
            }
        }
        live.sort_by_key(|file| file.number);
        ring.live = live.into();
        Ok(ring)
    }

    /// The last attempt to make a file found the disk full.
    pub(crate) fn disk_is_full(&self) -> bool {
        self.disk_full
    }

    /// The file being written.
    pub(crate) fn current(&self) -> Option<&LiveFile> {
        self.live.back()
    }

    pub(crate) fn push_current(&mut self, file: LiveFile) {
        assert!(self.live.back().is_none_or(|last| last.number < file.number), "file numbers grow");
        self.live.push_back(file);
        self.started = true;
    }

    /// The number of the file that holds a sequence, or will: the last one that begins at or before it.
    pub(crate) fn file_with(&self, sequence: u64) -> Option<u64> {
        self.live.iter().rev().find(|file| file.first_sequence <= sequence).map(|file| file.number)
    }

    /// Bytes of all files.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.full_bytes()
            + self.current().map_or(0, |current| current.file.bytes)
            + self.free.iter().map(|file| file.bytes).sum::<u64>()
            + self.spare.as_ref().map_or(0, |spare| spare.bytes())
    }

    /// Whether a file of so many bytes is as large as they get.
    pub(crate) fn is_of_full_size(&self, bytes: u64) -> bool {
        bytes >= self.options.file_bytes
    }

    /// Bytes of the live files behind the current one.
    pub(crate) fn full_bytes(&self) -> u64 {
        self.live.iter().rev().skip(1).map(|file| file.file.bytes).sum()
    }

    /// An unused file of at least this size. `None` when the ring, or the disk, is full: a checkpoint frees files.
    pub(crate) fn take(&mut self, needed: u64) -> Result<Option<RingFile>, JournalError> {
        self.disk_full = false;
        self.forget_full_spare();
        if self.spare.as_ref().is_some_and(|spare| spare.bytes() >= needed)
            && let Some(file) = self.take_spare()?
        {
            return Ok(Some(file));
        }
        let largest = (0..self.free.len()).max_by_key(|&i| (self.free[i].bytes, std::cmp::Reverse(i)));
        if let Some(largest) = largest
            && self.free[largest].bytes >= needed
        {
            return Ok(Some(self.free.swap_remove(largest)));
        }
        if self.disk_full {
            return Ok(None);
        }
        // What is free is too small for this frame, and gives way.
        while self.total_bytes() + needed > self.options.max_bytes {
            if let Some(file) = self.free.pop() {
                self.remove(file)?;
            } else if let Some(spare) = self.spare.take() {
                spare.remove()?;
            } else {
                break;
            }
        }
        let mut most = self.options.file_bytes;
        loop {
            if self.begin_spare(needed, most)?
                && let Some(file) = self.take_spare()?
            {
                return Ok(Some(file));
            }
            most /= 2;
            // A start on a nearly full disk makes do with little.
            if self.started || !self.disk_full || most < SMALLEST_FIRST_BYTES {
                return Ok(None);
            }
        }
    }

    fn take_spare(&mut self) -> Result<Option<RingFile>, JournalError> {
        let Some(spare) = self.spare.take() else { return Ok(None) };
        let file = spare.take()?;
        self.disk_full |= file.is_none();
        Ok(file)
    }

    /// A file that was not to be had for want of room says nothing of the room there is now.
    fn forget_full_spare(&mut self) {
        self.spare.take_if(|spare| spare.is_full());
    }

    /// Works towards having a file at hand when the current one, which has room for so many bytes, is full: asks for as many
    /// zeros as go with the bytes just written. The device has them to write beside frames, so they are spread over all that
    /// is written until then, with a quarter to spare. True when there are zeros to be written.
    pub(crate) fn prepare(&mut self, written_bytes: u64, room: u64) -> Result<bool, JournalError> {
        self.forget_full_spare();
        if self.spare.is_none() && (!self.free.is_empty() || !self.begin_spare(0, u64::MAX)?) {
            return Ok(false);
        }
        let Some(spare) = &self.spare else { return Ok(false) };
        let due = u128::from(spare.not_asked()) * u128::from(written_bytes) * 5 / 4 / u128::from(room.max(1));
        Ok(spare.ask(u64::try_from(due).unwrap_or(u64::MAX).max(MIN_PREPARED_BYTES)))
    }

    /// The file that is being got ready.
    pub(crate) fn spare(&self) -> Option<&Arc<Spare>> {
        self.spare.as_ref()
    }

    /// Gives back the files before the one of this number.
    pub(crate) fn recycle(&mut self, first_needed: u64) -> Result<usize, JournalError> {
        let mut recycled = 0;
        while self.live.len() > 1 && self.live[0].number < first_needed {
            let current_bytes = self.live[self.live.len() - 1].file.bytes;
            let Some(old) = self.live.pop_front() else { break };
            recycled += 1;
            let too_many = self.total_bytes() + old.file.bytes > self.options.max_bytes;
            if old.file.bytes < current_bytes || too_many {
                self.remove(old.file)?;
            } else {
                self.free.push(old.file);
            }
        }
        Ok(recycled)
    }

    fn remove(&self, file: RingFile) -> Result<(), JournalError> {
        self.disk.remove_file(&file.path).map_err(JournalError::io("remove", &file.path))
    }

    /// Begins a new file, of at most so many bytes, unless more are needed. False when the ring is full.
    fn begin_spare(&mut self, needed: u64, most: u64) -> Result<bool, JournalError> {
        let largest = self.live.iter().map(|file| file.file.bytes).max().unwrap_or(0);
        let grown = (2 * largest).clamp(self.options.first_file_bytes, self.options.file_bytes);
        let mut room = self.options.max_bytes.saturating_sub(self.total_bytes());
        if !self.started {
            room = room.max(self.options.first_file_bytes.max(needed));
        }
        let bytes = grown.min(room).min(most).max(needed).next_multiple_of(BLOCK_BYTES as u64);
        // A small rest is not worth a file.
        if bytes > room || (self.started && bytes < grown / 2) {
            return Ok(false);
        }
        // One that is too small for the frame that wants one gives way.
        if let Some(spare) = self.spare.take() {
            spare.remove()?;
        }
        let name = format!("{:06}{FILE_SUFFIX}", self.next_slot);
        self.next_slot += 1;
        let (disk, zeros) = (Arc::clone(&self.disk), self.zeros.clone());
        let spare = Spare::new(disk, &self.directory, &name, bytes, self.options.direct, zeros);
        self.spare = Some(Arc::new(spare));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;
    use crate::disk::sim::Faults;

    #[test]
    fn a_disk_that_was_full_does_not_stand_before_a_file_that_is_free() {
        let disk = SimDisk::new(1);
        let directory = PathBuf::from("/journal");
        disk.create_dir_all(&directory).unwrap();
        let options = JournalOptions { direct: false, ..JournalOptions::default() };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut ring = Ring::new(shared, directory, options, Vec::new()).unwrap();
        for number in 1..=2 {
            let file = ring.take(1).unwrap().unwrap();
            ring.push_current(LiveFile { file, number, first_sequence: number });
        }
        let full: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
        disk.set_faults(Faults { capacity_bytes: Some(full), ..Faults::default() });
        assert!(ring.prepare(1 << 20, 1).unwrap());
        let spare = Arc::clone(ring.spare().unwrap());
        while spare.write_due().unwrap() {}
        assert!(spare.is_full());
        assert!(ring.take(1).unwrap().is_none() && ring.disk_is_full());
        assert!(ring.prepare(1 << 20, 1).unwrap());
        let spare = Arc::clone(ring.spare().unwrap());
        while spare.write_due().unwrap() {}
        ring.live[1].file.bytes = 1 << 20;
        assert_eq!(ring.recycle(2).unwrap(), 1);
        assert!(ring.take(1).unwrap().is_some(), "the one that was given back");
    }
}
