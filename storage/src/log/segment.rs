//! One segment: a range of offsets, its batches and its indexes.
//!
//! ```text
//! <base>.log        [batch][batch][batch]…│ bytes behind `size` are never looked at
//!                                        size (atomic: written by the writer after the bytes are there)
//! ```
//!
//! Readers and the writer share a segment. The writer adds bytes, then index entries, then moves `size` and `end_offset`;
//! a reader takes those first. The only lock between them guards the index in memory, for the length of a search.

mod indexes;
mod read;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use logmill_record::{Batch, BatchHeader};
use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, DiskFile, OpenOptions, read_file, replace_file};

use super::buffers::ReadBuffers;
use super::error::{Corruption, LogError, ReadError};
use super::files::{FileSlot, OpenFiles};
use super::manifest::AbortedSum;
use super::names::FileKind;
use super::transactions::AbortedTransaction;

pub(crate) use indexes::{Indexes, Trust};

/// What is read and written at once when bytes are written over themselves.
const COPY_BYTES: usize = 1 << 20;

/// What all partition logs of a store share.
#[derive(Debug, Clone)]
pub struct LogEnvironment {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Buffers for reads.
    pub buffers: Arc<ReadBuffers>,
    /// Open files.
    pub files: Arc<OpenFiles>,
}

/// Aborted transactions whose markers lie in a segment, in the order of the markers.
#[derive(Debug, Default)]
struct AbortedList {
    entries: Vec<AbortedTransaction>,
    /// Those that are in the file: the first ones.
    written: AbortedSum,
}

/// Where they are.
#[derive(Debug)]
enum Aborted {
    /// In the file, which nobody has asked for yet. It must hold this much.
    InFile(AbortedSum),
    Loaded(AbortedList),
}

#[derive(Debug)]
pub(crate) struct Segment {
    environment: LogEnvironment,
    directory: Arc<Path>,
    base_offset: i64,
    /// Opened when needed, closed when others need it more.
    log: FileSlot,
    size: AtomicU64,
    end_offset: AtomicI64,
    /// `None`: sealed earlier, and nobody has asked yet.
    indexes: RwLock<Option<Indexes>>,
    /// One loads, the others wait; readers of loaded indexes do not come here.
    loading: Mutex<()>,
    aborted: RwLock<Aborted>,
    index_interval_bytes: u64,
}

