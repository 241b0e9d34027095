//! The floor's one partition.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::Context as _;
use rustix::fs::OFlags;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::{Settings, Storage};
use crate::aligned::{Aligned, BLOCK};

const ZEROS: usize = 1 << 20;
/// The flushing thread takes no more at once.
const MAX_GROUP: usize = 4 << 20;

/// A batch is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// Which request it was.
    pub(super) correlation: i32,
    pub(super) base_offset: i64,
}

pub(super) struct Log {
    storage: Storage,
    file: File,
    index: Mutex<Index>,
    /// Notified when there is more to read.
    pub(super) grown: Notify,
    queue: Mutex<Vec<Waiting>>,
    queued: Condvar,
}

/// Where each batch lies, oldest first.
#[derive(Default)]
struct Index {
    entries: Vec<Entry>,
    next_offset: i64,
    end: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    base_offset: i64,
    position: u64,
}

/// A batch on its way to the flushing thread.
struct Waiting {
    batch: Vec<u8>,
    records: i64,
    correlation: i32,
    answer: UnboundedSender<Stored>,
}

impl Log {
    /// Makes the file, and for the durable modes fills it with zeros and starts the flushing thread.
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Arc<Log>> {
        let path = settings.data_dir.join("floor.log");
        let open = |flags: OFlags| {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.custom_flags(flags.bits() as i32);
            options.open(&path).with_context(|| format!("cannot open {}", path.display()))
        };
        let file = match settings.storage {
            Storage::PageCache => open(OFlags::empty())?,
            Storage::Fdatasync => {
                let file = open(OFlags::empty())?;
                zero(&file, settings.capacity << 20)?;
                file
            }
            Storage::Direct => {
                let file = open(OFlags::DIRECT | OFlags::DSYNC)?;
                zero(&file, settings.capacity << 20)?;
                file
            }
        };
        let log = Arc::new(Log {
            storage: settings.storage,
            file,
            index: Mutex::default(),
            grown: Notify::new(),
            queue: Mutex::default(),
            queued: Condvar::new(),
        });
        if settings.storage != Storage::PageCache {
            let log = Arc::clone(&log);
            std::thread::Builder::new().name("flush".to_owned()).spawn(move || log.flush_all())?;
        }
        Ok(log)
    }

    /// Stores a checked batch: at once, or with the next flush, and then `answer` is told.
    pub(super) fn append(
        &self,
        batch: &mut [u8],
        records: i64,
        correlation: i32,
        answer: &UnboundedSender<Stored>,
    ) -> io::Result<Option<Stored>> {
        if self.storage == Storage::PageCache {
            let base_offset = {
                let index = &mut *lock(&self.index);
                let base_offset = index.next_offset;
                batch[..8].copy_from_slice(&base_offset.to_be_bytes());
                self.file.write_all_at(batch, index.end)?;
                index.push(records, batch.len() as u64);
                base_offset
            };
            self.grown.notify_waiters();
            return Ok(Some(Stored { correlation, base_offset }));
        }
        let waiting = Waiting { batch: batch.to_vec(), records, correlation, answer: answer.clone() };
        lock(&self.queue).push(waiting);
        self.queued.notify_one();
        Ok(None)
    }

    /// Reads whole batches from the one that holds `offset`, and the end of the log.
    pub(super) fn read(&self, offset: i64, max_bytes: usize, into: &mut [u8]) -> io::Result<(usize, i64)> {
        let (position, length, end) = {
            let index = lock(&self.index);
            let first = index.entries.partition_point(|entry| entry.base_offset <= offset);
            if offset >= index.next_offset || first == 0 {
                return Ok((0, index.next_offset));
            }
            let position = index.entries[first - 1].position;
            let limit = position + max_bytes.min(into.len()) as u64;
            let behind = &index.entries[first..];
            let fitting = behind.partition_point(|entry| entry.position <= limit);
            // At least one batch, and no half one behind it.
            let until = match fitting {
                _ if index.end <= limit => index.end,
                0 => behind.first().map_or(index.end, |entry| entry.position),
                some => behind[some - 1].position,
            };
            (position, (until - position) as usize, index.next_offset)
        };
        let length = length.min(into.len());
        if self.storage == Storage::Direct {
            self.read_direct(&mut into[..length], position)?;
        } else {
            self.file.read_exact_at(&mut into[..length], position)?;
        }
        Ok((length, end))
    }

    fn read_direct(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        let skipped = (position % BLOCK as u64) as usize;
        let mut aligned = Aligned::new((skipped + into.len()).next_multiple_of(BLOCK));
        self.file.read_exact_at(aligned.bytes_mut(), position - skipped as u64)?;
        into.copy_from_slice(&aligned.bytes_mut()[skipped..skipped + into.len()]);
        Ok(())
    }

