//! Open files of all partition logs together: a node has more segments than it may have descriptors.
//!
//! ```text
//!   FileSlot (one for each segment) ── get ──► open? ── yes ──► its handle
//!                                                └─ no ───► opens, and closes what was longest not used, beyond the limit
//! ```
//!
//! A file with bytes that are not flushed stays open by the handle they were written with: only that handle is sure to
//! be told when the device could not take them. How many such files there are is what makes a checkpoint due
//! ([`OpenFiles::unflushed`]).

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, OpenOptions};

/// The limit, and what is open.
#[derive(Debug)]
pub struct OpenFiles {
    limit: usize,
    /// Files that slots hold.
    open: AtomicUsize,
    /// Slots with unflushed bytes, and other files that wait to be flushed.
    unflushed: AtomicUsize,
    /// Slots that were opened, the one to be looked at next in front.
    order: Mutex<VecDeque<Weak<Slot>>>,
}

impl OpenFiles {
    /// At most so many files are kept open for reading; those with unflushed bytes do not count.
    pub fn new(limit: usize) -> Arc<OpenFiles> {
        Arc::new(OpenFiles {
            limit: limit.max(1),
            open: AtomicUsize::new(0),
            unflushed: AtomicUsize::new(0),
            order: Mutex::default(),
        })
    }

    /// Files that slots keep open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Files that have to stay open until they are flushed.
    pub fn unflushed(&self) -> usize {
        self.unflushed.load(Ordering::Relaxed)
    }

    /// The limit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A slot has opened its file. Closes others as long as there are too many.
    fn opened(&self, slot: &Arc<Slot>) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let mut order = self.order.lock();
        order.push_back(Arc::downgrade(slot));
        // Each slot is looked at twice at most: once to forget that it was used, once to close it.
        for _ in 0..2 * order.len() {
            if self.open() <= self.limit {
                return;
            }
            let Some(candidate) = order.pop_front() else { return };
            let Some(slot) = candidate.upgrade() else { continue };
            // Somebody who is at it right now is using it.
            let closed = slot.held.try_lock().is_some_and(|mut held| {
                let close = !held.unflushed && !slot.used.swap(false, Ordering::Relaxed);
                if close {
                    held.file = None;
                }
                close
            });
            if closed {
                self.open.fetch_sub(1, Ordering::Relaxed);
            } else {
                order.push_back(candidate);
            }
        }
    }
}

/// A place for one open file.
#[derive(Debug)]
pub(crate) struct FileSlot(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    held: Mutex<Held>,
    /// Since it was last looked at.
    used: AtomicBool,
    all: Arc<OpenFiles>,
}

#[derive(Debug, Default)]
struct Held {
    file: Option<Arc<dyn DiskFile>>,
    writable: bool,
    /// Not to be closed before it is flushed.
    unflushed: bool,
}

impl FileSlot {
    pub(crate) fn new(all: &Arc<OpenFiles>) -> FileSlot {
        let all = Arc::clone(all);
        FileSlot(Arc::new(Slot { held: Mutex::default(), used: AtomicBool::new(false), all }))
    }

    /// The file, opened when it is not open, for writing too when asked for.
    pub(crate) fn get(&self, disk: &dyn Disk, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        let slot = &self.0;
        let mut held = slot.held.lock();
        if let Some(file) = held.file.as_ref().filter(|_| held.writable || !write) {
            slot.used.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(file));
        }
        let file = disk.open(path, if write { OpenOptions::WRITE } else { OpenOptions::READ })?;
        let another = held.file.replace(Arc::clone(&file)).is_some();
        held.writable = write;
        drop(held);
        if !another {
            slot.all.opened(slot);
        }
        Ok(file)
    }

    /// Puts a file in place that was just made, open for writing.
    pub(crate) fn put(&self, file: Arc<dyn DiskFile>) {
        let another = {
            let mut held = self.0.held.lock();
            held.writable = true;
            held.file.replace(file).is_some()
        };
        if !another {
            self.0.all.opened(&self.0);
        }
    }

    /// Whether there are bytes that were written by this handle and are not flushed: as long as there are, it stays open.
    pub(crate) fn set_unflushed(&self, unflushed: bool) {
        let before = std::mem::replace(&mut self.0.held.lock().unflushed, unflushed);
        match (before, unflushed) {
            (false, true) => self.0.all.unflushed.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.0.all.unflushed.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let held = self.held.get_mut();
        if held.file.is_some() {
            self.all.open.fetch_sub(1, Ordering::Relaxed);
        }
        if held.unflushed {
            self.all.unflushed.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Files that were written and wait to be flushed, counted.
#[derive(Debug)]
pub(crate) struct Unflushed {
    files: Vec<Arc<dyn DiskFile>>,
    all: Arc<OpenFiles>,
}

impl Unflushed {
    pub(crate) fn new(all: &Arc<OpenFiles>) -> Unflushed {
        Unflushed { files: Vec::new(), all: Arc::clone(all) }
    }

    pub(crate) fn extend(&mut self, files: impl IntoIterator<Item = Arc<dyn DiskFile>>) {
        let before = self.files.len();
        self.files.extend(files);
        self.all.unflushed.fetch_add(self.files.len() - before, Ordering::Relaxed);
    }

    pub(crate) fn take(&mut self) -> Unflushed {
        let nothing = Unflushed::new(&self.all);
        std::mem::replace(self, nothing)
    }

    pub(crate) fn files(&self) -> &[Arc<dyn DiskFile>] {
        &self.files
    }
}

impl Drop for Unflushed {
    fn drop(&mut self) {
        self.all.unflushed.fetch_sub(self.files.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn what_was_longest_not_used_is_closed_and_what_is_not_flushed_stays() {
        let disk = SimDisk::new(1);
        let all = OpenFiles::new(3);
        let path = |number: usize| std::path::PathBuf::from(format!("/{number}"));
        let slots: Vec<FileSlot> = (0..6).map(|_| FileSlot::new(&all)).collect();
        for number in 0..6 {
            disk.plant(&path(number), b"x").unwrap();
        }
        let is_open = |number: usize| slots[number].0.held.lock().file.is_some();
        slots[0].get(&disk, &path(0), true).unwrap();
        slots[0].set_unflushed(true);
        for number in 1..6 {
            slots[number].get(&disk, &path(number), false).unwrap();
            slots[1].get(&disk, &path(1), false).unwrap();
        }
        assert_eq!((all.open(), all.unflushed()), (3, 1));
        assert!(is_open(0) && is_open(1), "unflushed, and used all the time");
        slots[0].set_unflushed(false);
        for number in (2..6).chain(2..6) {
            slots[number].get(&disk, &path(number), false).unwrap();
        }
        assert!(!is_open(0));
        assert_eq!((all.open(), all.unflushed()), (3, 0));
        assert!(slots[0].get(&disk, &path(0), true).unwrap().write_at(b"y", 0).is_ok(), "opened again");
        drop(slots);
        assert_eq!(all.open(), 0);
        let mut waiting = Unflushed::new(&all);
        waiting.extend([disk.open(&path(1), OpenOptions::WRITE).unwrap()]);
        let taken = waiting.take();
        assert_eq!((all.unflushed(), taken.files().len(), waiting.files().len()), (1, 1, 0));
        drop(taken);
        assert_eq!(all.unflushed(), 0);
    }
}