/// A batch in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Segment {
    /// A new, empty segment. A file of that name, left over from before a crash, is emptied.
    pub(crate) fn create(
        environment: &LogEnvironment,
        directory: &Arc<Path>,
        base_offset: i64,
        index_interval_bytes: u32,
    ) -> Result<Segment, LogError> {
        let segment =
            Segment::sealed(environment, directory, base_offset, base_offset, 0, index_interval_bytes);
        let disk = &*environment.disk;
        for kind in FileKind::SEGMENT {
            let path = kind.path(directory, base_offset);
            if kind == FileKind::Log {
                let file = disk.open(&path, OpenOptions::CREATE).map_err(LogError::io("create", &path))?;
                file.set_len(0).map_err(LogError::io("empty", &path))?;
                segment.log.put(file);
            } else {
                remove_if_there(disk, &path)?;
            }
        }
        *segment.indexes.write() = Some(Indexes::new(directory, base_offset));
        segment.set_aborted(Vec::new(), 0);
        Ok(segment)
    }

    /// A segment whose batches, up to `size`, end at `end_offset`. Nothing is read yet.
    pub(crate) fn sealed(
        environment: &LogEnvironment,
        directory: &Arc<Path>,
        base_offset: i64,
        end_offset: i64,
        size: u64,
        index_interval_bytes: u32,
    ) -> Segment {
        Segment {
            environment: environment.clone(),
            directory: Arc::clone(directory),
            base_offset,
            log: FileSlot::new(&environment.files),
            size: AtomicU64::new(size),
            end_offset: AtomicI64::new(end_offset),
            indexes: RwLock::new(None),
            loading: Mutex::new(()),
            aborted: RwLock::new(Aborted::InFile(AbortedSum::default())),
            index_interval_bytes: u64::from(index_interval_bytes),
        }
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes of batches.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Offset after the last batch (for a sealed segment: at most where the next one begins).
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self, kind: FileKind) -> PathBuf {
        kind.path(&self.directory, self.base_offset)
    }

    /// The file of the batches, opened for writing too.
    pub(crate) fn writing_file(&self) -> Result<Arc<dyn DiskFile>, LogError> {
        let path = self.path(FileKind::Log);
        self.log.get(self.disk(), &path, true).map_err(LogError::io("open", &path))
    }

    /// The file of the batches.
    pub(crate) fn reading_file(&self) -> Result<Arc<dyn DiskFile>, ReadError> {
        let path = self.path(FileKind::Log);
        self.log.get(self.disk(), &path, false).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                self.corruption(FileKind::Log, 0, self.base_offset, "the file is not there").into()
            }
            _ => ReadError::io("open", &path)(error),
        })
    }

    /// Writes batches behind the last one, in one call, and publishes them to readers of this segment. On an error nothing
    /// is published, and what was written will be written over. Only for the writer.
    pub(crate) fn append(&self, batches: &[Batch]) -> Result<(), LogError> {
        let file = self.writing_file()?;
        self.log.set_unflushed(true);
        let start = self.size.load(Ordering::Relaxed);
        let written = match batches {
            [one] => file.write_at(one.bytes(), start),
            several => {
                let slices: Vec<IoSlice<'_>> = several.iter().map(|b| IoSlice::new(b.bytes())).collect();
                file.write_slices_at(&slices, start)
            }
        };
        written.map_err(|error| LogError::io("append to", &self.path(FileKind::Log))(error))?;
        let mut position = start;
        let mut indexes = self.indexes.write();
        let indexes = indexes.as_mut().expect("the segment that is written to has its indexes");
        for batch in batches {
            indexes.observe(batch.header(), position, self.base_offset, self.index_interval_bytes);
            position += batch.size() as u64;
        }
        self.size.store(position, Ordering::Release);
        if let Some(last) = batches.last() {
            self.end_offset.store(last.header().next_offset(), Ordering::Release);
        }
        Ok(())
    }

    /// Takes into account a batch that is already in the file. Only for recovery.
    pub(crate) fn adopt(&self, header: &BatchHeader, position: u64) {
        let mut indexes = self.indexes.write();
        let indexes = indexes.as_mut().expect("the segment that is recovered has its indexes");
        indexes.observe(header, position, self.base_offset, self.index_interval_bytes);
        self.size.store(position + header.size() as u64, Ordering::Release);
        self.end_offset.store(header.next_offset(), Ordering::Release);
    }

    /// Adds an aborted transaction whose marker lies in this segment. Only for the writer.
    pub(crate) fn add_aborted(&self, aborted: AbortedTransaction) {
        match &mut *self.aborted.write() {
            Aborted::Loaded(list) => list.entries.push(aborted),
            Aborted::InFile(_) => unreachable!("the segment that is written to has its aborted transactions"),
        }
    }

    /// Aborted transactions whose markers lie in this segment. `Err` names what is wrong with the file.
    pub(crate) fn with_aborted<T>(&self, look: impl Fn(&[AbortedTransaction]) -> T) -> Result<T, ReadError> {
        let expected = match &*self.aborted.read() {
            Aborted::Loaded(list) => return Ok(look(&list.entries)),
            Aborted::InFile(expected) => *expected,
        };
        let entries = self
            .read_aborted_before(self.end_offset(), expected)?
            .map_err(|reason| self.corruption(FileKind::TransactionIndex, 0, 0, reason))?;
        let mut aborted = self.aborted.write();
        if let Aborted::InFile(_) = &*aborted {
            let written = AbortedSum::of(&encode_all(&entries));
            *aborted = Aborted::Loaded(AbortedList { entries, written });
        }
        match &*aborted {
            Aborted::Loaded(list) => Ok(look(&list.entries)),
            Aborted::InFile(_) => unreachable!("they have just been loaded"),
        }
    }

    /// What the file of the aborted transactions holds, as far as is known.
    pub(crate) fn aborted_sum(&self) -> AbortedSum {
        match &*self.aborted.read() {
            Aborted::Loaded(list) => list.written,
            Aborted::InFile(expected) => *expected,
        }
    }

    /// What the file of the aborted transactions must hold, for a segment that is settled.
    pub(crate) fn expect_aborted(&self, sum: AbortedSum) {
        *self.aborted.write() = Aborted::InFile(sum);
    }

    /// The file of the aborted transactions, as it is. It is not there when there are none.
    pub(crate) fn aborted_file(&self) -> Result<Vec<u8>, ReadError> {
        let path = self.path(FileKind::TransactionIndex);
        match read_file(self.disk(), &path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(ReadError::io("read", &path)(error)),
        }
    }

    /// Reads the file as far as markers lie before an offset; what follows may be anything. It has to begin with what is
    /// `expected`. The inner error: it is not what was once written.
    pub(crate) fn read_aborted_before(
        &self,
        offset: i64,
        expected: AbortedSum,
    ) -> Result<Result<Vec<AbortedTransaction>, &'static str>, ReadError> {
        let bytes = self.aborted_file()?;
        if !expected.begins(&bytes) {
            return Ok(Err("it does not begin with the entries that were written"));
        }
        let (entries, rest) = bytes.as_chunks::<{ AbortedTransaction::ENCODED_LEN }>();
        let mut aborted: Vec<AbortedTransaction> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(entry) = AbortedTransaction::decode(entry) else {
                return Ok(Err("an entry does not parse"));
            };
            if entry.last_offset >= offset {
                return Ok(Ok(aborted));
            }
            let before = aborted.last().map_or(self.base_offset - 1, |last| last.last_offset);
            if entry.last_offset <= before {
                return Ok(Err("markers are not in order, or not in the segment"));
            }
            aborted.push(entry);
        }
        Ok(if rest.is_empty() { Ok(aborted) } else { Err("length is not a multiple of an entry's") })
    }

    /// Replaces the file of the aborted transactions, durably: that some of them are missing could not be seen from it.
    pub(crate) fn replace_aborted(&self, entries: Vec<AbortedTransaction>) {
        // Not being able to write it is no obstacle to reading: it is made again the next time.
        let _ = replace_file(self.disk(), &self.path(FileKind::TransactionIndex), &encode_all(&entries));
        let written = entries.len();
        self.set_aborted(entries, written);
    }

    /// Puts aborted transactions in place that were read or found again; `written` of them are in the file.
    pub(crate) fn set_aborted(&self, entries: Vec<AbortedTransaction>, written: usize) {
        let written = AbortedSum::of(&encode_all(&entries[..written]));
        *self.aborted.write() = Aborted::Loaded(AbortedList { entries, written });
    }

    /// Puts indexes in place that were loaded or made again.
    pub(crate) fn set_indexes(&self, indexes: Indexes) {
        *self.indexes.write() = Some(indexes);
    }

    /// Bytes of the larger index.
    pub(crate) fn index_bytes(&self) -> usize {
        self.indexes.read().as_ref().map_or(0, Indexes::byte_len)
    }

    /// Writes the parts of the indexes that are not in their files, and adds the files written to `files`, for flushing,
    /// also when an error comes behind them. Only for the writer.
    pub(crate) fn write_out_indexes(&self, files: &mut Vec<Arc<dyn DiskFile>>) -> Result<(), LogError> {
        let disk = &*self.environment.disk;
        if let Some(indexes) = &mut *self.indexes.write() {
            indexes.write_out(disk, files)?;
        }
        if let Aborted::Loaded(list) = &mut *self.aborted.write()
            && (list.written.entries as usize) < list.entries.len()
        {
            let path = self.path(FileKind::TransactionIndex);
            let written = list.written.entries as usize;
            let bytes = encode_all(&list.entries[written..]);
            let position = (written * AbortedTransaction::ENCODED_LEN) as u64;
            let file = disk.open(&path, OpenOptions::CREATE).map_err(LogError::io("open", &path))?;
            file.write_at(&bytes, position).map_err(LogError::io("write", &path))?;
            // Nothing of an earlier life may follow: it would come back as aborted transactions.
            file.set_len(position + bytes.len() as u64).map_err(LogError::io("cut", &path))?;
            list.written = list.written.and(&bytes);
            files.push(file);
        }
        Ok(())
    }

    /// The last entries of the indexes, for a segment that will not grow any more; then everything is written out, and
    /// nothing of an earlier life is left: a replay fills segments up that have torn or stale bytes behind their end.
    pub(crate) fn seal(&self) -> Result<Vec<Arc<dyn DiskFile>>, LogError> {
        if let Some(indexes) = &mut *self.indexes.write() {
            indexes.seal();
        }
        let files = self.trim_files()?;
        if let Some(indexes) = &mut *self.indexes.write() {
            indexes.shrink();
        }
        Ok(files)
    }

    /// Makes every file exactly as long as what is known of it. After this nothing of an earlier life is left. Returns the
    /// files that were not so already, for flushing.
    pub(crate) fn trim_files(&self) -> Result<Vec<Arc<dyn DiskFile>>, LogError> {
        let path = self.path(FileKind::Log);
        let mut files = Vec::new();
        if self.disk().file_len(&path).map_err(LogError::io("look at", &path))? != self.size() {
            let file = self.writing_file()?;
            file.set_len(self.size()).map_err(LogError::io("cut", &path))?;
            files.push(file);
        }
        if let Some(indexes) = &mut *self.indexes.write() {
            indexes.trim_files(self.disk(), &mut files)?;
        }
        self.write_out_indexes(&mut files)?;
        let path = self.path(FileKind::TransactionIndex);
        let entries = self.aborted_sum().entries;
        if entries == 0 {
            remove_if_there(self.disk(), &path)?;
        } else {
            let length = entries * AbortedTransaction::ENCODED_LEN as u64;
            let file = self.disk().open(&path, OpenOptions::WRITE).map_err(LogError::io("open", &path))?;
            if file.len().map_err(LogError::io("look at", &path))? != length {
                file.set_len(length).map_err(LogError::io("cut", &path))?;
                files.push(file);
            }
        }
        Ok(files)
    }

    /// What was written is flushed, or its file is held by whoever will flush it.
    pub(crate) fn set_flushed(&self) {
        self.log.set_unflushed(false);
    }

    /// Cuts the file of the batches behind the last one.
    pub(crate) fn trim_log(&self) -> Result<(), LogError> {
        let path = self.path(FileKind::Log);
        let file = self.disk().open(&path, OpenOptions::WRITE).map_err(LogError::io("open", &path))?;
        file.set_len(self.size()).map_err(LogError::io("cut", &path))
    }

    /// Length of the file of the batches, which may be more than what is known to be batches.
    pub(crate) fn file_size(&self) -> Result<u64, ReadError> {
        self.reading_file()?.len().map_err(ReadError::io("look at", &self.path(FileKind::Log)))
    }

    /// How far batches reach, as recovery found it.
    pub(crate) fn set_extent(&self, size: u64, end_offset: i64) {
        self.size.store(size, Ordering::Release);
        self.end_offset.store(end_offset, Ordering::Release);
    }

    /// Writes batches over the same batches. Only for recovery.
    pub(crate) fn write_again(&self, batches: &[Batch], position: u64) -> Result<(), LogError> {
        let file = self.writing_file()?;
        let slices: Vec<IoSlice<'_>> = batches.iter().map(|batch| IoSlice::new(batch.bytes())).collect();
        file.write_slices_at(&slices, position).map_err(LogError::io("write", &self.path(FileKind::Log)))
    }

    /// Writes the bytes from a position on over themselves. Only for recovery.
    pub(crate) fn copy_over_itself(&self, from: u64) -> Result<(), LogError> {
        let (mut position, size) = (from, self.size());
        while position < size {
            let bytes = self.load(position, COPY_BYTES.min((size - position) as usize))?;
            if bytes.is_empty() {
                break;
            }
            let written = self.writing_file()?.write_at(&bytes, position);
            written.map_err(LogError::io("write", &self.path(FileKind::Log)))?;
            position += bytes.len() as u64;
        }
        Ok(())
    }

    /// Removes the files. Readers that hold the segment keep what they have open.
    pub(crate) fn remove_files(&self) -> Result<(), LogError> {
        remove_segment_files(&*self.environment.disk, &self.directory, self.base_offset)
    }

    pub(crate) fn corruption(
        &self,
        kind: FileKind,
        position: u64,
        offset: i64,
        reason: impl Into<String>,
    ) -> Corruption {
        Corruption { file: self.path(kind), position, offset, reason: reason.into() }
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.environment.disk
    }
}

fn encode_all(entries: &[AbortedTransaction]) -> Vec<u8> {
    entries.iter().flat_map(AbortedTransaction::encode).collect()
}

/// Removes the files of a segment, the batches last.
pub(crate) fn remove_segment_files(
    disk: &dyn Disk,
    directory: &Path,
    base_offset: i64,
) -> Result<(), LogError> {
    FileKind::SEGMENT
        .into_iter()
        .try_for_each(|kind| remove_if_there(disk, &kind.path(directory, base_offset)))
}

/// Removes a file, unless it is not there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