    /// The flushing thread. What it cannot store nobody gets an answer for: it ends the process.
    fn flush_all(&self) {
        let mut group = Group { block: Aligned::new(MAX_GROUP + (2 << 20)), filled: 0 };
        loop {
            let waiting = {
                let mut queue = lock(&self.queue);
                while queue.is_empty() {
                    queue = self.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                std::mem::take(&mut *queue)
            };
            if let Err(error) = self.flush(waiting, &mut group) {
                let _ = crate::report::say(&format!("the floor cannot write: {error}"));
                std::process::exit(1);
            }
        }
    }

    fn flush(&self, waiting: Vec<Waiting>, group: &mut Group) -> io::Result<()> {
        let (mut next, mut end) = {
            let index = lock(&self.index);
            (index.next_offset, index.end)
        };
        let start = end;
        let mut stored = Vec::with_capacity(waiting.len());
        for mut one in waiting {
            one.batch[..8].copy_from_slice(&next.to_be_bytes());
            match self.storage {
                Storage::Direct => {
                    if group.filled + one.batch.len() > group.block.bytes_mut().len() {
                        group.write(&self.file, &mut end)?;
                    }
                    group.push(&one.batch);
                }
                Storage::Fdatasync | Storage::PageCache => {
                    self.file.write_all_at(&one.batch, end)?;
                    end += one.batch.len() as u64;
                }
            }
            next += one.records;
            stored.push((one.records, one.batch.len() as u64, one.correlation, one.answer));
        }
        match self.storage {
            Storage::Direct => group.write(&self.file, &mut end)?,
            Storage::Fdatasync | Storage::PageCache => self.file.sync_data()?,
        }
        debug_assert!(end >= start);
        let mut answers = Vec::with_capacity(stored.len());
        {
            let index = &mut *lock(&self.index);
            for (records, bytes, correlation, answer) in stored {
                let base_offset = index.next_offset;
                index.push(records, bytes);
                answers.push((answer, Stored { correlation, base_offset }));
            }
        }
        self.grown.notify_waiters();
        for (answer, stored) in answers {
            // A connection that went away needs no answer.
            let _ = answer.send(stored);
        }
        Ok(())
    }
}

impl Index {
    fn push(&mut self, records: i64, bytes: u64) {
        self.entries.push(Entry { base_offset: self.next_offset, position: self.end });
        self.next_offset += records;
        self.end += bytes;
    }
}

/// What goes to the device with one direct write. The last, partly filled block stays and is written again with the
/// next group, which a real journal must not do to acknowledged bytes: a floor may.
struct Group {
    block: Aligned,
    filled: usize,
}

impl Group {
    fn push(&mut self, bytes: &[u8]) {
        self.block.bytes_mut()[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    fn write(&mut self, file: &File, end: &mut u64) -> io::Result<()> {
        let kept = (*end % BLOCK as u64) as usize;
        let position = *end - kept as u64;
        let padded = self.filled.next_multiple_of(BLOCK);
        file.write_all_at(&self.block.bytes_mut()[..padded], position)?;
        *end += (self.filled - kept) as u64;
        let rest = self.filled % BLOCK;
        let from = self.filled - rest;
        self.block.bytes_mut().copy_within(from..from + rest, 0);
        self.filled = rest;
        Ok(())
    }
}

fn zero(file: &File, bytes: u64) -> io::Result<()> {
    let mut zeros = Aligned::new(ZEROS);
    let mut position = 0;
    while position < bytes {
        file.write_all_at(zeros.bytes_mut(), position)?;
        position += ZEROS as u64;
    }
    file.sync_all()
}

/// A thread that panicked with the lock ended the process's use anyway.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(storage: Storage) -> (tempfile::TempDir, Arc<Log>) {
        let directory = tempfile::tempdir_in(".").unwrap();
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: directory.path().to_owned(),
            storage,
            capacity: 1,
        };
        let log = Log::open(&settings).unwrap();
        (directory, log)
    }

    #[test]
    fn what_is_stored_is_read_in_every_mode() {
        for storage in [Storage::PageCache, Storage::Fdatasync, Storage::Direct] {
            let (_directory, log) = open(storage);
            let (answer, mut answers) = tokio::sync::mpsc::unbounded_channel();
            for number in 0_u8..50 {
                let mut batch = vec![number; 300];
                let stored = match log.append(&mut batch, 2, i32::from(number), &answer).unwrap() {
                    Some(stored) => stored,
                    None => answers.blocking_recv().unwrap(),
                };
                assert_eq!(
                    (stored.correlation, stored.base_offset),
                    (i32::from(number), 2 * i64::from(number))
                );
            }
            let mut buffer = vec![0; 100_000];
            let (length, end) = log.read(0, 100_000, &mut buffer).unwrap();
            assert_eq!((length, end), (15_000, 100), "{storage:?}");
            for (number, batch) in (0_u8..).zip(buffer[..length].chunks(300)) {
                assert_eq!(batch[..8], (2 * i64::from(number)).to_be_bytes());
                assert!(batch[8..].iter().all(|&byte| byte == number));
            }
            assert_eq!(log.read(51, 650, &mut buffer).unwrap().0, 600, "whole batches only");
            assert_eq!(buffer[8], 25);
            assert_eq!(log.read(51, 10, &mut buffer).unwrap().0, 300, "at least one");
            assert_eq!(log.read(98, 300, &mut buffer).unwrap().0, 300);
            assert_eq!(log.read(100, 300, &mut buffer).unwrap().0, 0);
        }
    }
}
